"""The edge component as a process, on the real IPC client, against the stand-in nucleus and two emulated regions."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_component.mqtt import MqttEndpoint
from localcloud.processes import ProcessTable
from localcloud.region import Region
from localcloud.simulator.local_source import LocalSource
from tests.component.edge_support import (
    GATEWAY,
    Certificate,
    EdgeRegion,
    RunningNucleus,
    eventually,
    now_ms,
    nucleus_config,
    short_folder,
)

pytestmark = [pytest.mark.component, pytest.mark.timeout(60)]


class World:
    """Two regions in which the gateway's certificate is registered."""

    def __init__(self, root: Path, table: ProcessTable) -> None:
        self.primary = EdgeRegion(Region("primary", "us-east-1", 25300, 25301), root, table)
        self.dr = EdgeRegion(Region("dr", "us-west-2", 25302, 25303), root, table)
        certificate = Certificate(root / "gateway.crt", root / "gateway.key")
        for region in (self.primary, self.dr):
            region.start()
            region.provision()
            region.register(GATEWAY, certificate)
        self.primary_endpoint: MqttEndpoint = self.primary.endpoint(GATEWAY, certificate)
        self.dr_endpoint: MqttEndpoint = self.dr.endpoint(GATEWAY, certificate)
        self.table = table


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_folder() as root:
        table = ProcessTable(root, die_with_parent=True)
        try:
            yield World(root, table)
        finally:
            table.stop_all()


@pytest.fixture
def nucleus(world: World) -> Iterator[RunningNucleus]:
    with short_folder() as root:
        running = RunningNucleus(nucleus_config(root, world.primary_endpoint, world.dr_endpoint), root, world.table)
        running.start()
        yield running
        running.stop()


def send(source: LocalSource, devices: list[str], values: range) -> None:
    for value in values:
        for device in devices:
            source.send(device, {"ts": now_ms(), "n": value, "temperature": 60.0 + value % 7})


def arrived(region: EdgeRegion, devices: list[str]) -> Counter[tuple[str, float]]:
    """(device, value) -> under how many different keys it arrived; 1 is once."""
    return Counter((device, value) for (device, _), value in region.keys().items() if device in devices)


def test_every_reading_arrives_in_both_regions_under_one_key(world: World, nucleus: RunningNucleus) -> None:
    devices = ["pump-a", "pump-b", "pump-c"]
    with LocalSource(nucleus.address, resend_after_s=1.0) as source:
        send(source, devices, range(100))
        assert source.drain(20.0)
    expected = Counter({(device, float(value)): 1 for device in devices for value in range(100)})
    for region in (world.primary, world.dr):
        eventually(lambda region=region: arrived(region, devices) == expected, f"{region.region.role} has all")
    assert {(entry.device, entry.last) for entry in nucleus.sent()} == {(device, 100) for device in devices}
    assert {key for key in world.primary.keys() if key[0] in devices} == {
        key for key in world.dr.keys() if key[0] in devices
    }


def test_kill_9_of_the_component_neither_loses_nor_doubles(world: World, nucleus: RunningNucleus) -> None:
    devices = ["fan-a", "fan-b"]
    with LocalSource(nucleus.address, resend_after_s=1.0) as source:
        for start in (0, 200, 400):
            send(source, devices, range(start, start + 200))
            before = nucleus.component_pid()
            os.kill(before, signal.SIGKILL)
            eventually(lambda before=before: nucleus.component_pid() != before, "the component is launched again")
        send(source, devices, range(600, 700))
        assert source.drain(30.0)
    expected = Counter({(device, float(value)): 1 for device in devices for value in range(700)})
    for region in (world.primary, world.dr):
        eventually(lambda region=region: arrived(region, devices) == expected, f"{region.region.role} has all")


def test_a_dead_dr_region_does_not_slow_the_primary_and_catches_up(world: World, nucleus: RunningNucleus) -> None:
    devices = ["mill-a", "mill-b"]
    with LocalSource(nucleus.address, resend_after_s=1.0) as source:
        send(source, devices, range(50))
        assert source.drain(20.0)
        world.dr.stop()
        try:
            send(source, devices, range(50, 300))
            assert source.drain(20.0)
            expected = Counter({(device, float(value)): 1 for device in devices for value in range(300)})
            eventually(lambda: arrived(world.primary, devices) == expected, "primary has all", timeout_s=5.0)
        finally:
            world.dr.start()
        eventually(lambda: arrived(world.dr, devices) == expected, "dr has caught up", timeout_s=20.0)
    assert not nucleus.dropped("dr")
