"""One event has one first sign; a habit of events asks for more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plantwatch.detectors.holdoff import BALANCED, NO_EVENT, HoldOffParameters, follow


def first_signs(surprises: Sequence[float], parameters: HoldOffParameters = BALANCED) -> list[int]:
    state, found = NO_EVENT, []
    for reading, surprise in enumerate(surprises):
        state = follow(parameters, state, surprise, reading)
        if state.begins:
            found.append(reading)
    return found


def quiet(readings: int) -> list[float]:
    return [0.0] * readings


def test_a_surprise_below_the_threshold_begins_nothing() -> None:
    assert first_signs([2.19] * 3000) == []


def test_an_event_that_flickers_and_lasts_begins_once() -> None:
    assert first_signs(quiet(5000) + [3.0, 0.0, 2.5, 0.0, 4.0] * 300) == [5000]


def test_after_the_hold_off_it_is_another_event() -> None:
    assert first_signs([*quiet(5000), 3.0, *quiet(200), 3.0]) == [5000, 5201]
    assert first_signs([*quiet(5000), 3.0, *quiet(199), 3.0]) == [5000]


def test_a_young_signal_holds_for_a_twentieth_of_its_age() -> None:
    assert first_signs([*quiet(400), 3.0, *quiet(30), 3.0]) == [400, 431]


def test_what_is_a_thousand_times_rarer_begins_at_once() -> None:
    assert first_signs([*quiet(5000), 3.0, 5.9]) == [5000]
    assert first_signs([*quiet(5000), 3.0, 6.0]) == [5000, 5001]


def test_a_signal_with_many_events_must_show_more() -> None:
    every_250 = [2.3, *quiet(249)] * 40
    assert 2 <= len(first_signs(every_250)) < 20
    assert len(first_signs([4.0 if surprise else 0.0 for surprise in every_250])) >= 38


def test_senseless_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        HoldOffParameters(threshold=0.0)
