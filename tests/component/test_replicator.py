"""Two regions and what AWS does between them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud.processes import ProcessSpec, ProcessTable, wait_until
from localcloud.region import REPOSITORY, profiles_environment, write_aws_config
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component

WITHIN_S = 15.0
TABLE = "anomaly-results-acme"


@dataclass
class Pair:
    primary: RunningRegion
    dr: RunningRegion
    status: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    root = tmp_path_factory.mktemp("pair")
    table = ProcessTable(root)
    primary = RunningRegion(table, root / "state")
    dr = RunningRegion(table, root / "state", role="dr", name="us-west-2")
    status, config = root / "replicator.json", root / "aws.ini"
    write_aws_config(config, (primary.region, dr.region))
    command = (sys.executable, "-m", "localcloud.replicator", "--status", str(status), "--status-every-s", "0.2")
    try:
        primary.start()
        dr.start()
        table.start(ProcessSpec("replicator", command, profiles_environment(config), REPOSITORY))
        make_global_table(primary)
        wait_until(lambda: TABLE in dr.client("dynamodb").list_tables()["TableNames"], WITHIN_S, "the replica is made")
        yield Pair(primary, dr, status)
    finally:
        table.stop_all()


def make_global_table(running: RunningRegion) -> None:
    dynamodb = running.client("dynamodb")
    index = {"IndexName": "by-sk", "KeySchema": [{"AttributeName": "sk", "KeyType": "HASH"}]}
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
        GlobalSecondaryIndexes=[{**index, "Projection": {"ProjectionType": "ALL"}}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    put(running, "before the replica", 0)
    dynamodb.update_table(TableName=TABLE, ReplicaUpdates=[{"Create": {"RegionName": "us-west-2"}}])


def put(running: RunningRegion, key: str, value: int) -> None:
    item = {"pk": {"S": key}, "sk": {"S": "x"}, "value": {"N": str(value)}, "bytes": {"B": b"\x00\xff"}}
    running.client("dynamodb").put_item(TableName=TABLE, Item=item)


def get(running: RunningRegion, key: str) -> Any:
    """The item, or None; also where the table is not there (yet)."""
    dynamodb = running.client("dynamodb")
    try:
        answer = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": key}, "sk": {"S": "x"}})
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return answer.get("Item")


def delete(running: RunningRegion, key: str) -> None:
    running.client("dynamodb").delete_item(TableName=TABLE, Key={"pk": {"S": key}, "sk": {"S": "x"}})


def value(running: RunningRegion, key: str) -> int | None:
    item = get(running, key)
    return int(item["value"]["N"]) if item else None


def soon(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, WITHIN_S, what)


def test_the_replica_has_the_same_keys_indexes_and_lists_its_peer(pair: Pair) -> None:
    here = pair.primary.client("dynamodb").describe_table(TableName=TABLE)["Table"]
    there = pair.dr.client("dynamodb").describe_table(TableName=TABLE)["Table"]

    for field in ("KeySchema", "AttributeDefinitions", "BillingModeSummary", "StreamSpecification"):
        assert here[field] == there[field], field
    assert [index["IndexName"] for index in there["GlobalSecondaryIndexes"]] == ["by-sk"]
    assert here["Replicas"] == [{"RegionName": "us-west-2", "ReplicaStatus": "ACTIVE"}]
    assert there["Replicas"] == [{"RegionName": "us-east-1", "ReplicaStatus": "ACTIVE"}]


def test_items_written_before_the_replica_are_there(pair: Pair) -> None:
    soon(lambda: value(pair.dr, "before the replica") == 0, "the first item")


@pytest.mark.parametrize("way", ["primary to dr", "dr to primary"])
def test_writes_updates_and_deletes_go_both_ways_unchanged(pair: Pair, way: str) -> None:
    source, target = (pair.primary, pair.dr) if way == "primary to dr" else (pair.dr, pair.primary)
    put(source, way, 1)
    soon(lambda: get(target, way) is not None, "the item")
    # No attribute of the replication's own, which a reader would have to know of.
    assert get(target, way) == get(source, way)
    put(source, way, 2)
    soon(lambda: value(target, way) == 2, "the update")
    delete(source, way)
    soon(lambda: get(target, way) is None, "the deletion")


def test_the_replica_tells_of_the_change_in_its_own_stream(pair: Pair) -> None:
    put(pair.primary, "streamed", 1)
    soon(lambda: value(pair.dr, "streamed") == 1, "the item")
    streams = pair.dr.client("dynamodbstreams")
    arn = streams.list_streams(TableName=TABLE)["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]

    assert [each["eventName"] for each in records if each["dynamodb"]["Keys"]["pk"] == {"S": "streamed"}] == ["INSERT"]


def test_the_last_writer_wins_after_an_outage(pair: Pair) -> None:
    for key in ("written here", "written on both sides", "deleted here"):
        put(pair.primary, key, 1)
    soon(lambda: value(pair.dr, "deleted here") == 1, "the items")
    put(pair.dr, "written on both sides", 2)
    pair.dr.stop()
    put(pair.primary, "written here", 2)
    put(pair.primary, "written on both sides", 3)
    delete(pair.primary, "deleted here")
    pair.dr.start()

    soon(lambda: value(pair.dr, "written here") == 2, "the write")
    soon(lambda: value(pair.dr, "written on both sides") == 3, "the later write")
    soon(lambda: get(pair.dr, "deleted here") is None, "the deletion")
    assert value(pair.primary, "written on both sides") == 3


def test_what_a_killed_region_forgot_comes_back_from_the_other(pair: Pair) -> None:
    put(pair.primary, "just written", 1)
    soon(lambda: value(pair.dr, "just written") == 1, "the item")
    pair.primary.kill()
    pair.primary.start()

    soon(lambda: value(pair.primary, "just written") == 1, "the item is back")


def test_objects_are_carried_over_with_what_describes_them(pair: Pair) -> None:
    here, there = pair.primary.client("s3"), pair.dr.client("s3")
    here.create_bucket(Bucket="lake-primary")
    versioned = {"Status": "Enabled"}
    here.put_bucket_versioning(Bucket="lake-primary", VersioningConfiguration=versioned)
    rule = {
        "ID": "lake",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": "lake/"},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": "arn:aws:s3:::lake-dr"},
    }
    configuration = {"Role": pair.primary.role(), "Rules": [rule]}
    here.put_bucket_replication(Bucket="lake-primary", ReplicationConfiguration=configuration)
    described = {"ContentType": "application/x-ndjson", "ContentEncoding": "gzip", "Metadata": {"rows": "3"}}
    # The object is older than the bucket that it goes to: it waits.
    here.put_object(Bucket="lake-primary", Key="lake/day=1/a.gz", Body=b"\x1f\x8b\x00", **described)
    here.put_object(Bucket="lake-primary", Key="private/b", Body=b"stays")
    there.create_bucket(Bucket="lake-dr", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    there.put_bucket_versioning(Bucket="lake-dr", VersioningConfiguration=versioned)

    def status() -> Any:
        return here.head_object(Bucket="lake-primary", Key="lake/day=1/a.gz")["ReplicationStatus"]

    soon(lambda: bool(status() == "COMPLETED"), "the object is replicated")
    replica = there.get_object(Bucket="lake-dr", Key="lake/day=1/a.gz")
    assert replica["Body"].read() == b"\x1f\x8b\x00"
    assert {field: replica[field] for field in described} == described
    assert replica["ReplicationStatus"] == "REPLICA"
    assert [each["Key"] for each in there.list_objects_v2(Bucket="lake-dr")["Contents"]] == ["lake/day=1/a.gz"]


def test_a_table_that_is_deleted_in_one_region_stays_in_the_other(pair: Pair) -> None:
    name = "short-lived"
    dynamodb, there = pair.primary.client("dynamodb"), pair.dr.client("dynamodb")
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}]
    attributes = [{"AttributeName": "pk", "AttributeType": "S"}]
    dynamodb.create_table(
        TableName=name, KeySchema=keys, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
    )
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": "us-west-2"}}])
    soon(lambda: name in there.list_tables()["TableNames"], "the replica")
    soon(lambda: _replica_status(dynamodb, name) == ["ACTIVE"], "both are active")
    there.delete_table(TableName=name)

    soon(lambda: _replica_status(dynamodb, name) == [], "the primary region knows")
    assert name not in there.list_tables()["TableNames"]


def _replica_status(dynamodb: Any, name: str) -> list[str]:
    table = dynamodb.describe_table(TableName=name)["Table"]
    return [each["ReplicaStatus"] for each in table.get("Replicas", [])]


def test_the_status_file_counts_and_measures_both_directions(pair: Pair) -> None:
    put(pair.dr, "counted", 1)
    soon(lambda: value(pair.primary, "counted") == 1, "the item")

    def counted() -> bool:
        status = json.loads(pair.status.read_text())
        return all(status[way]["items"] > 0 for way in ("primary->dr", "dr->primary"))

    soon(counted, "both directions are counted")
    lag = json.loads(pair.status.read_text())["dr->primary"]["lag_ms"]
    assert 0 <= lag["p50"] <= lag["p99"]
