"""Another sampling rate is neither an anomaly nor a storm of gaps, and what is wrong is found at the new rate too.

Not so for a machine that was learnt ten times slower than it is sampled now: a mean over 20 readings then follows
swings that it had smoothed away before, and those are new to it once (a prior's short means are over time instead).
"""

from __future__ import annotations

import math
import random

import pytest

from plantwatch.incident import Fault, Kind, Phase, Transition
from plantwatch.machine import Machines
from plantwatch.telemetry import EpochMs, Reading

START: EpochMs = 1_700_000_000_000


class Motor:
    """Signals that go on whether they are sampled or not: a load that wanders, a temperature in cycles, a noise, and a
    sensor that gives a new value once a second however often it is asked."""

    def __init__(self, seed: int) -> None:
        self.machines = Machines()
        self.second = 0.0
        self._chance = random.Random(seed)
        self._load = self._held = 0.0
        self._held_at = -1

    def live(self, seconds: float, interval_s: float, **instead: float) -> list[Transition]:
        """The incidents that open meanwhile."""
        opened = []
        for _ in range(round(seconds / interval_s)):
            self.second += interval_s
            at = START + round(self.second * 1000)
            scored = self.machines.watch(Reading("acme", "motor-1", at, at, {**self._signals(interval_s), **instead}))
            opened += [turn for turn in scored.transitions if turn.phase is Phase.OPENED]
        return opened

    def _signals(self, interval_s: float) -> dict[str, float]:
        keeps = math.exp(-interval_s / 20.0)
        self._load = keeps * self._load + math.sqrt(1.0 - keeps * keeps) * self._chance.gauss(0.0, 1.0)
        if int(self.second) != self._held_at:
            self._held, self._held_at = round(50.0 + 5.0 * self._load, 1), int(self.second)
        return {
            "load": round(60.0 + 2.0 * self._load, 3),
            "temperature": round(5.0 + math.sin(self.second / 50.0) + self._chance.gauss(0.0, 0.05), 4),
            "noise": round(self._chance.gauss(1.0, 0.1), 4),
            "slow": self._held,
        }


@pytest.mark.parametrize(("before_s", "after_s"), [(1.0, 0.2), (1.0, 0.02), (1.0, 10.0), (1.0, 30.0), (2.0, 1.0)])
def test_another_rate_opens_nothing(before_s: float, after_s: float) -> None:
    motor = Motor(seed=1)
    motor.live(3600 * max(1.0, before_s), before_s)
    assert motor.live(min(3600.0, 10_000 * after_s), after_s) == []


def test_a_rate_that_changes_every_few_minutes_opens_nothing() -> None:
    motor = Motor(seed=2)
    motor.live(3600, 1.0)
    opened = [turn for turn in range(12) for _ in motor.live(300, (0.2, 10.0, 1.0)[turn % 3])]
    assert opened == []


def test_a_rate_so_slow_that_it_looks_like_silence_is_told_once() -> None:
    motor = Motor(seed=3)
    motor.live(3600, 1.0)
    opened = motor.live(24 * 3600, 300.0)
    assert [(turn.kind, turn.causes[0].fault) for turn in opened] == [(Kind.SENSOR_FAULT, Fault.GAP)]


@pytest.mark.parametrize("after_s", [0.2, 10.0])
def test_a_fault_after_a_change_of_rate_is_found_and_is_one_alert(after_s: float) -> None:
    motor = Motor(seed=4)
    motor.live(3600, 1.0)
    motor.live(600, after_s)
    opened = motor.live(600, after_s, noise=3.0)
    assert [(turn.kind, turn.causes[0].signal) for turn in opened] == [(Kind.PROCESS_ANOMALY, "noise")]


def test_a_sensor_that_is_stuck_after_a_change_of_rate_is_found() -> None:
    motor = Motor(seed=5)
    motor.live(3600, 1.0)
    motor.live(120, 0.02)
    (opened,) = motor.live(120, 0.02, load=60.0)
    assert (opened.kind, opened.causes[0].signal, opened.causes[0].fault) == (Kind.SENSOR_FAULT, "load", Fault.STUCK)
