"""The policies, rendered: whoever widens one has to say so here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.policies.buckets import lake_bucket_policy, model_bucket_policy
from deploy.policies.devices import device_policy
from deploy.policies.messaging import alerts_queue_policy, alerts_topic_policy, rule_errors_queue_policy
from deploy.policies.roles import (
    consumer_role_permissions,
    consumer_role_trust,
    rule_role_permissions,
    rule_role_trust,
)
from deploy.topology import Names, Tenant, names

ACME = Tenant("acme", "123456789012", "us-east-1", "us-west-2")
HERE = names(ACME, "us-east-1")
THING = "${iot:Connection.Thing.ThingName}"

Policy = Callable[[Names], dict[str, Any]]
ALL: tuple[Policy, ...] = (
    alerts_queue_policy,
    alerts_topic_policy,
    consumer_role_permissions,
    consumer_role_trust,
    device_policy,
    lake_bucket_policy,
    model_bucket_policy,
    rule_errors_queue_policy,
    rule_role_permissions,
    rule_role_trust,
)


def statements(policy: Policy) -> dict[str, dict[str, Any]]:
    return {each["Sid"]: each for each in policy(HERE)["Statement"]}


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def granted(policy: Policy) -> Iterator[tuple[str, str]]:
    """Every action with every resource that it is allowed on."""
    for statement in policy(HERE)["Statement"]:
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                for resource in as_list(statement.get("Resource", "")):
                    yield action, resource


def test_a_device_may_connect_as_itself_and_publish_below_its_own_name_and_nothing_else() -> None:
    assert device_policy(HERE) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ConnectAsItself",
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": f"arn:aws:iot:us-east-1:123456789012:client/{THING}",
                "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            },
            {
                "Sid": "OwnTopics",
                "Effect": "Allow",
                "Action": "iot:Publish",
                "Resource": f"arn:aws:iot:us-east-1:123456789012:topic/tenants/acme/devices/{THING}/*",
            },
        ],
    }


def test_a_rule_may_put_into_one_stream_and_tell_its_errors() -> None:
    assert set(granted(rule_role_permissions)) == {
        ("kinesis:PutRecord", HERE.stream_arn),
        ("kinesis:PutRecords", HERE.stream_arn),
        ("sqs:SendMessage", HERE.rule_errors_queue_arn),
    }


def test_only_this_rule_of_this_account_may_use_the_rules_role() -> None:
    (statement,) = rule_role_trust(HERE)["Statement"]
    assert statement["Principal"] == {"Service": "iot.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnEquals": {"aws:SourceArn": "arn:aws:iot:us-east-1:123456789012:rule/telemetry_to_kinesis_acme"},
    }


def test_the_consumer_deletes_no_object_and_writes_no_stream() -> None:
    actions = set(granted(consumer_role_permissions))
    bucket = HERE.lake_bucket_arn
    assert {pair for pair in actions if pair[0].startswith("s3:")} == {
        ("s3:ListBucket", bucket),
        *(
            (action, f"{bucket}/{folder}/*")
            for action in ("s3:GetObject", "s3:PutObject")
            for folder in ("dead-letters", "detector-state", "readings")
        ),
    }
    assert {action for action, resource in actions if resource == HERE.table_arn} == {
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    }
    assert not [action for action, _ in actions if action.startswith("kinesis:Put")]
    assert {resource for action, resource in actions if action == "ssm:GetParameter"} == {
        "arn:aws:ssm:us-east-1:123456789012:parameter/plantwatch/acme/active-region"
    }
    assert not [action for action, _ in actions if action.startswith("ssm:Put")], "failover moves the active region"


def test_kcl_may_make_its_own_three_tables_only() -> None:
    tables = "arn:aws:dynamodb:us-east-1:123456789012:table/anomaly-consumer-acme"
    made = {resource for action, resource in granted(consumer_role_permissions) if action == "dynamodb:CreateTable"}
    assert made == {
        f"{tables}{suffix}{index}"
        for suffix in ("", "-WorkerMetricStats", "-CoordinatorState")
        for index in ("", "/index/*")
    }


def test_the_alerts_topic_hears_the_consumer_and_the_queue_hears_the_topic() -> None:
    publish = [each for each in alerts_topic_policy(HERE)["Statement"] if "SNS:Publish" in as_list(each["Action"])]
    assert [each["Principal"] for each in publish] == [{"AWS": HERE.consumer_role_arn}]
    assert statements(alerts_queue_policy)["TopicSends"]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": HERE.alerts_topic_arn},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    assert statements(rule_errors_queue_policy)["RuleSends"]["Principal"] == {"AWS": HERE.rule_role_arn}


@pytest.mark.parametrize(
    ("policy", "arn"),
    [(lake_bucket_policy, HERE.lake_bucket_arn), (model_bucket_policy, HERE.model_bucket_arn)],
)
def test_buckets_refuse_plain_http(policy: Policy, arn: str) -> None:
    assert statements(policy)["TlsOnly"] == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.__name__)
def test_nothing_is_granted_on_everything_or_to_everyone(policy: Policy) -> None:
    for action, resource in granted(policy):
        assert "*" not in action, f"{action} is a wildcard"
        # CloudWatch has no resources: the namespace in the condition is what limits it.
        assert resource != "*" or action == "cloudwatch:PutMetricData"
    allowed = [each for each in policy(HERE)["Statement"] if each["Effect"] == "Allow"]
    assert [each for each in allowed if each.get("Principal") in ("*", {"AWS": "*"})] == []


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.__name__)
def test_a_policy_is_of_its_own_region_and_tenant(policy: Policy) -> None:
    there = json.dumps(policy(names(ACME, "us-west-2")))
    assert "us-east-1" not in there
    other = json.dumps(policy(names(Tenant("beta", "123456789012", "us-east-1", "us-west-2"), "us-east-1")))
    assert not re.search(r"\bacme\b", other)


def test_the_device_policy_keeps_to_the_size_that_iot_core_takes() -> None:
    longest = Tenant("a" * 24, "123456789012", "us-east-1", "us-west-2")
    assert len(json.dumps(device_policy(names(longest, "us-east-1")))) < 2048
