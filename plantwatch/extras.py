"""What a reading of a gateway's batch carries beside the columns: only where there is something to carry.

    {"attributes": {}, "shares": [], "faults": [], "transitions": [], "signs": [], "ready_in_s": 52,
     "state": "cleaning", "suppression": "maintenance"}

A state is written where it changes and holds for the readings after it in the series. `signs` are the first signs of
the transitions, in their order: an older region reads transitions of exactly six fields, and skips parts that it does
not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from plantwatch.incident import Cause, Fault, FirstSign, Kind, Phase, Severity, Transition
from plantwatch.scoring import READY_IN_S_MAX, ScoredReading, Suppression
from plantwatch.telemetry import (
    ATTRIBUTES_MAX,
    InvalidReading,
    RejectionReason,
    attribute_text,
    finite,
    signal_name,
)

# Those of version 1; what came later travels beside them.
_TRANSITION_FIELDS: Final = 6


def encode_extra(item: ScoredReading, state_before: str) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if item.reading.attributes:
        extra["attributes"] = dict(item.reading.attributes)
    if item.shares:
        extra["shares"] = item.shares
    if item.faults:
        extra["faults"] = item.faults
    if item.transitions:
        # An older region reads transitions of exactly these fields, and passes over what it does not know.
        extra["transitions"] = [transition[:_TRANSITION_FIELDS] for transition in item.transitions]
        extra["signs"] = [transition.first_sign for transition in item.transitions]
    if item.state != state_before:
        extra["state"] = item.state
    if item.suppression is not None:
        extra["suppression"] = item.suppression
    if item.ready_in_s is not None:
        extra["ready_in_s"] = item.ready_in_s
    return extra


def ready_in_s_of(extra: Any) -> int | None:
    seconds = extra.get("ready_in_s")
    if seconds is not None and (type(seconds) is not int or not 0 <= seconds <= READY_IN_S_MAX):
        raise malformed("ready_in_s")
    return seconds


def state_of(extra: Any, before: str) -> str:
    state = extra.get("state", before)
    if type(state) is not str:
        raise malformed("state")
    return attribute_text(state)


def suppression_of(extra: Any) -> Suppression | None:
    return Suppression(extra["suppression"]) if "suppression" in extra else None


def transitions_of(extra: Any) -> tuple[Transition, ...]:
    found = [_transition(item) for item in extra.get("transitions", ())]
    signs = [sign and FirstSign(*sign) for sign in extra.get("signs", [None] * len(found))]
    if not all(sign is None or (signal_name(sign.signal) and whole([sign.at])) for sign in signs):
        raise malformed("signs")
    return tuple(turn._replace(first_sign=sign) for turn, sign in zip(found, signs, strict=True))


def _transition(item: Any) -> Transition:
    kind, phase, first_seen, severity, score, causes = item
    if not whole([first_seen]):
        raise malformed("first_seen")
    return Transition(
        Kind(kind), Phase(phase), first_seen, Severity(severity), number("score", score),
        tuple(_cause(cause) for cause in causes),
    )  # fmt: skip


def _cause(item: Any) -> Cause:
    signal, share, *numbers, fault = item
    observed, low, high = (None if value is None else number(signal, value) for value in numbers)
    return Cause(
        signal_name(signal), number(signal, share), observed, low, high, None if fault is None else Fault(fault)
    )


def attributes_of(extra: Any) -> dict[str, str]:
    attributes = extra.get("attributes", {})
    if len(attributes) > ATTRIBUTES_MAX:
        raise InvalidReading(RejectionReason.TOO_MANY_ATTRIBUTES, f"{len(attributes)}")
    if not all(type(value) is str for value in attributes.values()):
        raise InvalidReading(RejectionReason.UNSUPPORTED_VALUE, "attribute")
    return {signal_name(name): attribute_text(value) for name, value in attributes.items()}


def number(name: str, value: Any) -> float:
    kind = type(value)
    if kind is not float and kind is not int:
        raise InvalidReading(RejectionReason.NOT_A_NUMBER, f"{name}: {kind.__name__}")
    return finite(name, value)


def whole(numbers: Iterable[Any]) -> bool:
    return all(type(number) is int for number in numbers)


def malformed(detail: str) -> InvalidReading:
    return InvalidReading(RejectionReason.MALFORMED_BATCH, detail)
