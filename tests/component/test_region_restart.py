"""A region that stops for a while and starts again has lost nothing that it acknowledged."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from localcloud.processes import ProcessDied, ProcessTable, free_ports
from localcloud.region import Region, emulator_spec, fetch_ca, is_ready, wait_ready
from plantwatch.record import RULE_SQL, decode_record
from tests.region_support import Device, MqttSession, RunningRegion, happens, provision, session

pytestmark = pytest.mark.component

STREAM = "anomaly-stream-acme"
TABLE = "anomaly-results-acme"
BUCKET = "lake-acme"
_BATCH = 50


@pytest.fixture
def region(tmp_path: Path) -> Iterator[RunningRegion]:
    table = ProcessTable(tmp_path)
    running = RunningRegion(table, tmp_path / "state")
    try:
        running.start()
        yield running
    finally:
        table.stop_all()


def make_flow(running: RunningRegion) -> None:
    """The product's rule and stream, and the stores behind it."""
    running.client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
    action = {"kinesis": {"roleArn": running.role(), "streamName": STREAM, "partitionKey": "${topic(4)}"}}
    running.rule("telemetry_to_kinesis_acme", f"{RULE_SQL} FROM 'tenants/acme/devices/+/telemetry'", action)
    dynamodb = running.client("dynamodb")
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    s3 = running.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    sqs, sns = running.client("sqs"), running.client("sns")
    queue = sqs.create_queue(QueueName="alerts-acme")["QueueUrl"]
    topic = sns.create_topic(Name="alerts-acme")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    running.client("ssm").put_parameter(Name="/plantwatch/active-region", Value="primary", Type="String")


def write_everywhere(running: RunningRegion, device: Device) -> None:
    with session(running, device) as opened:
        assert opened.publish(device.topic, b'{"ts": 1, "t": 1}') == 0
    item = {"pk": {"S": "a"}, "n": {"N": "1.50"}, "b": {"B": b"\x00\xff"}, "s": {"SS": ["x", "y"]}}
    running.client("dynamodb").put_item(TableName=TABLE, Item=item)
    s3 = running.client("s3")
    for body in (b"old", b"\x1f\x8b\x00"):
        s3.put_object(Bucket=BUCKET, Key="lake/day=1/a.gz", Body=body, ContentEncoding="gzip", Metadata={"rows": "3"})
    running.client("sns").publish(TopicArn=topic_arn(running), Message='{"incident": 1}')


def topic_arn(running: RunningRegion) -> str:
    return str(running.client("sns").list_topics()["Topics"][0]["TopicArn"])


def stores(running: RunningRegion) -> dict[str, Any]:
    """All that a client can see and that must be the same after a restart."""
    kinesis, dynamodb, s3 = running.client("kinesis"), running.client("dynamodb"), running.client("s3")
    iot, sns, sqs = running.client("iot"), running.client("sns"), running.client("sqs")
    queue = sqs.get_queue_url(QueueName="alerts-acme")["QueueUrl"]
    waiting = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return {
        "records": running.records(STREAM),
        "shards": kinesis.list_shards(StreamName=STREAM)["Shards"],
        "table": dynamodb.describe_table(TableName=TABLE)["Table"],
        "ttl": dynamodb.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"],
        "items": dynamodb.scan(TableName=TABLE)["Items"],
        "versions": [_object(s3, each) for each in s3.list_object_versions(Bucket=BUCKET)["Versions"]],
        "things": iot.list_things()["things"],
        "certificates": iot.list_certificates()["certificates"],
        "policy": iot.get_policy(policyName="devices")["policyDocument"],
        "principals": iot.list_thing_principals(thingName="press-1")["principals"],
        "rule": iot.get_topic_rule(ruleName="telemetry_to_kinesis_acme")["rule"],
        "ca": fetch_ca(running.region),
        "subscriptions": sns.list_subscriptions_by_topic(TopicArn=topic_arn(running))["Subscriptions"],
        "queue": {name: waiting[name] for name in ("ApproximateNumberOfMessages", "Policy", "QueueArn")},
        "parameter": running.client("ssm").get_parameter(Name="/plantwatch/active-region")["Parameter"],
        "role": running.client("iam").get_role(RoleName="rules")["Role"],
    }


