"""Every Kinesis call walks over all records of the stream.

Stock: `_expire_records` rebuilds each shard's list of records on every put and every read, so a stream that holds
100,000 records takes a put in 10 ms.
Here: records are in the order of their arrival, so a look at the oldest one says whether anything has expired.
"""

from __future__ import annotations

import time
from typing import Any

from ministack.services import kinesis

NAMES = ("ministack.services.kinesis:_expire_records",)


def apply() -> None:
    kinesis._expire_records = expire_records


def expire_records(stream: dict[str, Any]) -> None:
    oldest = time.time() - stream["RetentionPeriodHours"] * 3600
    for shard in stream["shards"].values():
        records = shard["records"]
        if records and records[0]["ApproximateArrivalTimestamp"] < oldest:
            shard["records"] = [record for record in records if record["ApproximateArrivalTimestamp"] >= oldest]
