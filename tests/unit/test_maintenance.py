"""Maintenance windows: which device, which time, and the file that carries them to the runtimes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.maintenance import (
    WINDOWS_MAX,
    Maintenance,
    MaintenanceWindow,
    Schedule,
    windows_from,
    windows_text,
)
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import EpochMs

START: EpochMs = 1_767_225_600_000
WORK = MaintenanceWindow(START, START + 100, "filter", "pump-*")


def test_a_window_holds_from_its_beginning_to_before_its_end() -> None:
    schedule = Schedule([WORK])
    assert [schedule.at(at) for at in (START - 1, START, START + 99, START + 100)] == [None, WORK, WORK, None]


def test_a_device_has_the_windows_that_name_it() -> None:
    maintenance = Maintenance([WORK, WORK._replace(devices="fan-1")])
    assert maintenance.of("fan-2") is None
    own = maintenance.of("pump-7")
    assert own is not None
    assert own.at(START) == WORK


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), max_size=20),
    st.integers(-5, 140),
    st.integers(0, 40),
)
def test_look_ups_agree_with_the_plain_list(spans: list[tuple[int, int]], at: int, length: int) -> None:
    windows = [MaintenanceWindow(begin, begin + lasts) for begin, lasts in spans]
    schedule = Schedule(windows)
    inside = any(window.begins_at <= at < window.ends_at for window in windows)
    assert (schedule.at(at) is not None) == inside
    touched = any(window.begins_at <= at + length and at < window.ends_at for window in windows)
    assert schedule.touches(at, at + length) == touched


def test_the_file_gives_back_the_windows() -> None:
    assert windows_from(windows_text([WORK, WORK._replace(name="Ölwechsel")])).windows == (
        WORK,
        WORK._replace(name="Ölwechsel"),
    )
    assert windows_from(windows_text([])).windows == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no JSON", "no JSON"),
        ("{}", "a list is wanted"),
        ("[1]", "window 0: an object"),
        ('[{"begins_at": 1767225600000}]', "window 0: an object"),
        ('[{"begins_at": 1767225600000, "ends_at": 1767225600001, "who": "me"}]', "window 0: an object"),
        ('[{"begins_at": "now", "ends_at": 1767225600001}]', "no"),
        ('[{"begins_at": 1767225600001, "ends_at": 1767225600001}]', "begin before it ends"),
        ('[{"begins_at": 1, "ends_at": 2}]', "between 1990 and 2100"),
        ('[{"begins_at": 1767225600000, "ends_at": 1767225600001, "devices": 7}]', "no text"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_window_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidSettings, match=problem):
        windows_from(text)


def test_too_many_windows_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="at most"):
        Maintenance([WORK] * (WINDOWS_MAX + 1))


def test_every_wrong_window_is_named() -> None:
    wrong = {"begins_at": 1, "ends_at": 2}
    with pytest.raises(InvalidSettings) as refused:
        windows_from(json.dumps([wrong, wrong]))
    assert len(refused.value.problems) == 2
