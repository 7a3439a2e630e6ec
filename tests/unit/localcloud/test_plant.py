"""The demo's plant: simulated time meets the clock when the live part begins, and no machine falls silent meanwhile."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from localcloud import plant as plants
from localcloud.fleet import learn_fleet
from localcloud.plant import Plant
from plantwatch.bundle.container import load
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.telemetry import Reading

STARTED = 1_795_413_600_000


def test_learning_runs_faster_and_live_is_sent_when_it_is_observed() -> None:
    plant = Plant(STARTED, live_s=10)
    ticks = list(plant.ticks(["pump-1"], 1000))
    learning = [tick for tick in ticks if tick.observed_at < plant.live_at]
    live = [tick for tick in ticks if tick.observed_at >= plant.live_at]
    assert len(learning) == plants.LEARN_S * plants.SPEED
    assert learning[0].send_at == STARTED / 1000
    assert all(tick.send_at == tick.observed_at / 1000 for tick in live)
    assert live[0].send_at - learning[-1].send_at <= 1 / plants.SPEED + 1e-6


def test_observed_time_has_no_gap_and_send_times_never_run_backwards() -> None:
    ticks = list(Plant(STARTED, live_s=5).ticks(plants.THINGS, plants.THING_PERIOD_MS))
    assert all(before.send_at <= after.send_at for before, after in pairwise(ticks))
    one = [tick.observed_at for tick in ticks if tick.machine == plants.THINGS[0]]
    assert {after - before for before, after in pairwise(one)} == {plants.THING_PERIOD_MS}


def test_each_fault_lies_on_a_machine_of_the_plant_and_is_expected() -> None:
    plant = Plant(STARTED)
    assert set(plant.faults()) <= {*plants.GATEWAY_MACHINES, *plants.THINGS}
    assert [expected.device for expected in plant.expected()] == list(plant.faults())
    assert all(plant.live_at < start < end for expected in plant.expected() for start, end in expected.windows)


def test_every_run_tells_the_same_story_whenever_it_is_started() -> None:
    first, second = Plant(STARTED, live_s=3), Plant(STARTED + 123_457, live_s=3)
    stories = [[tick.values for tick in plant.ticks(["pump-3"], 1000)] for plant in (first, second)]
    assert stories[0] == stories[1]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What the demo's machines begin with."""
    return load(learn_fleet(tmp_path_factory.mktemp("fleet")))


def test_without_the_fleet_each_fault_is_found_and_nothing_else() -> None:
    found = opened(Machines())
    assert sorted((device, kind) for device, kind, _ in found) == expected()


def test_with_the_fleet_each_fault_is_found_sooner_and_nothing_else(bundle: Bundle) -> None:
    alone, found = opened(Machines()), opened(Machines.of(bundle))
    assert sorted((device, kind) for device, kind, _ in found) == expected()
    delays = {device: delay_s for device, _, delay_s in found}
    assert all(delays[device] <= delay_s for device, _, delay_s in alone)
    assert delays["pump-3"] < 25.0


def test_the_fleet_is_learnt_alike_every_time_and_raises_no_alert(bundle: Bundle, tmp_path: Path) -> None:
    assert load(learn_fleet(tmp_path)) == bundle
    assert bundle.expected_alerts_per_day == 0.0


def expected() -> list[tuple[str, str]]:
    return sorted((expected.device, expected.kind) for expected in Plant(STARTED).expected())


def opened(machines: Machines) -> list[tuple[str, Kind, float]]:
    """Each incident of the demo's story: machine, kind, seconds since its fault began."""
    plant, found = Plant(STARTED), []
    began = {device: fault.started_at for device, fault in plant.faults().items()}
    for names, period_ms in (
        (plants.GATEWAY_MACHINES, plants.GATEWAY_PERIOD_MS),
        (plants.THINGS, plants.THING_PERIOD_MS),
    ):
        for tick in plant.ticks(names, period_ms):
            reading = Reading("acme", tick.machine, tick.observed_at, tick.observed_at, tick.values)
            found += [
                (tick.machine, change.kind, (tick.observed_at - began.get(tick.machine, 0)) / 1000)
                for change in machines.watch(reading).transitions
                if change.phase is Phase.OPENED
            ]
    return found
