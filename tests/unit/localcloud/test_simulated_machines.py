"""The simulated plant: deterministic, ordinary when healthy, and faulty as told."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest

from localcloud.simulator.machines import SIGNALS, DriftingBearing, Machine, PressureLoss, StuckSensor
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.telemetry import Reading

START = 1_700_000_000_000
PERIOD_MS = 200
LEARNING_MS = 600_000


def test_a_reading_depends_on_name_seed_and_time_only() -> None:
    times = range(START, START + 20_000, PERIOD_MS)
    forwards = [Machine("pump", 1).reading(at) for at in times]
    backwards = [Machine("pump", 1).reading(at) for at in reversed(times)]
    assert forwards == backwards[::-1]
    assert forwards != [Machine("pump", 2).reading(at) for at in times]
    assert forwards != [Machine("fan", 1).reading(at) for at in times]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_healthy_signal_has_the_spread_that_it_claims(name: str) -> None:
    values = [
        Machine("pump", seed).reading(at)[name] for seed in range(20) for at in range(START, START + 600_000, 5_000)
    ]
    assert fmean(values) == pytest.approx(SIGNALS[name].mean, abs=0.3 * SIGNALS[name].sigma)
    assert stdev(values) == pytest.approx(SIGNALS[name].sigma, rel=0.15)


def test_faults_do_what_they_say_and_only_while_they_last() -> None:
    begin, end = START + 60_000, START + 120_000
    well = Machine("pump", 3)
    bearing = Machine("pump", 3, (DriftingBearing(begin, end),))
    for at in (begin - PERIOD_MS, end):
        assert bearing.reading(at) == well.reading(at)
    rise = bearing.reading(begin + 40_000)["vibration"] - well.reading(begin + 40_000)["vibration"]
    assert rise == pytest.approx(6 * SIGNALS["vibration"].sigma, rel=0.01)
    assert bearing.reading(begin + 40_000)["current"] == well.reading(begin + 40_000)["current"]
    lost = Machine("pump", 3, (PressureLoss(begin, end),))
    assert lost.reading(begin)["pressure"] < 0.7 * SIGNALS["pressure"].mean
    stuck = Machine("pump", 3, (StuckSensor(begin, end),))
    assert len({stuck.reading(at)["temperature"] for at in range(begin, end, PERIOD_MS)}) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (DriftingBearing(START + LEARNING_MS, START + LEARNING_MS + 90_000), Kind.PROCESS_ANOMALY),
        (PressureLoss(START + LEARNING_MS, START + LEARNING_MS + 90_000), Kind.PROCESS_ANOMALY),
        (StuckSensor(START + LEARNING_MS, START + LEARNING_MS + 90_000), Kind.SENSOR_FAULT),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_detector_finds_each_fault_once_and_nothing_before(fault: DriftingBearing, kind: Kind) -> None:
    machine, machines = Machine("pump", 11, (fault,)), Machines()
    opened = []
    for at in range(START, fault.ended_at, PERIOD_MS):
        scored = machines.watch(Reading("acme", "pump", at, at, machine.reading(at)))
        opened += [(item.kind, at) for item in scored.transitions if item.phase is Phase.OPENED]
    assert [found for found, _ in opened] == [kind]
    assert 0 <= opened[0][1] - fault.started_at <= 60_000
