"""What a shard's worker has done, told once a minute, so that nothing is dropped in silence.

    plantwatch-counts {"shard": "shardId-000000000000", "at": "2026-11-23T06:01:15.250Z", "adopted": 900, ...}

All numbers but `oldest_ms` are totals since the worker took the shard: a line that is lost loses nothing, and the
difference of two lines is a rate. The last line comes when the worker hands its shard over.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from plantwatch.machine import WatchCounts
from plantwatch.pipeline import Effects
from plantwatch.telemetry import EpochMs, isoformat

log = logging.getLogger(__name__)

REPORT_EVERY_MS: Final = 60_000
# What a log's metric filter, or a person's grep, finds the lines by.
PREFIX: Final = "plantwatch-counts"


@dataclass
class Counts:
    """`scored` here, `adopted` as the gateway had scored them, `duplicates` had arrived before. `declared_drops`
    will not come, as their gateway says. `rejected` by reason.

    `oldest_ms` is the greatest age, since the last report, at which a record was taken: from its arrival in the stream.
    It grows while the worker cannot keep up.
    """

    records: int = 0
    scored: int = 0
    adopted: int = 0
    duplicates: int = 0
    declared_drops: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    alerts_sent: int = 0
    flushes: int = 0
    oldest_ms: int = 0

    def took(self, effects: Effects, *, age_ms: int) -> None:
        """One record."""
        self.records += 1
        self.adopted += effects.adopted
        self.scored += len(effects.scored) - effects.adopted
        self.duplicates += effects.duplicates
        self.declared_drops += effects.declared_drops
        self.rejected.update(str(rejection.reason) for rejection in effects.rejections)
        self.oldest_ms = max(self.oldest_ms, age_ms)


class Meter(Protocol):
    def report(self, counts: dict[str, Any]) -> None:
        """Tell the operator. It never fails: no shard stops for its statistics."""


class LogMeter:
    """Meter that writes one line to the log."""

    def report(self, counts: dict[str, Any]) -> None:
        log.info("%s %s", PREFIX, json.dumps(counts))


class Reports:
    """Counts of one shard, and when they are due."""

    def __init__(self, meter: Meter, shard: str, *, since: EpochMs, watch: WatchCounts) -> None:
        self.counts = Counts()
        self._meter = meter
        self._shard = shard
        self._watch = watch
        self._told_at = since

    def tell_if_due(self, now: EpochMs) -> None:
        if now - self._told_at >= REPORT_EVERY_MS:
            self.tell(now)

    def tell(self, now: EpochMs) -> None:
        counts = {**vars(self.counts), "rejected": dict(self.counts.rejected)}
        self._meter.report({"shard": self._shard, "at": isoformat(now), **counts, **asdict(self._watch)})
        self._told_at = now
        self.counts.oldest_ms = 0
