"""Each sensor check finds its fault, and only that."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable

import pytest

from plantwatch.incident import Fault
from plantwatch.quality import PhysicalRange, QualityLimits, SensorQuality
from plantwatch.telemetry import EpochMs

START: EpochMs = 1_700_000_000_000
SECOND: EpochMs = 1000


def sensor(limits: QualityLimits | None = None, signal: str = "temperature") -> SensorQuality:
    return SensorQuality(signal, limits or QualityLimits())


def feed(quality: SensorQuality, values: Iterable[float], start: EpochMs = START, step: EpochMs = SECOND) -> list[bool]:
    return [quality.check(value, start + turn * step) for turn, value in enumerate(values)]


def noise(readings: int, seed: int = 1, decimals: int = 3) -> list[float]:
    chance = random.Random(seed)
    return [round(chance.gauss(60.0, 1.0), decimals) for _ in range(readings)]


def test_ordinary_noise_passes() -> None:
    quality = sensor()
    assert all(feed(quality, noise(2000)))
    assert quality.fault is None


def test_a_varying_signal_that_repeats_one_value_is_stuck_after_25_readings() -> None:
    quality = sensor()
    feed(quality, noise(500))
    faults = []
    for turn in range(40):
        quality.check(61.25, START + (500 + turn) * SECOND)
        faults.append(quality.fault)
    assert faults.index(Fault.STUCK) == QualityLimits().stuck_readings
    assert set(faults[26:]) == {Fault.STUCK}


def test_a_repetition_is_withheld_from_the_detector_before_it_is_called_stuck() -> None:
    quality = sensor()
    feed(quality, noise(500))
    admitted = feed(quality, [61.25] * 20, START + 500 * SECOND)
    assert admitted == [True, True, True] + [False] * 17
    assert quality.fault is None


def test_a_stuck_sensor_that_moves_again_is_well() -> None:
    quality = sensor()
    feed(quality, noise(500) + [61.25] * 60)
    assert quality.fault is Fault.STUCK
    assert quality.check(60.9, START + 560 * SECOND)
    assert quality.fault is None


def test_a_constant_signal_is_never_stuck() -> None:
    quality = sensor()
    assert all(feed(quality, [4.0] * 20_000))


def test_a_signal_that_changes_in_slow_steps_is_never_stuck() -> None:
    chance = random.Random(2)
    level, values = 20.0, []
    for _ in range(20_000):
        level += 0.5 * chance.choice((-1, 1)) if chance.random() < 0.02 else 0.0
        values.append(level)
    quality = sensor()
    for turn, value in enumerate(values):
        quality.check(value, START + turn * SECOND)
        assert quality.fault is None


def test_a_rounded_signal_is_stuck_only_after_far_longer_than_its_usual_repetitions() -> None:
    quality = sensor()
    values = noise(3000, decimals=0)
    feed(quality, values)
    assert quality.fault is None
    feed(quality, [60.0] * 400, START + 3000 * SECOND)
    assert quality.fault is Fault.STUCK


def test_the_repetition_of_a_value_that_is_news_is_the_process_s_own() -> None:
    quality = sensor()
    feed(quality, noise(500))
    quality.check(0.0, START + 500 * SECOND)
    quality.is_news()
    assert all(feed(quality, [0.0] * 200, START + 501 * SECOND))
    assert quality.fault is None


@pytest.mark.parametrize("value", [-40.5, 150.1, 1e300, -1e300])
def test_a_value_beyond_the_physical_range_is_refused(value: float) -> None:
    quality = sensor(QualityLimits(ranges=(PhysicalRange("temp*", -40.0, 150.0),)))
    assert not quality.check(value, START)
    assert quality.fault is Fault.OUT_OF_RANGE
    assert quality.expected((50.0, 70.0)) == (-40.0, 150.0)
    assert quality.check(20.0, START + SECOND)
    assert quality.fault is None


def test_a_range_holds_only_for_the_signals_that_it_names() -> None:
    limits = QualityLimits(ranges=(PhysicalRange("temp*", -40.0, 150.0), PhysicalRange("*", low=0.0)))
    assert limits.range_of("temperature_2") == (-40.0, 150.0)
    assert limits.range_of("pressure") == (0.0, math.inf)
    assert QualityLimits().range_of("pressure") == (-math.inf, math.inf)


def test_a_silence_far_longer_than_usual_is_found_by_the_reading_that_ends_it() -> None:
    quality = sensor()
    feed(quality, noise(100))
    assert not quality.check(60.1, START + 100 * SECOND + 61_000)
    assert quality.fault is Fault.GAP
    assert quality.check(60.2, START + 101 * SECOND + 61_000)
    assert quality.fault is None


def test_a_slow_sensor_s_own_interval_is_no_gap() -> None:
    quality = sensor()
    assert all(feed(quality, noise(200), step=3600 * SECOND))


def test_a_pause_that_comes_every_night_is_a_gap_once() -> None:
    quality = sensor()
    faults = []
    for night in range(6):
        start = START + night * 24 * 3600 * SECOND
        for turn, value in enumerate(noise(200, seed=night)):
            quality.check(value, start + turn * SECOND)
            faults.append(quality.fault)
    assert faults.count(Fault.GAP) == 1


def test_the_first_reading_ends_no_gap() -> None:
    assert sensor().check(1.0, START)


def test_a_sensor_without_a_value_several_times_in_a_row_is_faulty() -> None:
    quality = sensor()
    feed(quality, noise(50))
    faults = []
    for turn in range(6):
        quality.check_missing(START + (50 + turn) * SECOND)
        faults.append(quality.fault)
    assert faults == [None] * 4 + [Fault.NOT_FINITE] * 2
    assert quality.check(60.0, START + 56 * SECOND)
    assert quality.fault is None


def test_missing_values_now_and_then_are_no_fault() -> None:
    quality = sensor()
    for turn, value in enumerate(noise(500)):
        if turn % 3:
            quality.check_missing(START + turn * SECOND)
        else:
            quality.check(value, START + turn * SECOND)
        assert quality.fault is None


def test_goes_on_after_a_restore() -> None:
    values = noise(300) + [61.25] * 60 + noise(50, seed=3)
    for age in (0, 1, 50, 310, 340, 365):
        original, restored = sensor(), sensor()
        feed(original, values[:age])
        restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
        for turn in range(age, len(values)):
            at = START + turn * SECOND
            assert original.check(values[turn], at) == restored.check(values[turn], at)
            assert original.fault == restored.fault
        assert original.state() == restored.state()


def test_a_state_of_version_0_1_is_still_good() -> None:
    quality, restored = sensor(), sensor()
    feed(quality, noise(100))
    restored.restore(quality.state()[:12])
    assert restored.state() == quality.state()


@pytest.mark.parametrize("state", [[], [None] * 3, ["burnt"] + [0] * 11])
def test_a_state_of_something_else_is_refused(state: list[object]) -> None:
    with pytest.raises(ValueError):
        sensor().restore(state)


@pytest.mark.parametrize("limits", [{"stuck_factor": 0}, {"gap_s": -1.0}, {"missing_in_a_row": 0}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        QualityLimits(**limits)  # type: ignore[arg-type]


def test_a_range_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="is not below"):
        PhysicalRange("*", 5.0, 5.0)
