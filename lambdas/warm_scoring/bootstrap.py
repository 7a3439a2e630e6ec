"""Settings to a function with real adapters: the only place where the two meet."""

from __future__ import annotations

import time

from lambdas.warm_scoring.reports import MetricReports
from lambdas.warm_scoring.scoring import Held, WarmScoring
from lambdas.warm_scoring.settings import WarmSettings
from plantwatch.aws.active_region import SsmActiveRegion
from plantwatch.aws.clients import client
from plantwatch.aws.dead_letters import S3DeadLetters
from plantwatch.aws.detector_states import S3DetectorStates
from plantwatch.aws.lake import S3Lake
from plantwatch.aws.notifier import SnsNotifier
from plantwatch.aws.results import STATE_WRITERS, DynamoDbResults
from plantwatch.aws.shards import StreamShards
from plantwatch.bundle.runtime import watching
from plantwatch.pipeline import Pipeline
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import Ports, ShardWorker
from plantwatch.telemetry import EpochMs


class SystemClock:
    """The machine's clock."""

    def now(self) -> EpochMs:
        return time.time_ns() // 1_000_000


def build(settings: WarmSettings, reports: MetricReports) -> WarmScoring:
    """Clients are made once and shared by the workers of all shards."""
    s3, bucket, tenant, region = client("s3"), settings.lake_bucket, settings.tenant, settings.region
    results = DynamoDbResults(client("dynamodb", connections=STATE_WRITERS), settings.results_table)
    notifier = SnsNotifier(client("sns"), settings.alerts_topic_arn)
    active_region = SsmActiveRegion(client("ssm"), settings.active_region_parameter, region=region)
    family = StreamShards(client("kinesis"), settings.stream_arn)

    def make() -> Held:
        machines = watching(settings.bundle_path)
        # Of its own for each shard: it remembers which of two objects is to be replaced.
        states = S3DetectorStates(s3, bucket, application=settings.application, bundle=machines.bundle)
        ports = Ports(
            results=results,
            notifier=notifier,
            lake=S3Lake(s3, bucket, region=region),
            dead_letters=S3DeadLetters(s3, bucket, tenant=tenant, region=region),
            active_region=active_region,
            family=family,
            states=states,
            reports=lambda *_: reports,
            clock=SystemClock(),
        )
        pipeline = Pipeline(machines, tenant=tenant, region=region, gateways=settings.gateways)
        patience = Patience(settings.patience_s)
        worker = ShardWorker(
            pipeline,
            ports,
            flush_policy=FlushPolicy(),
            anomaly_score_min=settings.anomaly_score_min,
            patience=patience,
        )
        return Held(worker, states)

    return WarmScoring(make, stop_before_ms=1000 * settings.stop_before_s)
