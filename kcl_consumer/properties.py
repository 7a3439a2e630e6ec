"""The MultiLangDaemon's properties file, with a reason for every line that its documentation does not give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kcl_consumer.settings import ConsumerSettings

# What the daemon starts once per shard. It splits the line at spaces, so no path may stand here: the supervisor puts
# our interpreter's folder first in PATH.
CHILD_MODULE: Final = "kcl_consumer.processor"

# boto3 and the AWS SDK for Java read these; the daemon's own builder does not.
_ENDPOINTS: Final = {
    "kinesisEndpoint": "AWS_ENDPOINT_URL_KINESIS",
    "dynamoDBEndpoint": "AWS_ENDPOINT_URL_DYNAMODB",
}
_ENDPOINT: Final = "AWS_ENDPOINT_URL"


def render_properties(settings: ConsumerSettings, *, python: str, environment: Mapping[str, str]) -> str:
    """The file's text. `python` is the interpreter's name in PATH; `environment` may name endpoints."""
    lines = [
        f"{name} = {value}" for name, value in properties(settings, python=python, environment=environment).items()
    ]
    return "\n".join(lines) + "\n"


def properties(settings: ConsumerSettings, *, python: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {
        "executableName": f"{python} -m {CHILD_MODULE}",
        "streamArn": settings.stream_arn,
        "applicationName": settings.application,
        "workerId": settings.worker_id,
        "regionName": settings.region,
        "AwsCredentialsProvider": "DefaultCredentialsProvider",
        "processingLanguage": "python/3",
        # From the oldest record kept: a new consumer may not skip what came before its first start.
        "initialPositionInStream": "TRIM_HORIZON",
        "maxRecords": str(settings.records_max),
        "idleTimeBetweenReadsInMillis": str(settings.idle_between_reads_ms),
        # An empty call lets a window of time end while nothing arrives.
        "callProcessRecordsEvenForEmptyRecordList": "true",
        # Unset, a child that hangs is waited for without end.
        "timeoutInSeconds": str(settings.child_timeout_s),
        # Unset, SIGTERM ends the daemon at once: no shutdown_requested, and the leader's lock stays behind.
        "shutdownGraceMillis": str(settings.shutdown_grace_ms),
        "failoverTimeMillis": str(settings.failover_ms),
        # Unset, twice the failover time.
        "leaseAssignmentIntervalMillis": str(settings.lease_assignment_interval_ms),
        # Unset, a dead worker counts as alive for a minute and is given leases.
        "workerMetricsReporterFreqInMillis": str(settings.worker_metrics_report_ms),
        # Unset, the first start on an empty lease table waits another minute.
        "shardSyncIntervalMillis": str(settings.shard_sync_ms),
        "parentShardPollIntervalMillis": str(settings.parent_shard_poll_ms),
        "metricsLevel": settings.metrics_level,
        # The lease table is where each shard stands; losing it means reading everything again.
        "leaseTablePitrEnabled": _flag(settings.protect_tables),
        "leaseTableDeletionProtectionEnabled": _flag(settings.protect_tables),
        **_endpoints(environment),
    }


def jvm_flags(settings: ConsumerSettings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The Java options: the operator's, and, for an endpoint that is not AWS's own, JSON instead of CBOR."""
    return (*settings.jvm_flags, *(("-Daws.cborEnabled=false",) if _endpoints(environment) else ()))


def _endpoints(environment: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: environment.get(variable) or environment.get(_ENDPOINT) for name, variable in _ENDPOINTS.items()}
    return {name: endpoint for name, endpoint in chosen.items() if endpoint}


def _flag(value: bool) -> str:
    return "true" if value else "false"
