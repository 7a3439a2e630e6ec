"""ListShards ignores its filter: a consumer that starts late gets leases on closed shards.

Stock: `_list_shards` returns every shard whatever ShardFilter says.
AWS: AT_LATEST lists the open shards, AT_TRIM_HORIZON those that were open at the oldest record (their parents are
gone), FROM_TRIM_HORIZON all, AFTER_SHARD_ID those after one, AT_TIMESTAMP those open at a time and FROM_TIMESTAMP those
open at a time or later (Kinesis API reference, ShardFilter). KCL asks with AT_LATEST and AT_TRIM_HORIZON.
Here: the same. A sequence number begins with its time in milliseconds, which gives a shard's times.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import json_response
from ministack.services import kinesis

NAMES = ("ministack.services.kinesis:_list_shards", "ministack.core.responses:json_response")

Shard = dict[str, Any]


def apply() -> None:
    list_shards = kinesis._list_shards

    def list_shards_with_filter(request: Any) -> Any:
        answer = list_shards(request)
        wanted = request.get("ShardFilter") or {}
        choose = _FILTERS.get(wanted.get("Type", ""))
        if answer[0] != 200 or choose is None:
            return answer
        body = json.loads(answer[2])
        body["Shards"] = choose(body["Shards"], wanted)
        return json_response(body)

    kinesis._list_shards = list_shards_with_filter


def _at_latest(shards: list[Shard], _wanted: Shard) -> list[Shard]:
    return [shard for shard in shards if _ended_ms(shard) is None]


def _at_trim_horizon(shards: list[Shard], _wanted: Shard) -> list[Shard]:
    present = {shard["ShardId"] for shard in shards}
    return [
        shard
        for shard in shards
        if shard.get("ParentShardId") not in present and shard.get("AdjacentParentShardId") not in present
    ]


def _after_shard_id(shards: list[Shard], wanted: Shard) -> list[Shard]:
    return [shard for shard in shards if shard["ShardId"] > wanted["ShardId"]]


def _at_timestamp(shards: list[Shard], wanted: Shard) -> list[Shard]:
    at_ms = float(wanted["Timestamp"]) * 1000
    return [shard for shard in _from_timestamp(shards, wanted) if _started_ms(shard) <= at_ms]


def _from_timestamp(shards: list[Shard], wanted: Shard) -> list[Shard]:
    at_ms = float(wanted["Timestamp"]) * 1000
    ends = ((shard, _ended_ms(shard)) for shard in shards)
    return [shard for shard, ended in ends if ended is None or ended >= at_ms]


_FILTERS: dict[str, Callable[[list[Shard], Shard], list[Shard]]] = {
    "AT_LATEST": _at_latest,
    "AT_TRIM_HORIZON": _at_trim_horizon,
    "AFTER_SHARD_ID": _after_shard_id,
    "AT_TIMESTAMP": _at_timestamp,
    "FROM_TIMESTAMP": _from_timestamp,
}


def _started_ms(shard: Shard) -> int:
    return _ms(shard["SequenceNumberRange"]["StartingSequenceNumber"])


def _ended_ms(shard: Shard) -> int | None:
    ending = shard["SequenceNumberRange"].get("EndingSequenceNumber")
    return _ms(ending) if ending else None


def _ms(sequence_number: str) -> int:
    return int(sequence_number[:20])
