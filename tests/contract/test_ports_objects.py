"""Lake, DeadLetters and DetectorStates: one battery for the fakes and for S3."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pandas as pd
import pytest

from plantwatch.aws.detector_states import S3DetectorStates
from plantwatch.aws.lake import LakeCount, S3Lake, list_keys, read_rows
from plantwatch.telemetry import Rejection, RejectionReason
from tests.contract.ports_support import (
    BOTH,
    DAY_MS,
    START,
    make_bucket,
    make_objects,
    scored,
)
from tests.fakes import MemoryStates
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component


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
def test_a_refused_record_is_kept_once_with_its_reason_and_detail(kind: str, request: pytest.FixtureRequest) -> None:
    objects = make_objects(kind, request)
    refused = [
        Rejection(RejectionReason.MALFORMED_JSON, "line 1", "tenants/acme/devices/x/telemetry", START, b"\x00\xff{"),
        Rejection(RejectionReason.MALFORMED_RECORD, "no time", "", 10**18, b""),
    ]
    for _ in range(2):
        objects.dead_letters.put(refused, position="shard-1")
    assert sorted(objects.letters()) == [("malformed_json", "line 1"), ("malformed_record", "no time")]


def test_an_object_is_named_by_day_and_position_and_pandas_reads_its_rows(
    patched: RunningRegion, tmp_path: Any
) -> None:
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


@BOTH
def test_a_state_is_given_back_for_its_own_checkpoint_only(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "fake":
        states: Any = MemoryStates()
    else:
        running: RunningRegion = request.getfixturevalue("patched")
        s3, bucket = running.client("s3"), make_bucket(running)
        states = S3DetectorStates(s3, bucket, application="app", bundle="b1")
    assert states.load("shard", "1") is None
    assert states.newest("shard") is None
    for covers in ("1", "2", "3"):
        states.save("shard", covers, b"state\nof " + covers.encode())
    assert states.load("shard", "2") == b"state\nof 2", "the newest checkpoint may be the one before the newest state"
    assert states.load("shard", "1") is None
    assert states.newest("shard") == ("3", b"state\nof 3")
    states.load("shard", "2")
    states.save("shard", "4", b"4")
    assert states.newest("shard") == ("4", b"4")
    assert states.load("shard", "2" if kind == "real" else "3") is not None
    assert states.load("other", "4") is None
    if kind == "real":
        assert S3DetectorStates(s3, bucket, application="app", bundle="b2").load("shard", "4") is None


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"{", b"[]", b"[" * 100_000, b"not ours\nat all"])
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
    assert damage == b"[]" or f"s3://{bucket}/{first}" in caplog.text
    assert states.newest("shard") == ("2", b"two")
    assert states.load("shard", "2") == b"two"
    states.save("shard", "3", b"three")
    assert states.load("shard", "3") == b"three", "in the place of the damaged one"
    assert states.load("shard", "2") == b"two"
