"""Settings to the worker of the one shard that a child process has."""

from __future__ import annotations

from kcl_consumer.meter import LogMeter, Reports
from kcl_consumer.settings import ConsumerSettings
from plantwatch.aws.shard_worker import ShardWorkers
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import ShardWorker


def build_worker(settings: ConsumerSettings, patience: Patience) -> ShardWorker:
    workers = ShardWorkers(
        settings,
        reports=lambda shard, since, watch: Reports(LogMeter(), shard, since=since, watch=watch),
        flush_policy=settings.flush_policy,
    )
    return workers.make(patience).worker
