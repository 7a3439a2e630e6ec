"""One battery per port, run against the fake that tests use and against the real adapter on an emulated region."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from plantwatch.aws.active_region import CACHE_S, SsmActiveRegion
from plantwatch.aws.clients import Refused, client
from plantwatch.aws.dead_letters import S3DeadLetters, read_dead_letters
from plantwatch.aws.detector_states import S3DetectorStates
from plantwatch.aws.items import device_pk
from plantwatch.aws.lake import LakeCount, S3Lake, list_keys, read_rows
from plantwatch.aws.leader_lock import DynamoDbLeaderLock
from plantwatch.aws.leases import LeaseTable
from plantwatch.aws.notifier import SnsNotifier
from plantwatch.aws.results import STILL_OPEN_MS, DynamoDbResults
from plantwatch.aws.shards import StreamShards
from plantwatch.incident import Alert, Cause, Fault, Kind, Phase, Severity, incident_id
from plantwatch.ports import DeadLetters, DeliveryFailed, Lake, Notifier, ResultStore
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import EpochMs, Reading, Rejection, RejectionReason
from tests.fakes import MemoryDeadLetters, MemoryLake, MemoryNotifier, MemoryResults, MemoryStates
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component

START: EpochMs = 1_795_000_000_000
DAY_MS = 24 * 3600 * 1000
BOTH = pytest.mark.parametrize("kind", ["fake", "real"])


@dataclass
class Store:
    """A ResultStore and how to look into it: (device, prefix of the sort key) -> items."""

    port: ResultStore
    look: Callable[[str, str], list[dict[str, Any]]] | None


@dataclass
class Objects:
    """Lake and dead letters, with what they hold."""

    lake: Lake
    dead_letters: DeadLetters
    rows: Callable[[], list[dict[str, Any]]]
    letters: Callable[[], list[tuple[str, str]]]


def make_table(running: RunningRegion) -> str:
    name = f"results-{uuid.uuid4().hex[:8]}"
    running.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def make_bucket(running: RunningRegion) -> str:
    name = f"lake-{uuid.uuid4().hex[:8]}"
    running.client("s3").create_bucket(Bucket=name)
    return name


def make_store(kind: str, request: pytest.FixtureRequest) -> Store:
    if kind == "fake":
        return Store(MemoryResults(), None)
    running: RunningRegion = request.getfixturevalue("patched")
    table, dynamodb = make_table(running), running.client("dynamodb")

    def look(device: str, prefix: str) -> list[dict[str, Any]]:
        answer = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": device_pk(device)}, ":sk": {"S": prefix}},
        )
        return list(answer["Items"])

    return Store(DynamoDbResults(dynamodb, table), look)


def make_objects(kind: str, request: pytest.FixtureRequest) -> Objects:
    if kind == "fake":
        lake, letters = MemoryLake(), MemoryDeadLetters()
        return Objects(lake, letters, lake.rows, lambda: [(str(r.reason), r.detail) for r in letters.all()])
    running: RunningRegion = request.getfixturevalue("patched")
    s3, bucket = running.client("s3"), make_bucket(running)

    def rows() -> list[dict[str, Any]]:
        count = LakeCount()
        found = list(read_rows(s3, bucket, tenant="acme", region="us-east-1", count=count))
        assert count.duplicates == 0
        return found

    return Objects(
        S3Lake(s3, bucket, region="us-east-1"),
        S3DeadLetters(s3, bucket, tenant="acme", region="us-east-1"),
        rows,
        lambda: [
            (letter["reason"], letter["detail"])
            for letter in read_dead_letters(s3, bucket, tenant="acme", region="us-east-1")
        ],
    )


def scored(
    sequence: int, *, device: str = "pump-7", observed_at: EpochMs | None = None, **signals: float
) -> ScoredReading:
    at = START + sequence * 1000 if observed_at is None else observed_at
    reading = Reading(
        "acme", device, at, at + 5, signals or {"vibration": 2.0}, {"operator": "mk"}, ("pressure",),
        gateway="gateway-1", epoch=1, sequence=sequence,
    )  # fmt: skip
    return ScoredReading(
        reading,
        0.99976,
        (("vibration", 1.0),),
        (SensorFault("pressure", Fault.GAP),),
        (Kind.SENSOR_FAULT,),
        bundle="b1",
    )


def alert(phase: Phase, first_seen: EpochMs = START, *, kind: Kind = Kind.PROCESS_ANOMALY, after_ms: int = 0) -> Alert:
    return Alert(
        incident_id("acme", "pump-7", kind, first_seen), "acme", "pump-7", kind, phase, Severity.HIGH, 0.9998,
        first_seen, first_seen + after_ms, (Cause("vibration", 1.0, 4.82, 1.1, 2.3),), "us-east-1",
    )  # fmt: skip


# ---- ResultStore


@BOTH
def test_an_anomaly_is_stored_once(kind: str, request: pytest.FixtureRequest) -> None:
    store = make_store(kind, request)
    assert store.port.put_anomaly(scored(1))
    assert not store.port.put_anomaly(scored(1))
    assert store.port.put_anomaly(scored(2))


@BOTH
def test_an_alert_is_to_be_sent_until_it_is_marked_and_never_after(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    opened, cleared = alert(Phase.OPENED), alert(Phase.CLEARED, after_ms=60_000)
    assert port.put_transition(opened) == opened
    assert port.put_transition(opened) == opened, "a crash before sending"
    port.mark_notified(opened)
    assert port.put_transition(opened) is None
    assert port.put_transition(cleared) == cleared
    assert port.put_transition(cleared) == cleared
    port.mark_notified(cleared)
    assert port.put_transition(cleared) is None
    assert port.put_transition(opened) is None, "a repeat from an old checkpoint reopens nothing"


@BOTH
def test_one_incident_per_device_and_kind_is_open(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    port.put_transition(alert(Phase.OPENED))
    assert port.put_transition(alert(Phase.OPENED, START + 5000)) is None, "a scorer restarted cold finds it again"
    other_kind = alert(Phase.OPENED, START + 5000, kind=Kind.SENSOR_FAULT)
    assert port.put_transition(other_kind) == other_kind
    much_later = alert(Phase.OPENED, START + STILL_OPEN_MS)
    assert port.put_transition(much_later) == much_later, "a lost clearing does not silence a machine for ever"


@BOTH
def test_what_a_cold_scorer_clears_is_the_incident_that_is_open(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    opened, unknown = alert(Phase.OPENED), alert(Phase.CLEARED, START + 5000, after_ms=60_000)
    port.put_transition(opened)
    port.mark_notified(opened)
    to_send = port.put_transition(unknown)
    assert to_send is not None
    assert port.put_transition(unknown) == to_send, "after a crash before marking"
    assert (to_send.incident_id, to_send.first_seen) == (opened.incident_id, opened.first_seen)
    assert to_send.observed_at == unknown.observed_at
    port.mark_notified(to_send)
    assert port.put_transition(unknown) is None
    again = alert(Phase.OPENED, START + 90_000)
    assert port.put_transition(again) == again


@BOTH
def test_clearing_an_unknown_incident_is_harmless(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    assert port.put_transition(alert(Phase.CLEARED)) is None
    port.mark_notified(alert(Phase.CLEARED))
    assert port.put_transition(alert(Phase.OPENED)) == alert(Phase.OPENED)


def test_the_table_holds_what_its_readers_expect(patched: RunningRegion, request: pytest.FixtureRequest) -> None:
    store = make_store("real", request)
    assert store.look is not None
    store.port.put_anomaly(scored(1, vibration=0.1, tiny=1e-300, huge=1.7e308, zero=-0.0))
    (anomaly,) = store.look("pump-7", "anomaly#")
    assert anomaly["sk"]["S"] == "anomaly#2026-11-18T11:06:41.000Z#gateway-1.000001.000000000001"
    signals = anomaly["signals"]["M"]
    assert signals["vibration"] == {"N": "0.1"}
    assert (signals["tiny"], signals["huge"]) == ({"S": "1e-300"}, {"S": "1.7e+308"}), "beyond DynamoDB's numbers"
    assert anomaly["score"] == {"N": "0.99976"}
    assert int(anomaly["ttl"]["N"]) == (START + 1000 + 400 * DAY_MS) // 1000
    assert anomaly["faults"]["L"] == [{"M": {"signal": {"S": "pressure"}, "fault": {"S": "gap"}}}]

    store.port.put_transition(alert(Phase.OPENED))
    store.port.mark_notified(alert(Phase.OPENED))
    (guard,) = store.look("pump-7", "open#")
    assert guard["sk"]["S"] == "open#process_anomaly"
    cleared = alert(Phase.CLEARED, after_ms=60_000)
    store.port.put_transition(cleared)
    store.port.mark_notified(cleared)
    (incident,) = store.look("pump-7", "incident#")
    assert incident["phase"] == {"S": "cleared"}
    assert incident["cleared_at"] == {"S": "2026-11-18T11:07:40.000Z"}
    assert (incident["notified_opened"], incident["notified_cleared"]) == ({"BOOL": True}, {"BOOL": True})
    assert store.look("pump-7", "open#") == []


def test_an_older_reading_never_replaces_a_devices_state(
    patched: RunningRegion, request: pytest.FixtureRequest
) -> None:
    store = make_store("real", request)
    assert store.look is not None
    for sequence in (5, 3):
        store.port.put_device_states([scored(sequence), scored(sequence, device="fan-2")])
    (state,) = store.look("pump-7", "state")
    assert state["key"]["S"] == "gateway-1.000001.000000000005"
    store.port.put_device_states([scored(6)])
    assert store.look("pump-7", "state")[0]["key"]["S"] == "gateway-1.000001.000000000006"


def test_text_that_is_no_unicode_is_stored_too(patched: RunningRegion, request: pytest.FixtureRequest) -> None:
    """JSON may carry half of a surrogate pair; DynamoDB refuses it, and a refusal would stop the shard."""
    odd = scored(1)
    odd = odd._replace(reading=odd.reading._replace(attributes={"operator": "\ud800!"}))
    store, objects = make_store("real", request), make_objects("real", request)
    assert store.port.put_anomaly(odd)
    objects.lake.append([odd], position="shard-1", stored_at=START)
    assert len(objects.rows()) == 1


# ---- Lake and DeadLetters


@BOTH
def test_a_repeat_replaces_and_a_shorter_repeat_does_not(kind: str, request: pytest.FixtureRequest) -> None:
    objects = make_objects(kind, request)
    for last in (3, 5, 5, 2):
        objects.lake.append([scored(n) for n in range(1, last + 1)], position="shard-1", stored_at=START + last)
    assert sorted(row["sequence"] for row in objects.rows()) == [1, 2, 3, 4, 5]
    objects.lake.append([scored(6)], position="shard-6", stored_at=START)
    assert len(objects.rows()) == 6


@BOTH
def test_readings_of_two_days_are_all_kept(kind: str, request: pytest.FixtureRequest) -> None:
    objects = make_objects(kind, request)
    items = [scored(1), scored(2, observed_at=START - DAY_MS)]
    objects.lake.append(items, position="shard-1", stored_at=START)
    assert sorted(row["observed_at"][:10] for row in objects.rows()) == ["2026-11-17", "2026-11-18"]


@BOTH
def test_refused_records_keep_their_reason(kind: str, request: pytest.FixtureRequest) -> None:
    objects = make_objects(kind, request)
    refused = [
        Rejection(RejectionReason.MALFORMED_JSON, "line 1", "tenants/acme/devices/x/telemetry", START, b"\x00\xff{"),
        Rejection(RejectionReason.MALFORMED_RECORD, "no time", "", 10**18, b""),
    ]
    for _ in range(2):
        objects.dead_letters.put(refused, position="shard-1")
    assert sorted(objects.letters()) == [("malformed_json", "line 1"), ("malformed_record", "no time")]


def test_an_object_is_what_pandas_and_athena_read(patched: RunningRegion, tmp_path: Any) -> None:
    s3, bucket = patched.client("s3"), make_bucket(patched)
    lake = S3Lake(s3, bucket, region="us-east-1")
    lake.append([scored(1), scored(2)], position="shardId-000000000000-17", stored_at=START + 9000)
    (key,) = list_keys(s3, bucket, "")
    assert key == "readings/tenant=acme/region=us-east-1/day=2026-11-18/shardId-000000000000-17.jsonl.gz"
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    file = tmp_path / "object.jsonl.gz"
    file.write_bytes(body)
    frame = pd.read_json(file, lines=True)
    assert list(frame["sequence"]) == [1, 2]
    row = json.loads(gzip.decompress(body).splitlines()[0])
    assert row == {
        "tenant": "acme", "device": "pump-7", "observed_at": "2026-11-18T11:06:41.000Z",
        "received_at": "2026-11-18T11:06:41.005Z", "stored_at": "2026-11-18T11:06:49.000Z",
        "key": "gateway-1.000001.000000000001", "path": "edge", "gateway": "gateway-1", "epoch": 1, "sequence": 1,
        "signals": {"vibration": 2.0}, "missing": ["pressure"], "attributes": {"operator": "mk"}, "score": 0.99976,
        "shares": {"vibration": 1.0}, "faults": [{"signal": "pressure", "fault": "gap"}],
        "open_kinds": ["sensor_fault"], "warming_up": False, "bundle": "b1", "region": "us-east-1",
    }  # fmt: skip
    before = body
    lake.append([scored(1), scored(2)], position="shardId-000000000000-17", stored_at=START + 9000)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == before, "the same rows are the same bytes"


def test_readers_count_what_is_there_twice(patched: RunningRegion) -> None:
    s3, bucket = patched.client("s3"), make_bucket(patched)
    lake = S3Lake(s3, bucket, region="us-east-1")
    lake.append([scored(1), scored(2)], position="a", stored_at=START)
    lake.append([scored(2), scored(3)], position="b", stored_at=START)
    count = LakeCount()
    rows = list(read_rows(s3, bucket, tenant="acme", region="us-east-1", day="2026-11-18", count=count))
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    assert (count.rows, count.unique, count.duplicates) == (4, 3, 1)


# ---- Notifier


@BOTH
def test_an_alert_reaches_its_subscribers(kind: str, request: pytest.FixtureRequest) -> None:
    sent = alert(Phase.OPENED)
    if kind == "fake":
        fake = MemoryNotifier()
        notify(fake, sent)
        assert fake.sent == [sent]
        return
    running: RunningRegion = request.getfixturevalue("patched")
    topic, queue = subscribed_queue(running)
    notify(SnsNotifier(running.client("sns"), topic), sent)
    answer = running.client("sqs").receive_message(
        QueueUrl=queue, WaitTimeSeconds=5, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    )
    (message,) = answer["Messages"]
    fields = json.loads(message["Body"])
    assert fields["alert_id"] == sent.alert_id
    assert fields["signals"][0]["signal"] == "vibration"
    assert fields["text"].startswith("pump-7: vibration 4.82 (expected 1.1 to 2.3) since")
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "tenant": "acme", "severity": "high", "kind": "process_anomaly", "phase": "opened", "alert_id": sent.alert_id,
    }  # fmt: skip


def notify(notifier: Notifier, sent: Alert) -> None:
    notifier.notify(sent)


def subscribed_queue(running: RunningRegion) -> tuple[str, str]:
    name = f"alerts-{uuid.uuid4().hex[:8]}"
    sns, sqs = running.client("sns"), running.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    return str(topic), str(queue)


# ---- ActiveRegion, DetectorStates and the library's tables


def test_a_region_is_active_when_the_parameter_says_so(patched: RunningRegion) -> None:
    ssm, name, time_s = patched.client("ssm"), f"/plantwatch/{uuid.uuid4().hex[:8]}", [100.0]
    ssm.put_parameter(Name=name, Type="String", Value='{"region": "us-east-1", "epoch": 1}')
    here = SsmActiveRegion(ssm, name, region="us-east-1", monotonic=lambda: time_s[0])
    there = SsmActiveRegion(ssm, name, region="us-west-2", monotonic=lambda: time_s[0])
    assert (here.is_active(), there.is_active()) == (True, False)
    ssm.put_parameter(Name=name, Type="String", Value='{"region": "us-west-2", "epoch": 2}', Overwrite=True)
    time_s[0] += CACHE_S / 2
    assert (here.is_active(), there.is_active()) == (True, False), "from memory"
    time_s[0] += CACHE_S
    assert (here.is_active(), there.is_active()) == (False, True)
    ssm.put_parameter(Name=name, Type="String", Value="us-east-1", Overwrite=True)
    time_s[0] += CACHE_S
    with pytest.raises(Refused, match=name):
        here.is_active()


@BOTH
def test_a_state_is_given_back_for_its_own_checkpoint_only(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "fake":
        states: Any = MemoryStates()
    else:
        running: RunningRegion = request.getfixturevalue("patched")
        s3, bucket = running.client("s3"), make_bucket(running)
        states = S3DetectorStates(s3, bucket, application="app", bundle="b1")
    assert states.load("shard", "1") is None
    for covers in ("1", "2", "3"):
        states.save("shard", covers, b"state\nof " + covers.encode())
    assert states.load("shard", "2") == b"state\nof 2", "the newest checkpoint may be the one before the newest state"
    assert states.load("shard", "1") is None
    states.save("shard", "4", b"4")
    assert states.load("shard", "2" if kind == "real" else "3") is not None
    assert states.load("other", "4") is None
    if kind == "real":
        assert S3DetectorStates(s3, bucket, application="app", bundle="b2").load("shard", "4") is None


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"{", b"[" * 100_000, b"not ours\nat all"])
def test_a_damaged_state_is_no_state_and_harms_no_other(
    patched: RunningRegion, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    s3, bucket = patched.client("s3"), make_bucket(patched)
    states = S3DetectorStates(s3, bucket, application="app", bundle="b1")
    states.save("shard", "1", b"one")
    states.save("shard", "2", b"two")
    first, _ = list_keys(s3, bucket, "detector-state/app/shard/")
    s3.put_object(Bucket=bucket, Key=first, Body=damage)
    assert states.load("shard", "1") is None
    assert f"s3://{bucket}/{first}" in caplog.text
    assert states.load("shard", "2") == b"two"
    states.save("shard", "3", b"three")
    assert states.load("shard", "3") == b"three", "in the place of the damaged one"
    assert states.load("shard", "2") == b"two"


def test_the_leader_lock_goes_only_in_the_version_that_was_seen(patched: RunningRegion) -> None:
    dynamodb, app = patched.client("dynamodb"), f"app-{uuid.uuid4().hex[:8]}"
    lock = DynamoDbLeaderLock(dynamodb, app)
    assert lock.read() is None, "no table yet"
    for suffix, key in (("CoordinatorState", "key"), ("WorkerMetricStats", "wid")):
        dynamodb.create_table(
            TableName=f"{app}-{suffix}",
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    assert lock.read() is None
    item = {"key": {"S": "Leader"}, "ownerName": {"S": "w0"}, "recordVersionNumber": {"S": "v1"}}
    dynamodb.put_item(TableName=f"{app}-CoordinatorState", Item=item)
    seen = lock.read()
    assert seen is not None
    assert (seen.owner, seen.version, seen.reported) == ("w0", "v1", "")
    dynamodb.put_item(TableName=f"{app}-WorkerMetricStats", Item={"wid": {"S": "w0"}, "lut": {"N": "17"}})
    dynamodb.put_item(TableName=f"{app}-CoordinatorState", Item={**item, "recordVersionNumber": {"S": "v2"}})
    assert not lock.delete(seen), "its holder was quicker"
    renewed = lock.read()
    assert renewed is not None
    assert renewed.reported == "17"
    assert lock.delete(renewed)
    assert lock.read() is None


def test_first_leases_are_added_and_never_replaced(patched: RunningRegion) -> None:
    dynamodb, kinesis, app = patched.client("dynamodb"), patched.client("kinesis"), f"app-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=app, ShardCount=2)
    arn = kinesis.describe_stream_summary(StreamName=app)["StreamDescriptionSummary"]["StreamARN"]
    leases = LeaseTable(dynamodb, kinesis, application=app, stream_arn=arn)
    assert leases.is_empty() is None
    dynamodb.create_table(
        TableName=app,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert leases.is_empty() is True
    shards = leases.shards()
    assert [shard.parents for shard in shards] == [(), ()]
    leases.add(shards[0])
    assert leases.is_empty() is False
    dynamodb.update_item(
        TableName=app,
        Key={"leaseKey": {"S": shards[0].shard_id}},
        UpdateExpression="SET checkpoint = :c",
        ExpressionAttributeValues={":c": {"S": "17"}},
    )
    leases.add(shards[0])
    assert dynamodb.scan(TableName=app)["Items"][0]["checkpoint"] == {"S": "17"}


def test_shards_know_their_parents(patched: RunningRegion) -> None:
    kinesis, stream = patched.client("kinesis"), f"stream-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    shards = StreamShards(kinesis, arn)
    (first,) = shards.all()
    kinesis.split_shard(StreamName=stream, ShardToSplit=first.shard_id, NewStartingHashKey=str(1 << 127))
    left, right = (shard.shard_id for shard in shards.all() if shard != first)
    kinesis.merge_shards(StreamName=stream, ShardToMerge=left, AdjacentShardToMerge=right)
    (merged,) = {shard.shard_id for shard in shards.all()} - {first.shard_id, left, right}
    assert shards.parents(first.shard_id) == ()
    assert shards.parents(left) == shards.parents(right) == (first.shard_id,)
    assert set(shards.parents(merged)) == {left, right}
    assert shards.parents("shardId-000000000099") == ()


# ---- errors


def test_an_unreachable_service_is_a_failed_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint of all tests is a port where nobody listens."""
    monkeypatch.setattr("plantwatch.aws.clients.ATTEMPTS_MAX", 1)
    results, s3, sns, ssm = (client(service) for service in ("dynamodb", "s3", "sns", "ssm"))
    unreachable: list[Callable[[], Any]] = [
        lambda: DynamoDbResults(results, "t").put_anomaly(scored(1)),
        lambda: DynamoDbResults(results, "t").put_transition(alert(Phase.OPENED)),
        lambda: DynamoDbResults(results, "t").mark_notified(alert(Phase.OPENED)),
        lambda: DynamoDbResults(results, "t").put_device_states([scored(1)]),
        lambda: S3Lake(s3, "b", region="r").append([scored(1)], position="p", stored_at=START),
        lambda: S3DetectorStates(s3, "b", application="a", bundle="b").load("s", "1"),
        lambda: SnsNotifier(sns, "arn:aws:sns:us-east-1:000000000000:t").notify(alert(Phase.OPENED)),
        lambda: SsmActiveRegion(ssm, "/p", region="us-east-1").is_active(),
    ]
    for call in unreachable:
        with pytest.raises(DeliveryFailed, match="could not"):
            call()


def test_what_no_retry_mends_is_refused_by_name(patched: RunningRegion) -> None:
    with pytest.raises(Refused, match="no-such-table"):
        DynamoDbResults(patched.client("dynamodb"), "no-such-table").put_anomaly(scored(1))
    with pytest.raises(Refused, match="no-such-bucket"):
        S3Lake(patched.client("s3"), "no-such-bucket", region="r").append([scored(1)], position="p", stored_at=START)
    with pytest.raises(Refused, match="/no/such"):
        SsmActiveRegion(patched.client("ssm"), "/no/such", region="us-east-1").is_active()
