"""The edge component as a process, on the real IPC client, against the stand-in nucleus and two emulated regions."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from edge_component.nucleus import Nucleus, Payload
from edge_component.settings import STATUS_TOPIC
from localcloud.simulator.local_source import LocalSource
from localcloud.simulator.machines import Machine, StuckSensor
from localcloud.simulator.thing_publisher import ThingPublisher
from plantwatch.incident import Phase
from plantwatch.telemetry import telemetry_topic
from tests.component.edge_support import (
    EdgeRegion,
    RunningNucleus,
    World,
    edge_nucleus,
    eventually,
    now_ms,
    running_world,
    short_folder,
)
from tests.region_support import TENANT

pytestmark = [pytest.mark.component, pytest.mark.timeout(90)]

Arrivals = Counter[tuple[str, float]]
"""(device, value) -> under how many different keys it arrived: 1 is once."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(with_dr=True) as running:
        yield running


@pytest.fixture
def nucleus(world: World) -> Iterator[RunningNucleus]:
    with short_folder() as root:
        running = RunningNucleus(edge_nucleus(root, world.endpoints), world.table)
        running.start()
        yield running
        running.stop()
        assert "Traceback" not in running.log(), running.log()


def source_at(nucleus: RunningNucleus) -> LocalSource:
    return LocalSource(nucleus.address, resend_after_s=1.0)


def send(source: LocalSource, devices: list[str], values: range) -> None:
    for value in values:
        for device in devices:
            source.send(device, {"ts": now_ms(), "n": value, "temperature": 60.0 + value % 7})


def each_once(devices: list[str], values: range) -> Arrivals:
    return Counter({(device, float(value)): 1 for device in devices for value in values})


def arrived(region: EdgeRegion, devices: list[str]) -> Arrivals:
    return Counter((device, value) for (device, _), value in region.keys().items() if device in devices)


def await_arrivals(region: EdgeRegion, devices: list[str], expected: Arrivals, timeout_s: float = 20.0) -> None:
    eventually(lambda: arrived(region, devices) == expected, f"{region.region.role} has everything once", timeout_s)


def kill_component(nucleus: RunningNucleus) -> None:
    before = nucleus.component_pid()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: nucleus.component_pid() not in (0, before), "the component is launched again")


def test_every_reading_arrives_in_both_regions_under_one_key(world: World, nucleus: RunningNucleus) -> None:
    devices = ["pump-a", "pump-b", "pump-c"]
    with source_at(nucleus) as source:
        send(source, devices, range(100))
        assert source.drain(20.0)
    for region in world.regions:
        await_arrivals(region, devices, each_once(devices, range(100)))
    assert {(entry.device, entry.first, entry.last) for entry in nucleus.numbered()} == {
        (name, 1, 100) for name in devices
    }
    primary, dr = ({key for key in region.keys() if key[0] in devices} for region in world.regions)  # noqa: SIM118
    assert primary == dr


def test_kill_9_of_the_component_neither_loses_nor_doubles(world: World, nucleus: RunningNucleus) -> None:
    devices = ["fan-a", "fan-b"]
    with source_at(nucleus) as source:
        for start in (0, 200, 400):
            send(source, devices, range(start, start + 100))
            assert source.drain(30.0), "the component is at work"
            send(source, devices, range(start + 100, start + 200))
            kill_component(nucleus)  # with readings on their way
        send(source, devices, range(600, 700))
        assert source.drain(30.0)
    for region in world.regions:
        await_arrivals(region, devices, each_once(devices, range(700)))
    assert len({entry.epoch for entry in nucleus.numbered()}) == 4


def test_a_nucleus_that_dies_and_comes_back_neither_loses_nor_doubles(world: World, nucleus: RunningNucleus) -> None:
    devices = ["saw-a"]
    with source_at(nucleus) as source:
        send(source, devices, range(100))
        nucleus.kill_alone()
        send(source, devices, range(100, 200))
        nucleus.start()
        send(source, devices, range(200, 300))
        assert source.drain(40.0)
    for region in world.regions:
        await_arrivals(region, devices, each_once(devices, range(300)))


def test_a_dead_dr_region_does_not_slow_the_primary_and_catches_up(world: World, nucleus: RunningNucleus) -> None:
    devices = ["mill-a", "mill-b"]
    everything = each_once(devices, range(300))
    with source_at(nucleus) as source:
        send(source, devices, range(50))
        assert source.drain(20.0)
        world.dr.stop()
        try:
            send(source, devices, range(50, 300))
            assert source.drain(20.0)
            await_arrivals(world.primary, devices, everything, timeout_s=5.0)
        finally:
            world.dr.start()
        await_arrivals(world.dr, devices, everything)
    assert not nucleus.dropped("dr")


def test_a_dead_primary_region_does_not_slow_the_dr_and_catches_up(world: World, nucleus: RunningNucleus) -> None:
    devices = ["lathe-a"]
    everything = each_once(devices, range(300))
    with source_at(nucleus) as source:
        world.primary.stop()
        try:
            send(source, devices, range(300))
            assert source.drain(20.0)
            await_arrivals(world.dr, devices, everything, timeout_s=5.0)
        finally:
            world.primary.start()
        await_arrivals(world.primary, devices, everything)


