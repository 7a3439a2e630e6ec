"""One signal scored: calibrated over ordinary running, one alarm for one fault, the same after a restore."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator

import pytest

from plantwatch.detectors import checks
from plantwatch.detectors.calibration import Calibration
from plantwatch.detectors.series import Verdict
from plantwatch.detectors.twofold_series import FIRST_SIGN_SCORE, TwofoldSeries

READINGS = 12_000
YOUNG = 4000
_KINDS: dict[str, Callable[[random.Random, int], float]] = {
    "white noise": lambda chance, _turn: chance.gauss(20.0, 3.0),
    "a season": lambda chance, turn: 10.0 * math.sin(turn * math.tau / 288) + chance.gauss(0.0, 1.0),
    "heavy tails": lambda chance, _turn: chance.gauss(0.0, 1.0) / math.sqrt(chance.gammavariate(1.5, 2 / 3)),
    "counts": lambda chance, _turn: float(sum(chance.random() < 0.03 for _ in range(100))),
}


def verdicts(values: Iterator[float], detector: TwofoldSeries | None = None) -> list[Verdict]:
    detector = detector or TwofoldSeries()
    return [detector.step((value,)) for value in values]


def ordinary(kind: str, seed: int) -> Iterator[float]:
    chance = random.Random(seed)
    return (_KINDS[kind](chance, turn) for turn in range(READINGS))


def wandering(seed: int) -> Iterator[float]:
    """An AR(1) with a memory of 20 readings."""
    chance = random.Random(seed)
    value = 0.0
    for _ in range(READINGS):
        value = 0.95 * value + chance.gauss(0.0, 1.0)
        yield value


@pytest.mark.parametrize("kind", [*_KINDS, "a wandering level"])
def test_one_ordinary_reading_in_a_hundred_scores_above_0_99(kind: str) -> None:
    made = verdicts(wandering(7) if kind == "a wandering level" else ordinary(kind, 7))
    share = sum(verdict.score >= 0.99 for verdict in made[YOUNG:]) / (READINGS - YOUNG)
    # Eight thousand readings know a share of 1 % to within a quarter; equal readings, as of counts, cost some more.
    assert 0.004 <= share <= 0.015
    # At first it is twice as ready, then, knowing its youth only, three times as slow.
    young_share = sum(verdict.score >= 0.99 for verdict in made[:YOUNG]) / YOUNG
    assert young_share <= 0.015


def test_first_signs_and_only_those_reach_the_score_that_is_kept_for_them() -> None:
    detector = TwofoldSeries()
    made = verdicts(ordinary("a season", 8), detector)
    chance = random.Random(9)
    fault = [detector.step((30.0 + chance.gauss(0.0, 1.0),)) for _ in range(200)]
    assert fault[0].score >= FIRST_SIGN_SCORE
    assert max(verdict.score for verdict in fault[1:]) < FIRST_SIGN_SCORE, "what follows belongs to it"
    assert sum(verdict.score >= FIRST_SIGN_SCORE for verdict in made[1000:]) <= 0.002 * len(made)


def test_one_fault_is_one_stretch_of_alarm() -> None:
    detector = TwofoldSeries()
    verdicts(ordinary("a season", 8), detector)
    chance = random.Random(9)
    alarms = [detector.step((30.0 + chance.gauss(0.0, 1.0),)).alarm for _ in range(200)]
    starts = sum(now and not before for before, now in zip([False, *alarms], alarms, strict=False))
    assert any(alarms[:5])
    assert starts == 1


@pytest.mark.parametrize("kind", [*_KINDS, "a wandering level"])
def test_ordinary_running_raises_few_alarms(kind: str) -> None:
    alarms = [verdict.alarm for verdict in verdicts(wandering(7) if kind == "a wandering level" else ordinary(kind, 7))]
    starts = sum(now and not before for before, now in zip([False, *alarms], alarms, strict=False))
    assert starts <= 0.5e-3 * READINGS


def test_a_rhythm_twice_as_fast_raises_an_alarm() -> None:
    detector = TwofoldSeries()
    chance = random.Random(11)

    def alarms(first: int, last: int, period: int) -> list[bool]:
        turns = range(first, last)
        return [detector.step((math.sin(turn * math.tau / period) + chance.gauss(0.0, 0.05),)).alarm for turn in turns]

    assert not any(alarms(0, 4000, 50)[2000:])
    assert any(alarms(4000, 4200, 25))


def test_rows_known_to_be_normal_raise_no_alarm_and_are_learnt() -> None:
    detector = TwofoldSeries(train_rows=2000)
    values = list(checks.signal(3))
    assert not any(detector.step((value,)).alarm for value in values[:2000])
    assert any(detector.step((value,)).alarm for value in values[2000:])


def test_a_missing_value_changes_nothing_but_the_training_left() -> None:
    plain, gappy = TwofoldSeries(), TwofoldSeries()
    for value in checks.signal(4):
        assert gappy.step((None,)).score == 0.0
        assert gappy.step((value,)) == plain.step((value,))


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_changes_nothing(absurd: float) -> None:
    detector = TwofoldSeries()
    for value in list(checks.signal(5))[:500]:
        detector.step((value,))
    before = detector.state()
    with pytest.raises(ValueError, match="finite"):
        detector.step((absurd,))
    assert detector.state() == before


def test_a_constant_signal_scores_nothing() -> None:
    detector = TwofoldSeries()
    assert {detector.step((7.25,)) for _ in range(3000)} == {Verdict(0.0, alarm=False)}


def test_goes_on_after_a_restore_to_the_last_bit() -> None:
    values = list(checks.signal(6))
    for age in (0, 60, 3000):
        original, restored = TwofoldSeries(train_rows=50), TwofoldSeries()
        for value in values[:age]:
            original.step((value,))
        restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
        assert verdicts(iter(values[age:]), original) == verdicts(iter(values[age:]), restored)
        assert original.state() == restored.state()


def test_its_state_is_bounded() -> None:
    detector = TwofoldSeries()
    verdicts(checks.signal(9, 20_000), detector)
    assert len(json.dumps(detector.state())) <= 16_384


@pytest.mark.parametrize("broken", [{}, {"kind": "unknown/9"}, {"kind": TwofoldSeries.KIND}])
def test_a_state_of_something_else_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="state"):
        TwofoldSeries().restore(broken)


def test_many_equal_readings_are_never_rare() -> None:
    calibration = Calibration()
    assert max(calibration.step(0.0, float(turn % 3)) for turn in range(3000)) < 1.5


def test_a_calibration_keeps_its_shares_when_its_weights_are_brought_down() -> None:
    """Weights grow by 1 in 1500 and come down at 1e9, after about 31,000 readings."""
    calibration = Calibration()
    chance = random.Random(10)
    late = [calibration.step(max(0.0, chance.gauss(0.0, 1.0)), 1.0) for _ in range(40_000)][29_000:]
    assert 0.007 <= sum(calibrated >= 2.0 for calibrated in late) / len(late) <= 0.013


def test_a_calibration_outlives_its_prior() -> None:
    """After some million readings it has been brought down until it is 0; what was never met is as rare as can be."""
    calibration = Calibration()
    calibration.step(0.0, 1.0)
    calibration.restore({**calibration.state(), "prior": 0.0})
    assert calibration.step(11.9, 1.0) == 12.0
