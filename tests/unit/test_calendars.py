"""Calendars (.ics) as windows: recurrence, zones, exceptions; and what is refused, with its reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.calendars import CalendarProblem, InvalidCalendar, read_calendar
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.telemetry import EpochMs, isoformat

BEGIN: EpochMs = 1_767_225_600_000  # 2026-01-01T00:00Z
OUTLOOK_ZONE = """BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def calendar(*events: str, zones: str = "") -> bytes:
    text = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//plant//EN\n" + zones
    for event in events:
        text += f"BEGIN:VEVENT\nUID:1\nSUMMARY:Filter change\n{event}\nEND:VEVENT\n"
    return (text + "END:VCALENDAR\n").replace("\n", "\r\n").encode()


def spans(data: bytes, months: int = 12, zone: str = "UTC") -> list[tuple[str, str]]:
    found = read_calendar(data, begin=BEGIN, months=months, zone=zone)
    return [(isoformat(window.begins_at)[:16], isoformat(window.ends_at)[:16]) for window in found]


def problem(data: bytes) -> CalendarProblem:
    with pytest.raises(InvalidCalendar) as refused:
        read_calendar(data, begin=BEGIN)
    assert "\n" not in str(refused.value)
    return refused.value.problem


def test_one_event_is_one_window_with_its_name_and_devices() -> None:
    data = calendar("DTSTART:20260301T080000Z\nDTEND:20260301T100000Z")
    begins = round(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp() * 1000)
    assert read_calendar(data, begin=BEGIN, devices="pump-*") == (
        MaintenanceWindow(begins, begins + 2 * 3_600_000, "Filter change", "pump-*"),
    )


def test_a_weekly_event_stays_at_six_on_the_wall_when_summer_time_begins() -> None:
    data = calendar("DTSTART;TZID=Europe/Berlin:20260316T060000\nDURATION:PT30M\nRRULE:FREQ=WEEKLY;COUNT=3")
    assert spans(data) == [
        ("2026-03-16T05:00", "2026-03-16T05:30"),
        ("2026-03-23T05:00", "2026-03-23T05:30"),
        ("2026-03-30T04:00", "2026-03-30T04:30"),
    ]


def test_a_zone_that_the_file_defines_is_followed() -> None:
    event = "DTSTART;TZID=W. Europe Standard Time:20260316T060000\nDURATION:PT30M\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=2"
    assert [begin for begin, _ in spans(calendar(event, zones=OUTLOOK_ZONE))] == [
        "2026-03-16T05:00",
        "2026-03-30T04:00",
    ]


def test_times_without_a_zone_are_the_plant_s() -> None:
    data = calendar("DTSTART:20260701T060000\nDURATION:PT1H")
    assert spans(data, zone="America/New_York") == [("2026-07-01T10:00", "2026-07-01T11:00")]


def test_a_whole_day_has_23_hours_when_summer_time_begins() -> None:
    data = calendar("DTSTART;VALUE=DATE:20260329\nDTEND;VALUE=DATE:20260330")
    assert spans(data, zone="Europe/Berlin") == [("2026-03-28T23:00", "2026-03-29T22:00")]


def test_a_whole_day_without_end_is_that_day() -> None:
    assert spans(calendar("DTSTART;VALUE=DATE:20260501")) == [("2026-05-01T00:00", "2026-05-02T00:00")]


def test_exceptions_moves_cancellations_and_extra_dates_are_followed() -> None:
    series = (
        "DTSTART:20260105T080000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260109T080000Z\n"
        "EXDATE:20260106T080000Z\nRDATE:20260120T080000Z"
    )
    moved = "RECURRENCE-ID:20260107T080000Z\nDTSTART:20260107T200000Z\nDURATION:PT2H"
    cancelled = "RECURRENCE-ID:20260108T080000Z\nDTSTART:20260108T080000Z\nDURATION:PT1H\nSTATUS:CANCELLED"
    assert [begin for begin, _ in spans(calendar(series, moved, cancelled))] == [
        "2026-01-05T08:00",
        "2026-01-07T20:00",
        "2026-01-09T08:00",
        "2026-01-20T08:00",
    ]


def test_until_as_a_date_includes_that_day() -> None:
    data = calendar("DTSTART;TZID=Europe/Berlin:20260105T230000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260106")
    assert len(spans(data)) == 2


def test_only_what_ends_after_the_beginning_and_begins_before_the_end_counts() -> None:
    data = calendar("DTSTART:20251231T233000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY")
    found = spans(data, months=1)
    assert found[0] == ("2025-12-31T23:30", "2026-01-01T00:30")
    assert len(found) == 31


