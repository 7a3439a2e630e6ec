"""What all connectors share: they are kept alive, watched for silence, and hand readings to the inbox.

A source that numbers nothing cannot be asked to send again: what it said in the last second before a crash of this
process (not yet on disk) is lost. What it said while the connection was down is lost too, unless the protocol keeps it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from edge_component.connectors.source import SourceHealth, State
from plantwatch.telemetry import TIMESTAMP_KEY, EpochMs, InvalidReading, parse_timestamp

logger = logging.getLogger(__name__)

# A connection that held for so long was a good one: the next attempt does not wait long.
_GOOD_AFTER_S: Final = 10.0
_LOOK_S: Final = 0.2
_STOP_S: Final = 1.5
# The worker empties the inbox every second at the latest.
_RETRY_S: Final = 0.05

CLOCK_KEY: Final = "clock"
UNCERTAIN_KEY: Final = "quality_uncertain"
BAD_KEY: Final = "quality_bad"
TOPIC: Final = "plantwatch/telemetry/{}"


class Put(Protocol):
    """The inbox: whether it has taken the message. `on_safe` is called when all up to it is on disk."""

    def __call__(self, topic: str, payload: bytes, on_safe: Callable[[], None] | None = None) -> bool: ...


class Clock(StrEnum):
    """Value of the attribute `clock` where a reading's time is not its source's own."""

    RECEIVED = "received"
    """The source gave no time: it is when we received the reading."""
    IMPLAUSIBLE = "implausible"
    """The source's time was absurd (never set, days ahead): it is when we received the reading."""


class Quality(StrEnum):
    """What a source says of one value."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Value(NamedTuple):
    """One signal's value as its source gave it; `why` tells what is wrong with it."""

    value: float | None
    quality: Quality = Quality.GOOD
    why: str = ""


class SourceLost(Exception):
    """The source cannot be reached, or refuses us: try again later."""


class Link(Protocol):
    """One protocol: connect, hand readings over until cancelled. SourceLost where that fails."""

    reads: str

    async def run(self, desk: Desk) -> None: ...


def stamped(at: object, values: Mapping[str, Value], *, received_at: EpochMs) -> dict[str, Any]:
    """The fields of a reading as the telemetry contract wants them, with quality and clock as attributes."""
    fields: dict[str, Any] = timed({TIMESTAMP_KEY: at} if at is not None else {}, received_at)
    uncertain, bad = [], []
    for name, value in values.items():
        usable = value.value is not None and math.isfinite(value.value) and value.quality is not Quality.BAD
        fields[name] = value.value if usable else None
        if not usable:
            bad.append(f"{name}={value.why or 'no value'}")
        elif value.quality is Quality.UNCERTAIN:
            uncertain.append(f"{name}={value.why}" if value.why else name)
    for key, names in ((UNCERTAIN_KEY, uncertain), (BAD_KEY, bad)):
        if names:
            fields[key] = ",".join(names)[:_QUALITY_CHARS_MAX]
    return fields


# Names which of a few signals; the beginning is enough where all are bad.
_QUALITY_CHARS_MAX: Final = 500


def timed(fields: dict[str, Any], received_at: EpochMs) -> dict[str, Any]:
    """`fields` with a plausible `ts`: their own, or `received_at` and a flag."""
    if TIMESTAMP_KEY not in fields:
        return {TIMESTAMP_KEY: received_at, **fields, CLOCK_KEY: Clock.RECEIVED.value}
    try:
        parse_timestamp(fields[TIMESTAMP_KEY], received_at=received_at)
    except (InvalidReading, OverflowError):
        return {**fields, TIMESTAMP_KEY: received_at, CLOCK_KEY: Clock.IMPLAUSIBLE.value}
    return fields


