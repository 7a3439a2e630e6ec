"""Trust and permissions of the roles: each may do its one job, in its one region."""

from __future__ import annotations

from typing import Any, Final

from deploy.topology import Names
from plantwatch.names import DEAD_LETTERS_PREFIX, DETECTOR_STATE_PREFIX, READINGS_PREFIX

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
        _allow("Stream", ["kinesis:PutRecord", "kinesis:PutRecords"], names.stream_arn),
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
    kcl_tables = [
        f"arn:aws:dynamodb:{names.region}:{names.account}:table/{names.consumer_application}{suffix}{index}"
        for suffix in _KCL_TABLE_SUFFIXES
        for index in ("", "/index/*")
    ]
    parameter = names.active_region_parameter
    return _document(
        _allow(
            "ReadStream",
            [
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
                "kinesis:DescribeStream",
            ],
            names.stream_arn,
        ),
        _allow(
            "KclTables",
            [
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
            ],
            kcl_tables,
        ),
        # DeleteItem frees the guard of an incident that has cleared. IAM cannot tell a guard from a result, both have
        # the device as their partition key: point-in-time recovery stands behind it.
        _allow(
            "Results",
            ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            names.table_arn,
        ),
        # Reading back is how a repeated write sees that the object is there already.
        _allow(
            "Objects",
            ["s3:GetObject", "s3:PutObject"],
            [_objects(names, prefix) for prefix in (READINGS_PREFIX, DEAD_LETTERS_PREFIX, DETECTOR_STATE_PREFIX)],
        ),
        # Without it S3 answers AccessDenied for an object that does not exist (a prefix condition would not match).
        _allow("TellMissingFromForbidden", "s3:ListBucket", names.lake_bucket_arn),
        _allow("Alerts", "sns:Publish", names.alerts_topic_arn),
        _allow("ActiveRegion", "ssm:GetParameter", f"arn:aws:ssm:{names.region}:{names.account}:parameter{parameter}"),
        _allow(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"arn:aws:logs:{names.region}:{names.account}:log-group:{names.consumer_log_group}:*",
        ),
        {
            **_allow("Metrics", "cloudwatch:PutMetricData", "*"),
            "Condition": {"StringEquals": {"cloudwatch:namespace": ["plantwatch", names.consumer_application]}},
        },
    )


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: str | list[str], resources: str | list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _objects(names: Names, prefix: str) -> str:
    return f"{names.lake_bucket_arn}/{prefix}*"
