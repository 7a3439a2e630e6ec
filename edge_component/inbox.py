"""What has arrived on local topics and waits for the worker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from edge_component.nucleus import Payload
from edge_component.sources.local_topics import LocalMessage
from plantwatch.telemetry import EpochMs

# What is taken at once, before the clock is looked at again: some 5,000 readings, 0.2 s of work.
_DRAIN_BYTES_MAX: Final = 500_000
# A JSON message comes as an object; it counts as much as nucleus lite lets through.
_JSON_MESSAGE_BYTES: Final = 10_000


class Inbox:
    """Between the nucleus's thread and the worker: bounded, never blocks the nucleus. What does not fit is refused and
    counted; a source that numbers its readings sends it again. It outlives connections and configurations: what arrives
    between two runs of the component waits for the next. `bytes_max` may be changed at any time."""

    def __init__(self, bytes_max: int, now: Callable[[], EpochMs]) -> None:
        self.refused = 0
        self.bytes_max = bytes_max
        self._bytes = 0
        self._now = now
        self._messages: deque[LocalMessage] = deque()
        self._arrived = threading.Condition()  # guards everything here

    def put(self, topic: str, payload: Payload) -> None:
        if not self.offer(topic, payload):
            self.refused += 1

    def offer(self, topic: str, payload: Payload, on_safe: Callable[[], None] | None = None) -> bool:
        """Whether it was taken; for a connector, which counts itself what it lost, or waits."""
        size = _size(payload)
        with self._arrived:
            if self._bytes + size > self.bytes_max:
                return False
            self._bytes += size
            self._messages.append(LocalMessage(topic, payload, self._now(), on_safe))
            self._arrived.notify()
        return True

    def wake(self) -> None:
        with self._arrived:
            self._arrived.notify()

    def drain(self, timeout_s: float, bytes_max: int = _DRAIN_BYTES_MAX) -> list[LocalMessage]:
        """What is there, oldest first, up to `bytes_max`; waits for the first."""
        drained: list[LocalMessage] = []
        size = 0
        with self._arrived:
            if not self._messages:
                self._arrived.wait(max(timeout_s, 0.0))
            while self._messages and size < bytes_max:
                drained.append(self._messages.popleft())
                size += _size(drained[-1].payload)
            self._bytes -= size
        return drained

    @property
    def is_empty(self) -> bool:
        return not self._messages


def _size(payload: Payload) -> int:
    return len(payload) if isinstance(payload, bytes) else _JSON_MESSAGE_BYTES
