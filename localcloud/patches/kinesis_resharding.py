"""Splitting or merging shards throws away what the parents hold.

Stock: SplitShard and MergeShards delete the parent shards with their records; UpdateShardCount builds new shards
without parents. A consumer that had not read to the end loses the rest and is told "Shard not found".
AWS: the parents become CLOSED and keep their records until these expire; a closed shard has an EndingSequenceNumber,
GetRecords at its end returns ChildShards and no next iterator (Kinesis developer guide, "Resharding a stream"; API
reference, GetRecords).
Here: the same. A closed shard takes no records and stays until the stream is deleted.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import kinesis

NAMES = (
    "ministack.core.responses:error_response_json",
    "ministack.core.responses:json_response",
    "ministack.services.kinesis:_split_shard",
    "ministack.services.kinesis:_merge_shards",
    "ministack.services.kinesis:_update_shard_count",
    "ministack.services.kinesis:_route_to_shard",
    "ministack.services.kinesis:_shard_out",
    "ministack.services.kinesis:_get_records",
    "ministack.services.kinesis:_describe_stream_summary",
    "ministack.services.kinesis:_resolve_stream",
    "ministack.services.kinesis:_next_sequence_number",
    "ministack.services.kinesis:_shard_iterators",
    "ministack.services.kinesis:_streams",
)

# Status, headers, body, as every handler of the emulator answers.
Answer = Any
Shard = dict[str, Any]

# Our own field of a shard: its last sequence number, once it is closed.
CLOSED = "closed_at_sequence_number"


def apply() -> None:
    route, describe = kinesis._route_to_shard, kinesis._shard_out
    get_records, summary = kinesis._get_records, kinesis._describe_stream_summary
    kinesis._split_shard = split = _keeping_parents(kinesis._split_shard, "ShardToSplit")
    kinesis._merge_shards = merge = _keeping_parents(kinesis._merge_shards, "ShardToMerge", "AdjacentShardToMerge")
    kinesis._update_shard_count = lambda request: _update_shard_count(request, split, merge)
    kinesis._route_to_shard = lambda key, stream: route(key, {"shards": open_shards(stream)})
    kinesis._shard_out = lambda shard_id, shard: _with_ending(describe(shard_id, shard), shard)
    kinesis._get_records = lambda request: _with_children(request, get_records(request))
    kinesis._describe_stream_summary = lambda request: _with_open_count(request, summary(request))


def open_shards(stream: dict[str, Any]) -> dict[str, Shard]:
    return {shard_id: shard for shard_id, shard in stream["shards"].items() if CLOSED not in shard}


def parents(shard: Shard) -> list[str]:
    return [each for each in (shard.get("parent_shard_id"), shard.get("adjacent_parent_shard_id")) if each]


def _keeping_parents(operation: Callable[[Any], Answer], *named: str) -> Callable[[Any], Answer]:
    """The operation of the API, after which the parents are closed instead of gone."""

    def reshard(request: Any) -> Answer:
        _, stream = kinesis._resolve_stream(request)
        before = dict(stream["shards"]) if stream else {}
        for field in named:
            if CLOSED in before.get(request.get(field), {}):
                return error_response_json("InvalidArgumentException", f"Shard {request[field]} is not open", 400)
        answer = operation(request)
        if stream:
            after = stream["shards"]
            for shard_id in before.keys() - after.keys():
                before[shard_id][CLOSED] = kinesis._next_sequence_number()
            stream["shards"] = {**before, **after}
        return answer

    return reshard


def _update_shard_count(request: Any, split: Callable[[Any], Answer], merge: Callable[[Any], Answer]) -> Answer:
    """UNIFORM_SCALING, as AWS does it: a series of splits or merges."""
    name, stream = kinesis._resolve_stream(request)
    if not stream:
        return error_response_json("ResourceNotFoundException", f"Stream {name} not found", 400)
    target, current = int(request.get("TargetShardCount") or 0), len(open_shards(stream))
    if target < 1:
        return error_response_json("ValidationException", "TargetShardCount must be at least 1", 400)
    while len(open_shards(stream)) < target:
        split(_split_of_largest(name, stream))
    while len(open_shards(stream)) > target:
        merge(_merge_of_smallest(name, stream))
    counts = {"CurrentShardCount": current, "TargetShardCount": target}
    return json_response({"StreamName": name, "StreamARN": stream["StreamARN"], **counts})


def _split_of_largest(name: str, stream: dict[str, Any]) -> dict[str, str]:
    shard_id, shard = max(open_shards(stream).items(), key=lambda each: _width(each[1]))
    start, end = _hash_range(shard)
    return {"StreamName": name, "ShardToSplit": shard_id, "NewStartingHashKey": str((start + end) // 2 + 1)}


def _merge_of_smallest(name: str, stream: dict[str, Any]) -> dict[str, str]:
    in_order = sorted(open_shards(stream).items(), key=lambda each: _hash_range(each[1])[0])
    neighbours = itertools.pairwise(in_order)
    left, right = min(neighbours, key=lambda pair: _width(pair[0][1]) + _width(pair[1][1]))
    return {"StreamName": name, "ShardToMerge": left[0], "AdjacentShardToMerge": right[0]}


def _hash_range(shard: Shard) -> tuple[int, int]:
    return int(shard["starting_hash_key"]), int(shard["ending_hash_key"])


def _width(shard: Shard) -> int:
    start, end = _hash_range(shard)
    return end - start


def _with_ending(description: dict[str, Any], shard: Shard) -> dict[str, Any]:
    if CLOSED in shard:
        description["SequenceNumberRange"]["EndingSequenceNumber"] = shard[CLOSED]
    return description


def _with_children(request: Any, answer: Answer) -> Answer:
    """At the end of a closed shard: no further iterator, and who goes on."""
    iterator = kinesis._shard_iterators.get(request.get("ShardIterator"))
    stream = kinesis._streams.get(iterator["stream"]) if iterator and answer[0] == 200 else None
    shard = stream["shards"].get(iterator["shard_id"]) if stream else None
    if stream is None or shard is None or CLOSED not in shard:
        return answer
    body = json.loads(answer[2])
    if kinesis._shard_iterators[body["NextShardIterator"]]["position"] < len(shard["records"]):
        return answer
    del kinesis._shard_iterators[body.pop("NextShardIterator")]
    body["ChildShards"] = _children(stream, iterator["shard_id"])
    return json_response(body)


def _children(stream: dict[str, Any], shard_id: str) -> list[dict[str, Any]]:
    return [
        {
            "ShardId": child_id,
            "ParentShards": parents(child),
            "HashKeyRange": {
                "StartingHashKey": child["starting_hash_key"],
                "EndingHashKey": child["ending_hash_key"],
            },
        }
        for child_id, child in stream["shards"].items()
        if shard_id in parents(child)
    ]


def _with_open_count(request: Any, answer: Answer) -> Answer:
    _, stream = kinesis._resolve_stream(request)
    if answer[0] != 200:
        return answer
    body = json.loads(answer[2])
    body["StreamDescriptionSummary"]["OpenShardCount"] = len(open_shards(stream))
    return json_response(body)
