"""What arrived, as the stores of one region tell it: stream, lake, dead letters, table. Never the sender's own idea.

Every function reads; none counts what it was told. A reading is identified by its device and its *mark*: the attribute
`row` where the sender set one (a replayed file's run and line), else the observed time.
"""

from __future__ import annotations

import base64
import math
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from boto3.dynamodb.conditions import Key

from deploy.topology import Names
from plantwatch.aws.dead_letters import dead_letters_folder
from plantwatch.aws.lake import decompress_lines, readings_prefix
from plantwatch.pipeline import decode
from plantwatch.telemetry import Reading, isoformat

MARK: Final = "row"
_ANYONE: Final = ("*",)
# In a refused payload, which may be cut, and no JSON.
_MARK_IN_BYTES: Final = re.compile(rb'"' + MARK.encode() + rb'": ?"([^"]+)"')


class Refused(NamedTuple):
    """A dead letter of one device: why, and whose mark it bears ("" where it bears none)."""

    device: str
    mark: str
    reason: str
    detail: str


@dataclass
class Stored:
    """What one region holds of a tenant. `stream` and `lake` count each mark of each device."""

    region: str
    stream: dict[str, Counter[str]] = field(default_factory=dict)
    lake: dict[str, Counter[str]] = field(default_factory=dict)
    dead_letters: Counter[str] = field(default_factory=Counter)

    @property
    def received(self) -> int:
        """Different readings in the stream."""
        return sum(map(len, self.stream.values()))

    @property
    def redelivered(self) -> int:
        """Times that a reading came into the stream again: every leg is at least once."""
        return sum(map(_repeats, self.stream.values()))

    @property
    def lake_rows(self) -> int:
        return sum(counter.total() for counter in self.lake.values())

    @property
    def duplicate(self) -> int:
        """Rows of the lake that are there a second time: must be none."""
        return sum(map(_repeats, self.lake.values()))

    def missing(self, sent: Mapping[str, set[str]]) -> dict[str, set[str]]:
        """Device -> marks that were sent and are in no row of the lake."""
        holes = {device: marks - self.lake.get(device, Counter()).keys() for device, marks in sent.items()}
        return {device: marks for device, marks in holes.items() if marks}


def mark_of_reading(reading: Reading) -> str:
    return reading.attributes.get(MARK) or isoformat(reading.observed_at)


def mark_of_row(row: Mapping[str, Any]) -> str:
    return str(row["attributes"].get(MARK) or row["observed_at"])


class LakeView:
    """What one region's bucket holds: stored rows and dead letters, each object read again only where it is new or was
    replaced. With `since` (epoch seconds) only objects that were written since then."""

    def __init__(self, s3: Any, names: Names, *, since: float = 0.0) -> None:
        self._s3 = s3
        self._bucket = names.lake_bucket
        self._readings = readings_prefix(names.tenant, names.region)
        self._letters = dead_letters_folder(names.tenant, names.region) + "/"
        self._since = since
        self._objects: dict[str, tuple[str, list[Mapping[str, Any]]]] = {}

    def refresh(self, within_s: float = math.inf) -> bool:
        """Read what is new; False where there is more than could be read in this time."""
        deadline = time.monotonic() + within_s
        for prefix in (self._readings, self._letters):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for entry in (entry for page in pages for entry in page.get("Contents", ())):
                if time.monotonic() > deadline:
                    return False
                key, etag = entry["Key"], entry["ETag"]
                written = entry["LastModified"].timestamp()
                if written >= self._since and self._objects.get(key, ("", []))[0] != etag:
                    body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                    self._objects[key] = etag, list[Mapping[str, Any]](decompress_lines(body))
        return True

    def rows(self, devices: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
        """Every stored row, repeats included, of all devices or of some."""
        yield from (row for row in self._lines(self._readings) if devices is None or row["device"] in devices)

    def marks(self, devices: Collection[str] | None = None) -> dict[str, Counter[str]]:
        marks: dict[str, Counter[str]] = {}
        for row in self.rows(devices):
            marks.setdefault(row["device"], Counter())[mark_of_row(row)] += 1
        return marks

    def refused(self) -> Iterator[Refused]:
        """Every dead letter. Its device is the last level but one of an IoT topic, the last one of a local topic."""
        for letter in self._lines(self._letters):
            levels = letter["topic"].split("/")
            device = levels[3] if levels[0] == "tenants" and len(levels) > 3 else levels[-1]
            found = _MARK_IN_BYTES.search(base64.b64decode(letter["payload"]))
            yield Refused(
                device, found[1].decode("utf-8", "replace") if found else "", letter["reason"], letter["detail"]
            )

    def _lines(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        for key, (_, lines) in self._objects.items():
            if key.startswith(prefix):
                yield from lines


def read_region(session: Any, names: Names, lake: LakeView, *, devices: Collection[str] | None = None) -> Stored:
    """Everything that `session`'s region holds for the tenant, or for some of its devices only."""
    stored = Stored(names.region)
    for reading in stream_readings(session.client("kinesis"), names.stream, tenant=names.tenant):
        if devices is None or reading.device in devices:
            stored.stream.setdefault(reading.device, Counter())[mark_of_reading(reading)] += 1
    lake.refresh()
    stored.lake = lake.marks(devices)
    stored.dead_letters.update(letter.reason for letter in lake.refused())
    return stored


def stream_readings(kinesis: Any, stream: str, *, tenant: str) -> Iterator[Reading]:
    """Every reading in every record of every shard, closed ones too, from the oldest kept."""
    for data, arrived_at in stream_records(kinesis, stream):
        decoded = decode(data, tenant=tenant, gateways=_ANYONE, arrived_at=arrived_at)
        yield from decoded.raw
        for scored in decoded.scored:
            yield scored.reading


def stream_records(kinesis: Any, stream: str) -> Iterator[tuple[bytes, int]]:
    """(data, time of arrival) of every record in the stream now."""
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            for record in page["Records"]:
                yield record["Data"], round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
            iterator = page.get("NextShardIterator") if page["Records"] or page["MillisBehindLatest"] else None


def device_items(table: Any, device: str, *, prefix: str) -> list[Mapping[str, Any]]:
    """Items of one device in the results table (a boto3 Table), by the beginning of their sort key."""
    condition = Key("pk").eq(f"device#{device}") & Key("sk").begins_with(prefix)
    items: list[Mapping[str, Any]] = []
    page: Mapping[str, Any] = {}
    while not page or "LastEvaluatedKey" in page:
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if page else {}
        page = table.query(KeyConditionExpression=condition, **more)
        items += page["Items"]
    return items


def _repeats(counter: Counter[str]) -> int:
    return counter.total() - len(counter)
