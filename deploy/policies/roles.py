"""Trust and permissions of the roles: each may do its one job, in its one region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from deploy.topology import Names
from plantwatch.names import DEAD_LETTERS_PREFIX, DETECTOR_STATE_PREFIX, READINGS_PREFIX

Statement = dict[str, Any]

# KCL keeps leases, worker metrics and its leader lock in three tables that it makes and names itself.
_KCL_TABLE_SUFFIXES: Final = ("", "-WorkerMetricStats", "-CoordinatorState")


def rule_role_trust(names: Names) -> dict[str, Any]:
    """The rules engine, acting for this rule of this account: no other account's rule may borrow the role."""
    return _document(
        {
            "Sid": "RulesEngine",
            "Effect": "Allow",
            "Principal": {"Service": "iot.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnEquals": {"aws:SourceArn": names.telemetry_rule_arn},
            },
        }
    )


def rule_role_permissions(names: Names) -> dict[str, Any]:
    return _document(
        _allow("Stream", ("kinesis:PutRecord", "kinesis:PutRecords"), names.stream_arn),
        _allow("RuleErrors", "sqs:SendMessage", names.rule_errors_queue_arn),
    )


def consumer_role_trust(names: Names) -> dict[str, Any]:
    """The container task that runs the consumer, in this account and region."""
    return _document(
        {
            "Sid": "ConsumerTask",
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{names.region}:{names.account}:*"},
            },
        }
    )


def consumer_role_permissions(names: Names) -> dict[str, Any]:
    """Read the stream; keep leases; write results, lake and dead letters; send alerts; ask which region is active.

    It may delete no object: what was measured stays, and an overwritten version is kept by the bucket.
    """
    return _document(
        _read_stream(names),
        _kcl_tables(names),
        _results(names),
        *_objects(names),
        _allow("Alerts", "sns:Publish", names.alerts_topic_arn),
        _active_region(names),
        *_logs_and_metrics(names),
    )


def _read_stream(names: Names) -> Statement:
    actions = (
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "kinesis:DescribeStream",
    )
    return _allow("ReadStream", actions, names.stream_arn)


def _kcl_tables(names: Names) -> Statement:
    """The library makes, scales and reads tables of its own, and has no business in any other."""
    actions = (
        "dynamodb:CreateTable",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeContinuousBackups",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:TagResource",
        "dynamodb:UpdateContinuousBackups",
        "dynamodb:UpdateItem",
        "dynamodb:UpdateTable",
    )
    table = f"arn:aws:dynamodb:{names.region}:{names.account}:table/{names.consumer_application}"
    tables = [f"{table}{suffix}{index}" for suffix in _KCL_TABLE_SUFFIXES for index in ("", "/index/*")]
    return _allow("KclTables", actions, tables)


def _results(names: Names) -> Statement:
    """DeleteItem frees the guard of an incident that has cleared. IAM cannot tell a guard from a result, both have the
    device as their partition key: point-in-time recovery stands behind it."""
    actions = ("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
    return _allow("Results", actions, names.table_arn)


def _objects(names: Names) -> tuple[Statement, Statement]:
    """Reading back is how a repeated write sees that the object is there already. Without ListBucket S3 answers
    AccessDenied for an object that does not exist (a prefix condition would not match)."""
    prefixes = (READINGS_PREFIX, DEAD_LETTERS_PREFIX, DETECTOR_STATE_PREFIX)
    objects = [f"{names.lake_bucket_arn}/{prefix}*" for prefix in prefixes]
    return (
        _allow("Objects", ("s3:GetObject", "s3:PutObject"), objects),
        _allow("TellMissingFromForbidden", "s3:ListBucket", names.lake_bucket_arn),
    )


def _active_region(names: Names) -> Statement:
    """To ask, not to change: failover moves the active region."""
    parameter = f"arn:aws:ssm:{names.region}:{names.account}:parameter{names.active_region_parameter}"
    return _allow("ActiveRegion", "ssm:GetParameter", parameter)


def _logs_and_metrics(names: Names) -> tuple[Statement, Statement]:
    """CloudWatch knows no resources: the namespace is what limits PutMetricData."""
    group = f"arn:aws:logs:{names.region}:{names.account}:log-group:{names.consumer_log_group}:*"
    namespaces = {"StringEquals": {"cloudwatch:namespace": ["plantwatch", names.consumer_application]}}
    return (
        _allow("Logs", ("logs:CreateLogStream", "logs:PutLogEvents"), group),
        {**_allow("Metrics", "cloudwatch:PutMetricData", "*"), "Condition": namespaces},
    )


def _document(*statements: Statement) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: str | Sequence[str], resources: str | Sequence[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": _json(actions), "Resource": _json(resources)}


def _json(value: str | Sequence[str]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)
