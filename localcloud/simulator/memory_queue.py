"""A plain thing's queue: in memory, bounded, one cursor per leg. What an ordinary device has instead of a spool."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from edge_component.spool import Depth, Row


class MemoryQueue:
    """Rows are forgotten when every leg has sent them. `add` waits while the slowest leg is `rows_max` behind."""

    def __init__(self, legs: Sequence[str], rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: deque[Row] = deque()
        self._first_id = 1
        self._acknowledged = dict.fromkeys(legs, 0)
        self._taken = dict.fromkeys(legs, 0)
        self._changed = threading.Condition()  # guards everything here

    def add(self, payload: bytes, timeout_s: float) -> bool:
        """False where it found no room in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._rows) < self._rows_max, timeout_s):
                return False
            self._rows.append(Row(self._first_id + len(self._rows), payload))
            return True

    def wait_empty(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._rows, timeout_s)

    def take(self, leg: str, room: int) -> Row | None:
        with self._changed:
            index = self._taken[leg] + 1 - self._first_id
            if index >= len(self._rows) or len(self._rows[index].payload) > room:
                return None
            self._taken[leg] += 1
            return self._rows[index]

    def acknowledge(self, leg: str, rows: Sequence[Row]) -> None:
        with self._changed:
            self._acknowledged[leg] = rows[-1].id
            while self._rows and self._first_id <= min(self._acknowledged.values()):
                self._rows.popleft()
                self._first_id += 1
            self._changed.notify_all()

    def depth(self, leg: str) -> Depth:
        with self._changed:
            waiting = [row for row in self._rows if row.id > self._acknowledged[leg]]
            return Depth(len(waiting), sum(len(row.payload) for row in waiting))
