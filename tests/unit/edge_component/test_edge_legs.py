"""One leg: contiguous acknowledgement, bounded flight, resending, and no word lost by a bad network."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_component.legs import Leg, LegLimits, Window
from edge_component.spool import Row
from localcloud.processes import wait_until
from localcloud.simulator.memory_queue import MemoryQueue
from plantwatch.ports import DeliveryFailed

LIMITS = LegLimits(in_flight_bytes_max=40, publish_timeout_s=0.2, backoff_s=(0.001, 0.01))
Done = Callable[[DeliveryFailed | None], None]


@given(st.permutations(range(1, 9)))
def test_the_cursor_moves_over_the_longest_acknowledged_run(order: list[int]) -> None:
    window = Window(bytes_max=100)
    for row_id in range(1, 9):
        window.add(Row(row_id, b"x"))
    passed: list[int] = []
    arrived: set[int] = set()
    for row_id in order:
        arrived.add(row_id)
        passed += [row.id for row in window.acknowledged(row_id)]
        run = next((index for index in range(1, 9) if index not in arrived), 9)
        assert passed == list(range(1, run))
        assert [row.id for row in window.missing()] == [item for item in range(1, 9) if item not in arrived]
    assert len(window) == 0
    assert window.room() >= 100


def test_an_answer_to_something_unknown_changes_nothing() -> None:
    window = Window(bytes_max=10)
    window.add(Row(5, b"abc"))
    assert window.acknowledged(4) == []
    assert [row.id for row in window.acknowledged(5)] == [5]
    assert window.acknowledged(5) == []


def test_an_empty_window_takes_a_message_longer_than_its_bound() -> None:
    window = Window(bytes_max=10)
    assert window.room() > 1_000
    window.add(Row(1, b"x" * 1_000))
    assert window.room() < 0


class Network:
    """A transport that loses, refuses, delays and reorders, from a seed. Answers come from another thread."""

    last_error = ""

    def __init__(self, seed: int, *, connected: bool = True) -> None:
        self.connected = connected
        self.arrived: Counter[bytes] = Counter()
        self.flying_max = 0
        self._chance = random.Random(seed)
        self._flying = 0
        self._lock = threading.Lock()

    def publish(self, payload: bytes, done: Done) -> None:
        with self._lock:
            self._flying += len(payload)
            self.flying_max = max(self.flying_max, self._flying)
            fate = self._chance.random()
            delay = self._chance.random() * 0.005
        threading.Timer(delay, self._answer, (payload, done, fate)).start()

    def _answer(self, payload: bytes, done: Done, fate: float) -> None:
        with self._lock:
            self._flying -= len(payload)
            if fate > 0.1:
                self.arrived[payload] += 1
        if fate < 0.2:
            done(DeliveryFailed("lost"))  # half of these had arrived
        elif fate > 0.25:
            done(None)  # between: no answer at all


def unexpected() -> None:
    raise AssertionError("the leg failed")


def leg_over(network: Network, rows: int) -> tuple[Leg, MemoryQueue]:
    messages = MemoryQueue(["dr"], rows_max=rows)
    for index in range(rows):
        assert messages.add(b"%08d" % index, 0)
    return Leg("dr", messages, network, LIMITS, on_failed=unexpected), messages


@pytest.mark.parametrize("seed", range(3))
def test_over_a_bad_network_everything_arrives_and_the_flight_stays_bounded(seed: int) -> None:
    network = Network(seed)
    leg, messages = leg_over(network, 60)
    leg.start()
    assert messages.wait_empty(20.0), f"seed {seed}: {leg.health()}"
    leg.stop()
    leg.join()
    assert set(network.arrived) == {b"%08d" % index for index in range(60)}
    # Messages without an answer stay in flight until their time is over, then they are sent again beside their ghosts.
    assert network.flying_max <= 2 * LIMITS.in_flight_bytes_max
    assert leg.health().failed > 0


def test_while_disconnected_nothing_is_sent_and_then_all_of_it() -> None:
    network = Network(1, connected=False)
    leg, messages = leg_over(network, 10)
    leg.start()
    assert not messages.wait_empty(0.1)
    assert not network.arrived
    assert leg.health().queued_rows == 10
    network.connected = True
    leg.wake()
    assert messages.wait_empty(10.0)
    leg.stop()
    leg.join()


class Silence:
    """A transport that never answers."""

    connected = True
    last_error = ""

    def __init__(self) -> None:
        self.published: list[bytes] = []

    def publish(self, payload: bytes, done: Done) -> None:
        self.published.append(payload)


def test_without_an_answer_it_asks_again_and_says_so() -> None:
    silence = Silence()
    messages = MemoryQueue(["dr"], rows_max=1)
    assert messages.add(b"hello", 0)
    leg = Leg("dr", messages, silence, LIMITS, on_failed=unexpected)
    leg.start()
    wait_until(lambda: len(silence.published) >= 2, 10.0, "a second attempt")
    wait_until(lambda: "no answer within" in leg.health().last_error, 10.0, "the reason")
    began = time.monotonic()
    leg.stop()
    leg.join()
    assert time.monotonic() - began < 2.0, "a stop does not wait for the network"
    assert set(silence.published) == {b"hello"}


class DamagedQueue(MemoryQueue):
    """A database that fails as SQLite does."""

    def acknowledge(self, leg: str, rows: Sequence[Row]) -> None:
        raise sqlite3.OperationalError("disk I/O error")


class Echo(Silence):
    """A transport that acknowledges at once."""

    def publish(self, payload: bytes, done: Done) -> None:
        done(None)


def test_a_leg_that_cannot_go_on_says_so_instead_of_dying_unnoticed(caplog: pytest.LogCaptureFixture) -> None:
    messages = DamagedQueue(["dr"], rows_max=1)
    assert messages.add(b"hello", 0)
    failed = threading.Event()
    leg = Leg("dr", messages, Echo(), LIMITS, on_failed=failed.set)
    leg.start()
    assert failed.wait(10.0)
    leg.join()
    assert "disk I/O error" in caplog.text
    assert not leg.health().connected
    assert leg.health().last_error == "OperationalError: disk I/O error"
