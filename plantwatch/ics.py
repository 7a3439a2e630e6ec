"""The text of an .ics file (RFC 5545): content lines, the events that they describe, and the zones that it defines.

Only what a calendar of maintenance needs is kept, and everything else is passed over: alarms, to-dos, attendees. What
the properties mean is `plantwatch.calendars`' matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from plantwatch.telemetry import storable

# An event takes about 500 bytes: two thousand of them; a plant has some dozens.
CALENDAR_BYTES_MAX: Final = 1_000_000
# Each may take a quarter of a second where its rule is met once in centuries.
EVENTS_MAX: Final = 1_000
# A line of a list; calendars put whole e-mails into a summary.
_CALLED_CHARS_MAX: Final = 60

# What a zone's own rules need. Anything richer could search for a day that never comes.
_ZONE_RULE: Final = re.compile(
    r"FREQ=YEARLY(;(BYMONTH=(1[0-2]|[1-9])|BYDAY=[+-]?[1-5](MO|TU|WE|TH|FR|SA|SU)|INTERVAL=1|WKST=[A-Z]{2}"
    r"|UNTIL=[0-9TZ]{8,16}))*"
)
_LINE: Final = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:]*))*):(.*)', re.DOTALL)
_PARAMETER: Final = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^";:]*)')
_ESCAPED: Final = re.compile(r"\\(.)")
_NEW_LINE: Final = re.compile(r"\r\n|\n|\r")


class CalendarProblem(StrEnum):
    """Why a calendar is refused. Closed."""

    TOO_LARGE = "too_large"
    WRONG_ENCODING = "wrong_encoding"
    NOT_A_CALENDAR = "not_a_calendar"
    MALFORMED_LINE = "malformed_line"
    NO_EVENTS = "no_events"
    NO_START = "no_start"
    NO_LENGTH = "no_length"
    INVALID_TIME = "invalid_time"
    UNKNOWN_ZONE = "unknown_zone"
    INVALID_RULE = "invalid_rule"
    UNSUPPORTED = "unsupported"
    TOO_MANY_WINDOWS = "too_many_windows"


class InvalidCalendar(ValueError):
    """The file is no calendar that can be followed; one line says why and, where there is one, in which event."""

    def __init__(self, problem: CalendarProblem, detail: str = "") -> None:
        detail = " ".join(storable(detail).split())
        super().__init__(f"{problem}: {detail}" if detail else str(problem))
        self.problem = problem


class Property(NamedTuple):
    """One content line: `DTSTART;TZID=Europe/Berlin:20261123T060000`."""

    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class Event:
    """The properties of a VEVENT by name; what may stand several times is a list."""

    properties: dict[str, list[Property]] = field(default_factory=dict)

    def all(self, name: str) -> list[Property]:
        return self.properties.get(name, [])

    def first(self, name: str) -> Property | None:
        return next(iter(self.all(name)), None)

    def text(self, name: str) -> str:
        found = self.first(name)
        return _ESCAPED.sub(lambda match: " " if match[1] in "nN" else match[1], found.value) if found else ""

    @property
    def called(self) -> str:
        """How a message names it."""
        return f"event {(self.text('SUMMARY') or self.text('UID') or 'without a name')[:_CALLED_CHARS_MAX]!r}"


def parse(data: bytes) -> tuple[list[Event], dict[str, str]]:
    """The events, and the text of each zone that the file defines, by its TZID. Raises InvalidCalendar."""
    events: list[Event] = []
    zones: dict[str, str] = {}
    nesting: list[str] = []
    zone_lines: list[str] = []
    for number, line in _unfolded(_text(data)):
        found = _property(line, number)
        if found.name == "BEGIN":
            nesting.append(found.value.upper())
            if nesting == ["VCALENDAR", "VEVENT"]:
                events.append(Event())
        if not nesting or nesting[0] != "VCALENDAR":
            raise InvalidCalendar(CalendarProblem.NOT_A_CALENDAR, f"line {number}: outside of VCALENDAR")
        if nesting[1:2] == ["VTIMEZONE"]:
            _note_zone_line(found, line, zone_lines)
        elif nesting == ["VCALENDAR", "VEVENT"] and found.name not in ("BEGIN", "END"):
            events[-1].properties.setdefault(found.name, []).append(found)
        if found.name == "END":
            if nesting.pop() != found.value.upper():
                raise InvalidCalendar(CalendarProblem.MALFORMED_LINE, f"line {number}: END:{found.value} ends nothing")
            if found.value.upper() == "VTIMEZONE":
                zones[_zone_name(zone_lines)] = "\n".join(zone_lines)
                zone_lines = []
    _check_complete(events, nesting)
    return events, zones


def _text(data: bytes) -> str:
    if len(data) > CALENDAR_BYTES_MAX:
        raise InvalidCalendar(CalendarProblem.TOO_LARGE, f"{len(data)} bytes, at most {CALENDAR_BYTES_MAX}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidCalendar(CalendarProblem.WRONG_ENCODING, str(error)) from None


def _check_complete(events: list[Event], nesting: list[str]) -> None:
    if nesting:
        raise InvalidCalendar(CalendarProblem.NOT_A_CALENDAR, f"ends within {nesting[-1]}")
    if not events:
        raise InvalidCalendar(CalendarProblem.NO_EVENTS)
    if len(events) > EVENTS_MAX:
        raise InvalidCalendar(CalendarProblem.TOO_LARGE, f"{len(events)} events, at most {EVENTS_MAX}")


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Content lines with the number of their first line; a line that begins with a blank goes on the one before."""
    pending, began = "", 0
    for number, line in enumerate(_NEW_LINE.split(text), 1):
        if line[:1] in (" ", "\t"):
            pending += line[1:]
            continue
        if pending:
            yield began, pending
        pending, began = line.rstrip(), number
    if pending:
        yield began, pending


def _property(line: str, number: int) -> Property:
    match = _LINE.fullmatch(line)
    if match is None:
        raise InvalidCalendar(CalendarProblem.MALFORMED_LINE, f"line {number}: {line[:40]!r}")
    parameters = {name.upper(): value.strip('"') for name, value in _PARAMETER.findall(match[2])}
    return Property(match[1].upper(), parameters, match[3])


def _note_zone_line(found: Property, line: str, lines: list[str]) -> None:
    if found.name == "RRULE" and _ZONE_RULE.fullmatch(found.value) is None:
        raise InvalidCalendar(CalendarProblem.UNSUPPORTED, f"a zone's rule {found.value[:60]!r}")
    if found.name == "RDATE":
        raise InvalidCalendar(CalendarProblem.UNSUPPORTED, "a zone with RDATE")
    if found.name in ("BEGIN", "END", "TZID", "DTSTART", "RRULE", "TZOFFSETFROM", "TZOFFSETTO"):
        lines.append(line)


def _zone_name(lines: list[str]) -> str:
    return next((line.partition(":")[2] for line in lines if line.upper().startswith("TZID")), "")
