"""Devices and rules: each question is put to the patched and to the stock emulator (see `conftest.emulator`)."""

from __future__ import annotations

import base64
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from plantwatch.record import RULE_SQL, Record, decode_record
from tests.region_support import RunningRegion, connack_without_certificate, happens, provision, session

pytestmark = pytest.mark.component

_LOOPBACK = "0100007F"
_FILTER = "tenants/acme/devices/{thing}/telemetry"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_the_mqtt_listener_is_reachable_from_this_machine_only(emulator: RunningRegion) -> None:
    port = f"{emulator.region.mqtt_port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1].split(":") for row in rows if row[3] == "0A"]

    assert [address for address, its_port in listening if its_port == port] == [_LOOPBACK]


def test_a_device_without_certificate_is_refused(emulator: RunningRegion) -> None:
    assert connack_without_certificate(emulator) == b""


def test_a_revoked_certificate_ends_the_session_that_is_open(emulator: RunningRegion) -> None:
    device = provision(emulator, unique("press"))
    with session(emulator, device) as opened:
        emulator.client("iot").update_certificate(certificateId=device.certificate_id, newStatus="INACTIVE")

        assert opened.dropped.wait(emulator.patience_s)


def test_what_is_acknowledged_is_in_the_stream(emulator: RunningRegion) -> None:
    device, stream = provision(emulator, unique("press")), unique("stream")
    emulator.client("kinesis").create_stream(StreamName=stream, ShardCount=2)
    action = {"kinesis": {"roleArn": emulator.role(), "streamName": stream, "partitionKey": "${topic(4)}"}}
    emulator.rule(f"kinesis_{uuid.uuid4().hex}", f"SELECT * FROM '{device.topic}'", action)
    with session(emulator, device) as opened:
        assert opened.publish(device.topic, b'{"temperature": 83.2}') == 0

    records = emulator.records(stream)
    assert [(each["PartitionKey"], json.loads(each["Data"])) for each in records] == [
        (device.thing, {"temperature": 83.2})
    ]


def test_a_rule_writes_an_object_under_a_key_from_the_message(emulator: RunningRegion) -> None:
    device, bucket = provision(emulator, unique("press")), unique("bucket")
    emulator.client("s3").create_bucket(Bucket=bucket)
    action = {"s3": {"roleArn": emulator.role(), "bucketName": bucket, "key": "${topic(4)}/${batch}.json"}}
    emulator.rule(f"s3_{uuid.uuid4().hex}", f"SELECT * FROM '{device.topic}'", action)
    with session(emulator, device) as opened:
        opened.publish(device.topic, b'{"batch": 7}')

    listing = emulator.client("s3").list_objects_v2(Bucket=bucket)
    assert [each["Key"] for each in listing.get("Contents", [])] == [f"{device.thing}/7.json"]


def test_a_rule_feeds_a_delivery_stream(emulator: RunningRegion) -> None:
    device, name = provision(emulator, unique("press")), unique("delivery")
    emulator.client("s3").create_bucket(Bucket=name)
    destination = {"RoleARN": emulator.role(), "BucketARN": f"arn:aws:s3:::{name}"}
    emulator.client("firehose").create_delivery_stream(
        DeliveryStreamName=name, ExtendedS3DestinationConfiguration=destination
    )
    action = {"firehose": {"roleArn": emulator.role(), "deliveryStreamName": name, "separator": "\n"}}
    emulator.rule(f"firehose_{uuid.uuid4().hex}", f"SELECT * FROM '{device.topic}'", action)
    with session(emulator, device) as opened:
        opened.publish(device.topic, b'{"a": 1}')

    assert happens(lambda: emulator.client("s3").list_objects_v2(Bucket=name)["KeyCount"] == 1, emulator.patience_s)


def test_a_failed_action_goes_to_the_error_action(emulator: RunningRegion) -> None:
    device, queue = provision(emulator, unique("press")), unique("errors")
    sqs = emulator.client("sqs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    action = {"kinesis": {"roleArn": emulator.role(), "streamName": "no-such-stream", "partitionKey": "x"}}
    error_action = {"sqs": {"roleArn": emulator.role(), "queueUrl": url, "useBase64": False}}
    emulator.rule(f"error_{uuid.uuid4().hex}", f"SELECT * FROM '{device.topic}'", action, error_action)
    with session(emulator, device) as opened:
        opened.publish(device.topic, b"{}")

    messages = sqs.receive_message(QueueUrl=url).get("Messages", [])
    assert len(messages) == 1
    failure = json.loads(messages[0]["Body"])["failures"][0]
    assert (failure["failedAction"], failure["failedResource"]) == ("KinesisAction", "no-such-stream")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("floor(t)", 83),
        ("upper(concat(unit, '-', 'x'))", "C-X"),
        ("startswith(topic(4), 'press')", True),
        ("parse_time('yyyy-MM-dd', 1732341600000)", "2024-11-23"),
        ("sha256(unit)", "6b23c0d5f35d1b11f9b683f0b0a617355deb11277d91ae091d399c655b87940d"),
        ("length(unit)", 1),
    ],
)
def test_a_rule_calls_the_functions_of_rule_sql(emulator: RunningRegion, expression: str, expected: Any) -> None:
    assert _through_sql(emulator, expression) == {"value": expected}


