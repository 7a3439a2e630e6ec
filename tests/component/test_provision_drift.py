"""What somebody changed behind our back: named by field, mended, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from deploy import inventory
from deploy.ensure.clients import Clients
from deploy.ensure.core import Action, EnsureFailed, Outcome, Resource, ensure, ensure_absent
from deploy.ensure.dynamodb import ImmutableField, Table
from deploy.topology import Names, RegionRole
from tests.component.provision_support import ACME, HERE, THERE, Cloud, changes, running_cloud

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two regions with tenant acme in them."""
    with running_cloud(tmp_path_factory.mktemp("provision")) as running:
        running.provision()
        yield running


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
    "device policy": ("iot_policy", _publish_anywhere, "document.Statement[1].Resource[0]"),
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


def test_a_table_with_other_keys_is_left_alone_and_told_by_check_and_run(acme: Cloud) -> None:
    clients = acme.clients[RegionRole.PRIMARY]
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
