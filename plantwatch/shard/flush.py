"""What a shard has taken and not yet written, cut into flushes so that a repeat writes the same objects.

After a crash the same records come again from the last checkpoint. They must give objects of the same names with at
least the same rows, or the lake would keep a row twice. Hence two rules:

- A flush ends where the records say so (the next window of arrival times, a count of rows or bytes), not where the
  clock happened to be. The clock only closes a window in which nothing more arrives.
- The rows of one observed day are named by the first record that brought one. Cut elsewhere, the flush would have
  other days, but each day's first record stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from plantwatch.pipeline import Effects
from plantwatch.scoring import ScoredReading
from plantwatch.shard.checkpoint import Position
from plantwatch.telemetry import EpochMs, Rejection

T = TypeVar("T")

_DAY_MS: Final = 24 * 3600 * 1000

# Records of one window may reach the child this much after its end: Kinesis takes 0.2 s, a busy daemon longer.
WINDOW_GRACE_MS: Final = 500


class FlushPolicy(NamedTuple):
    """When a flush ends. `interval_ms` is the width of the window of arrival times."""

    interval_ms: int = 60_000
    # A row costs about 2 kB in memory and 60 B in the object: 10 MB and 0.3 MB.
    rows_max: int = 5_000
    # Of record data; a batch of 5 kB holds some 100 rows, a thing's single reading 0.2 kB.
    bytes_max: int = 4_000_000


class Part(NamedTuple, Generic[T]):
    """What belongs into one object, and the record that names it."""

    first: Position
    items: list[T]


@dataclass(slots=True)
class Pending:
    """The current flush in the making."""

    policy: FlushPolicy
    window: int | None = None
    rows: int = 0
    bytes: int = 0
    readings: dict[int, Part[ScoredReading]] = field(default_factory=dict)
    rejections: dict[int, Part[Rejection]] = field(default_factory=dict)
    latest: dict[str, ScoredReading] = field(default_factory=dict)

    def add(self, effects: Effects, position: Position, *, arrived_at: EpochMs, size: int) -> None:
        if self.window is None:
            self.window = self._window(arrived_at)
        self.rows += len(effects.scored) + len(effects.rejections)
        self.bytes += size
        _collect(self.readings, effects.scored, position, key=lambda item: item.reading.observed_at)
        _collect(self.rejections, effects.rejections, position, key=lambda item: item.received_at)
        for scored in effects.scored:
            known = self.latest.get(scored.reading.device)
            if known is None or scored.reading.observed_at > known.reading.observed_at:
                self.latest[scored.reading.device] = scored

    @property
    def is_full(self) -> bool:
        return self.rows >= self.policy.rows_max or self.bytes >= self.policy.bytes_max

    def ends_before(self, arrived_at: EpochMs) -> bool:
        """Whether a record of this arrival time belongs into the next flush."""
        return self.window is not None and self._window(arrived_at) > self.window

    def is_over(self, now: EpochMs) -> bool:
        """Whether nothing more will come for this flush's window."""
        return self.window is not None and self._window(now - WINDOW_GRACE_MS) > self.window

    def _window(self, at: EpochMs) -> int:
        return at // self.policy.interval_ms


def _collect(parts: dict[int, Part[T]], items: Iterable[T], position: Position, *, key: Callable[[T], EpochMs]) -> None:
    """Each item to its day's part; the day's first record names it."""
    for item in items:
        parts.setdefault(key(item) // _DAY_MS, Part(position, [])).items.append(item)
