"""Novelty passes the battery, and does what its own idea promises."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from plantwatch.detectors import checks
from plantwatch.detectors.base import SURPRISE_MAX, score_of
from plantwatch.detectors.novelty import CELLS, Novelty


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_passes_the_battery(check: Callable[[checks.MakeDetector], None]) -> None:
    check(Novelty)


def grown_up(seed: int = 1, readings: int = 3000) -> Novelty:
    detector = Novelty()
    chance = random.Random(seed)
    for _ in range(readings):
        detector.learn_one(chance.gauss(10.0, 1.0))
    return detector


def test_a_weak_shift_that_no_single_reading_shows_is_seen_by_the_short_mean() -> None:
    detector = grown_up()
    chance = random.Random(2)
    surprises = [detector.step(chance.gauss(12.2, 0.2)) for _ in range(80)]
    assert max(surprises[:3]) < 1.0, "each reading is within what has been met"
    assert min(surprises[60:]) > 2.0


def test_a_value_between_two_operating_points_is_strange() -> None:
    detector = Novelty()
    chance = random.Random(3)
    for turn in range(4000):
        detector.learn_one(chance.gauss(10.0 if turn // 200 % 2 else 50.0, 0.5))
    assert detector.score_one(10.0) == 0.0
    assert detector.score_one(50.0) == 0.0
    assert detector.score_one(30.0) > 1.0


def test_a_drift_does_not_teach_itself_away() -> None:
    detector = grown_up()
    chance = random.Random(4)
    surprises = [detector.step(chance.gauss(10.0 + 6.0 * turn / 200, 1.0)) for turn in range(200)]
    assert min(surprises[-20:]) > 2.0


def test_further_away_is_never_less_strange() -> None:
    detector = grown_up()
    surprises = [detector.score_one(14.0 + 0.5 * step) for step in range(200)]
    assert surprises == sorted(surprises)
    assert surprises[-1] == SURPRISE_MAX


def test_the_grid_widens_for_a_machine_that_starts_and_keeps_what_it_has_met() -> None:
    detector = Novelty()
    chance = random.Random(5)
    for _ in range(100):
        detector.learn_one(chance.gauss(0.0, 0.001))
    for _ in range(4000):
        detector.learn_one(chance.gauss(500.0, 20.0))
    band = detector.expected()
    assert band is not None
    assert band[0] == pytest.approx(0.0, abs=8 * 500 / CELLS * 4)
    assert detector.score_one(500.0) == 0.0
    assert detector.score_one(900.0) > 3.0


def test_a_score_is_one_minus_the_tail_probability() -> None:
    assert [score_of(surprise) for surprise in (0.0, 1.0, 3.0, SURPRISE_MAX)] == [0.0, 0.9, 0.999, 1.0]
