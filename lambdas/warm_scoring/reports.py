"""What one invocation has done, as metrics: lines in the log that CloudWatch takes for metrics (EMF)."""

from __future__ import annotations

from dataclasses import dataclass, field

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from plantwatch.pipeline import Effects
from plantwatch.telemetry import EpochMs


@dataclass
class Counted:
    """Tally of one invocation (see `plantwatch.shard.worker`)."""

    records: int = 0
    scored: int = 0
    duplicates: int = 0
    rejected: int = 0
    alerts_sent: int = 0
    flushes: int = 0
    oldest_ms: int = 0

    def took(self, effects: Effects, *, age_ms: int) -> None:
        self.records += 1
        self.scored += len(effects.scored)
        self.duplicates += effects.duplicates
        self.rejected += len(effects.rejections)
        self.oldest_ms = max(self.oldest_ms, age_ms)


@dataclass
class MetricReports:
    """Reports to one set of metrics, which the handler writes when the invocation ends."""

    metrics: Metrics
    counts: Counted = field(default_factory=Counted)

    def tell_if_due(self, now: EpochMs) -> None:
        """Only at the end: an invocation is short."""

    def tell(self, now: EpochMs) -> None:  # noqa: ARG002 - a metric is dated when it is written
        done, unit = self.counts, MetricUnit.Count
        for name, value in (
            ("Records", done.records), ("Scored", done.scored), ("Duplicates", done.duplicates),
            ("Rejected", done.rejected), ("AlertsSent", done.alerts_sent), ("Flushes", done.flushes),
        ):  # fmt: skip
            self.metrics.add_metric(name, unit, value)
        self.metrics.add_metric("OldestRecord", MetricUnit.Milliseconds, done.oldest_ms)
        self.counts = Counted()
