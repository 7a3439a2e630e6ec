"""A tenant's two regions, made and mended on two emulated regions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deploy import inventory
from deploy.ensure.clients import Clients, Target
from deploy.ensure.core import Action, EnsureFailed, Outcome, Resource, ensure, ensure_absent
from deploy.ensure.credentials import MissingPrivateKey, ThingCredentials
from deploy.ensure.dynamodb import ImmutableField, Table
from deploy.ensure.iot import BelongsToAnother
from deploy.provision import WrongTarget, main, onboard_thing, provision
from deploy.report import Report
from deploy.topology import Names, RegionRole, Tenant, names
from localcloud.processes import ProcessSpec, ProcessTable
from localcloud.region import REPOSITORY, fetch_ca, profiles_environment, write_aws_config
from tests.region_support import Device, RunningRegion, session

pytestmark = pytest.mark.component

ACME = Tenant("acme", "000000000000", "us-east-1", "us-west-2", gateways=("gw-1",), things=("fan-1",))
HERE = names(ACME, "us-east-1")
THERE = names(ACME, "us-west-2")
NOT_AUTHORISED = 135


@dataclass(frozen=True)
class Cloud:
    """Two regions, empty at first, and what AWS does between them."""

    primary: RunningRegion
    dr: RunningRegion
    folder: Path
    clients: dict[RegionRole, Clients]

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(each.target for each in self.clients.values())

    def provision(self, tenant: Tenant = ACME, **options: Any) -> Report:
        return provision(tenant, self.targets, credentials_dir=self.folder, **options)

    def running(self, role: RegionRole) -> RunningRegion:
        return self.primary if role is RegionRole.PRIMARY else self.dr

    def device(self, name: str, role: RegionRole) -> Device:
        """As the device sees it: its files, and the CA of the region that it speaks to."""
        running = self.running(role)
        ca = self.folder / f"{role}-ca.pem"
        ca.write_bytes(fetch_ca(running.region))
        return Device(name, self.folder / name / "certificate.pem", self.folder / name / "private.key", ca, "", "")

    def certificate(self, name: str) -> str:
        iot = self.clients[RegionRole.PRIMARY]("iot")
        (arn,) = iot.list_thing_principals(thingName=name)["principals"]
        return str(arn).rpartition("/")[2]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("provision")
    table = ProcessTable(root)
    primary = RunningRegion(table, root / "state")
    dr = RunningRegion(table, root / "state", role="dr", name="us-west-2")
    config = root / "aws.ini"
    write_aws_config(config, (primary.region, dr.region))
    command = (sys.executable, "-m", "localcloud.replicator", "--status", str(root / "replicator.json"))
    with pytest.MonkeyPatch.context() as patch:
        # A profile's endpoint counts only where the environment names none.
        patch.delenv("AWS_ENDPOINT_URL")
        for name, value in profiles_environment(config).items():
            patch.setenv(name, value)
        try:
            primary.start()
            dr.start()
            table.start(ProcessSpec("replicator", command, profiles_environment(config), REPOSITORY))
            targets = (
                Target(RegionRole.PRIMARY, "us-east-1", "primary"),
                Target(RegionRole.DR, "us-west-2", "dr"),
            )
            clients = {target.role: Clients(target) for target in targets}
            yield Cloud(primary, dr, root / "credentials", clients)
        finally:
            # Nobody needs their state: no reason to wait until they have written it down.
            for name in table.names():
                table.kill(name)


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> Cloud:
    """The cloud with tenant acme in it."""
    cloud.provision()
    return cloud


def changes(report: Report) -> list[tuple[str, str, str, Action, tuple[str, ...]]]:
    """What is announced: everything but values that only a service can make up."""
    return [
        (each.region, each.kind, each.name, each.action, tuple(change.field for change in each.changes))
        for each in report.outcomes
    ]


# First in the file: it needs the empty cloud.
def test_check_on_an_empty_account_announces_what_the_run_makes_and_the_second_run_makes_nothing(cloud: Cloud) -> None:
    announced = cloud.provision(check=True)
    assert not cloud.folder.exists()
    assert cloud.provision(check=True).outcomes == announced.outcomes, "a check writes nothing"
    made = cloud.provision()
    assert made.outcomes == announced.outcomes
    assert made.counts == {"none": 0, "create": len(made.outcomes), "update": 0, "delete": 0}
    assert made.duration_s < 10
    again = cloud.provision()
    assert not again.changed
    assert again.duration_s < 5
    for clients in cloud.clients.values():
        value = clients("ssm").get_parameter(Name=HERE.active_region_parameter)["Parameter"]["Value"]
        assert json.loads(value) == {"region": "us-east-1", "epoch": 1}


def test_keys_are_private_and_never_in_a_report(acme: Cloud) -> None:
    report = acme.provision()
    key = acme.folder / "fan-1" / "private.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert acme.folder.stat().st_mode & 0o777 == 0o700
    secret = key.read_text().splitlines()[1]
    assert "PRIVATE KEY" in key.read_text()
    assert secret not in report.as_json()
    assert "PRIVATE KEY" not in repr(report)


Mutation = Callable[[Clients, Names], Any]


def _iot_tag(arn_of: Callable[[Any, Names], str]) -> Mutation:
    def mutate(clients: Clients, here: Names) -> None:
        iot = clients("iot")
        iot.tag_resource(resourceArn=arn_of(iot, here), tags=[{"Key": "tenant", "Value": "other"}])

    return mutate


def _publish_anywhere(clients: Clients, here: Names) -> None:
    document = json.loads(clients("iot").get_policy(policyName=here.device_policy)["policyDocument"])
    for statement in document["Statement"]:
        if statement["Sid"] == "OwnTopics":
            statement["Resource"] = "*"
    for _ in range(2):  # with the runs of the other tests more than the five versions that AWS keeps
        versions = clients("iot").list_policy_versions(policyName=here.device_policy)["policyVersions"]
        if len(versions) < 5:
            clients("iot").create_policy_version(
                policyName=here.device_policy, policyDocument=json.dumps(document), setAsDefault=True
            )


def _other_partition_key(clients: Clients, here: Names) -> None:
    rule = clients("iot").get_topic_rule(ruleName=here.telemetry_rule)["rule"]
    payload = {key: rule[key] for key in ("sql", "awsIotSqlVersion", "description", "actions", "errorAction")}
    payload["actions"][0]["kinesis"]["partitionKey"] = "acme"
    clients("iot").replace_topic_rule(ruleName=here.telemetry_rule, topicRulePayload=payload)


def _other_error_queue(clients: Clients, here: Names) -> None:
    rule = clients("iot").get_topic_rule(ruleName=here.telemetry_rule)["rule"]
    payload = {key: rule[key] for key in ("sql", "awsIotSqlVersion", "description", "actions", "errorAction")}
    payload["errorAction"]["sqs"]["queueUrl"] += "-elsewhere"
    clients("iot").replace_topic_rule(ruleName=here.telemetry_rule, topicRulePayload=payload)


def _widen_role(clients: Clients, here: Names) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    clients("iam").put_role_policy(
        RoleName=here.consumer_role, PolicyName="backdoor", PolicyDocument=json.dumps(document)
    )


def _trust_everyone(clients: Clients, here: Names) -> None:
    role = clients("iam").get_role(RoleName=here.rule_role)["Role"]["AssumeRolePolicyDocument"]
    del role["Statement"][0]["Condition"]
    clients("iam").update_assume_role_policy(RoleName=here.rule_role, PolicyDocument=json.dumps(role))


def _subscription_not_raw(clients: Clients, here: Names) -> None:
    (arn,) = (
        each["SubscriptionArn"]
        for each in clients("sns").list_subscriptions_by_topic(TopicArn=here.alerts_topic_arn)["Subscriptions"]
        if each["Protocol"] == "sqs"
    )
    clients("sns").set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="false"
    )


def _queue_policy(clients: Clients, here: Names) -> None:
    sqs = clients("sqs")
    url = sqs.get_queue_url(QueueName=here.alerts_queue)["QueueUrl"]
    document = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    document["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-other"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})


def _queue_retention(clients: Clients, here: Names) -> None:
    url = clients("sqs").get_queue_url(QueueName=here.rule_errors_queue)["QueueUrl"]
    clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})


def _topic_policy(clients: Clients, here: Names) -> None:
    sns = clients("sns")
    document = sns.get_topic_attributes(TopicArn=here.alerts_topic_arn)["Attributes"]["Policy"]
    parsed = json.loads(document)
    parsed["Statement"] = [each for each in parsed["Statement"] if each["Sid"] != "ConsumerPublishes"]
    sns.set_topic_attributes(TopicArn=here.alerts_topic_arn, AttributeName="Policy", AttributeValue=json.dumps(parsed))


def _s3(call: str, **arguments: Any) -> Mutation:
    return lambda clients, here: getattr(clients("s3"), call)(Bucket=here.lake_bucket, **arguments)


def _dynamodb(call: str, **arguments: Any) -> Mutation:
    return lambda clients, here: getattr(clients("dynamodb"), call)(TableName=here.table, **arguments)


OPEN_TO_PUBLIC = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "RestrictPublicBuckets"), True)

# Every kind is changed behind its back: (kind, what someone did, the field that the next run names).
DRIFTS: dict[str, tuple[str, Mutation, str]] = {
    "bucket versioning": (
        "s3_bucket",
        _s3("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
        "versioning",
    ),
    "bucket public access": (
        "s3_bucket",
        _s3(
            "put_public_access_block",
            PublicAccessBlockConfiguration={**OPEN_TO_PUBLIC, "BlockPublicPolicy": False},
        ),
        "public_access_block.BlockPublicPolicy",
    ),
    "bucket policy": ("s3_bucket", _s3("delete_bucket_policy"), "policy"),
    "bucket life cycle": ("s3_bucket", _s3("delete_bucket_lifecycle"), "lifecycle"),
    "bucket ownership": ("s3_bucket", _s3("delete_bucket_ownership_controls"), "object_ownership"),
    "bucket tags": ("s3_bucket", _s3("put_bucket_tagging", Tagging={"TagSet": []}), "tags.tenant"),
    "stream retention": (
        "kinesis_stream",
        lambda clients, here: clients("kinesis").decrease_stream_retention_period(
            StreamName=here.stream, RetentionPeriodHours=24
        ),
        "retention_hours",
    ),
    "stream encryption": (
        "kinesis_stream",
        lambda clients, here: clients("kinesis").stop_stream_encryption(
            StreamName=here.stream, EncryptionType="KMS", KeyId="alias/aws/kinesis"
        ),
        "encryption",
    ),
    "stream shards": (
        "kinesis_stream",
        lambda clients, here: clients("kinesis").update_shard_count(
            StreamName=here.stream, TargetShardCount=1, ScalingType="UNIFORM_SCALING"
        ),
        "shards",
    ),
    "table protection": (
        "dynamodb_table",
        _dynamodb("update_table", DeletionProtectionEnabled=False),
        "deletion_protection",
    ),
    "table time to live": (
        "dynamodb_table",
        _dynamodb("update_time_to_live", TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"}),
        "ttl_attribute",
    ),
    "table backups": (
        "dynamodb_table",
        _dynamodb(
            "update_continuous_backups",
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        ),
        "point_in_time_recovery",
    ),
    "role permissions": ("iam_role", _widen_role, "policies.backdoor"),
    "role trust": ("iam_role", _trust_everyone, "trust.Statement[0].Condition"),
    "role managed policy": (
        "iam_role",
        lambda clients, here: clients("iam").attach_role_policy(
            RoleName=here.rule_role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
        "managed_policies",
    ),
    "queue policy": (
        "sqs_queue",
        _queue_policy,
        "policy.Statement[0].Condition.ArnEquals.aws:SourceArn[0]",
    ),
    "queue retention": ("sqs_queue", _queue_retention, "retention_s"),
    "topic policy": ("sns_topic", _topic_policy, "policy.Statement"),
    "subscription": ("sns_subscription", _subscription_not_raw, "raw_message_delivery"),
    "thing type": (
        "iot_thing_type",
        lambda clients, here: clients("iot").deprecate_thing_type(thingTypeName=here.thing_type),
        "deprecated",
    ),
    "thing group": (
        "iot_thing_group",
        lambda clients, here: clients("iot").update_thing_group(
            thingGroupName=here.thing_group, thingGroupProperties={"thingGroupDescription": "mine"}
        ),
        "description",
    ),
    "thing attribute": (
        "iot_thing",
        lambda clients, _here: clients("iot").update_thing(
            thingName="fan-1", attributePayload={"attributes": {"kind": "gateway"}, "merge": True}
        ),
        "attributes.kind",
    ),
    "thing in no group": (
        "iot_thing",
        lambda clients, here: clients("iot").remove_thing_from_thing_group(
            thingName="fan-1", thingGroupName=here.thing_group
        ),
        "groups",
    ),
    "device policy": ("iot_policy", _publish_anywhere, "document.Statement[2].Resource[0]"),
    "rule partition key": ("iot_topic_rule", _other_partition_key, "actions[0].kinesis.partitionKey"),
    "rule error queue": ("iot_topic_rule", _other_error_queue, "errorAction.sqs.queueUrl"),
    "rule disabled": (
        "iot_topic_rule",
        lambda clients, here: clients("iot").disable_topic_rule(ruleName=here.telemetry_rule),
        "ruleDisabled",
    ),
    "rule tags": ("iot_topic_rule", _iot_tag(lambda _iot, here: here.telemetry_rule_arn), "tags.tenant"),
    "parameter tags": (
        "ssm_parameter",
        lambda clients, here: clients("ssm").remove_tags_from_resource(
            ResourceType="Parameter", ResourceId=here.active_region_parameter, TagKeys=["env"]
        ),
        "tags.env",
    ),
    "log retention": (
        "log_group",
        lambda clients, here: clients("logs").delete_retention_policy(logGroupName=here.consumer_log_group),
        "retention_days",
    ),
}


@pytest.mark.parametrize("what", DRIFTS)
def test_what_someone_changed_is_named_by_field_and_mended(acme: Cloud, what: str) -> None:
    kind, mutate, field = DRIFTS[what]
    clients = acme.clients[RegionRole.PRIMARY]
    of_kind = [each for each in inventory.resources(ACME, RegionRole.PRIMARY) if each.kind == kind]
    mutate(clients, HERE)
    announced = drifted(of_kind, clients, check=True)
    assert field in [change.field for outcome in announced for change in outcome.changes]
    assert len(announced) == 1, "nobody else is blamed"
    assert drifted(of_kind, clients) == announced
    assert drifted(of_kind, clients) == []


def drifted(resources: list[Resource], clients: Clients, *, check: bool = False) -> list[Outcome]:
    return [outcome for each in resources if (outcome := ensure(each, clients, check=check)).changed]


def test_drift_in_the_replica_and_in_the_credentials_is_named_in_a_run_of_the_whole(acme: Cloud) -> None:
    primary, dr = acme.clients[RegionRole.PRIMARY], acme.clients[RegionRole.DR]
    dr("dynamodb").update_table(TableName=THERE.table, DeletionProtectionEnabled=False)
    (acme.folder / "fan-1" / "private.key").chmod(0o644)
    arn = dr("iot").list_thing_principals(thingName="gw-1")["principals"][0]
    dr("iot").detach_policy(policyName=THERE.device_policy, target=arn)
    primary("iot").create_policy(policyName="too-much", policyDocument=_ANYTHING)
    primary("iot").attach_policy(
        policyName="too-much", target=primary("iot").list_thing_principals(thingName="gw-1")["principals"][0]
    )
    announced = acme.provision(check=True)
    assert [each for each in changes(announced) if each[3] is not Action.NONE] == [
        ("us-west-2", "dynamodb_replica", THERE.table, Action.UPDATE, ("deletion_protection",)),
        ("us-east-1", "thing_credentials", "gw-1", Action.UPDATE, ("dr.policies", "primary.policies")),
        ("us-east-1", "thing_credentials", "fan-1", Action.UPDATE, ("private_key_mode",)),
    ]
    assert acme.provision().outcomes == announced.outcomes
    assert not acme.provision().changed


_ANYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
)


def test_what_others_own_is_left_alone(acme: Cloud) -> None:
    """The active region after a failover, a tag of the finance department, an attribute of the plant."""
    clients = acme.clients[RegionRole.PRIMARY]
    moved = json.dumps({"region": "us-west-2", "epoch": 2})
    clients("ssm").put_parameter(Name=HERE.active_region_parameter, Value=moved, Overwrite=True)
    clients("kinesis").add_tags_to_stream(StreamName=HERE.stream, Tags={"cost-centre": "42"})
    clients("iot").update_thing(thingName="fan-1", attributePayload={"attributes": {"hall": "B"}, "merge": True})
    assert not acme.provision().changed
    assert clients("ssm").get_parameter(Name=HERE.active_region_parameter)["Parameter"]["Value"] == moved
    assert clients("iot").describe_thing(thingName="fan-1")["attributes"]["hall"] == "B"


def test_a_thing_is_onboarded_quickly_in_both_regions_and_only_once(acme: Cloud) -> None:
    started = time.monotonic()
    first = onboard_thing(ACME, "pump-7", acme.targets, credentials_dir=acme.folder)
    assert time.monotonic() - started < 2
    assert [each.action for each in first.outcomes] == [Action.CREATE] * 3
    key = (acme.folder / "pump-7" / "private.key").read_bytes()
    assert not onboard_thing(ACME, "pump-7", acme.targets, credentials_dir=acme.folder).changed
    assert (acme.folder / "pump-7" / "private.key").read_bytes() == key
    for role in RegionRole:
        with session(acme.running(role), acme.device("pump-7", role)) as device:
            assert device.publish("tenants/acme/devices/pump-7/telemetry", b'{"ts": 1, "x": 1}') == 0


def test_a_device_publishes_for_itself_only_and_never_for_another_tenant(acme: Cloud) -> None:
    beta = replace(ACME, name="beta", gateways=(), things=("press-1",))
    acme.provision(beta)
    refused = (
        "tenants/beta/devices/press-1/telemetry",
        "tenants/beta/devices/fan-1/telemetry",
        "tenants/acme/devices/gw-1/telemetry",
    )
    for role in RegionRole:
        for topic in refused:
            with session(acme.running(role), acme.device("fan-1", role)) as fan:
                assert fan.publish(topic, b"{}") == NOT_AUTHORISED
        with session(acme.running(role), acme.device("press-1", role)) as press:
            assert press.publish("tenants/acme/devices/fan-1/telemetry", b"{}") == NOT_AUTHORISED
        with (
            pytest.raises(Exception, match=r"(?i)connection.*(refused|not.*authorized|closed)|CONNACK"),
            session(acme.running(role), acme.device("fan-1", role), client_id="gw-1"),
        ):
            pass


def test_what_a_device_publishes_is_in_the_stream_under_its_name(acme: Cloud) -> None:
    for role in RegionRole:
        running = acme.running(role)
        with session(running, acme.device("fan-1", role)) as fan:
            assert fan.publish("tenants/acme/devices/fan-1/telemetry", b'{"ts": 2, "x": 1}') == 0
        assert "fan-1" in {record["PartitionKey"] for record in running.records(HERE.stream)}


def test_another_tenants_thing_is_never_taken_over(acme: Cloud) -> None:
    gamma = replace(ACME, name="gamma", gateways=(), things=())
    with pytest.raises(BelongsToAnother, match="tenant acme"):
        onboard_thing(gamma, "fan-1", acme.targets, credentials_dir=acme.folder)


def test_a_lost_key_is_told_and_replaced_only_when_asked(acme: Cloud) -> None:
    onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder)
    old = acme.certificate("pump-8")
    (acme.folder / "pump-8" / "private.key").unlink()
    for check in (True, False):
        with pytest.raises(MissingPrivateKey, match="pump-8"):
            onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, check=check)
    announced = onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True, check=True)
    replaced = onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True)
    assert replaced.outcomes == announced.outcomes
    assert acme.certificate("pump-8") != old
    for clients in acme.clients.values():
        certificate = clients("iot").describe_certificate(certificateId=old)["certificateDescription"]
        assert certificate["status"] == "INACTIVE"
        assert clients("iot").list_attached_policies(target=certificate["certificateArn"])["policies"] == []
    assert not onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True).changed


def test_a_revoked_certificate_stays_revoked_and_the_other_region_follows(acme: Cloud) -> None:
    onboard_thing(ACME, "pump-9", acme.targets, credentials_dir=acme.folder)
    revoked = acme.certificate("pump-9")
    acme.clients[RegionRole.PRIMARY]("iot").update_certificate(certificateId=revoked, newStatus="INACTIVE")
    report = onboard_thing(ACME, "pump-9", acme.targets, credentials_dir=acme.folder)
    assert [change.field for change in report.outcomes[-1].changes] == ["dr.active_as_in_primary"]
    for clients in acme.clients.values():
        certificate = clients("iot").describe_certificate(certificateId=revoked)["certificateDescription"]
        assert certificate["status"] == "INACTIVE"


def test_a_run_that_stopped_before_attaching_goes_on_with_the_same_certificate(acme: Cloud) -> None:
    onboard_thing(ACME, "pump-10", acme.targets, credentials_dir=acme.folder)
    issued, iot = acme.certificate("pump-10"), acme.clients[RegionRole.PRIMARY]("iot")
    arn = iot.describe_certificate(certificateId=issued)["certificateDescription"]["certificateArn"]
    iot.detach_thing_principal(thingName="pump-10", principal=arn)
    onboard_thing(ACME, "pump-10", acme.targets, credentials_dir=acme.folder)
    assert acme.certificate("pump-10") == issued


def test_files_of_an_account_that_is_gone_are_set_aside(acme: Cloud) -> None:
    folder = acme.folder / "pump-11"
    folder.mkdir()
    (folder / "private.key").write_text("of another account")
    onboard_thing(ACME, "pump-11", acme.targets, credentials_dir=acme.folder)
    assert (folder / "private.key.replaced-unknown").read_text() == "of another account"


def test_an_http_receiver_and_the_queue_get_the_alerts(acme: Cloud) -> None:
    report = acme.provision(http_subscriber="http://127.0.0.1:9/alerts")
    assert [each.name for each in report.outcomes if each.changed] == ["alerts-acme:http"] * 2
    assert not acme.provision(http_subscriber="http://127.0.0.1:9/alerts").changed
    clients = acme.clients[RegionRole.PRIMARY]
    clients("sns").publish(TopicArn=HERE.alerts_topic_arn, Message='{"incident": "i-1"}')
    url = clients("sqs").get_queue_url(QueueName=HERE.alerts_queue)["QueueUrl"]
    (message,) = clients("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == '{"incident": "i-1"}'


def test_everything_can_be_deleted_by_name_and_nothing_is_left(cloud: Cloud) -> None:
    gone = replace(ACME, name="gone", gateways=(), things=("drill-1",))
    cloud.provision(gone)
    primary, dr = cloud.clients[RegionRole.PRIMARY], cloud.clients[RegionRole.DR]
    bucket = names(gone, "us-east-1").lake_bucket
    for body in (b"1", b"2"):
        primary("s3").put_object(Bucket=bucket, Key="readings/x", Body=body)
    primary("s3").delete_object(Bucket=bucket, Key="readings/x")
    credentials = ThingCredentials("drill-1", names(gone, "us-east-1").device_policy, cloud.folder, dr)
    removed = [ensure_absent(credentials, primary), ensure_absent(inventory.replication(gone), primary)]
    for role, clients in cloud.clients.items():
        resources = inventory.resources(gone, role)
        announced = [ensure_absent(each, clients, check=True) for each in resources]
        assert {each.action for each in announced} == {Action.DELETE}
        removed += [ensure_absent(each, clients) for each in reversed(resources)]
        assert {each.action for each in removed} == {Action.DELETE}
        assert [each.kind for each in resources if ensure_absent(each, clients).changed] == []
    assert not (cloud.folder / "drill-1" / "private.key").exists()


def test_a_table_with_other_keys_is_left_alone_and_told_by_check_and_run(cloud: Cloud) -> None:
    clients = cloud.clients[RegionRole.PRIMARY]
    clients("dynamodb").create_table(
        TableName="other-keys",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    for check in (True, False):
        with pytest.raises(ImmutableField, match=r"other-keys in us-east-1 has keys \{'id': 'HASH'\}"):
            ensure(Table("other-keys", "ttl"), clients, check=check)


def test_access_denied_is_never_taken_for_missing(acme: Cloud) -> None:
    """A queue that refuses us exists: to create another one, or to call it absent, would hide the refusal."""
    sqs = acme.clients[RegionRole.PRIMARY]("sqs")
    refuse = {"Effect": "Deny", "Principal": "*", "Action": "sqs:GetQueueUrl", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [refuse]})
    url = sqs.create_queue(QueueName="refuses", Attributes={"Policy": policy})["QueueUrl"]
    queue = replace(_queue(), name="refuses")
    for call in (ensure, ensure_absent):
        with pytest.raises(EnsureFailed, match=r"sqs_queue refuses in us-east-1.*AccessDenied"):
            call(queue, acme.clients[RegionRole.PRIMARY], check=True)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})


def _queue() -> Any:
    return next(each for each in inventory.resources(ACME, RegionRole.PRIMARY) if each.kind == "sqs_queue")


def test_profiles_that_lead_elsewhere_are_refused_before_anything_is_written(acme: Cloud) -> None:
    elsewhere = replace(ACME, account="111111111111")
    with pytest.raises(WrongTarget, match="leads to account 000000000000, not 111111111111"):
        acme.provision(elsewhere)
    swapped = replace(ACME, primary_region="us-west-2", dr_region="us-east-1")
    with pytest.raises(WrongTarget, match="lives in"):
        acme.provision(swapped)


def test_the_command_prints_a_plan_for_people_and_for_programs(acme: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    acme.clients[RegionRole.PRIMARY]("logs").put_retention_policy(
        logGroupName=HERE.consumer_log_group, retentionInDays=7
    )
    command = ["--tenant", "acme", "--account", ACME.account, "--gateway", "gw-1", "--thing", "fan-1"]
    command += ["--credentials-dir", str(acme.folder)]
    assert main([*command, "--check"]) == 0
    plan = capsys.readouterr().out
    assert "~ update  us-east-1  log_group" in plan
    assert "    retention_days: 7 -> 30" in plan
    assert "nothing was written" in plan
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["update"] == 1
    assert main([*command[:2], "--account", "1"]) == 1
    assert "account '1' does not match" in capsys.readouterr().err
