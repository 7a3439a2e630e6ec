"""Functions behind a stream: each question is put to the patched and to the stock emulator."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcloud.processes import wait_until
from tests.region_support import RunningRegion, happens

pytestmark = pytest.mark.component

# A first invocation starts an interpreter.
COLD_S = 30.0
# Half of it is long enough for a busy machine to show that a batch does not wait, and to send the next record in time.
WINDOW_S = 4
_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)
_SEEN = """
import base64
def payloads(event):
    return [base64.b64decode(each["kinesis"]["data"]).decode() for each in event["Records"]]
"""
# Each prints what it got; the test reads the log.
REPORTS_POISON = f"""{_SEEN}
def handler(event, context):
    print("batch", *payloads(event))
    poison = [each["kinesis"]["sequenceNumber"] for each, text in zip(event["Records"], payloads(event))
              if text == "poison"]
    return {{"batchItemFailures": [{{"itemIdentifier": number}} for number in poison]}}
"""
RAISES_ON_POISON = f"""{_SEEN}
def handler(event, context):
    print("batch", *payloads(event))
    if "poison" in payloads(event):
        raise ValueError("poison")
"""
PRINTS = f"""{_SEEN}
def handler(event, context):
    print("batch", *payloads(event))
"""
MEASURES = """
import json
def handler(event, context):
    print(json.dumps({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "plantwatch",
        "Dimensions": [["tenant"]], "Metrics": [{"Name": "Scored", "Unit": "Count"}]}]},
        "tenant": "acme", "Scored": [3, 4]}))
"""


@dataclass
class Flow:
    """A stream, a function that reads it, and the queue for what it could not process."""

    running: RunningRegion
    name: str
    stream_arn: str
    queue_url: str
    queue_arn: str

    def map(self, **settings: Any) -> None:
        destination = {"OnFailure": {"Destination": self.queue_arn}}
        self.running.client("lambda").create_event_source_mapping(
            EventSourceArn=self.stream_arn,
            FunctionName=self.name,
            StartingPosition="TRIM_HORIZON",
            DestinationConfig=destination,
            **settings,
        )

    def put(self, *payloads: str) -> None:
        records = [{"PartitionKey": "x", "Data": payload.encode()} for payload in payloads]
        self.running.client("kinesis").put_records(StreamName=self.name, Records=records)

    def batches(self) -> list[str]:
        """What each invocation got, in order."""
        logs, group = self.running.client("logs"), f"/aws/lambda/{self.name}"
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [each["message"].strip() for each in events if each["message"].startswith("batch")]

    def given_up(self) -> list[tuple[str, int]]:
        """Condition and number of records of each message in the queue."""
        answer = self.running.client("sqs").receive_message(QueueUrl=self.queue_url, VisibilityTimeout=0)
        documents = [json.loads(each["Body"]) for each in answer.get("Messages", [])]
        return [(each["requestContext"]["condition"], each["KinesisBatchInfo"]["batchSize"]) for each in documents]


def flow(running: RunningRegion, code: str) -> Flow:
    name = f"flow-{uuid.uuid4().hex[:8]}"
    make_function(running, name, code)
    kinesis, sqs = running.client("kinesis"), running.client("sqs")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Flow(running, name, arn, url, queue_arn)


def make_function(running: RunningRegion, name: str, code: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("function.py", code)
    iam = running.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_TRUST)["Role"]["Arn"]
    for policy in ("AWSLambdaKinesisExecutionRole", "AWSLambdaSQSQueueExecutionRole"):
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/service-role/{policy}")
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document)
    running.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="function.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=10,
    )


def warm(flow: Flow) -> None:
    """The first batch, so that what follows is not measured with the start of the interpreter."""
    flow.put("first")
    wait_until(lambda: flow.batches() == ["batch first"], COLD_S, "the first batch")


def test_a_record_that_is_reported_as_failed_is_retried_and_given_up(emulator: RunningRegion) -> None:
    poisoned = flow(emulator, REPORTS_POISON)
    poisoned.map(BatchSize=10, MaximumRetryAttempts=1, FunctionResponseTypes=["ReportBatchItemFailures"])
    warm(poisoned)
    poisoned.put("a", "poison")

    assert happens(lambda: poisoned.given_up() == [("RetryAttemptsExhausted", 1)], emulator.patience_s)
    assert poisoned.batches() == ["batch first", "batch a poison", "batch poison", "batch poison"]


def test_a_raising_function_loses_only_the_record_that_makes_it_raise(emulator: RunningRegion) -> None:
    poisoned = flow(emulator, RAISES_ON_POISON)
    poisoned.map(BatchSize=10, MaximumRetryAttempts=0, BisectBatchOnFunctionError=True)
    warm(poisoned)
    poisoned.put("a", "b", "c", "poison")
    poisoned.put("after")

    assert happens(lambda: "batch after" in poisoned.batches(), emulator.patience_s)
    assert poisoned.given_up() == [("RetryAttemptsExhausted", 1)]


def test_a_child_shard_is_read_from_its_beginning_after_its_parent(emulator: RunningRegion) -> None:
    split = flow(emulator, PRINTS)
    split.map(BatchSize=10)
    warm(split)
    split.put("parent")
    split.running.client("kinesis").split_shard(
        StreamName=split.name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    split.put("child")

    assert happens(lambda: split.batches() == ["batch first", "batch parent", "batch child"], emulator.patience_s)


def test_a_batch_waits_for_its_window(emulator: RunningRegion) -> None:
    windowed = flow(emulator, PRINTS)
    windowed.map(BatchSize=10, MaximumBatchingWindowInSeconds=WINDOW_S)
    warm(windowed)
    windowed.put("a")
    assert not happens(lambda: len(windowed.batches()) > 1, WINDOW_S / 2)
    windowed.put("b")

    assert happens(lambda: windowed.batches() == ["batch first", "batch a b"], WINDOW_S + emulator.patience_s)


def test_metrics_that_a_function_prints_are_metrics(emulator: RunningRegion) -> None:
    name = f"measures-{uuid.uuid4().hex[:8]}"
    make_function(emulator, name, MEASURES)
    emulator.client("lambda").invoke(FunctionName=name)

    assert happens(lambda: _sum_of_scored(emulator) == [7.0], emulator.patience_s)


def _sum_of_scored(running: RunningRegion) -> list[float]:
    now = datetime.now(UTC)
    answer = running.client("cloudwatch").get_metric_statistics(
        Namespace="plantwatch",
        MetricName="Scored",
        Dimensions=[{"Name": "tenant", "Value": "acme"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600 * 24,
        Statistics=["Sum"],
    )
    return [each["Sum"] for each in answer["Datapoints"]]
