"""The warm function without a cloud: its containers come and go, what it wrote stays."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools.metrics import Metrics

from lambdas.warm_scoring.reports import MetricReports
from lambdas.warm_scoring.scoring import WarmScoring, failures, records_of
from plantwatch.bundle.runtime import watching
from plantwatch.pipeline import Pipeline
from plantwatch.scoring import ScoredReading
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import Held, Ports, ShardWorker
from plantwatch.telemetry import EpochMs
from tests.fakes import (
    Fuse,
    MemoryDeadLetters,
    MemoryFamily,
    MemoryLake,
    MemoryNotifier,
    MemoryResults,
    MemoryStates,
    SteadyClock,
    Switch,
)

SHARD = "shardId-000000000000"
# Ten minutes: no invocation of a test comes near it unless it is told another time.
PLENTY_MS = 600_000.0


def kinesis_item(sequence: int, data: bytes, arrived_at: EpochMs, shard: str = SHARD) -> dict[str, Any]:
    """One record as the mapping hands it over."""
    kinesis = {
        "sequenceNumber": str(sequence),
        "approximateArrivalTimestamp": arrived_at / 1000,
        "data": base64.b64encode(data).decode(),
    }
    return {"eventID": f"{shard}:{sequence}", "kinesis": kinesis}


class KeepingLake(MemoryLake):
    """Keeps what it was given also as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: dict[str, list[ScoredReading]] = {}

    def append(self, scored: Sequence[ScoredReading], *, position: str, stored_at: EpochMs) -> None:
        super().append(scored, position=position, stored_at=stored_at)
        self.appended[position] = list(scored)


class MemoryWorld:
    """What survives a container: all that it wrote."""

    def __init__(self, bundle_path: str = "", gateways: tuple[str, ...] = ()) -> None:
        self.results = MemoryResults()
        self.notifier = MemoryNotifier()
        self.lake = KeepingLake()
        self.dead_letters = MemoryDeadLetters()
        self.states = MemoryStates()
        self.family = MemoryFamily()
        self.switch = Switch()
        self.clock = SteadyClock()
        self.fuse = Fuse()
        self._bundle_path = bundle_path
        self._gateways = gateways
        self.recycle()

    def recycle(self) -> None:
        """The next invocation meets a new container."""
        self._scoring = WarmScoring(self._make, stop_before_ms=15_000)

    def invoke(self, items: Sequence[dict[str, Any]], remaining_ms: float = PLENTY_MS) -> list[str]:
        """One batch; the sequence number from which on it comes again, if any."""
        shard, records = records_of({"Records": list(items)})
        answer = failures(self._scoring.take(shard, records, lambda: remaining_ms))
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]

    def worker(self) -> ShardWorker:
        """A worker over this world's ports, as the consumer has one."""
        machines = watching(self._bundle_path)
        pipeline = Pipeline(machines, tenant="acme", region="us-east-1", gateways=self._gateways)
        return ShardWorker(
            pipeline,
            self._ports(),
            flush_policy=FlushPolicy(interval_ms=10_000),
            anomaly_score_min=0.999,
            patience=Patience(0.0, sleep=lambda _: None),
        )

    def _make(self) -> Held:
        return Held(self.worker(), self.states)

    def _ports(self) -> Ports:
        guard = self.fuse.guard
        reports = MetricReports(Metrics(namespace="plantwatch", service="warm-scoring"))
        return Ports(
            guard(self.results),
            guard(self.notifier),
            guard(self.lake),
            guard(self.dead_letters),
            self.switch,
            self.family,
            guard(self.states),
            lambda *_: reports,
            self.clock,
        )