def _through_sql(running: RunningRegion, expression: str) -> Any:
    """What a rule makes of {"t": 83.2, "unit": "C"}, seen through an action that the stock emulator has, too."""
    device, name = provision(running, unique("press")), unique("out")
    url = running.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    action = {"sqs": {"roleArn": running.role(), "queueUrl": url, "useBase64": False}}
    running.rule(f"sql_{uuid.uuid4().hex}", f"SELECT {expression} AS value FROM '{device.topic}'", action)
    with session(running, device) as opened:
        opened.publish(device.topic, b'{"t": 83.2, "unit": "C"}')
    return json.loads(running.client("sqs").receive_message(QueueUrl=url)["Messages"][0]["Body"])


# What makes a JSON parser give up on well-formed JSON.
UNREADABLE = {
    "an integer of 5,000 digits": b'{"ts": 1732341600, "t": ' + b"7" * 5_000 + b"}",
    "60,000 lists inside each other": b'{"t": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
}
PAYLOADS = {
    "json": b'{"ts": 1732341600, "temperature": 83.2}',
    "malformed json": b'{"ts": 1732341600, "temperature": ',
    "not a number": b'{"ts": 1732341600, "temperature": NaN}',
    "not utf-8": b"\xff\xfe\x00\x01",
    "utf-16": '{"unit": "°C"}'.encode("utf-16"),
    "empty": b"",
    "the largest": os.urandom(128 * 1024 - 200),
    **UNREADABLE,
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_payload_that_no_parser_takes_is_passed_on_and_its_connection_lives(
    emulator: RunningRegion, what: str
) -> None:
    device, name = provision(emulator, unique("press")), unique("out")
    url = emulator.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    action = {"sqs": {"roleArn": emulator.role(), "queueUrl": url, "useBase64": False}}
    emulator.rule(f"poison_{uuid.uuid4().hex}", f"SELECT encode(*, 'base64') AS p FROM '{device.topic}'", action)
    with session(emulator, device) as opened:
        sent = opened.send(device.topic, UNREADABLE[what])

        assert happens(sent.done, emulator.patience_s), "no PUBACK"
        assert not opened.dropped.is_set()
    (message,) = emulator.client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert base64.b64decode(json.loads(message["Body"])["p"]) == UNREADABLE[what]


def test_the_products_rule_passes_any_payload(patched: RunningRegion) -> None:
    device, stream = provision(patched, unique("press")), unique("stream")
    patched.client("kinesis").create_stream(StreamName=stream, ShardCount=1)
    action = {"kinesis": {"roleArn": patched.role(), "streamName": stream, "partitionKey": "${topic(4)}"}}
    patched.rule(f"any_{uuid.uuid4().hex}", f"{RULE_SQL} FROM '{device.topic}'", action)
    with session(patched, device) as opened:
        assert [opened.publish(device.topic, payload) for payload in PAYLOADS.values()] == [0] * len(PAYLOADS)

    received: list[Record] = [decode_record(each["Data"]) for each in patched.records(stream)]
    assert [record.payload for record in received] == list(PAYLOADS.values())
    assert {record.topic for record in received} == {device.topic}


def test_a_device_publishes_under_its_own_name_only(patched: RunningRegion) -> None:
    device = provision(patched, unique("press"))
    with session(patched, device) as opened:
        assert opened.publish(_FILTER.format(thing="press-9"), b"{}") == 135
        assert opened.publish(f"tenants/other/devices/{device.thing}/telemetry", b"{}") == 135
        assert opened.publish(device.topic, b"{}") == 0


def test_a_device_connects_under_its_own_name_only(patched: RunningRegion) -> None:
    device = provision(patched, unique("press"))
    refused = pytest.raises(Exception, match=r"(?i)connack|refused|closed|disconnect")
    with refused, session(patched, device, client_id="another-thing"):
        pytest.fail("connected as another thing")


def test_a_certificate_of_another_region_registers_under_the_same_id(
    patched: RunningRegion, stock: RunningRegion
) -> None:
    device = provision(stock, unique("press"))
    pem = device.certificate.read_text()
    answer = patched.client("iot").register_certificate_without_ca(certificatePem=pem, status="ACTIVE")

    assert answer["certificateId"] == device.certificate_id
