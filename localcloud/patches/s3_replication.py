"""Replication to a bucket in another region fails, because that region is another process.

Stock: the replica is written when the object is; a destination bucket that is not in this process makes it FAILED.
AWS: the object is PENDING until the replica is written (most within 15 minutes), then COMPLETED; the replica reads
REPLICA and is not replicated further (S3 user guide, "Getting replication status information").
Here: such an object stays PENDING and `localcloud.replicator` carries it over. Delete markers and version deletes are
not carried over. The status is not part of the saved state, so after a restart all is compared again.
"""

from __future__ import annotations

import contextvars
from typing import Any

from ministack.services import s3

NAMES = (
    "ministack.services.s3:_buckets",
    "ministack.services.s3:_bucket_replication",
    "ministack.services.s3:_maybe_replicate",
    "ministack.services.s3:_replication_rule_for",
    "ministack.services.s3:_object_tags",
    "ministack.services.s3:_object_versions",
    "ministack.services.s3:_read_body",
    "ministack.services.s3:_put_object",
)

Json = dict[str, Any]

PENDING, COMPLETED, REPLICA = "PENDING", "COMPLETED", "REPLICA"
_writing_replica: contextvars.ContextVar[bool] = contextvars.ContextVar("writing_replica", default=False)


def apply() -> None:
    replicate = s3._maybe_replicate

    def replicate_or_leave_pending(bucket: str, key: str, record: Json, data: Any, tags: Any = None) -> None:
        if _writing_replica.get():
            record["replication_status"] = REPLICA
            return
        rule, _ = s3._replication_rule_for(bucket, key, tags)
        if rule is not None and _destination(rule) not in s3._buckets:
            record["replication_status"] = PENDING
            return
        replicate(bucket, key, record, data, tags)

    s3._maybe_replicate = replicate_or_leave_pending


def pending(limit: int) -> list[Json]:
    """Objects that are to be replicated into another process, with the bucket that they go to."""
    found: list[Json] = []
    for bucket in list(s3._bucket_replication):
        for key, record in s3._buckets[bucket]["objects"].items():
            if len(found) >= limit:
                return found
            if record.get("replication_status") in {COMPLETED, REPLICA}:
                continue
            rule, _ = s3._replication_rule_for(bucket, key, _tags(bucket, key, record))
            if rule is not None and _destination(rule) not in s3._buckets:
                found.append({"bucket": bucket, "key": key, "etag": record["etag"], "destination": _destination(rule)})
    return found


def missing(wanted: list[Json]) -> list[Json]:
    """Those whose replica is not here. A bucket that is not here yet makes its objects wait."""
    return [each for each in wanted if each["destination"] in s3._buckets and not _has(each)]


def waiting(wanted: list[Json]) -> list[Json]:
    """Those whose bucket is not here (yet)."""
    return [each for each in wanted if each["destination"] not in s3._buckets]


def read(bucket: str, key: str) -> tuple[dict[str, str], bytes]:
    """The object as the headers and the body of a PutObject that would write it again."""
    record = s3._buckets[bucket]["objects"][key]
    headers = {"content-type": record.get("content_type") or "application/octet-stream"}
    if record.get("content_encoding"):
        headers["content-encoding"] = record["content_encoding"]
    headers.update({f"x-amz-meta-{name.removeprefix('x-amz-meta-')}": value for name, value in _metadata(record)})
    return headers, s3._read_body(bucket, key, record)


def write_replica(bucket: str, key: str, headers: dict[str, str], body: bytes) -> None:
    token = _writing_replica.set(True)
    try:
        status = s3._put_object(bucket, key, body, {**headers, "content-length": str(len(body))})[0]
    finally:
        _writing_replica.reset(token)
    assert status == 200, f"replica {bucket}/{key}: {status}"


def complete(bucket: str, key: str, etag: str) -> None:
    """The replica of this content is written (an object that was written again since stays pending)."""
    record = s3._buckets.get(bucket, {"objects": {}})["objects"].get(key)
    if record is None or record["etag"] != etag:
        return
    record["replication_status"] = COMPLETED
    for version in s3._object_versions.get((bucket, key)) or []:
        if version["version_id"] == record.get("version_id"):
            version["replication_status"] = COMPLETED


def _has(wanted: Json) -> bool:
    record = s3._buckets[wanted["destination"]]["objects"].get(wanted["key"])
    return record is not None and record["etag"] == wanted["etag"]


def _destination(rule: Json) -> str:
    return str(rule["Destination"]["Bucket"]).rpartition(":::")[2]


def _metadata(record: Json) -> list[tuple[str, str]]:
    return list((record.get("metadata") or {}).items())


def _tags(bucket: str, key: str, record: Json) -> Any:
    return s3._object_tags.get((bucket, key, record.get("version_id")))
