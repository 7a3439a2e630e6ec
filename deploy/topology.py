"""The one place that names things: a tenant and a region give every name, ARN and topic that plantwatch uses there.

Pure: no client, no account is asked. What each resource looks like is in `deploy.inventory`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plantwatch.telemetry import uplink_filter

# A tenant id becomes part of a topic rule's name, where AWS allows only letters, digits and underscores.
_TENANT = re.compile(r"[a-z][a-z0-9_]{1,30}")
# What both a thing's name (no dot) and a device's id in the telemetry contract (no leading colon or hyphen) allow.
_THING = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:-]{0,127}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_ENV = re.compile(r"[a-z][a-z0-9-]{0,15}")
_BUCKET_CHARS_MAX: Final = 63

# A thing's folder under the credentials folder holds these two; the bundle that vouches for the broker is per region.
CERTIFICATE_FILE: Final = "certificate.pem"
PRIVATE_KEY_FILE: Final = "private.key"


class InvalidTopology(ValueError):
    """Names that AWS would refuse; `problems` has all of them, not the first only."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class RegionRole(StrEnum):
    """What a region is to a tenant. The active region may move; the role never does."""

    PRIMARY = "primary"
    DR = "dr"


class DeviceKind(StrEnum):
    """How a registered thing sends: a gateway in batches for the machines behind it, a thing for itself."""

    GATEWAY = "gateway"
    THING = "thing"


@dataclass(frozen=True)
class Tenant:
    """Whose machines are watched, and where. Raises InvalidTopology with every problem at once."""

    name: str
    account: str
    primary_region: str
    dr_region: str
    gateways: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    env: str = "dev"

    def __post_init__(self) -> None:
        if problems := tuple(_problems(self)):
            raise InvalidTopology(problems)

    def region(self, role: RegionRole) -> str:
        return self.primary_region if role is RegionRole.PRIMARY else self.dr_region

    @property
    def devices(self) -> tuple[tuple[str, DeviceKind], ...]:
        """Every thing of the registry: the machines behind a gateway are not among them."""
        gateways = tuple((name, DeviceKind.GATEWAY) for name in self.gateways)
        return gateways + tuple((name, DeviceKind.THING) for name in self.things)


def check_thing_name(name: str) -> None:
    """Raises InvalidTopology for a name that IoT Core or the telemetry contract would refuse."""
    if not _THING.fullmatch(name):
        raise InvalidTopology((_wrong("thing", name, _THING),))


def tags(tenant: Tenant, role: RegionRole) -> Mapping[str, str]:
    """Every resource carries these: they attribute its cost and find what clean-up must remove."""
    return {
        "app": "plantwatch",
        "env": tenant.env,
        "managed-by": "plantwatch-deploy",
        "region-role": role.value,
        "tenant": tenant.name,
    }


@dataclass(frozen=True)
class Names:
    """Every name of one tenant in one region. `*_arn` are ARNs, the rest are what the service's own calls take."""

    tenant: str
    region: str
    account: str
    stream: str
    stream_arn: str
    table: str
    table_arn: str
    lake_bucket: str
    lake_bucket_arn: str
    model_bucket: str
    model_bucket_arn: str
    alerts_topic: str
    alerts_topic_arn: str
    alerts_queue: str
    alerts_queue_arn: str
    rule_errors_queue: str
    rule_errors_queue_arn: str
    telemetry_rule: str
    telemetry_rule_arn: str
    uplink_filter: str
    rule_role: str
    rule_role_arn: str
    consumer_role: str
    consumer_role_arn: str
    consumer_application: str
    device_policy: str
    gateway_type: str
    thing_type: str
    thing_group: str
    active_region_parameter: str
    consumer_log_group: str

    def device_type(self, kind: DeviceKind) -> str:
        return self.gateway_type if kind is DeviceKind.GATEWAY else self.thing_type


