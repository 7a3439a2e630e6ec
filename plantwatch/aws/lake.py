"""The lake: every scored reading as one line of gzip-compressed JSON in S3.

    readings/tenant=acme/region=us-east-1/day=2026-11-23/{shard}-{first sequence}.jsonl.gz

`day` is the observed day (UTC). pandas reads an object as it is (`read_json(lines=True)`), Athena the folders as
partitions. A repeat of the same readings finds the object by its name and replaces it.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors
from plantwatch.names import READINGS_PREFIX
from plantwatch.ports import DeliveryFailed
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading, isoformat

# 6 costs twice the CPU of 1 and saves a quarter of the bytes; at 60 s per object the CPU does not show.
_GZIP_LEVEL: Final = 6
# The object's metadata: how many rows it has.
_ROWS: Final = "rows"
# Two writers of one object are a zombie and its successor; a third race is no race any more.
_RACES_MAX: Final = 3

_LAST_MS: Final[EpochMs] = 253_402_300_799_999

EDGE: Final = "edge"
THING: Final = "thing"


class S3Lake:
    """Lake in one bucket. `s3` is a boto3 client (see `plantwatch.aws.clients`)."""

    def __init__(self, s3: Any, bucket: str, *, region: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._region = region

    def append(self, scored: Sequence[ScoredReading], *, position: str, stored_at: EpochMs) -> None:
        """One object per tenant and observed day. A caller whose flush may end elsewhere when repeated names each
        day's rows by the first of them (`plantwatch.shard.flush`), or an old object would keep rows of a new one."""
        folders: dict[str, list[dict[str, Any]]] = {}
        for item in scored:
            folder = readings_folder(item.reading.tenant, self._region, day_of(item.reading.observed_at))
            folders.setdefault(folder, []).append(row(item, region=self._region, stored_at=stored_at))
        for folder, rows in folders.items():
            put_lines(self._s3, self._bucket, f"{folder}/{position}.jsonl.gz", rows)


def readings_folder(tenant: str, region: str, day: str) -> str:
    return f"{readings_prefix(tenant, region)}day={day}"


def readings_prefix(tenant: str, region: str) -> str:
    """What the names of all objects with readings begin with."""
    return f"{READINGS_PREFIX}tenant={tenant}/region={region}/"


def day_of(at: EpochMs) -> str:
    """2026-11-23, in UTC."""
    return isoformat(at)[:10]


def sane(at: EpochMs) -> EpochMs:
    """The time within years 1970 to 9999. A gateway's `received_at` is whatever it claims, and a calendar ends."""
    return min(max(at, 0), _LAST_MS)


def row(scored: ScoredReading, *, region: str, stored_at: EpochMs) -> dict[str, Any]:
    """One line of the lake."""
    reading = scored.reading
    return {
        "tenant": reading.tenant,
        "device": reading.device,
        "observed_at": isoformat(reading.observed_at),
        "received_at": isoformat(sane(reading.received_at)),
        "stored_at": isoformat(stored_at),
        "key": reading.key,
        "path": path_of(reading),
        "gateway": reading.gateway,
        "epoch": reading.epoch,
        "sequence": reading.sequence,
        "signals": dict(reading.signals),
        "missing": list(reading.missing),
        "attributes": dict(reading.attributes),
        "score": scored.score,
        "shares": dict(scored.shares),
        "faults": [{"signal": fault.signal, "fault": str(fault.fault)} for fault in scored.faults],
        "open_kinds": [str(kind) for kind in scored.open_kinds],
        "warming_up": scored.warming_up,
        "bundle": scored.bundle,
        "region": region,
    }


def path_of(reading: Reading) -> str:
    """How the reading came: through a gateway, or from the thing itself."""
    return EDGE if reading.gateway else THING


def put_lines(s3: Any, bucket: str, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as one compressed object. It is either whole or not there, and never replaced by one with fewer rows.

    Who writes again after a crash, and who lost the shard without knowing it, write under the same name what begins
    with the same row. The longer of two has all that the shorter one has, so it does not matter which comes last.
    """
    new = {
        "Bucket": bucket,
        "Key": key,
        "Body": compress_lines(rows),
        "ContentType": "application/gzip",
        "Metadata": {_ROWS: str(len(rows))},
    }
    condition = {"IfNoneMatch": "*"}
    with service_errors(f"write s3://{bucket}/{key}"):
        for _ in range(_RACES_MAX):
            try:
                s3.put_object(**new, **condition)
                return
            except ClientError as error:
                if error_code(error) != "PreconditionFailed":
                    raise
            known = s3.head_object(Bucket=bucket, Key=key)
            if int(known["Metadata"].get(_ROWS, 0)) > len(rows):
                return
            condition = {"IfMatch": known["ETag"]}
    raise DeliveryFailed(f"could not write s3://{bucket}/{key}: other writers came first")


def compress_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """The same rows are the same bytes: no name and no time in the gzip header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=_GZIP_LEVEL, mtime=0) as lines:
        for fields in rows:
            lines.write(json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    return buffer.getvalue()


@dataclass(slots=True)
class LakeCount:
    """What the lake holds, counted while it is read: `rows` in all, `unique` by (device, key), the rest repeats."""

    rows: int = 0
    seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def unique(self) -> int:
        return len(self.seen)

    @property
    def duplicates(self) -> int:
        return self.rows - self.unique


def read_rows(
    s3: Any, bucket: str, *, tenant: str, region: str, day: str = "", count: LakeCount | None = None
) -> Iterator[dict[str, Any]]:
    """Every stored reading once, object by object in the order of their names.

    `day` narrows to one day. `count`, where given, tells afterwards how many rows there were and how many were repeats.
    It remembers every key that it has seen: about 200 B of memory each, so read by day what has many days.
    """
    count = LakeCount() if count is None else count
    prefix = readings_prefix(tenant, region) + (f"day={day}/" if day else "")
    for fields in read_lines(s3, bucket, prefix):
        identity = (fields["device"], fields["key"])
        count.rows += 1
        if identity not in count.seen:
            count.seen.add(identity)
            yield fields


def read_lines(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every line of every object below `prefix`."""
    for key in list_keys(s3, bucket, prefix):
        with service_errors(f"read s3://{bucket}/{key}"):
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        yield from decompress_lines(body)


def decompress_lines(body: bytes) -> list[dict[str, Any]]:
    """An object's rows."""
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def list_keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    with service_errors(f"list s3://{bucket}/{prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"]
