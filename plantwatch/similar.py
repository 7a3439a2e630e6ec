"""Past incidents that looked like this one: who has seen it before knows what it was.

Two incidents are alike when the same signals carry them in the same proportion: the cosine of their causes' shares, a
signal that was too high being another one than the same signal too low, and each sensor fault being one of its own.
Kinds never mix; each step of severity apart costs a tenth. 1 is the same picture, 0 has nothing in common.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

from plantwatch.incident import Alert, Cause, Phase, Severity

# An incident a day at each of a hundred machines for a season; a tenth of a second.
PAST_MAX: Final = 10_000
# Less is another picture: a cosine of 0.6 is what two incidents share that have one signal of three in common.
ALIKE_MIN: Final = 0.6
_SEVERITY_STEP: Final = 0.1
_SEVERITIES: Final = tuple(Severity)

# What misbehaves, and how: a signal, and `high`, `low`, `odd` or the sensor's fault.
Trait = tuple[str, str]


class Similar(NamedTuple):
    """A past incident, and how much alike it is, from 0 to 1."""

    likeness: float
    past: Alert


def similar_incidents(
    now: Alert, past: Iterable[Alert], *, most: int = 3, at_least: float = ALIKE_MIN
) -> tuple[Similar, ...]:
    """The past incidents most alike to `now`, the most alike first, then the newest; `now` itself is none of them.

    At most 10,000 of `past` are looked at: give the newest first. Clearances are passed over, an incident counts once.
    """
    picture = traits(now.causes)
    known: dict[str, Similar] = {}
    for alert in islice(past, PAST_MAX):
        if alert.kind is not now.kind or alert.phase is not Phase.OPENED or alert.incident_id == now.incident_id:
            continue
        likeness = round(_cosine(picture, traits(alert.causes)) * _same_weight(now.severity, alert.severity), 6)
        if likeness >= at_least:
            known[alert.incident_id] = Similar(likeness, alert)
    return tuple(heapq.nlargest(most, known.values(), key=lambda found: (found.likeness, found.past.first_seen)))


def traits(causes: Iterable[Cause]) -> dict[Trait, float]:
    """The incident's picture: which signal misbehaves how, and with which share."""
    return {(cause.signal, _manner(cause)): cause.share for cause in causes}


def _manner(cause: Cause) -> str:
    if cause.fault is not None:
        return cause.fault
    if cause.observed is not None and cause.expected_high is not None and cause.observed > cause.expected_high:
        return "high"
    if cause.observed is not None and cause.expected_low is not None and cause.observed < cause.expected_low:
        return "low"
    return "odd"


def _cosine(one: dict[Trait, float], other: dict[Trait, float]) -> float:
    product = math.fsum(share * other.get(trait, 0.0) for trait, share in one.items())
    lengths = math.hypot(*one.values()) * math.hypot(*other.values())
    return min(product / lengths, 1.0) if lengths > 0.0 else 0.0


def _same_weight(one: Severity, other: Severity) -> float:
    return 1.0 - _SEVERITY_STEP * abs(_SEVERITIES.index(one) - _SEVERITIES.index(other))
