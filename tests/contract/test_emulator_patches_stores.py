"""DynamoDB, S3, SNS and saved state: each question is put to the patched and to the stock emulator."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from localcloud.processes import ProcessTable
from localcloud.receiver import Inbox, Receiver
from localcloud.region import HOST, REPOSITORY, emulator_python
from tests.region_support import RunningRegion, happens
from tests.threads_support import serving

pytestmark = pytest.mark.component

_ELSEWHERE = "us-west-2"


def new_table(running: RunningRegion) -> tuple[Any, str]:
    dynamodb, name = running.client("dynamodb"), f"table-{uuid.uuid4().hex[:8]}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return dynamodb, name


def test_a_replica_elsewhere_is_created_by_that_region(emulator: RunningRegion) -> None:
    dynamodb, name = new_table(emulator)
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": _ELSEWHERE}}])

    replicas = dynamodb.describe_table(TableName=name)["Table"]["Replicas"]
    assert [(each["RegionName"], each["ReplicaStatus"]) for each in replicas] == [(_ELSEWHERE, "CREATING")]


def test_an_object_for_a_bucket_elsewhere_waits(emulator: RunningRegion) -> None:
    s3, bucket = emulator.client("s3"), f"bucket-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {
        "ID": "all",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{bucket}-elsewhere"},
    }
    configuration = {"Role": emulator.role(), "Rules": [rule]}
    s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration=configuration)
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")

    assert s3.head_object(Bucket=bucket, Key="a")["ReplicationStatus"] == "PENDING"


class _Faltering(Receiver):
    """Refuses the first notification."""

    refused = False

    def accept(self, body: bytes, headers: dict[str, str], received_at: int) -> HTTPStatus:
        if headers.get("x-amz-sns-message-type") == "Notification" and not self.refused:
            self.refused = True
            return HTTPStatus.SERVICE_UNAVAILABLE
        return super().accept(body, headers, received_at)


def test_a_subscriber_that_falters_hears_of_the_message_later(emulator: RunningRegion, tmp_path: Path) -> None:
    sns, inbox = emulator.client("sns"), Inbox(tmp_path / "alerts.jsonl")
    topic = sns.create_topic(Name=f"topic-{uuid.uuid4().hex[:8]}")["TopicArn"]
    with serving(_Faltering(0, inbox)) as receiver:
        endpoint = f"http://{HOST}:{receiver.server_port}/"
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)
        assert happens(lambda: _confirmed(sns, topic), 5.0)
        sns.publish(TopicArn=topic, Message='{"incident": 1}')

        assert happens(lambda: [each["message"] for each in inbox.read()] == [{"incident": 1}], emulator.patience_s)
        assert inbox.read()[0]["headers"]["x-amz-sns-topic-arn"] == topic


def _confirmed(sns: Any, topic: str) -> bool:
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    return [each["SubscriptionArn"].startswith(topic) for each in subscriptions] == [True] and (
        sns.get_subscription_attributes(SubscriptionArn=subscriptions[0]["SubscriptionArn"])["Attributes"][
            "PendingConfirmation"
        ]
        == "false"
    )


@contextmanager
def started(root: Path, **options: Any) -> Iterator[RunningRegion]:
    table = ProcessTable(root)
    running = RunningRegion(table, root / "state", **options)
    try:
        running.start()
        yield running
    finally:
        table.stop_all()


@pytest.mark.parametrize(
    "is_stock",
    [
        False,
        pytest.param(True, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason="defect of 1.5.33")),
    ],
)
def test_a_killed_region_comes_back_with_its_last_snapshot(tmp_path: Path, is_stock: bool) -> None:
    with started(tmp_path, stock=is_stock, snapshot_every_s=0.2) as running:
        dynamodb, name = new_table(running)
        dynamodb.put_item(TableName=name, Item={"pk": {"S": "a"}})
        saved = running.root / "primary" / "services" / "dynamodb.json"
        happens(lambda: saved.exists() and '"pk": {"S": "a"}' in saved.read_text(), running.patience_s)
        running.kill()
        running.start()

        assert dynamodb.list_tables()["TableNames"] == [name]
        assert dynamodb.scan(TableName=name)["Items"] == [{"pk": {"S": "a"}}]


# In the emulator's own process: the moment between the save and the end is too short to hit from outside.
_STOP = """
import json, sys
from ministack import app
from ministack.services import iot
class Fake:
    def __init__(self, name): self.name, self.transport = name, self
    def close(self): events.append("listener closed")
    def abort(self): events.append("session ended")
events = []
iot._mtls_server = Fake("listener")
iot._mtls_sessions.add(Fake("session"))
if sys.argv[1] == "patched":
    from localcloud.patches import state_clean_stop
    state_clean_stop.apply()
app.save_all({"kinesis": lambda: events.append("saved")})
print(json.dumps(events))
"""


def _stop_order(kind: str) -> list[str]:
    run = subprocess.run(
        [emulator_python(), "-c", _STOP, kind], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    events: list[str] = json.loads(run.stdout)
    return events


def test_at_a_stop_nothing_is_acknowledged_after_the_save() -> None:
    assert _stop_order("patched") == ["listener closed", "session ended", "saved"]
    assert _stop_order("stock") == ["saved"]
