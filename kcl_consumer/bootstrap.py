"""Settings to a worker with real adapters: the only place where the two meet."""

from __future__ import annotations

import time

from kcl_consumer.meter import LogMeter, Reports
from kcl_consumer.settings import ConsumerSettings
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
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import Ports, ShardWorker
from plantwatch.telemetry import EpochMs


class SystemClock:
    """The machine's clock."""

    def now(self) -> EpochMs:
        return time.time_ns() // 1_000_000


def build_worker(settings: ConsumerSettings, patience: Patience) -> ShardWorker:
    machines = watching(settings.bundle_path, settings.maintenance_path)
    return ShardWorker(
        Pipeline(machines, tenant=settings.tenant, region=settings.region, gateways=settings.gateways),
        build_ports(settings, bundle=machines.bundle),
        flush_policy=settings.flush_policy,
        anomaly_score_min=settings.anomaly_score_min,
        patience=patience,
    )


def build_ports(settings: ConsumerSettings, *, bundle: str) -> Ports:
    s3 = client("s3")
    tenant, region, bucket = settings.tenant, settings.region, settings.lake_bucket
    return Ports(
        results=DynamoDbResults(client("dynamodb", connections=STATE_WRITERS), settings.results_table),
        notifier=SnsNotifier(client("sns"), settings.alerts_topic_arn),
        lake=S3Lake(s3, bucket, region=region),
        dead_letters=S3DeadLetters(s3, bucket, tenant=tenant, region=region),
        active_region=SsmActiveRegion(client("ssm"), settings.active_region_parameter, region=region),
        family=StreamShards(client("kinesis"), settings.stream_arn),
        states=S3DetectorStates(s3, bucket, application=settings.application, bundle=bundle),
        reports=lambda shard, since, watch: Reports(LogMeter(), shard, since=since, watch=watch),
        clock=SystemClock(),
    )
