"""Twofold novelty passes the battery, and does what its own idea promises."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from plantwatch.detectors import checks
from plantwatch.detectors.twofold import TwofoldNovelty, TwofoldParameters


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_passes_the_battery(check: Callable[[checks.MakeDetector], None]) -> None:
    check(TwofoldNovelty)


def grown_up(seed: int = 1, readings: int = 3000) -> TwofoldNovelty:
    detector = TwofoldNovelty()
    chance = random.Random(seed)
    for turn in range(readings):
        detector.learn_one(10.0 * math.sin(turn / 20.0) + chance.gauss(0.0, 0.3))
    return detector


def test_a_weak_shift_that_no_single_reading_shows_is_seen_by_the_short_mean() -> None:
    detector = TwofoldNovelty()
    chance = random.Random(2)
    for _ in range(3000):
        detector.learn_one(chance.gauss(10.0, 1.0))
    surprises = [detector.step(chance.gauss(12.2, 0.2)) for _ in range(80)]
    assert max(surprises[:3]) < 1.0, "each reading is within what has been met"
    assert max(surprises) > 2.2


def test_a_signal_that_stands_still_within_its_range_is_seen_by_the_activity() -> None:
    detector = grown_up()
    assert max(detector.step(5.0) for _ in range(400)) > 2.2


def test_a_value_between_two_operating_points_is_strange() -> None:
    detector = TwofoldNovelty()
    chance = random.Random(3)
    for turn in range(4000):
        detector.learn_one(chance.gauss(10.0 if turn // 200 % 2 else 50.0, 0.5))
    assert detector.score_one(30.0) > 2.2


def test_new_in_one_sense_only_counts_little() -> None:
    """Ten deviations from the baseline either way: up there it has been."""
    detector = TwofoldNovelty()
    chance = random.Random(4)
    for turn in range(6000):
        level = max(10.0, 20.0 - turn / 200.0)
        detector.learn_one(round(chance.gauss(level, 1.0), 1))
    assert detector.score_one(20.0) == 0.0
    assert detector.score_one(0.0) > 2.2


def test_further_away_is_never_less_strange() -> None:
    detector = grown_up()
    surprises = [detector.score_one(12.0 + 0.5 * step) for step in range(100)]
    assert surprises == sorted(surprises)


def test_unrest_is_the_distance_from_the_short_mean_in_usual_changes() -> None:
    detector = TwofoldNovelty()
    assert detector.unrest(5.0) == 0.0
    for turn in range(4000):
        detector.learn_one(float(turn % 2))
    assert detector.unrest(0.5) < 0.1
    assert detector.unrest(3.5) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("wrong", [{"remembered": 0}, {"quantile": 1.0}, {"tail_memory": -3}])
def test_senseless_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TwofoldParameters(**wrong)  # type: ignore[arg-type]
