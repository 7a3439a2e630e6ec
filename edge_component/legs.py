"""One leg per region: takes messages from the queue, publishes them, and moves its cursor over what has arrived.

Each leg is a thread of its own with its own cursor, so that a dead region never slows the other. A message is on its
way until its acknowledgement comes; the cursor moves over the longest run of acknowledged ones. Whatever fails is sent
again after a back-off: repeats carry the same keys, and the cloud stores a reading once.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from edge_component.spool import Depth, Row
from plantwatch.ports import DeliveryFailed

logger = logging.getLogger(__name__)

# How often an idle leg looks whether it shall stop, should every signal to it have been lost.
_IDLE_S: Final = 1.0


class Window:
    """Which messages are on their way, in queue order, bounded by bytes. Pure: no I/O, no clock.

    >>> window = Window(bytes_max=10)
    >>> for row in (Row(1, b"aaaa"), Row(2, b"bbbb")): window.add(row)
    >>> window.room(), window.acknowledged(2), [row.id for row in window.acknowledged(1)]
    (2, [], [1, 2])
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: deque[Row] = deque()
        self._arrived: set[int] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def room(self) -> int:
        """Bytes that may still be sent. An empty window takes any message, or a long one would wait for ever."""
        return self._bytes_max - self._bytes if self._rows else max(self._bytes_max, _MESSAGE_BYTES_MAX)

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._bytes += len(row.payload)

    def acknowledged(self, row_id: int) -> list[Row]:
        """Note one arrival; the messages over which the cursor may now move."""
        if not any(row.id == row_id for row in self._rows):
            return []  # a late answer to an attempt that was given up; another one has arrived since
        self._arrived.add(row_id)
        passed: list[Row] = []
        while self._rows and self._rows[0].id in self._arrived:
            row = self._rows.popleft()
            self._arrived.discard(row.id)
            self._bytes -= len(row.payload)
            passed.append(row)
        return passed

    def missing(self) -> list[Row]:
        """The messages still without acknowledgement, oldest first."""
        return [row for row in self._rows if row.id not in self._arrived]


# IoT Core's largest payload; what a single reading of 256 signals needs stays below.
_MESSAGE_BYTES_MAX: Final = 128 * 1024


class Queue(Protocol):
    """Where a leg takes its messages from: the gateway's Spool, or a plain thing's memory."""

    def take(self, leg: str, room: int) -> Row | None: ...

    def acknowledge(self, leg: str, rows: Sequence[Row]) -> None: ...

    def depth(self, leg: str) -> Depth: ...