def _object(s3: Any, version: dict[str, Any]) -> dict[str, Any]:
    answer = s3.get_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    return {
        "version": version,
        "body": answer["Body"].read(),
        "encoding": answer["ContentEncoding"],
        "metadata": answer["Metadata"],
    }


def test_everything_is_there_after_a_stop_and_a_start(region: RunningRegion) -> None:
    make_flow(region)
    device = provision(region, "press-1")
    write_everywhere(region, device)
    before = stores(region)
    region.stop()
    assert not is_ready(region.region)
    region.start()

    after = stores(region)
    for what, value in before.items():
        assert after[what] == value, what
    assert [len(before[what]) for what in ("records", "items", "versions")] == [1, 1, 2]
    assert before["queue"]["ApproximateNumberOfMessages"] == "1"


def test_the_flow_goes_on_after_a_restart_in_order(region: RunningRegion) -> None:
    make_flow(region)
    device = provision(region, "press-1")
    write_everywhere(region, device)
    region.stop()
    region.start()
    write_everywhere(region, device)

    numbers = [int(record["SequenceNumber"]) for record in region.records(STREAM)]
    assert len(numbers) == 2
    assert numbers == sorted(numbers)
    sqs = region.client("sqs")
    queue = sqs.get_queue_url(QueueName="alerts-acme")["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in messages] == ['{"incident": 1}'] * 2


def test_an_iterator_goes_on_where_it_was_after_a_restart(region: RunningRegion) -> None:
    kinesis = region.client("kinesis")
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    for payload in (b"1", b"2"):
        kinesis.put_record(StreamName=STREAM, PartitionKey="x", Data=payload)
    arguments = {"StreamName": STREAM, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    first = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**arguments)["ShardIterator"], Limit=1)
    region.stop()
    region.start()

    second = kinesis.get_records(ShardIterator=first["NextShardIterator"])
    assert [record["Data"] for record in second["Records"]] == [b"2"]


def test_no_acknowledged_message_is_lost_when_a_region_stops_in_full_flow(region: RunningRegion) -> None:
    make_flow(region)
    device = provision(region, "press-1")
    acknowledged: list[bytes] = []
    enough, stopped = threading.Event(), threading.Event()

    def note(payload: bytes, answer: Future[Any]) -> None:
        if answer.exception() is None and answer.result().puback.reason_code == 0:
            acknowledged.append(payload)
            if len(acknowledged) == 500:
                enough.set()

    def publish_batch(opened: MqttSession, first: int) -> None:
        answers = []
        for number in range(first, first + _BATCH):
            answers.append(opened.send(device.topic, b"%d" % number))
            answers[-1].add_done_callback(partial(note, b"%d" % number))
        happens(lambda: stopped.is_set() or all(each.done() for each in answers), 15.0)

    def publish_until_stopped() -> None:
        with session(region, device) as opened:
            for first in itertools.count(step=_BATCH):
                if stopped.is_set():
                    return
                publish_batch(opened, first)

    publisher = threading.Thread(target=publish_until_stopped)
    publisher.start()
    try:
        assert enough.wait(15.0)
        region.stop()
    finally:
        stopped.set()
        publisher.join()
    region.start()

    stored = {decode_record(record["Data"]).payload for record in region.records(STREAM)}
    assert len(acknowledged) >= 500
    assert set(acknowledged) <= stored


def test_a_region_that_cannot_start_says_why(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path)
    region = Region("primary", "us-east-1", *free_ports(2))
    spec = emulator_spec(region, tmp_path / "state")
    # Python without site packages: the emulator is not there.
    without_emulator = (spec.argv[0], "-S", *spec.argv[1:])
    table.start(type(spec)(spec.name, without_emulator, spec.env, spec.cwd, spec.ports, spec.folders))
    try:
        with pytest.raises(ProcessDied, match=r"(?s)region-primary has ended.*ministack is not installed"):
            wait_ready(region, table=table)
    finally:
        table.stop_all()
