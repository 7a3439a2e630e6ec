"""The battery that every connector passes, against a real server of its protocol."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_component.connectors.build import connector
from edge_component.connectors.settings import CsvSettings
from edge_component.connectors.source import Source, State
from edge_component.inbox import Inbox
from localcloud.processes import free_ports, wait_until
from tests.component.connector_worlds import HURRIED, CsvWorld, ModbusWorld, MqttWorld, OpcUaWorld, World

pytestmark = pytest.mark.component


class Reader:
    """A connector of a world, and what it has handed over."""

    def __init__(self, world: World, state_dir: Path) -> None:
        self.inbox = Inbox(1_000_000, lambda: time.time_ns() // 1_000_000)
        self.source: Source = connector(world.settings, self.inbox, state_dir)
        self.readings: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        for message in self.inbox.drain(0.0):
            assert message.topic == "plantwatch/telemetry/pump-1"
            assert isinstance(message.payload, bytes)
            found = json.loads(message.payload)
            self.readings += found if isinstance(found, list) else [found]
            if message.on_safe:
                message.on_safe()
        return self.readings

    def await_value(self, temp: float) -> dict[str, Any]:
        def there() -> bool:
            return any(reading.get("temp") == pytest.approx(temp) for reading in self.take())

        wait_until(there, 10.0, f"temp {temp} is read")
        return next(reading for reading in self.readings if reading.get("temp") == pytest.approx(temp))

    def await_state(self, state: State) -> None:
        wait_until(lambda: bool(self.take() or True) and self.source.health().state is state, 10.0, f"it is {state}")


def _csv(folder: Path) -> CsvWorld:
    settings = CsvSettings(name="files", directory=str(folder), settle_s=0.1, scan_interval_s=0.05, **HURRIED)
    return CsvWorld(settings, folder)


@pytest.fixture(params=["opcua", "modbus", "mqtt", "csv"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    make: dict[str, Callable[[int], World]] = {
        "opcua": OpcUaWorld, "modbus": ModbusWorld, "mqtt": MqttWorld, "csv": lambda _: _csv(tmp_path / "files"),
    }  # fmt: skip
    made = make[request.param](free_ports(1)[0])
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Iterator[Reader]:
    made = Reader(world, tmp_path / "state")
    made.source.start()
    try:
        made.await_state(State.UP)
        yield made
    finally:
        made.source.stop()


def _now() -> int:
    return time.time_ns() // 1_000_000


def test_what_the_source_says_arrives_with_its_own_time(world: World, reader: Reader) -> None:
    at = _now() - 5_000
    world.tell(at, 1.5, 20.5)
    reading = reader.await_value(20.5)
    assert (reading["ts"], reading["flow"], "clock" in reading) == (at, 1.5, False)
    assert reader.source.health().readings >= 1


def test_a_bad_value_is_missing_and_leaves_its_neighbour_unharmed(world: World, reader: Reader) -> None:
    world.tell(_now(), None, 21.5)
    assert reader.await_value(21.5)["flow"] is None


def test_a_server_that_dies_and_comes_back_is_read_again(world: World, reader: Reader) -> None:
    world.tell(_now(), 1.0, 22.5)
    reader.await_value(22.5)
    world.stop()
    reader.await_state(State.DOWN)
    assert reader.source.health().error
    world.start()
    reader.await_state(State.UP)
    world.tell(_now(), 2.0, 23.5)
    reader.await_value(23.5)
    assert reader.source.health().connects >= 2


def test_a_silent_source_is_told_once_and_heard_again(
    world: World, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        reader.await_state(State.SILENT)
        world.tell(_now(), 1.0, 24.5)
        reader.await_value(24.5)
        wait_until(lambda: "speaks again" in caplog.text, 10.0, "it speaks again")
    assert caplog.text.count("is silent") == 1


def test_it_stops_within_two_seconds(reader: Reader) -> None:
    began = time.monotonic()
    reader.source.stop()
    assert time.monotonic() - began < 2.0
    assert reader.source.health().state is State.STOPPED


def test_it_stops_within_two_seconds_where_nobody_answers(world: World, tmp_path: Path) -> None:
    world.stop()
    try:
        reader = Reader(world, tmp_path / "other")
        reader.source.start()
        reader.await_state(State.DOWN)
        began = time.monotonic()
        reader.source.stop()
        assert time.monotonic() - began < 2.0
    finally:
        world.start()
