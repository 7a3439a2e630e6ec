"""A shard takes any load. (Applied only where asked for: LOCALCLOUD_SHARD_LIMITS=1.)

Stock: PutRecord and PutRecords never throttle.
AWS: a shard of a provisioned stream takes 1,000 records/s and 1 MiB/s; what is above that is refused with
ProvisionedThroughputExceededException, record by record in PutRecords (Kinesis developer guide, "Quotas and limits").
Here: one token bucket per shard, of one second's worth.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import kinesis

NAMES = (
    "ministack.core.responses:error_response_json",
    "ministack.services.kinesis:_put_record",
    "ministack.services.kinesis:_put_records",
    "ministack.services.kinesis:_route_to_shard",
    "ministack.services.kinesis:_partition_key_to_hash",
    "ministack.services.kinesis:_resolve_stream",
)

RECORDS_PER_S = 1000.0
BYTES_PER_S = 1024.0 * 1024.0
_ERROR = "ProvisionedThroughputExceededException"


@dataclass
class Bucket:
    """What a shard may still take."""

    records: float = RECORDS_PER_S
    bytes: float = BYTES_PER_S
    filled_at: float = field(default_factory=time.monotonic)

    def take(self, size: int, now: float) -> bool:
        self.records = min(RECORDS_PER_S, self.records + (now - self.filled_at) * RECORDS_PER_S)
        self.bytes = min(BYTES_PER_S, self.bytes + (now - self.filled_at) * BYTES_PER_S)
        self.filled_at = now
        if self.records < 1 or self.bytes < size:
            return False
        self.records -= 1
        self.bytes -= size
        return True


_buckets: dict[tuple[str, str], Bucket] = {}


def apply() -> None:
    if os.environ.get("LOCALCLOUD_SHARD_LIMITS") != "1":
        return
    put_record, put_records = kinesis._put_record, kinesis._put_records

    def put_record_within_limits(request: Any) -> Any:
        stream = _limited_stream(request)
        refusal = _refusal(stream, request) if stream else None
        return error_response_json(_ERROR, refusal, 400) if refusal else put_record(request)

    def put_records_within_limits(request: Any) -> Any:
        stream = _limited_stream(request)
        if not stream:
            return put_records(request)
        refusals = [_refusal(stream, record) for record in request.get("Records", [])]
        accepted = [record for record, refusal in zip(request["Records"], refusals, strict=True) if refusal is None]
        answer = put_records({**request, "Records": accepted})
        return _with_refusals(answer, refusals) if answer[0] == 200 else answer

    kinesis._put_record, kinesis._put_records = put_record_within_limits, put_records_within_limits


def _limited_stream(request: Any) -> dict[str, Any] | None:
    _, stream = kinesis._resolve_stream(request)
    on_demand = stream and stream.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND"
    return None if on_demand else stream


def _refusal(stream: dict[str, Any], record: Any) -> str | None:
    explicit = record.get("ExplicitHashKey")
    key = int(explicit) if explicit else kinesis._partition_key_to_hash(record.get("PartitionKey", ""))
    shard_id = kinesis._route_to_shard(key, stream)
    bucket = _buckets.setdefault((stream["StreamARN"], shard_id), Bucket())
    if bucket.take(len(record.get("Data", "")) * 3 // 4, time.monotonic()):
        return None
    return f"Rate exceeded for shard {shard_id} in stream {stream['StreamName']}."


def _with_refusals(answer: Any, refusals: list[str | None]) -> Any:
    body = json.loads(answer[2])
    stored = iter(body["Records"])
    body["Records"] = [
        {"ErrorCode": _ERROR, "ErrorMessage": refusal} if refusal else next(stored) for refusal in refusals
    ]
    body["FailedRecordCount"] = sum(refusal is not None for refusal in refusals)
    return json_response(body)
