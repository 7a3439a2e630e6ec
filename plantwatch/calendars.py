"""Maintenance calendars: an .ics file (RFC 5545) becomes a plain, bounded list of maintenance windows.

This is read when a plant is configured, never by a runtime: recurrences come from python-dateutil, and what the
runtimes get is `plantwatch.maintenance.windows_text`, for which the standard library is enough.

    windows = read_calendar(path.read_bytes(), begin=now, months=12, zone="Europe/Berlin", devices="pump-*")

Understood: VEVENT with DTSTART, DTEND or DURATION, RRULE (daily or rarer), RDATE, EXDATE, RECURRENCE-ID, STATUS, whole
days; times in UTC, in a zone of the IANA database, in a zone that the file itself defines, or in no zone (`zone`).
Recurrences follow the clock on the wall, so that 06:00 stays 06:00 when summer time begins. A file that says anything
else is refused as a whole, with one reason of a closed set: half a calendar would call people out to half of the work.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from plantwatch.ics import CalendarProblem, Event, InvalidCalendar, Property, parse
from plantwatch.maintenance import (
    EVERY_DEVICE,
    NAME_CHARS_MAX,
    WINDOWS_MAX,
    Maintenance,
    MaintenanceWindow,
    windows_from,
)
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import OBSERVED_AT_MAX, OBSERVED_AT_MIN, EpochMs

__all__ = ["CalendarProblem", "InvalidCalendar", "MONTHS_MAX", "read_calendar", "windows_at"]

# Three years ahead; whoever plans further reads the file again before then.
MONTHS_MAX: Final = 36
# Of one file, those before its first window included: two seconds' work. Twice a day since 1970 are 40,000.
OCCURRENCES_MAX: Final = 200_000
# 10,000 windows of 160 B.
_WINDOWS_BYTES_MAX: Final = 4_000_000
_MONTH: Final = timedelta(days=30.4375)
_DAY: Final = timedelta(days=1)
# Within them arithmetic with times and zones cannot overflow, and no plant has a calendar beyond.
_YEARS: Final = range(1900, 2200)

# More often than daily is no maintenance, and a minutely rule may search for ages.
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
# With an interval of 0 the search for the next occurrence would never end.
_INTERVAL: Final = re.compile(r"[1-9]\d{0,3}")
_TIME: Final = re.compile(r"([0-9]{8})(?:(T[0-9]{6})(Z)?)?")
_DURATION: Final = re.compile(r"\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?)")


class _Moment(NamedTuple):
    """A time on a wall, and where that wall is. `whole_day` where only the date was given."""

    wall: datetime
    zone: tzinfo
    whole_day: bool

    def at(self) -> datetime:
        return self.wall.replace(tzinfo=self.zone).astimezone(UTC)

    def wall_in(self, zone: tzinfo) -> datetime:
        """What a clock in `zone` shows then. A whole day is that day everywhere."""
        return self.wall if self.whole_day else self.at().astimezone(zone).replace(tzinfo=None)


class _Length(NamedTuple):
    """Days follow the clock on the wall, the rest is exact: a day may have 23 hours."""

    days: int
    rest: timedelta

    def after(self, begins: _Moment) -> datetime:
        return begins._replace(wall=begins.wall + timedelta(days=self.days)).at() + self.rest


def windows_at(path: Path, *, begin: EpochMs) -> Maintenance:
    """The windows of a file: of an .ics calendar those of three years from `begin` on, or windows as JSON.

    InvalidSettings names the file, OSError is the disk's.
    """
    try:
        if path.suffix.lower() == ".ics":
            return Maintenance(read_calendar(path.read_bytes(), begin=begin, months=MONTHS_MAX))
        with path.open("rb") as file:
            return windows_from(file.read(_WINDOWS_BYTES_MAX).decode("utf-8", "replace"))
    except InvalidCalendar as error:
        raise InvalidSettings([f"{path}: {error}"]) from None
    except InvalidSettings as error:
        raise InvalidSettings([f"{path}: {problem}" for problem in error.problems]) from None


def read_calendar(
    data: bytes, *, begin: EpochMs, months: int = 12, zone: str = "UTC", devices: str = EVERY_DEVICE
) -> tuple[MaintenanceWindow, ...]:
    """The windows from `begin` on for so many months, in order. `zone` is for times without one.

    Raises InvalidCalendar for what is wrong with the file, ValueError for what is wrong with the question.
    """
    if not 1 <= months <= MONTHS_MAX:
        raise ValueError(f"months is {months}; it must be between 1 and {MONTHS_MAX}")
    first = datetime.fromtimestamp(begin / 1000, UTC)
    events, zones = parse(data)
    windows: list[MaintenanceWindow] = []
    calendar = _Calendar(events, zones, zone, first + months * _MONTH)
    for event in events:
        found = (window for window in calendar.occurrences(event) if window[1] > first)
        windows += (_window(event, begins, ends, devices) for begins, ends in found)
        if len(windows) > WINDOWS_MAX:
            raise InvalidCalendar(CalendarProblem.TOO_MANY_WINDOWS, f"more than {WINDOWS_MAX}, up to {event.called}")
    return tuple(sorted(windows))


def _window(event: Event, begins: datetime, ends: datetime, devices: str) -> MaintenanceWindow:
    name = "".join(letter if letter.isprintable() else " " for letter in event.text("SUMMARY"))
    begins_at, ends_at = max(_epoch_ms(begins), OBSERVED_AT_MIN), min(_epoch_ms(ends), OBSERVED_AT_MAX)
    return MaintenanceWindow(begins_at, ends_at, name[:NAME_CHARS_MAX].strip(), devices)


def _epoch_ms(moment: datetime) -> EpochMs:
    return round(moment.timestamp() * 1000)


class _Calendar:
    """The events of one file: when each of them happens before `last`."""

    def __init__(self, events: list[Event], zones: dict[str, str], default_zone: str, last: datetime) -> None:
        self._last = last
        self._own_zones = zones
        # Looked up first, so that a wrong one is told whatever the file holds.
        self._zones = {"": _find_zone(default_zone, {})}
        self._left = OCCURRENCES_MAX
        # By the UID of an event: its occurrences that have an event of their own, or are cancelled by one.
        self._moved: dict[str, set[datetime]] = {}
        for event in events:
            for found in event.all("RECURRENCE-ID"):
                if "RANGE" in found.parameters:
                    raise InvalidCalendar(CalendarProblem.UNSUPPORTED, f"{event.called}: RECURRENCE-ID with RANGE")
                moved = self._moment(event, found, found.value)
                self._moved.setdefault(event.text("UID"), set()).add(moved.at())

    def occurrences(self, event: Event) -> Iterator[tuple[datetime, datetime]]:
        """Beginning and end of each of its occurrences."""
        start = self._start(event)
        length = self._length(event, start)
        if event.text("STATUS").upper() == "CANCELLED":
            return
        left_out = {at.at() for at in self._moments(event, "EXDATE")}
        if event.first("RECURRENCE-ID") is None:
            left_out |= self._moved.get(event.text("UID"), set())
        walls = {*self._walls(event, start), *(extra.wall_in(start.zone) for extra in self._moments(event, "RDATE"))}
        for wall in walls:
            begins = start._replace(wall=wall)
            if (at := begins.at()) < self._last and at not in left_out:
                yield at, length.after(begins)

    def _walls(self, event: Event, start: _Moment) -> Iterator[datetime]:
        """The times on the wall at which an event begins: once, or as its rule says."""
        yield start.wall
        rules = event.all("RRULE")
        if len(rules) > 1 or event.all("EXRULE"):
            raise InvalidCalendar(CalendarProblem.UNSUPPORTED, f"{event.called}: several rules")
        if not rules:
            return
        happens = False
        problem = f"{event.called}: {rules[0].value[:60]!r}"
        for wall in _recurrences(rules[0].value, start, problem):
            happens = True
            if wall > (self._last + _DAY).replace(tzinfo=None):
                return
            self._left -= 1
            if self._left < 0:
                raise InvalidCalendar(
                    CalendarProblem.TOO_MANY_WINDOWS, f"over {OCCURRENCES_MAX} times, up to {problem}"
                )
            yield wall
        if not happens:
            raise InvalidCalendar(CalendarProblem.INVALID_RULE, f"never happens: {problem}")

    def _start(self, event: Event) -> _Moment:
        found = event.first("DTSTART")
        if found is None:
            raise InvalidCalendar(CalendarProblem.NO_START, event.called)
        return self._moment(event, found, found.value)

    def _length(self, event: Event, start: _Moment) -> _Length:
        end, duration = event.first("DTEND"), event.first("DURATION")
        if end is not None:
            ends = self._moment(event, end, end.value)
            whole = start.whole_day and ends.whole_day
            length = (
                _Length((ends.wall - start.wall).days, timedelta()) if whole else _Length(0, ends.at() - start.at())
            )
        elif duration is not None:
            length = _duration(event, duration.value)
        else:
            length = _Length(1 if start.whole_day else 0, timedelta())
        if length.days < 0 or length.days * _DAY + length.rest <= timedelta():
            raise InvalidCalendar(CalendarProblem.NO_LENGTH, event.called)
        return length

    def _moments(self, event: Event, name: str) -> Iterator[_Moment]:
        for found in event.all(name):
            if found.parameters.get("VALUE") == "PERIOD":
                raise InvalidCalendar(CalendarProblem.UNSUPPORTED, f"{event.called}: {name} with PERIOD")
            for value in found.value.split(","):
                yield self._moment(event, found, value.strip())

    def _moment(self, event: Event, found: Property, value: str) -> _Moment:
        zone = found.parameters.get("TZID", "")
        if zone not in self._zones:
            self._zones[zone] = _find_zone(zone, self._own_zones)
        return _moment(value, self._zones[zone], f"{event.called}: {found.name}")


def _moment(value: str, zone: tzinfo, where: str) -> _Moment:
    """`20261123T060000`, with `Z` for UTC, or `20261123` for a whole day."""
    match = _TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        wall = datetime.strptime(match[1] + (match[2] or "T000000"), "%Y%m%dT%H%M%S")  # noqa: DTZ007  # zone is apart
    except ValueError:
        raise InvalidCalendar(CalendarProblem.INVALID_TIME, f"{where} {value[:40]!r}") from None
    if wall.year not in _YEARS:
        raise InvalidCalendar(CalendarProblem.INVALID_TIME, f"{where} in the year {wall.year}")
    return _Moment(wall, UTC if match[3] else zone, whole_day=match[2] is None)


def _duration(event: Event, value: str) -> _Length:
    match = _DURATION.fullmatch(value)
    if match is None or value.endswith(("P", "T")):
        raise InvalidCalendar(CalendarProblem.INVALID_TIME, f"{event.called}: DURATION {value[:40]!r}")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return _Length(7 * weeks + days, timedelta(hours=hours, minutes=minutes, seconds=seconds))


def _find_zone(name: str, own: dict[str, str]) -> tzinfo:
    """IANA's zone of that name, or else the file's own of it (`W. Europe Standard Time`)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name not in own:
            raise InvalidCalendar(CalendarProblem.UNKNOWN_ZONE, repr(name[:60])) from None
    from dateutil.tz import tzical  # type: ignore[import-untyped]  # at configuration time only

    try:
        zone: tzinfo = tzical(io.StringIO(own[name])).get(name)
        zone.utcoffset(datetime(2026, 1, 1))  # noqa: DTZ001  # asked for a time on a wall, as tzinfo is
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidCalendar(CalendarProblem.UNKNOWN_ZONE, f"{name[:60]!r}: {error}") from None
    return zone