class Transport(Protocol):
    """How one region is reached. `publish` never blocks; `done` is called once, from any thread."""

    @property
    def connected(self) -> bool: ...

    @property
    def last_error(self) -> str: ...

    def publish(self, payload: bytes, done: Callable[[DeliveryFailed | None], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class LegLimits:
    """`backoff_s`: shortest and longest pause after a failure; it doubles between, with jitter."""

    in_flight_bytes_max: int
    publish_timeout_s: float
    backoff_s: tuple[float, float]


class Health(NamedTuple):
    """What the status says of one leg. Counters are since the start."""

    connected: bool
    queued_rows: int
    queued_bytes: int
    published: int
    failed: int
    last_error: str


class _Result(NamedTuple):
    """What became of one attempt to publish one message."""

    row_id: int
    attempt: int
    error: DeliveryFailed | None


class _Attempt(NamedTuple):
    number: int
    overdue_at: float


class Leg(threading.Thread):
    """Publishes the queue's messages in order of their ids until `stop`.

    `on_failed` is called where it cannot go on (the disk is full, the database damaged): nothing more will be sent.
    """

    def __init__(
        self, name: str, messages: Queue, transport: Transport, limits: LegLimits, *, on_failed: Callable[[], None]
    ) -> None:
        super().__init__(name=f"leg-{name}", daemon=True)
        self.leg = name
        self._queue = messages
        self._transport = transport
        self._limits = limits
        self._on_failed = on_failed
        self._window = Window(limits.in_flight_bytes_max)
        self._attempts: dict[int, _Attempt] = {}
        self._attempt = 0
        self._inbox: queue.SimpleQueue[_Result | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._can_go_on = True
        self._failures_in_a_row = 0
        self._published = 0
        self._failed = 0
        self._last_error = ""

    def wake(self) -> None:
        """There is something new in the queue, or the connection changed."""
        self._inbox.put(None)

    def stop(self) -> None:
        self._stopping.set()
        self.wake()

    def health(self) -> Health:
        depth = self._queue.depth(self.leg)
        error = self._last_error or self._transport.last_error
        connected = self._can_go_on and self._transport.connected
        return Health(connected, depth.rows, depth.bytes, self._published, self._failed, error)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except Exception as error:
            logger.exception("leg %s cannot go on", self.leg)
            self._can_go_on = False
            self._last_error = f"{type(error).__name__}: {error}"
            self._on_failed()

    def _turn(self) -> None:
        if self._transport.connected:
            self._send()
        failures = [result for result in self._results() if not self._settle(result)]
        if failures:
            self._back_off()

    def _send(self) -> None:
        """First what failed, then what is new, as far as the window has room."""
        for row in self._window.missing():
            if row.id not in self._attempts:
                self._publish(row)
        while row_or_none := self._queue.take(self.leg, self._window.room()):
            self._window.add(row_or_none)
            self._publish(row_or_none)

    def _publish(self, row: Row) -> None:
        self._attempt += 1
        attempt = self._attempt
        self._attempts[row.id] = _Attempt(attempt, time.monotonic() + self._limits.publish_timeout_s)
        self._transport.publish(row.payload, lambda error: self._inbox.put(_Result(row.id, attempt, error)))

    def _results(self) -> list[_Result]:
        """Wait for something to happen; what happened, and what should have."""
        happened = []
        with suppress(queue.Empty):  # idle: only look for what is overdue
            happened.append(self._inbox.get(timeout=self._patience(time.monotonic())))
        while not self._inbox.empty():
            happened.append(self._inbox.get())
        return [result for result in happened if result] + self._overdue(time.monotonic())

    def _patience(self, now: float) -> float:
        """Seconds until the oldest attempt is overdue."""
        oldest = next(iter(self._attempts.values()), None)
        return _IDLE_S if oldest is None else min(_IDLE_S, max(0.0, oldest.overdue_at - now))

    def _overdue(self, now: float) -> list[_Result]:
        late = DeliveryFailed(f"no answer within {self._limits.publish_timeout_s} s")
        return [
            _Result(row_id, attempt.number, late)
            for row_id, attempt in self._attempts.items()
            if attempt.overdue_at <= now
        ]

    def _settle(self, result: _Result) -> bool:
        """False where the attempt failed, and the message has to be sent again."""
        if result.error is None:
            self._arrived(result.row_id)
            return True
        current = self._attempts.get(result.row_id)
        if current is None or current.number != result.attempt:
            return True  # an attempt given up before
        del self._attempts[result.row_id]
        self._failed += 1
        self._last_error = str(result.error)
        return False

    def _arrived(self, row_id: int) -> None:
        self._attempts.pop(row_id, None)
        self._failures_in_a_row = 0
        self._last_error = ""
        self._published += 1
        if passed := self._window.acknowledged(row_id):
            self._queue.acknowledge(self.leg, passed)

    def _back_off(self) -> None:
        shortest, longest = self._limits.backoff_s
        pause = min(longest, shortest * 2**self._failures_in_a_row)
        self._failures_in_a_row = min(self._failures_in_a_row + 1, 16)
        # Jitter: a plant's gateways must not all come back at the same moment.
        self._stopping.wait(pause * random.uniform(0.5, 1.0))
