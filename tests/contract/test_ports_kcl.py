"""What we read and write beside the Kinesis Client Library: its leader lock, its leases, a stream's shards."""

from __future__ import annotations

import uuid

import pytest

from plantwatch.aws.leader_lock import DynamoDbLeaderLock
from plantwatch.aws.leases import LeaseTable
from plantwatch.aws.shards import StreamShards
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component


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
