"""Kinesis: each question is put to the patched and to the stock emulator (see `conftest.emulator`)."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from localcloud.processes import ProcessTable
from localcloud.region import REPOSITORY, emulator_python
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component

_MIDDLE = str(2**127)
_FIRST = "shardId-000000000000"


def new_stream(running: RunningRegion, shards: int) -> tuple[Any, str]:
    kinesis, name = running.client("kinesis"), f"stream-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return kinesis, name


def split_first(kinesis: Any, stream: str) -> None:
    kinesis.split_shard(StreamName=stream, ShardToSplit=_FIRST, NewStartingHashKey=_MIDDLE)


def put(kinesis: Any, stream: str, *payloads: bytes) -> None:
    for payload in payloads:
        kinesis.put_record(StreamName=stream, PartitionKey=payload.decode(), Data=payload)


def stored(running: RunningRegion, stream: str) -> set[bytes]:
    return {record["Data"] for record in running.records(stream)}


def test_a_split_shard_keeps_its_records(emulator: RunningRegion) -> None:
    kinesis, stream = new_stream(emulator, 1)
    put(kinesis, stream, b"before")
    split_first(kinesis, stream)
    put(kinesis, stream, b"after")

    assert stored(emulator, stream) == {b"before", b"after"}


def test_merged_shards_keep_their_records(emulator: RunningRegion) -> None:
    kinesis, stream = new_stream(emulator, 2)
    put(kinesis, stream, b"a", b"b", b"c", b"d")
    kinesis.merge_shards(StreamName=stream, ShardToMerge=_FIRST, AdjacentShardToMerge="shardId-000000000001")

    assert stored(emulator, stream) == {b"a", b"b", b"c", b"d"}


@pytest.mark.parametrize(("shards", "target"), [(1, 3), (4, 2)])
def test_a_stream_of_another_size_keeps_its_records(emulator: RunningRegion, shards: int, target: int) -> None:
    kinesis, stream = new_stream(emulator, shards)
    put(kinesis, stream, b"a", b"b", b"c", b"d")
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=target, ScalingType="UNIFORM_SCALING")

    assert stored(emulator, stream) == {b"a", b"b", b"c", b"d"}
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == target


def test_the_end_of_a_closed_shard_names_its_children(emulator: RunningRegion) -> None:
    kinesis, stream = new_stream(emulator, 1)
    put(kinesis, stream, b"before")
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=_FIRST, ShardIteratorType="TRIM_HORIZON")
    split_first(kinesis, stream)
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    closed = next((shard for shard in shards if shard["ShardId"] == _FIRST), None)

    assert closed is not None
    assert "EndingSequenceNumber" in closed["SequenceNumberRange"]
    answer = kinesis.get_records(ShardIterator=iterator["ShardIterator"])
    assert [record["Data"] for record in answer["Records"]] == [b"before"]
    assert "NextShardIterator" not in answer
    assert [child["ParentShards"] for child in answer["ChildShards"]] == [[_FIRST], [_FIRST]]


def test_list_shards_filters_as_the_kinesis_client_library_asks(emulator: RunningRegion) -> None:
    kinesis, stream = new_stream(emulator, 1)
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    everything = [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream)["Shards"]]

    def listed(**shard_filter: Any) -> list[str]:
        return [each["ShardId"] for each in kinesis.list_shards(StreamName=stream, ShardFilter=shard_filter)["Shards"]]

    assert listed(Type="AFTER_SHARD_ID", ShardId=everything[0]) == everything[1:]
    assert listed(Type="AT_LATEST") == everything[1:]
    assert listed(Type="AT_TRIM_HORIZON") == everything[:1]


# The emulator's own process: retention is at least a day, so a test cannot wait for a record to expire.
_EXPIRY = """
import json, sys, time
from ministack.services import kinesis
if sys.argv[1] == "patched":
    from localcloud.patches import kinesis_expiry
    kinesis_expiry.apply()
def record(at): return {"ApproximateArrivalTimestamp": at, "SequenceNumber": "1", "Data": "", "PartitionKey": "x"}
now = time.time()
stream = {"StreamARN": "arn", "RetentionPeriodHours": 24, "shards": {"a": {"records": [record(now)] * 200_000}}}
begin = time.perf_counter()
for _ in range(20):
    kinesis._expire_records(stream)
seconds = time.perf_counter() - begin
old = {"StreamARN": "arn", "RetentionPeriodHours": 24, "shards": {"a": {"records": [record(0)] * 3 + [record(now)]}}}
kinesis._shard_iterators["i"] = {"stream_arn": "arn", "shard_id": "a", "position": 3, "created_at": now}
kinesis._expire_records(old)
print(json.dumps({"seconds": seconds, "kept": len(old["shards"]["a"]["records"]),
                  "position": kinesis._shard_iterators["i"]["position"]}))
"""


def _expiry(kind: str) -> dict[str, Any]:
    run = subprocess.run(
        [emulator_python(), "-c", _EXPIRY, kind], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def test_expiry_costs_nothing_while_nothing_expires_and_moves_no_reader() -> None:
    patched, stock = _expiry("patched"), _expiry("stock")

    assert patched["seconds"] * 20 < stock["seconds"]
    assert (patched["kept"], patched["position"]) == (1, 0)
    # The stock reader is beyond the only record that is left: it would never see it.
    assert (stock["kept"], stock["position"]) == (1, 3)


def test_a_shard_refuses_what_is_above_its_limits(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path)
    limited = RunningRegion(table, tmp_path, shard_limits=True)
    try:
        limited.start()
        kinesis, stream = new_stream(limited, 1)
        records = [{"PartitionKey": str(n), "Data": b"x"} for n in range(500)]
        answers = [kinesis.put_records(StreamName=stream, Records=records) for _ in range(6)]
        refused = sum(answer["FailedRecordCount"] for answer in answers)
        codes = {each.get("ErrorCode") for answer in answers for each in answer["Records"]}

        assert 0 < refused < 2000
        assert codes == {None, "ProvisionedThroughputExceededException"}
        assert len(limited.records(stream)) == 3000 - refused
        with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
            kinesis.put_record(StreamName=stream, PartitionKey="x", Data=b"x" * 1_048_576)
    finally:
        table.stop_all()


def test_an_unlimited_shard_takes_any_load(stock: RunningRegion) -> None:
    kinesis, stream = new_stream(stock, 1)
    records = [{"PartitionKey": str(n), "Data": b"x"} for n in range(500)]

    assert sum(kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"] for _ in range(6)) == 0