def names(tenant: Tenant, region: str) -> Names:
    """Roles carry the region: IAM is one per account, and a region's role may touch that region only."""
    t, account = tenant.name, tenant.account
    bucket, models = lake_bucket(t, account, region), model_bucket(t, account, region)
    rule = f"telemetry_to_kinesis_{t}"
    rule_role, consumer_role = f"iot-rule-actions-{t}-{region}", f"anomaly-consumer-{t}-{region}"

    def arn(service: str, resource: str) -> str:
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    return Names(
        tenant=t,
        region=region,
        account=account,
        stream=f"anomaly-stream-{t}",
        stream_arn=arn("kinesis", f"stream/anomaly-stream-{t}"),
        table=f"anomaly-results-{t}",
        table_arn=arn("dynamodb", f"table/anomaly-results-{t}"),
        lake_bucket=bucket,
        lake_bucket_arn=f"arn:aws:s3:::{bucket}",
        model_bucket=models,
        model_bucket_arn=f"arn:aws:s3:::{models}",
        alerts_topic=f"alerts-{t}",
        alerts_topic_arn=arn("sns", f"alerts-{t}"),
        alerts_queue=f"alerts-{t}",
        alerts_queue_arn=arn("sqs", f"alerts-{t}"),
        rule_errors_queue=f"iot-rule-errors-{t}",
        rule_errors_queue_arn=arn("sqs", f"iot-rule-errors-{t}"),
        telemetry_rule=rule,
        telemetry_rule_arn=arn("iot", f"rule/{rule}"),
        uplink_filter=uplink_filter(t),
        rule_role=rule_role,
        rule_role_arn=f"arn:aws:iam::{account}:role/{rule_role}",
        consumer_role=consumer_role,
        consumer_role_arn=f"arn:aws:iam::{account}:role/{consumer_role}",
        consumer_application=f"anomaly-consumer-{t}",
        device_policy=f"tenant_policy_{t}",
        gateway_type=f"plantwatch-gateway-{t}",
        thing_type=f"plantwatch-thing-{t}",
        thing_group=f"tenant-{t}",
        active_region_parameter=f"/plantwatch/{t}/active-region",
        consumer_log_group=f"/plantwatch/{t}/anomaly-consumer",
    )


def lake_bucket(tenant: str, account: str, region: str) -> str:
    """Bucket names are global and have no underscore; a tenant id has no hyphen, so the exchange loses nothing."""
    return f"iot-data-lake-{tenant.replace('_', '-')}-{account}-{region}"


def model_bucket(tenant: str, account: str, region: str) -> str:
    """The bundles of a tenant's machines, and their stages; its name is shorter than the lake's."""
    return f"iot-models-{tenant.replace('_', '-')}-{account}-{region}"


def _problems(tenant: Tenant) -> Iterator[str]:
    if not _TENANT.fullmatch(tenant.name):
        yield _wrong("tenant", tenant.name, _TENANT)
    if not _ACCOUNT.fullmatch(tenant.account):
        yield _wrong("account", tenant.account, _ACCOUNT)
    if not _ENV.fullmatch(tenant.env):
        yield _wrong("env", tenant.env, _ENV)
    for region in (tenant.primary_region, tenant.dr_region):
        if not _REGION.fullmatch(region):
            yield _wrong("region", region, _REGION)
        elif len(bucket := lake_bucket(tenant.name, tenant.account, region)) > _BUCKET_CHARS_MAX:
            yield f"tenant {tenant.name!r} is too long: {bucket} has over {_BUCKET_CHARS_MAX} characters"
    if tenant.primary_region == tenant.dr_region:
        yield f"primary and DR are the same region {tenant.primary_region!r}: one outage takes both"
    yield from _thing_problems(tenant)


def _thing_problems(tenant: Tenant) -> Iterator[str]:
    seen: set[str] = set()
    for name, _ in tenant.devices:
        if not _THING.fullmatch(name):
            yield _wrong("thing", name, _THING)
        if name in seen:
            yield f"thing {name!r} is named twice"
        seen.add(name)


def _wrong(what: str, value: str, pattern: re.Pattern[str]) -> str:
    return f"{what} {value!r} does not match {pattern.pattern}"
