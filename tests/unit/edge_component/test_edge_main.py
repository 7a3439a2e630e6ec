"""The component from its configuration to its end, on a nucleus in memory: nothing leaks, nothing is lost between."""

from __future__ import annotations

import json
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_component import main
from edge_component.bootstrap import EdgeComponent
from edge_component.clock import now_ms
from edge_component.inbox import Inbox
from edge_component.main import Event, Events
from edge_component.nucleus import NucleusAddress, OnMessage
from edge_component.settings import EdgeSettings
from edge_component.spool import Spool
from edge_component.state_lock import StateLock
from edge_component.worker import CHECKPOINT_FILE
from localcloud.processes import wait_until
from plantwatch import envelope
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import Source

ADDRESS = NucleusAddress("socket", "token")
Done = Callable[[DeliveryFailed | None], None]


class MemoryNucleus:
    """What `Nucleus` offers, without a process behind it: local readings in, what goes to the cloud kept."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.connected = True
        self.current = configuration
        self.inboxes: list[OnMessage] = []
        self.running = threading.Semaphore(0)
        self.cloud: list[bytes] = []

    def configuration(self) -> Mapping[str, Any]:
        return self.current

    def subscribe(self, _topic_filter: str, on_message: OnMessage) -> None:
        self.inboxes.append(on_message)

    def report_running(self) -> None:
        self.running.release()

    def publish_local(self, _topic: str, _payload: bytes, done: Done) -> None:
        done(None)

    def publish_iot_core(self, _topic: str, payload: bytes, done: Done) -> None:
        self.cloud.append(payload)
        done(None)

    def close(self) -> None:
        self.connected = False

    def say(self, *values: float, **more: str) -> None:
        """Readings on the local bus, not numbered: every subscription gets them, and nobody sends them again."""
        payload = json.dumps([{"ts": now_ms(), "n": value, **more} for value in values]).encode()
        for inbox in self.inboxes:
            inbox("plantwatch/telemetry/pump-1", payload)

    def values(self) -> list[float]:
        """What the cloud has got, in the gateway's order."""
        batches = [
            envelope.decode(payload, Source("acme", "gateway-1"), received_at=now_ms()) for payload in self.cloud
        ]
        scored = [item.reading for batch in batches for item in batch.scored]
        return [reading.signals["n"] for reading in sorted(scored, key=lambda item: (item.epoch, item.sequence))]


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, Any]:
    return {"tenant": "acme", "state_dir": str(tmp_path / "state"), "linger_s": 0.02, "backoff_s_min": 0.01}


@pytest.fixture
def nucleus(configuration: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> MemoryNucleus:
    nucleus = MemoryNucleus(configuration)
    monkeypatch.setattr(main, "_connect", lambda _address, _events: nucleus)
    monkeypatch.setattr(main, "_RECONNECT_PAUSES_S", (0.0,))
    return nucleus


class Running:
    """`main._run` on a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.events: Events = queue.SimpleQueue()
        self.exit_code: Future[int] = pool.submit(main._run, ADDRESS, "gateway-1", self.events)

    def end(self) -> int:
        self.events.put(Event.STOP)
        return self.exit_code.result(20.0)


@contextmanager
def running_main() -> Iterator[Running]:
    with ThreadPoolExecutor(1) as pool:
        run = Running(pool)
        try:
            yield run
        finally:
            run.end()


@pytest.fixture
def running(nucleus: MemoryNucleus) -> Iterator[Running]:
    with running_main() as run:
        assert nucleus.running.acquire(timeout=20.0)
        yield run


def test_configuration_changes_neither_leak_a_subscription_nor_lose_a_reading(
    nucleus: MemoryNucleus, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = EdgeComponent.stop

    def stop_late(component: EdgeComponent) -> None:
        stop(component)
        nucleus.say(float(next(numbers)))  # between two runs nobody but the inbox can take it

    monkeypatch.setattr(EdgeComponent, "stop", stop_late)
    numbers = iter(range(100))
    for change in range(3):
        nucleus.say(float(next(numbers)))
        nucleus.current = {**nucleus.current, "linger_s": 0.03 + change / 100}
        running.events.put(Event.CONFIGURATION)
        assert nucleus.running.acquire(timeout=20.0)
    wait_until(lambda: len(nucleus.values()) == 6, 20.0, "all six readings")
    assert nucleus.values() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(nucleus.inboxes) == 1


def test_what_arrived_before_the_connection_broke_is_not_lost(nucleus: MemoryNucleus, running: Running) -> None:
    nucleus.say(1.0)
    running.events.put(Event.NUCLEUS_LOST)
    assert nucleus.running.acquire(timeout=20.0)
    wait_until(lambda: nucleus.values() == [1.0], 20.0, "the reading")
    assert len(nucleus.inboxes) == 2, "a new connection needs a subscription of its own"


def test_what_had_arrived_when_it_was_stopped_is_on_disk(nucleus: MemoryNucleus, running: Running) -> None:
    # More than the worker takes at once, so that some must be waiting when the stop comes.
    for start in range(0, 1_000, 100):
        nucleus.say(*range(start, start + 100), note="x" * 900)
    assert running.end() == 0
    with running_main():
        wait_until(lambda: len(nucleus.values()) == 1_000, 20.0, "all of it")
    assert nucleus.values() == list(range(1_000))


@pytest.mark.parametrize("method", ["acknowledge", "append"])
def test_what_a_leg_or_the_worker_cannot_survive_ends_the_process_with_an_error(
    nucleus: MemoryNucleus, running: Running, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Spool, method, fail)
    nucleus.say(1.0)
    assert running.exit_code.result(20.0) == 1


def test_a_start_that_fails_half_way_can_be_stopped(nucleus: MemoryNucleus, tmp_path: Path) -> None:
    settings = EdgeSettings(tenant="acme", gateway="gateway-1", state_dir=tmp_path)
    (tmp_path / CHECKPOINT_FILE).mkdir()  # cannot be read
    wanted: Any = nucleus
    component = EdgeComponent(settings, wanted, Inbox(10_000, now_ms), on_failed=lambda: None)
    with pytest.raises(IsADirectoryError):
        component.start()
    component.stop()
    StateLock(tmp_path, timeout_s=0.0).release()


def test_a_gateway_without_connectors_loads_no_asyncio() -> None:
    script = "import sys, edge_component.main; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
