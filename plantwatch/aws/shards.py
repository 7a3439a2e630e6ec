"""The shards of a stream, and which became which when the stream was resharded."""

from __future__ import annotations

from typing import Any, NamedTuple

from plantwatch.aws.clients import service_errors


class Shard(NamedTuple):
    """A shard of the stream. `parents`: the one that was split, or the two that were merged, to make it."""

    shard_id: str
    first_hash: str
    last_hash: str
    parents: tuple[str, ...] = ()


class StreamShards:
    """The shards that Kinesis still knows: the open ones, and closed ones until their records expire."""

    def __init__(self, kinesis: Any, stream_arn: str) -> None:
        self._kinesis = kinesis
        self._stream_arn = stream_arn

    def all(self) -> list[Shard]:
        with service_errors(f"list the shards of {self._stream_arn}"):
            pages = self._kinesis.get_paginator("list_shards").paginate(StreamARN=self._stream_arn)
            return [_shard(fields) for page in pages for fields in page["Shards"]]

    def parents(self, shard_id: str) -> tuple[str, ...]:
        """Of the named shard; none where it was there from the beginning."""
        return next((shard.parents for shard in self.all() if shard.shard_id == shard_id), ())


def _shard(fields: dict[str, Any]) -> Shard:
    hashes = fields["HashKeyRange"]
    parents = (fields.get("ParentShardId"), fields.get("AdjacentParentShardId"))
    return Shard(fields["ShardId"], hashes["StartingHashKey"], hashes["EndingHashKey"], tuple(filter(None, parents)))