def _recurrences(rule: str, start: _Moment, problem: str) -> Iterator[datetime]:
    """The occurrences of a rule as times on the wall of the event's start."""
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped]  # at configuration time only

    parts = dict(part.upper().partition("=")[::2] for part in rule.strip(";").split(";"))
    if parts.get("FREQ") not in _FREQUENCIES:
        raise InvalidCalendar(CalendarProblem.UNSUPPORTED, f"{problem}: daily, weekly, monthly or yearly only")
    if _INTERVAL.fullmatch(parts.get("INTERVAL", "1")) is None:
        raise InvalidCalendar(CalendarProblem.INVALID_RULE, problem)
    if "UNTIL" in parts:
        parts["UNTIL"] = _until(parts["UNTIL"], start, problem)
    text = ";".join(f"{name}={value}" for name, value in parts.items())
    try:
        yield from rrulestr(text, dtstart=start.wall)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        raise InvalidCalendar(CalendarProblem.INVALID_RULE, problem) from None


def _until(value: str, start: _Moment, problem: str) -> str:
    """UNTIL on the wall of the event's start; a date alone includes that day."""
    until = _moment(value, start.zone, f"{problem}: UNTIL")
    wall = until.wall_in(start.zone)
    if until.whole_day:
        wall += _DAY - timedelta(seconds=1)
    return wall.strftime("%Y%m%dT%H%M%S")
