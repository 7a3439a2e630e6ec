"""The demo's plant: simulated time meets the clock when the live part begins, and no machine falls silent meanwhile."""

from __future__ import annotations

from itertools import pairwise

from localcloud import plant as plants
from localcloud.plant import Plant
from plantwatch.incident import Phase
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


def test_the_detectors_find_each_fault_of_the_demo_and_nothing_else() -> None:
    plant, machines, opened = Plant(STARTED), Machines(), []
    for names, period_ms in (
        (plants.GATEWAY_MACHINES, plants.GATEWAY_PERIOD_MS),
        (plants.THINGS, plants.THING_PERIOD_MS),
    ):
        for tick in plant.ticks(names, period_ms):
            reading = Reading("acme", tick.machine, tick.observed_at, tick.observed_at, tick.values)
            transitions = machines.watch(reading).transitions
            opened += [(tick.machine, change.kind) for change in transitions if change.phase is Phase.OPENED]
    assert sorted(opened) == sorted((expected.device, expected.kind) for expected in plant.expected())
