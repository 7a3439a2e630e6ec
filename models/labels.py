"""What operators say about alerts: a closed set of verdicts on stretches of time, one JSON object a line.

    {"device":"pump-2","since":"2026-03-04T11:00:00.000Z","until":"2026-03-04T13:00:00.000Z","verdict":"false",
     "by":"mk","at":"2026-03-05T07:10:00.000Z","comment":"hot afternoon, all well"}

Instead of `since` and `until` a label may name an `incident`: its stretch is looked up where that incident occurs. The
file is only ever added to; who changes their mind adds another label, and of two on the same stretch the later holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from models.authors import checked_author, checked_comment
from models.intervals import Interval
from plantwatch.telemetry import (
    EpochMs,
    InvalidReading,
    checked_name,
    decode_object,
    isoformat,
    parse_timestamp,
)

# An operator labels some alerts a day; ten years of a large plant's are fewer.
LABELS_MAX: Final = 100_000
# A label with the longest comment allowed is below 5 kB.
_LINE_BYTES_MAX: Final = 16_384
_NAME_CHARS_MAX: Final = 128
_INCIDENT = re.compile(r"[0-9a-f]{16}")
_FIELDS: Final = frozenset({"device", "incident", "since", "until", "verdict", "by", "at", "comment"})


class LabelVerdict(StrEnum):
    """Closed: what the training does with each is in `models.feedback`."""

    TRUE = "true"
    """The machine did misbehave: it must be found again."""
    FALSE = "false"
    """All was well: this is normal, and no alert may come of it again."""
    EXPECTED = "expected"
    """Maintenance, a test, a known state: neither normal nor a fault; it counts for nothing."""


class LabelProblem(StrEnum):
    """Why a label is refused; closed."""

    NOT_A_LABEL = "not_a_label"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_DEVICE = "invalid_device"
    INVALID_INCIDENT = "invalid_incident"
    INVALID_TIME = "invalid_time"
    INVALID_VERDICT = "invalid_verdict"
    INVALID_AUTHOR = "invalid_author"
    INVALID_COMMENT = "invalid_comment"
    NO_STRETCH = "no_stretch"
    TOO_MANY = "too_many"


class InvalidLabel(ValueError):
    """The label's fault; `where` names its file and line."""

    def __init__(self, problem: LabelProblem, detail: str, where: str = "") -> None:
        super().__init__(f"{where}{problem}: {detail}")
        self.problem = problem
        self.detail = detail


class Label(NamedTuple):
    """One verdict. `stretch` is None while only the incident's name is known."""

    device: str
    verdict: LabelVerdict
    by: str
    at: EpochMs
    stretch: Interval | None
    incident: str = ""
    comment: str = ""

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"device": self.device}
        if self.incident:
            fields["incident"] = self.incident
        if self.stretch:
            fields |= {"since": isoformat(self.stretch.first), "until": isoformat(self.stretch.last)}
        fields |= {"verdict": str(self.verdict), "by": self.by, "at": isoformat(self.at)}
        return fields | ({"comment": self.comment} if self.comment else {})


def label_of(fields: Mapping[str, Any]) -> Label:
    """A label from untrusted fields. Raises InvalidLabel with one reason of the closed set."""
    unknown = set(fields) - _FIELDS
    if unknown:
        raise InvalidLabel(LabelProblem.UNKNOWN_FIELD, repr(min(unknown)[:_NAME_CHARS_MAX]))
    device, incident = _device(fields.get("device")), _incident(fields.get("incident", ""))
    stretch = _stretch(fields.get("since"), fields.get("until"))
    if stretch is None and not incident:
        raise InvalidLabel(LabelProblem.NO_STRETCH, "neither an incident nor since and until")
    return Label(
        device,
        _verdict(fields.get("verdict")),
        _by(fields.get("by")),
        _time(fields.get("at"), "at"),
        stretch,
        incident,
        _comment(fields.get("comment", "")),
    )


def read_labels(path: Path) -> tuple[Label, ...]:
    """All labels of a file, in its order. InvalidLabel names the line; OSError where there is no such file."""
    with path.open("rb") as file:
        return tuple(_lines(path, file))


def add_label(path: Path, label: Label) -> None:
    """Add one line; a file that does not exist yet begins with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(label.as_json(), ensure_ascii=False, separators=(",", ":")) + "\n"
    with path.open("ab") as file:
        # One write of one line, so that two who label at once do not mix theirs.
        file.write(line.encode())


def in_force(labels: Sequence[Label]) -> tuple[Label, ...]:
    """The labels without those that a later one on the same device and stretch (or incident) replaced."""
    latest: dict[tuple[str, str, Interval | None], Label] = {}
    for label in sorted(labels, key=lambda label: label.at):
        latest[label.device, label.incident if label.stretch is None else "", label.stretch] = label
    return tuple(latest.values())


def _lines(path: Path, file: Any) -> Iterator[Label]:
    number = 0
    while line := file.readline(_LINE_BYTES_MAX + 1):
        number += 1
        where = f"{path}: line {number}: "
        if len(line) > _LINE_BYTES_MAX:
            raise InvalidLabel(LabelProblem.NOT_A_LABEL, f"longer than {_LINE_BYTES_MAX} bytes", where)
        if number > LABELS_MAX:
            raise InvalidLabel(LabelProblem.TOO_MANY, f"at most {LABELS_MAX} labels", where)
        if not line.strip():
            continue
        try:
            yield label_of(decode_object(line))
        except InvalidLabel as error:
            raise InvalidLabel(error.problem, error.detail, where) from None
        except InvalidReading as error:
            raise InvalidLabel(LabelProblem.NOT_A_LABEL, str(error), where) from None


def _device(value: object) -> str:
    try:
        return checked_name(value if isinstance(value, str) else "")
    except InvalidReading:
        raise InvalidLabel(LabelProblem.INVALID_DEVICE, repr(value)[:_NAME_CHARS_MAX]) from None


def _incident(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or _INCIDENT.fullmatch(value) is None:
        shown = repr(value)[:_NAME_CHARS_MAX]
        raise InvalidLabel(LabelProblem.INVALID_INCIDENT, f"{shown} is not 16 hexadecimal digits")
    return value


def _stretch(since: object, until: object) -> Interval | None:
    if since is None and until is None:
        return None
    first, last = _time(since, "since"), _time(until, "until")
    if last < first:
        raise InvalidLabel(LabelProblem.INVALID_TIME, "until is before since")
    return Interval(first, last)


def _time(value: object, name: str) -> EpochMs:
    try:
        return parse_timestamp(value, received_at=0)
    except InvalidReading as error:
        raise InvalidLabel(LabelProblem.INVALID_TIME, f"{name}: {error}") from None


def _verdict(value: object) -> LabelVerdict:
    try:
        return LabelVerdict(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(LabelVerdict)
        raise InvalidLabel(LabelProblem.INVALID_VERDICT, f"{value!r:.40} is none of {known}") from None


def _by(value: object) -> str:
    try:
        return checked_author(value)
    except ValueError as error:
        raise InvalidLabel(LabelProblem.INVALID_AUTHOR, str(error)) from None


def _comment(value: object) -> str:
    try:
        return checked_comment(value)
    except ValueError as error:
        raise InvalidLabel(LabelProblem.INVALID_COMMENT, str(error)) from None
