"""The phase portrait sees what no single value shows, keeps its bounds, and goes on after a restore."""

from __future__ import annotations

import json
import math
import random

import pytest

from plantwatch.detectors import checks
from plantwatch.detectors.portrait import DELAY, LAG, PAIRS, Portrait


def cycle(turn: int, chance: random.Random, period: int = 50) -> float:
    return math.sin(turn * math.tau / period) + chance.gauss(0.0, 0.05)


def grown_up(chance: random.Random, readings: int = 4000) -> Portrait:
    portrait = Portrait()
    for turn in range(readings):
        portrait.step(cycle(turn, chance))
    return portrait


def test_a_known_value_at_the_wrong_time_is_strange() -> None:
    """At the top of its cycle the signal falls to the middle, where it is twice in each."""
    chance = random.Random(1)
    portrait = grown_up(chance, 4012)
    surprises = [portrait.step(0.0) for _ in range(5)]
    assert max(surprises) > 3.0


def test_a_rhythm_twice_as_fast_is_strange_and_the_usual_one_is_not() -> None:
    chance = random.Random(2)
    portrait = grown_up(chance)
    usual = [portrait.step(cycle(turn, chance)) for turn in range(4000, 5000)]
    fast = [portrait.step(cycle(turn, chance, period=25)) for turn in range(200)]
    assert sum(surprise > 2.0 for surprise in usual) <= 20
    assert sum(surprise > 2.0 for surprise in fast) > 20


def test_nothing_is_strange_before_pairs_have_been_learnt_for_a_while() -> None:
    portrait = Portrait()
    made = [portrait.step(value) for value in checks.signal(3)]
    assert max(made[: 100 + DELAY + 1]) == 0.0
    assert max(made) > 2.0
    assert all(0.0 <= surprise <= 12.0 for surprise in made)


def test_a_constant_signal_is_never_strange_and_its_first_change_is_survived() -> None:
    portrait = Portrait()
    assert {portrait.step(0.0) for _ in range(1000)} == {0.0}
    assert 0.0 <= portrait.step(1.0) <= 12.0
    assert all(0.0 <= portrait.step(sign * 1e30) <= 12.0 for sign in (1.0, -1.0) * 100)


def test_the_search_finds_the_nearest_pair() -> None:
    portrait = Portrait()
    chance = random.Random(4)
    path = [chance.gauss(0.0, 1.0) for _ in range(3000)]
    for position in path:
        portrait.step(position)
    state = portrait.state()
    twin = Portrait()
    twin.restore(state)
    pairs = list(zip(twin._values, twin._earlier, strict=True))
    assert PAIRS // 4 < len(pairs) < PAIRS
    for _ in range(200):
        value, earlier = chance.gauss(0.0, 2.0), chance.gauss(0.0, 2.0)
        nearest = min((value - x) ** 2 + (earlier - y) ** 2 for x, y in pairs)
        assert portrait._nearest(value, earlier, 0.0) == pytest.approx(nearest)


@pytest.mark.parametrize("age", [0, 1, LAG, DELAY, 200, 3000])
def test_goes_on_after_a_restore_to_the_last_bit(age: int) -> None:
    original, restored = Portrait(), Portrait()
    values = list(checks.signal(5))
    for value in values[:age]:
        original.step(value)
    restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
    assert [original.step(value) for value in values[age:]] == [restored.step(value) for value in values[age:]]
    assert original.state() == restored.state()


def test_its_state_is_bounded() -> None:
    portrait = Portrait()
    for value in checks.signal(6, 20_000):
        portrait.step(value)
    assert len(json.dumps(portrait.state())) <= 1_900


def test_a_state_with_too_many_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        Portrait().restore({**Portrait().state(), "count": PAIRS})
