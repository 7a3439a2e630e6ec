"""Settings to the function."""

from __future__ import annotations

from lambdas.warm_scoring.reports import MetricReports
from lambdas.warm_scoring.scoring import WarmScoring
from lambdas.warm_scoring.settings import WarmSettings
from plantwatch.aws.shard_worker import ShardWorkers
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.patience import Patience


def build(settings: WarmSettings, reports: MetricReports) -> WarmScoring:
    """Clients are made once and shared by the workers of all shards."""
    workers = ShardWorkers(settings, reports=lambda *_: reports, flush_policy=FlushPolicy())
    return WarmScoring(
        lambda: workers.make(Patience(settings.patience_s)), stop_before_ms=1000 * settings.stop_before_s
    )