def test_an_incident_that_is_open_does_not_open_again_after_kill_9(world: World, nucleus: RunningNucleus) -> None:
    # A learning phase in the past, faster than real time; then the sensor is stuck until now.
    began, period_ms, readings = now_ms() - 400_000, 200, 1_500
    fault = StuckSensor(began + 1_200 * period_ms, began + 10**9)
    press = Machine("press-a", seed=5, faults=[fault])

    def opened() -> set[tuple[str, int]]:
        mine = [item for item in world.primary.scored() if item.reading.device == "press-a"]
        return {(item.reading.key, t.first_seen) for item in mine for t in item.transitions if t.phase is Phase.OPENED}

    with source_at(nucleus) as source:
        for index in range(readings):
            at = began + index * period_ms
            source.send("press-a", {"ts": at, **press.reading(at)})
        assert source.drain(20.0)
        eventually(lambda: len(opened()) == 1, "the fault is found")
        checkpoint = nucleus.spool.with_name("machines.checkpoint")
        eventually(checkpoint.exists, "what was learnt is on disk soon after an alert")
        kill_component(nucleus)
        for index in range(readings, readings + 300):
            at = began + index * period_ms
            source.send("press-a", {"ts": at, **press.reading(at)})
        assert source.drain(20.0)
    eventually(lambda: sum(key[0] == "press-a" for key in world.primary.keys()) == readings + 300, "all arrived")  # noqa: SIM118
    assert len(opened()) == 1


def test_the_status_says_what_was_sent_and_how_each_leg_is(world: World, nucleus: RunningNucleus) -> None:
    told: list[dict[str, Any]] = []

    def hear(_topic: str, payload: Payload) -> None:
        told.append(json.loads(payload) if isinstance(payload, bytes) else payload)

    with closing(Nucleus(nucleus.address, on_lost=lambda: None)) as client, source_at(nucleus) as source:
        client.subscribe(STATUS_TOPIC, hear)
        send(source, ["kiln-a"], range(20))
        assert source.drain(20.0)
        client.publish_local("plantwatch/telemetry/kiln-a", b"not json", lambda _: None)
        eventually(lambda: any(item["devices"].get("kiln-a") == 20 for item in told), "the ledger is told")
        eventually(lambda: bool(told[-1]["rejected"]), "the refusal is told")
        eventually(lambda: all(leg["queued_rows"] == 0 for leg in told[-1]["legs"].values()), "the legs are empty")
    assert told[-1]["rejected"] == {"malformed_json": 1}
    refused = {("plantwatch/telemetry/kiln-a", "malformed_json", b"not json")}
    assert [region.refused() for region in world.regions] == [refused] * 2, "and so are both regions"
    assert {name: leg["connected"] for name, leg in told[-1]["legs"].items()} == {"primary": True, "dr": True}


def test_a_bad_configuration_is_refused_with_all_problems(world: World) -> None:
    with short_folder() as root:
        config = edge_nucleus(root, world.endpoints, tenant="no tenant", linger_s=-1)
        running = RunningNucleus(config, world.table)
        running.start()
        try:
            eventually(lambda: "exited with 1" in running.log(), "the component gives up")
            assert "configuration: tenant: " in running.log()
            assert "configuration: linger_s: must be above 0" in running.log()
        finally:
            running.stop()


def test_a_new_configuration_is_taken_over_and_a_bad_one_is_not(world: World, nucleus: RunningNucleus) -> None:
    devices = ["oven-a"]
    with source_at(nucleus) as source:
        send(source, devices, range(50))
        assert source.drain(20.0)
        before = nucleus.component_pid()
        (epoch,) = {entry.epoch for entry in nucleus.numbered()}
        nucleus.deploy(edge_nucleus(nucleus.root, world.endpoints, linger_s="soon"))
        eventually(lambda: "configuration refused" in nucleus.log(), "the bad one is refused")
        send(source, devices, range(50, 100))
        assert source.drain(20.0), "and the last good one stays"
        nucleus.deploy(edge_nucleus(nucleus.root, world.endpoints, linger_s=0.2))
        eventually(lambda: f"epoch {epoch + 1}," in nucleus.log(), "the good one is taken over")
        assert "warm start" in nucleus.log()
        send(source, devices, range(100, 150))
        assert source.drain(20.0)
    for region in world.regions:
        await_arrivals(region, devices, each_once(devices, range(150)))
    assert nucleus.component_pid() == before, "without a new process"


def test_a_plain_thing_publishes_its_own_readings_to_both_regions(world: World) -> None:
    endpoints = world.register("thing-1")
    with ThingPublisher(TENANT, "thing-1", endpoints) as thing:
        for value in range(50):
            thing.publish({"n": value}, ts=now_ms())
        thing.publish_bytes(b"\xff not json")
        assert thing.drain(20.0), thing.health()
    for region in world.regions:
        mine = [record.payload for record in region.telemetry() if record.topic == telemetry_topic(TENANT, "thing-1")]
        assert [json.loads(payload)["n"] for payload in mine[:-1]] == list(range(50))
        assert mine[-1] == b"\xff not json"


def test_a_thing_cannot_publish_for_another_device(world: World) -> None:
    endpoints = world.register("thing-2")
    with ThingPublisher(TENANT, "thing-1", {"primary": endpoints["primary"]}, rows_max=1) as thing:
        thing.publish({"n": 1}, ts=now_ms())
        eventually(lambda: thing.health()["primary"].failed > 0, "the broker refuses")
        assert not thing.drain(0.0)
        assert "refused" in thing.health()["primary"].last_error
