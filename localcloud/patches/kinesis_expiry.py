"""Every Kinesis call walks over all records of the stream and over all iterators of the region.

Stock: `_expire_records` rebuilds each shard's list of records on every put and every read, so with 100,000 records in a
stream a put takes 10 ms; and a reader's position is an index that is wrong by what has expired since.
AWS: the cost of a call does not depend on what the stream holds, and an expired record is skipped, not its neighbours.
Here: records are in the order of their arrival, so a look at the oldest one says whether anything has expired; only
then are positions moved. Iterators are swept at most once in ten seconds (each is checked again where it is used).
"""

from __future__ import annotations

import time
from typing import Any

from ministack.services import kinesis

NAMES = (
    "ministack.services.kinesis:_expire_records",
    "ministack.services.kinesis:_expire_iterators",
    "ministack.services.kinesis:_shard_iterators",
)

SWEEP_EVERY_S = 10.0


def apply() -> None:
    sweep = kinesis._expire_iterators
    next_sweep = 0.0

    def sweep_now_and_then() -> None:
        nonlocal next_sweep
        if time.monotonic() >= next_sweep:
            next_sweep = time.monotonic() + SWEEP_EVERY_S
            sweep()

    kinesis._expire_records = expire_records
    kinesis._expire_iterators = sweep_now_and_then


def expire_records(stream: dict[str, Any]) -> None:
    oldest = time.time() - stream["RetentionPeriodHours"] * 3600
    for shard_id, shard in stream["shards"].items():
        records = shard["records"]
        if records and records[0]["ApproximateArrivalTimestamp"] < oldest:
            kept = [record for record in records if record["ApproximateArrivalTimestamp"] >= oldest]
            _move_positions(stream["StreamARN"], shard_id, len(records) - len(kept))
            shard["records"] = kept


def _move_positions(stream_arn: str, shard_id: str, expired: int) -> None:
    for iterator in kinesis._shard_iterators.values():
        if iterator.get("stream_arn") == stream_arn and iterator["shard_id"] == shard_id:
            iterator["position"] = max(0, iterator["position"] - expired)
