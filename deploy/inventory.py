"""What a tenant needs in a region, in the order in which it can be made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from deploy.ensure.core import Resource
from deploy.ensure.dynamodb import ReplicaTable, Replication, Table
from deploy.ensure.iam import Role
from deploy.ensure.iot import DevicePolicy, Thing, ThingGroup, ThingType, TopicRule
from deploy.ensure.kinesis import Stream
from deploy.ensure.logs import LogGroup
from deploy.ensure.s3 import Bucket
from deploy.ensure.sns import Subscription, Topic
from deploy.ensure.sqs import Queue
from deploy.ensure.ssm import Parameter
from deploy.policies import buckets, devices, messaging, roles
from deploy.topology import DeviceKind, Names, RegionRole, Tenant, names, tags
from plantwatch.names import DEAD_LETTERS_PREFIX, DETECTOR_STATE_PREFIX, READINGS_PREFIX
from plantwatch.record import RULE_SQL

# One shard carries 1,000 records/s; the second lets the consumer's hand-off between shards be seen from the first day.
STREAM_SHARDS: Final = 2
# A week: a consumer that broke on a Friday is mended before anything expires.
STREAM_RETENTION_HOURS: Final = 168
# SQS's longest: an alert or a rule's error that nobody fetched must outlive a holiday.
QUEUE_RETENTION_S: Final = 14 * 24 * 3600
LOG_RETENTION_DAYS: Final = 30
TTL_ATTRIBUTE: Final = "ttl"


def resources(tenant: Tenant, role: RegionRole, http_subscriber: str | None = None) -> tuple[Resource, ...]:
    """Everything of one region that needs nothing of the other one. `http_subscriber` is a URL that gets alerts."""
    here, marks = names(tenant, tenant.region(role)), tags(tenant, role)
    return (
        *_roles(here, marks),
        *_storage(here, marks, role),
        *_messaging(here, marks, http_subscriber),
        *_registry(here, marks),
        *(thing(tenant, role, name, kind) for name, kind in tenant.devices),
        _telemetry_rule(here, marks),
        Parameter(here.active_region_parameter, _initially_active(tenant), marks),
        LogGroup(here.consumer_log_group, LOG_RETENTION_DAYS, marks),
    )


def replication(tenant: Tenant) -> Replication:
    """Belongs to the primary region, after its table."""
    return Replication(names(tenant, tenant.primary_region).table, (tenant.dr_region,))


def replica(tenant: Tenant) -> ReplicaTable:
    """Belongs to the DR region, after the replication."""
    return ReplicaTable(names(tenant, tenant.dr_region).table, tags(tenant, RegionRole.DR))


def thing(tenant: Tenant, role: RegionRole, name: str, kind: DeviceKind) -> Thing:
    here = names(tenant, tenant.region(role))
    return Thing(name, here.device_type(kind), here.thing_group, {"kind": kind.value, "tenant": tenant.name})


def _roles(here: Names, marks: Mapping[str, str]) -> tuple[Resource, ...]:
    rule = Role(here.rule_role, roles.rule_role_trust(here), {"rule": roles.rule_role_permissions(here)}, marks)
    permissions = {"consumer": roles.consumer_role_permissions(here)}
    return rule, Role(here.consumer_role, roles.consumer_role_trust(here), permissions, marks)


def _storage(here: Names, marks: Mapping[str, str], role: RegionRole) -> tuple[Resource, ...]:
    lake = Bucket(here.lake_bucket, buckets.lake_bucket_policy(here), _lake_lifecycle(), marks)
    models = Bucket(here.model_bucket, buckets.model_bucket_policy(here), _model_lifecycle(), marks)
    stream = Stream(here.stream, STREAM_SHARDS, STREAM_RETENTION_HOURS, marks)
    if role is RegionRole.DR:
        return lake, models, stream
    return lake, models, stream, Table(here.table, TTL_ATTRIBUTE, marks)


def _messaging(here: Names, marks: Mapping[str, str], http_subscriber: str | None) -> tuple[Resource, ...]:
    """The queue gets the alert alone, an HTTP receiver SNS's signed envelope around it."""
    to_queue = Subscription(f"{here.alerts_topic}:sqs", here.alerts_topic_arn, "sqs", here.alerts_queue_arn, raw=True)
    made = (
        Queue(here.rule_errors_queue, messaging.rule_errors_queue_policy(here), QUEUE_RETENTION_S, marks),
        Queue(here.alerts_queue, messaging.alerts_queue_policy(here), QUEUE_RETENTION_S, marks),
        Topic(here.alerts_topic, here.alerts_topic_arn, messaging.alerts_topic_policy(here), marks),
        to_queue,
    )
    if http_subscriber is None:
        return made
    protocol = http_subscriber.partition("://")[0]
    name = f"{here.alerts_topic}:{protocol}"
    return *made, Subscription(name, here.alerts_topic_arn, protocol, http_subscriber, raw=False)


def _registry(here: Names, marks: Mapping[str, str]) -> tuple[Resource, ...]:
    return (
        ThingType(here.gateway_type, "Sends batches for the machines behind it", marks),
        ThingType(here.thing_type, "Sends its own readings", marks),
        ThingGroup(here.thing_group, f"Every device of tenant {here.tenant}", marks),
        DevicePolicy(here.device_policy, devices.device_policy(here), marks),
    )


def _telemetry_rule(here: Names, marks: Mapping[str, str]) -> TopicRule:
    """Partitioned by device (topic level 4): a tenant's id as key would be one hot shard.

    It takes everything that the device policy lets a device publish (docs/decisions/0013): what is no telemetry is
    refused behind the stream, with a reason, and not forgotten in front of it.
    """
    to_stream = {"roleArn": here.rule_role_arn, "streamName": here.stream, "partitionKey": "${topic(4)}"}
    return TopicRule(
        name=here.telemetry_rule,
        arn=here.telemetry_rule_arn,
        description=f"Telemetry of tenant {here.tenant} into its stream, partitioned by device",
        sql=f"{RULE_SQL} FROM '{here.uplink_filter}'",
        actions=({"kinesis": to_stream},),
        error_queue=here.rule_errors_queue,
        error_role_arn=here.rule_role_arn,
        tags=marks,
    )


def _lake_lifecycle() -> tuple[Mapping[str, Any], ...]:
    """By ID, as they are read back. Readings get cheap after a month and stay; the replaced and the refused go."""
    return (
        _abort_uploads(),
        _expire_noncurrent("dead-letters", DEAD_LETTERS_PREFIX, days=30, Expiration={"Days": 90}),
        # Overwritten at every checkpoint: only the latest few are of any use.
        _expire_noncurrent("detector-state", DETECTOR_STATE_PREFIX, days=1),
        _expire_noncurrent(
            "readings", READINGS_PREFIX, days=30, Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]
        ),
    )


def _model_lifecycle() -> tuple[Mapping[str, Any], ...]:
    """Bundles are small and stay: any of them may become production again. So do the stages as they once were."""
    return (_abort_uploads(),)


def _abort_uploads() -> Mapping[str, Any]:
    return {
        "ID": "abort-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }


def _expire_noncurrent(rule_id: str, prefix: str, *, days: int, **more: Any) -> Mapping[str, Any]:
    return {
        "ID": rule_id,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
        **more,
    }


def _initially_active(tenant: Tenant) -> str:
    return json.dumps({"region": tenant.primary_region, "epoch": 1})
