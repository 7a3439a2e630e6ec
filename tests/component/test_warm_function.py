"""The packed function behind a real event source mapping of an emulated region."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aws_lambda_powertools
import pytest

from lambdas import package
from localcloud.processes import ProcessTable, wait_until
from localcloud.region import endpoint_url
from plantwatch.aws.dead_letters import read_dead_letters
from plantwatch.aws.lake import read_rows
from plantwatch.record import Record, encode_record
from plantwatch.telemetry import telemetry_topic
from tests.region_support import RunningRegion
from tests.unit.kcl_consumer.consumer_world import START, thing_record

pytestmark = pytest.mark.component

NAME: Final = "warm-acme"
BUCKET: Final = "lake-acme"
WITHIN_S: Final = 60.0
SITE: Final = Path(aws_lambda_powertools.__file__).parent.parent


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningRegion]:
    table = ProcessTable(tmp_path)
    region = RunningRegion(table, tmp_path / "state")
    try:
        region.start()
        yield region
    finally:
        table.stop_all()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `make lambda-zips` does, with the wheels that are installed here: a test fetches nothing."""

    def installed(folder: Path, machine: str) -> None:
        for name in ("aws_lambda_powertools", "jmespath", "safetensors"):
            shutil.copytree(SITE / name, folder / name)
        shutil.copy(SITE / "typing_extensions.py", folder)

    monkeypatch.setattr(package, "_install", installed)
    first = package.package("warm_scoring", "x86_64", tmp_path / "zips")
    again = package.package("warm_scoring", "x86_64", tmp_path / "again")
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
    return first


def test_records_become_rows_and_poison_dead_letters(running: RunningRegion, packed: Path) -> None:
    arn = _provision(running, packed)
    poison = encode_record(Record(telemetry_topic("acme", "fan-1"), START, b"{"))
    data = [thing_record("fan-1", START + n * 1000, speed=float(n % 7)) for n in range(20)]
    kinesis = running.client("kinesis")
    kinesis.put_records(
        StreamName=NAME, Records=[{"PartitionKey": "fan-1", "Data": each} for each in [*data[:10], poison, *data[10:]]]
    )
    _map(running, arn)
    s3 = running.client("s3")

    def rows() -> list[dict[str, Any]]:
        return list(read_rows(s3, BUCKET, tenant="acme", region="us-east-1"))

    wait_until(lambda: len(rows()) == 20, WITHIN_S, "every reading in the lake")
    assert [
        letter["reason"] for letter in read_dead_letters(s3, BUCKET, tenant="acme", region="us-east-1")
    ] == ["malformed_json"]  # fmt: skip
    # The next batch goes on: a repeated record is known, a new one is stored.
    kinesis.put_record(StreamName=NAME, PartitionKey="fan-1", Data=data[19])
    kinesis.put_record(
        StreamName=NAME, PartitionKey="fan-1", Data=thing_record("fan-1", START + 20_000, speed=3.0)
    )  # fmt: skip
    wait_until(lambda: len(rows()) == 21, WITHIN_S, "the next batch in the lake")


def _provision(running: RunningRegion, packed: Path) -> str:
    """Stream, bucket, table, topic, parameter and function; the stream's ARN."""
    running.client("kinesis").create_stream(StreamName=NAME, ShardCount=1)
    summary = running.client("kinesis").describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]
    running.client("s3").create_bucket(Bucket=BUCKET)
    running.client("dynamodb").create_table(
        TableName=NAME,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    topic = running.client("sns").create_topic(Name=NAME)["TopicArn"]
    running.client("ssm").put_parameter(Name="/active", Type="String", Value=json.dumps({"region": "us-east-1"}))
    settings = {
        "TENANT": "acme",
        "REGION": "us-east-1",
        "STREAM_ARN": summary["StreamARN"],
        "APPLICATION": "anomaly-consumer-acme",
        "RESULTS_TABLE": NAME,
        "ALERTS_TOPIC_ARN": topic,
        "LAKE_BUCKET": BUCKET,
        "ACTIVE_REGION_PARAMETER": "/active",
    }
    environment = {f"PLANTWATCH_{name}": value for name, value in settings.items()}
    running.client("lambda").create_function(
        FunctionName=NAME,
        Runtime="python3.11",
        Role=_role(running),
        Handler="lambdas.warm_scoring.handler.handler",
        Code={"ZipFile": packed.read_bytes()},
        Timeout=60,
        Environment={"Variables": {**environment, "AWS_ENDPOINT_URL": endpoint_url(running.region)}},
    )
    return str(summary["StreamARN"])


def _role(running: RunningRegion) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam = running.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=NAME, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    return str(arn)


def _map(running: RunningRegion, stream_arn: str) -> None:
    running.client("lambda").create_event_source_mapping(
        EventSourceArn=stream_arn,
        FunctionName=NAME,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=3,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
