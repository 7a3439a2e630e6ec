"""A leap out of everything met: what is one, what is none, when it ends, and what it holds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from plantwatch.detectors.joint import Joint
from plantwatch.detectors.joint_level import Array
from plantwatch.detectors.leap import Leap, LeapParameters
from plantwatch.detectors.series import Verdict

START_ROWS = 150
FAULT = slice(800, 830)


def swinging(seed: int, rows: int = 1000, step: float = 0.0, first: int = 800, last: int = 830) -> Array:
    """Two signals that swing slowly, ten times as far as their noise, and one of noise alone; a step in rows."""
    chance = np.random.default_rng(seed)
    turn = np.arange(rows)
    shift = np.where((turn >= first) & (turn < last), step, 0.0)
    a = 10.0 + np.sin(turn / 20) + chance.normal(0.0, 0.1, rows) + shift
    return np.column_stack((a, 2 * a + chance.normal(0.0, 0.1, rows), chance.normal(0.0, 1.0, rows)))


def alarms(rows: Array, parameters: LeapParameters | None = None) -> list[bool]:
    """Of the rows after the start-up, and False before."""
    leap = Leap(rows[:START_ROWS], parameters)
    found = [False] * START_ROWS
    for row in rows[START_ROWS:]:
        leap.step(row)
        found.append(leap.alarm)
    return found


def heard_by_joint(rows: Array) -> list[Verdict]:
    detector = Joint(rows.shape[1])
    return [detector.step(row) for row in rows.tolist()]


@pytest.mark.parametrize("step", [5.0, 10.0, 50.0, -10.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_joint_finds_a_step_of_signals_that_swing(seed: int, step: float) -> None:
    heard = heard_by_joint(swinging(seed, step=step))
    assert not any(verdict.alarm for verdict in heard[: FAULT.start])
    assert sum(verdict.alarm for verdict in heard[FAULT]) >= 27
    assert min(verdict.score for verdict in heard[FAULT][3:]) > 0.99
    # The joint evidence's short means take two or three times 20 rows to forget the way back.
    assert not any(verdict.alarm for verdict in heard[FAULT.stop + 60 :])


def test_joint_names_the_signals_that_leapt() -> None:
    detector = Joint(3)
    for row in swinging(1, step=10.0)[:820].tolist():
        detector.step(row)
    shares = detector.contributions()
    assert shares[2] < 10.0 < min(shares[:2])


def test_a_leap_is_found_at_its_third_row_and_ends_at_the_third_row_back() -> None:
    found = alarms(swinging(3, step=10.0))
    assert [turn for turn, alarm in enumerate(found) if alarm] == list(range(802, 832))


def test_unit_and_offset_do_not_matter() -> None:
    rows = swinging(4, step=5.0)
    assert alarms(rows) == alarms(rows * 8.0 - 300.0)
    assert any(alarms(rows))


@pytest.mark.parametrize("rows_out", [1, 2])
def test_one_spike_or_two_are_no_leap_and_hide_none(rows_out: int) -> None:
    rows = swinging(5, step=10.0)
    for first in (300, 400, 500):
        rows[first : first + rows_out, 0] += 1000.0
    found = alarms(rows)
    assert not any(found[:800])
    assert sum(found[FAULT]) >= 27


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_a_drift_is_no_leap_however_far_it_goes(rate: float) -> None:
    """0.1 is the noise of a row: in 4,000 rows it goes 200 times as far as the signal swings."""
    rows = swinging(6, 4000)
    rows += rate * np.arange(4000)[:, None]
    assert not any(alarms(rows))


def _normal(chance: random.Random) -> float:
    return chance.gauss(0.0, 1.0)


def _heavy(chance: random.Random) -> float:
    """Student's t of two degrees of freedom: it has no variance."""
    return chance.gauss(0.0, 1.0) / math.sqrt(chance.expovariate(1.0))


@pytest.mark.parametrize("draw", [_normal, _heavy])
@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_noise_never_leaps(draw: Callable[[random.Random], float], memory: float) -> None:
    chance = random.Random(7)
    rows = np.zeros((10_000, 4))
    for before, row in pairwise(rows):
        row[:] = memory * before + [draw(chance) for _ in range(4)]
    # With memory an outlier of a heavy tail stays for rows.
    most = 0 if draw is _normal or not memory else len(rows) // 100
    assert sum(alarms(rows)) <= most


def test_what_stays_is_the_new_normal_and_the_way_back_is_no_alarm() -> None:
    rows = swinging(8, 1500, step=10.0, first=400, last=1000)
    found = alarms(rows, LeapParameters(stay_rows=200))
    assert [turn for turn, alarm in enumerate(found) if alarm] == list(range(402, 602))


def test_a_fault_does_not_widen_the_range_that_the_next_is_measured_by() -> None:
    rows = swinging(9, 2000, step=10.0)
    rows[1200:1230] += swinging(9, 30, step=10.0, first=0) - swinging(9, 30)
    found = alarms(rows)
    assert all(found[802:830])
    assert all(found[1202:1230])


def test_a_constant_signal_leaps_with_its_first_lasting_change() -> None:
    rows = np.column_stack((np.full(400, 7.0), swinging(10, 400)[:, 0]))
    assert not any(alarms(rows))
    rows[300:, 0] = 8.0
    assert alarms(rows)[302]


def test_the_future_changes_nothing() -> None:
    rows = swinging(11, step=10.0)
    assert alarms(rows)[:815] == alarms(rows[:815])


def test_what_is_held_does_not_grow() -> None:
    def held(rows: Array) -> list[int]:
        leap = Leap(rows[:START_ROWS])
        for row in rows[START_ROWS:]:
            leap.step(row)
        return [np.size(np.array(value)) for name, value in sorted(vars(leap).items()) if name != "_p"]

    assert held(swinging(12, 200)) == held(swinging(12, 5000))


def test_coming_back_to_another_place_ends_the_alarm() -> None:
    rows = swinging(13, 1500, step=50.0, first=400, last=500)
    rows[500:, :2] += 4.0
    found = alarms(rows)
    assert all(found[402:500])
    assert not any(found[505:])
