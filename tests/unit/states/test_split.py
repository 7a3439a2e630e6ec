"""Two levels found in a signal, and none where there is only one."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.states.rules import Level
from plantwatch.states.split import SAMPLE_MAX, OnOffSplit, find_gap


def taught(values: list[float]) -> OnOffSplit:
    split = OnOffSplit()
    for value in values:
        split.learn(value)
        split.tell(value)
    return split


def on_and_off(seed: int, cycles: int = 8, readings: int = 100) -> list[float]:
    chance = random.Random(seed)
    return [
        max(0.0, chance.gauss(10.0 if cycle % 2 else 0.2, 1.0 if cycle % 2 else 0.05))
        for cycle in range(cycles)
        for _ in range(readings)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_on_and_off_are_two_levels(seed: int) -> None:
    split = taught(on_and_off(seed))
    assert [split.side(value) for value in (0.0, 0.4, 8.0, 12.0)] == [Level.LOW, Level.LOW, Level.HIGH, Level.HIGH]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", ["gaussian", "uniform", "exponential", "sine", "wander"])
def test_one_level_is_never_cut_in_two(shape: str, seed: int) -> None:
    chance = random.Random(seed)
    level, values = 0.0, []
    for turn in range(3000):
        level = 0.99 * level + chance.gauss(0.0, 1.0)
        values.append(
            {
                "gaussian": chance.gauss(5.0, 1.0),
                "uniform": chance.uniform(0.0, 1.0),
                "exponential": chance.expovariate(1.0),
                "sine": math.sin(turn / 30.0) + chance.gauss(0.0, 0.1),
                "wander": level,
            }[shape]
        )
    assert taught(values).level is None


def test_a_constant_signal_and_a_rounded_one_have_no_levels() -> None:
    assert taught([5.0] * 1000).level is None
    assert taught([round(random.Random(turn).gauss(20.0, 2.0)) * 1.0 for turn in range(1000)]).level is None


def test_a_rare_excursion_is_no_level() -> None:
    assert find_gap(sorted([10.0 + turn / 1000 for turn in range(97)] + [500.0, 501.0, 502.0])) is None


def test_a_signal_that_is_exactly_on_or_off_has_two_levels() -> None:
    split = taught([float(turn // 50 % 2) for turn in range(400)])
    assert (split.side(0.0), split.side(1.0)) == (Level.LOW, Level.HIGH)


def test_in_the_middle_of_the_gap_a_value_stays_where_the_last_was() -> None:
    split = taught(on_and_off(1))
    split.tell(10.0)
    assert split.side(4.0) is Level.HIGH
    split.tell(0.2)
    assert split.side(4.0) is Level.LOW


def test_levels_are_found_however_far_from_zero_and_however_large() -> None:
    for scale, offset in ((1e-6, 0.0), (1e6, -1e9), (1.0, 1e9), (1e300, 0.0)):
        split = taught([scale * value + offset for value in on_and_off(2)])
        assert split.side(scale * 10.0 + offset) is Level.HIGH


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=700), st.integers(0, 700))
def test_any_values_are_taken_in_bounded_memory_and_a_saved_split_goes_on(values: list[float], cut: int) -> None:
    split, resumed = OnOffSplit(), OnOffSplit()
    for index, value in enumerate(values):
        if index == cut:
            resumed.restore(json.loads(json.dumps(split.state())))
        split.learn(value)
        split.tell(value)
        if index >= cut:
            resumed.learn(value)
            resumed.tell(value)
            assert resumed.state() == split.state()
    assert len(split.state()[0]) < SAMPLE_MAX


@pytest.mark.parametrize(
    "state",
    [
        [],
        [[1.0] * SAMPLE_MAX, 1, 5, 64, None, None, None],
        [[], 0, 0, 64, None, None, None],
        [[], 1, 9, 9, 1, 2, "low"],
    ],
)
def test_a_state_of_something_else_is_refused(state: list[object]) -> None:
    with pytest.raises(ValueError):
        OnOffSplit().restore(state)
