"""The three faults of the demo on simulated machines: each found once, in time, for the right reason; and no other.

The signals: sensor noise, a load that all four share (AR(1), correlation time 60 s) and a daily wave. What is asked
here for a few minutes was measured for longer offline with the same model: see the decision record on detection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from localcloud.simulator.wandering import SENSORS, Values, lose_pressure, rise, running
from plantwatch.incident import Fault, Kind, Phase, Transition
from plantwatch.machine import Machines
from plantwatch.telemetry import EpochMs, Reading

START: EpochMs = 1_700_000_000_000
LEARNING_S = 600
MACHINES = 6
SEEDS = range(12)


Change = Callable[[Values, float], None]


def simulated(seed: int, machine: int, per_second: int, seconds: int) -> Iterator[tuple[float, Values]]:
    """Seconds since the end of learning, and what the sensors say."""
    for at, values in running(random.Random(seed * 1000 + machine), per_second, seconds):
        yield at - LEARNING_S, values


class Found(NamedTuple):
    machine: int
    after_s: float
    transition: Transition


def run(seed: int, per_second: int, seconds: int, change: Change | None) -> list[Found]:
    """Watch some machines, of which number 0 changes after learning; what was opened."""
    watched, found = Machines(), []
    for machine in range(MACHINES):
        for after_s, values in simulated(seed, machine, per_second, LEARNING_S + seconds):
            if change is not None and machine == 0 and after_s >= 0.0:
                change(values, after_s)
            at = START + round((after_s + LEARNING_S) * 1000)
            scored = watched.watch(Reading("acme", f"pump-{machine}", at, at, values))
            found += [Found(machine, after_s, turn) for turn in scored.transitions if turn.phase is Phase.OPENED]
    return found


class StuckTemperature:
    """Repeats the value that it had when the fault began."""

    def __init__(self) -> None:
        self.value: float | None = None

    def __call__(self, values: Values, after_s: float) -> None:
        if self.value is None:
            self.value = values["temperature"]
        values["temperature"] = self.value


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drifting_bearing_is_found_within_its_ramp(seed: int) -> None:
    (found,) = run(seed, per_second=5, seconds=120, change=rise)
    assert found.machine == 0
    assert 5.0 < found.after_s < 40.0
    assert found.transition.kind is Kind.PROCESS_ANOMALY
    top = found.transition.causes[0]
    assert top.signal in ("vibration", "temperature")
    assert sum(c.share for c in found.transition.causes if c.signal in ("vibration", "temperature")) > 0.9
    assert 0 <= found.transition.first_seen - (START + LEARNING_S * 1000) < found.after_s * 1000
    assert top.observed is not None
    assert top.expected_high is not None
    assert top.observed > SENSORS[top.signal].mean


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sudden_pressure_loss_is_found_within_twelve_seconds_after_600_readings(seed: int) -> None:
    (found,) = run(seed, per_second=1, seconds=300, change=lose_pressure)
    assert found.machine == 0
    assert found.after_s <= 12.0
    assert found.transition.kind is Kind.PROCESS_ANOMALY
    top = found.transition.causes[0]
    assert top.signal == "pressure"
    assert top.share > 0.9
    assert top.expected_low is not None
    assert top.observed is not None
    assert top.observed < top.expected_low


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stuck_temperature_is_a_sensor_fault_found_within_six_seconds(seed: int) -> None:
    (found,) = run(seed, per_second=5, seconds=120, change=StuckTemperature())
    assert found.machine == 0
    assert found.after_s <= 6.0
    assert found.transition.kind is Kind.SENSOR_FAULT
    (cause,) = found.transition.causes
    assert (cause.signal, cause.fault) == ("temperature", Fault.STUCK)


@pytest.mark.parametrize("seed", SEEDS)
def test_machines_that_are_well_alert_nobody(seed: int) -> None:
    assert run(seed + 100, per_second=1, seconds=900, change=None) == []