def test_folded_lines_alarms_and_words_of_others_are_read_past() -> None:
    event = (
        'DTSTART:20260301T080000Z\nDURATION:PT1H\nX-OWNER;CN="a:b;c":mailto\nDESCRIPTION:long\n  text\n'
        "BEGIN:VALARM\nTRIGGER:-PT15M\nDURATION:PT5M\nEND:VALARM"
    )
    assert spans(calendar(event)) == [("2026-03-01T08:00", "2026-03-01T09:00")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", CalendarProblem.NO_EVENTS),
        (b"timestamp,value\n1,2\n", CalendarProblem.MALFORMED_LINE),
        (b"SUMMARY:x\n", CalendarProblem.NOT_A_CALENDAR),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n", CalendarProblem.NOT_A_CALENDAR),
        (b"BEGIN:VCALENDAR\nEND:VEVENT\n", CalendarProblem.MALFORMED_LINE),
        (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", CalendarProblem.NO_EVENTS),
        (b"\xff\xfe", CalendarProblem.WRONG_ENCODING),
        (b" " * 1_000_001, CalendarProblem.TOO_LARGE),
        (calendar(*["DTSTART:20260301T080000Z\nDURATION:PT1H"] * 1001), CalendarProblem.TOO_LARGE),
        (calendar("DURATION:PT1H"), CalendarProblem.NO_START),
        (calendar("DTSTART:20260301T080000Z"), CalendarProblem.NO_LENGTH),
        (calendar("DTSTART:20260301T080000Z\nDTEND:20260301T070000Z"), CalendarProblem.NO_LENGTH),
        (calendar("DTSTART:20260301T080000Z\nDURATION:-PT1H"), CalendarProblem.INVALID_TIME),
        (calendar("DTSTART:20260301T080000Z\nDURATION:P"), CalendarProblem.INVALID_TIME),
        (calendar("DTSTART:20260231T080000Z\nDURATION:PT1H"), CalendarProblem.INVALID_TIME),
        (calendar("DTSTART:next monday\nDURATION:PT1H"), CalendarProblem.INVALID_TIME),
        (calendar("DTSTART:99990301T080000Z\nDURATION:PT1H"), CalendarProblem.INVALID_TIME),
        (calendar("DTSTART;TZID=Mars/Base:20260301T080000\nDURATION:PT1H"), CalendarProblem.UNKNOWN_ZONE),
        (calendar("DTSTART;TZID=../../etc/passwd:20260301T080000\nDURATION:PT1H"), CalendarProblem.UNKNOWN_ZONE),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_with_its_reason(data: bytes, reason: CalendarProblem) -> None:
    assert problem(data) is reason


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("FREQ=DAILY;INTERVAL=0", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;INTERVAL=-1", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;BYHOUR=25", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;BYDAY=XX", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;WHAT=1", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;COUNT=many", CalendarProblem.INVALID_RULE),
        ("FREQ=DAILY;UNTIL=never", CalendarProblem.INVALID_TIME),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", CalendarProblem.INVALID_RULE),
        ("FREQ=MINUTELY", CalendarProblem.UNSUPPORTED),
        ("", CalendarProblem.UNSUPPORTED),
        ("FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=0,10,20,30,40,50", CalendarProblem.TOO_MANY_WINDOWS),
        ("FREQ=DAILY\nRRULE:FREQ=WEEKLY", CalendarProblem.UNSUPPORTED),
        ("FREQ=DAILY\nRDATE;VALUE=PERIOD:20260301T080000Z/PT1H", CalendarProblem.UNSUPPORTED),
    ],
)
def test_rules_that_cannot_be_followed_are_refused_with_their_reason(rule: str, reason: CalendarProblem) -> None:
    data = calendar(f"DTSTART:19700101T080000Z\nDURATION:PT1M\nRRULE:{rule}")
    assert problem(data) is reason


def test_a_rule_of_a_zone_that_could_search_for_ages_is_refused() -> None:
    zones = OUTLOOK_ZONE.replace("FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10", "FREQ=SECONDLY;BYMONTHDAY=31;BYMONTH=2")
    event = "DTSTART;TZID=W. Europe Standard Time:20260316T060000\nDURATION:PT30M"
    assert problem(calendar(event, zones=zones)) is CalendarProblem.UNSUPPORTED


@pytest.mark.parametrize("months", [0, 37])
def test_a_horizon_that_makes_no_sense_is_refused(months: int) -> None:
    with pytest.raises(ValueError, match="months"):
        read_calendar(calendar("DTSTART:20260301T080000Z\nDURATION:PT1H"), begin=BEGIN, months=months)


@given(st.lists(st.sampled_from(
    ["BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "TZID:A",
     "DTSTART;TZID=A:20260301T080000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2", " folded", "", "X", "TZOFFSETTO:1",
     "BEGIN:STANDARD", "END:STANDARD", "EXDATE:", "DTEND:20260301T080000Z", "RECURRENCE-ID:20260301T080000Z"]
), max_size=14))  # fmt: skip
def test_any_shuffle_of_lines_is_read_or_refused(lines: list[str]) -> None:
    try:
        windows = read_calendar("\r\n".join(lines).encode(), begin=BEGIN)
    except InvalidCalendar as refused:
        assert refused.problem in CalendarProblem
    else:
        assert all(window.begins_at < window.ends_at for window in windows)
