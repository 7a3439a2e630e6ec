"""Settings to a shard's worker with real adapters: the only place where the two meet."""

from __future__ import annotations

import time

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
from plantwatch.shard.settings import ShardSettings
from plantwatch.shard.worker import Held, MakeReports, Ports, ShardWorker
from plantwatch.telemetry import EpochMs


class SystemClock:
    """The machine's clock."""

    def now(self) -> EpochMs:
        return time.time_ns() // 1_000_000


class ShardWorkers:
    """Makes workers that know nothing yet, one for each shard. They share the clients, which are made once."""

    def __init__(self, settings: ShardSettings, *, reports: MakeReports, flush_policy: FlushPolicy) -> None:
        self._settings = settings
        self._reports = reports
        self._flush_policy = flush_policy
        self._s3 = client("s3")
        self._results = DynamoDbResults(client("dynamodb", connections=STATE_WRITERS), settings.results_table)
        self._notifier = SnsNotifier(client("sns"), settings.alerts_topic_arn)
        self._active_region = SsmActiveRegion(client("ssm"), settings.active_region_parameter, region=settings.region)
        self._family = StreamShards(client("kinesis"), settings.stream_arn)

    def make(self, patience: Patience) -> Held:
        settings = self._settings
        bucket, tenant, region = settings.lake_bucket, settings.tenant, settings.region
        machines = watching(settings.bundle_path, settings.maintenance_path)
        # Of its own for each shard: it remembers which of two objects is to be replaced.
        states = S3DetectorStates(self._s3, bucket, application=settings.application, bundle=machines.bundle)
        ports = Ports(
            results=self._results,
            notifier=self._notifier,
            lake=S3Lake(self._s3, bucket, region=region),
            dead_letters=S3DeadLetters(self._s3, bucket, tenant=tenant, region=region),
            active_region=self._active_region,
            family=self._family,
            states=states,
            reports=self._reports,
            clock=SystemClock(),
        )
        worker = ShardWorker(
            Pipeline(machines, tenant=tenant, region=region, gateways=settings.gateways),
            ports,
            flush_policy=self._flush_policy,
            anomaly_score_min=settings.anomaly_score_min,
            patience=patience,
        )
        return Held(worker, states)
