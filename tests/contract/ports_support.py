"""The stores behind the ports: the fake that unit tests use, and the real adapter on an emulated region."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from plantwatch.aws.dead_letters import S3DeadLetters, read_dead_letters
from plantwatch.aws.items import device_pk
from plantwatch.aws.lake import LakeCount, S3Lake, read_rows
from plantwatch.aws.results import DynamoDbResults
from plantwatch.incident import Alert, Cause, Fault, Kind, Phase, Severity, incident_id
from plantwatch.ports import DeadLetters, Lake, ResultStore
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import EpochMs, Reading
from tests.fakes import MemoryDeadLetters, MemoryLake, MemoryResults
from tests.region_support import RunningRegion

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