@dataclass
class Desk:
    """Where a link hands readings over. Counts may be read from any thread."""

    put: Put
    now: Callable[[], EpochMs]
    counts: Counter[str] = field(default_factory=Counter)
    last_at: float | None = None
    connected: bool = False

    def up(self) -> None:
        """The link has its connection and its subscription."""
        self.connected = True
        self.counts["connects"] += 1

    def hand(self, device: str, fields: Mapping[str, Any]) -> bool:
        """One reading. False, and counted as lost, where the inbox is full and the source does not send again."""
        return self.hand_raw(device, encoded(fields))

    def hand_raw(self, device: str, payload: bytes, readings: int = 1) -> bool:
        self.heard()
        if not self.put(TOPIC.format(device), payload):
            self.counts["lost"] += readings
            return False
        self.counts["readings"] += readings
        return True

    async def hand_patiently(self, device: str, payload: bytes, readings: int) -> None:
        """For a source that can wait: until the inbox has room."""
        self.heard()
        await self._put(device, payload, None)
        self.counts["readings"] += readings

    async def flushed(self, device: str) -> None:
        """Until all that was handed over before is on disk."""
        loop, safe = asyncio.get_running_loop(), asyncio.Event()

        def on_safe() -> None:
            # The connector may have been stopped meanwhile.
            if not loop.is_closed():
                loop.call_soon_threadsafe(safe.set)

        await self._put(device, b"[]", on_safe)
        await safe.wait()

    async def _put(self, device: str, payload: bytes, on_safe: Callable[[], None] | None) -> None:
        """The inbox has no way to tell when it has room again: its worker's thread must not wait for us."""
        while not self.put(TOPIC.format(device), payload, on_safe):  # noqa: ASYNC110
            await asyncio.sleep(_RETRY_S)

    def heard(self) -> None:
        self.last_at = time.monotonic()


def encoded(fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


class Connector:
    """Keeps one link alive in a thread of its own: back-off with full jitter between attempts, silence noticed."""

    def __init__(
        self,
        name: str,
        link: Link,
        desk: Desk,
        *,
        silent_after_s: float,
        backoff_s: tuple[float, float],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name = name
        self.reads = link.reads
        self._link = link
        self._desk = desk
        self._silent_after_s = silent_after_s
        self._backoff_s = backoff_s
        self._jitter = jitter
        self._state = State.CONNECTING
        self._error = ""
        self._up_since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._guard = threading.Lock()  # guards _stopping, _loop and _task
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name=f"connector-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Within two seconds, also from a connection attempt. What was handed over is in the inbox."""
        with self._guard:
            self._stopping = True
            if self._loop and self._task:
                self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
        self._state = State.STOPPED

    def health(self) -> SourceHealth:
        counts, last_at = self._desk.counts, self._desk.last_at
        age_s = None if last_at is None else round(time.monotonic() - last_at, 1)
        return SourceHealth(
            self._state, self.reads, counts["readings"], counts["bad_values"], counts["lost"], counts["connects"],
            age_s, self._error,
        )  # fmt: skip

    def _main(self) -> None:
        # Not `asyncio.run`: it waits for threads that look up a name.
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._live())
        with self._guard:
            if self._stopping:
                task.cancel()
            self._loop, self._task = loop, task
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            logger.info("%s: stopped", self.name)
        finally:
            with self._guard:
                self._loop = self._task = None
            loop.close()

    async def _live(self) -> None:
        watch = asyncio.ensure_future(self._watch())
        try:
            await self._reconnect()
        finally:
            watch.cancel()

    async def _reconnect(self) -> None:
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                await self._link.run(self._desk)
            except SourceLost as error:
                self._down(str(error))
            except Exception as error:  # noqa: BLE001 - a library's own; the connector must outlive it
                self._down(f"{type(error).__name__}: {error}")
            attempt = 0 if self._desk.connected and time.monotonic() - began > _GOOD_AFTER_S else attempt + 1
            self._desk.connected = False
            await asyncio.sleep(self._pause_s(attempt))

    def _pause_s(self, attempt: int) -> float:
        least, most = self._backoff_s
        # The exponent is capped: after days of attempts it would be beyond a float.
        return self._jitter(least / 2, min(most, least * 2.0 ** min(attempt, 30)))

    def _down(self, error: str) -> None:
        if self._state is not State.DOWN or error != self._error:
            logger.warning("%s: %s: %s", self.name, self.reads, error)
        self._state, self._error = State.DOWN, error

    async def _watch(self) -> None:
        while True:
            self._look(time.monotonic())
            await asyncio.sleep(_LOOK_S)

    def _look(self, now: float) -> None:
        """Up, or silent; each change is told once."""
        if not self._desk.connected:
            return
        if self._state not in (State.UP, State.SILENT):
            self._state, self._error, self._up_since = State.UP, "", now
            logger.info("%s: reads %s", self.name, self.reads)
        quiet_s = now - max(self._desk.last_at or 0.0, self._up_since)
        if self._state is State.UP and quiet_s > self._silent_after_s:
            self._state = State.SILENT
            logger.warning("%s: %s is silent for %.0f s", self.name, self.reads, quiet_s)
        elif self._state is State.SILENT and quiet_s <= self._silent_after_s:
            self._state = State.UP
            logger.info("%s: %s speaks again", self.name, self.reads)
