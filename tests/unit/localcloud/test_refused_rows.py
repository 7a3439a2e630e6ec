"""Whatever refuses a row, the report names it once, and counts it where it was refused."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy import topology
from localcloud import replay as replaying
from localcloud import show
from localcloud.evidence import LakeView, Refused, Stored
from localcloud.replay import RefusedRow, Replay, Via
from plantwatch.aws.dead_letters import dead_letter, dead_letters_folder
from plantwatch.telemetry import Rejection, RejectionReason

TENANT = topology.Tenant("acme", "000000000000", "us-east-1", "us-west-2", gateways=("gateway-1",), things=())
NAMES = topology.names(TENANT, "us-east-1")
LETTERS = f"{dead_letters_folder('acme', 'us-east-1')}/day=2026-11-23"


class Bucket:
    """As much of S3 as reading needs."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.read = 0

    def put(self, key: str, *rows: dict[str, Any]) -> None:
        self.objects[key] = gzip.compress("\n".join(map(json.dumps, rows)).encode())

    def get_paginator(self, _operation: str) -> Bucket:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        at = datetime(2026, 11, 23, tzinfo=UTC)
        keys = [key for key in self.objects if key.startswith(Prefix)]
        yield {"Contents": [{"Key": key, "ETag": str(hash(self.objects[key])), "LastModified": at} for key in keys]}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self.read += 1
        return {"Body": io.BytesIO(self.objects[Key])}


def letter(topic: str, payload: bytes) -> dict[str, Any]:
    return dead_letter(Rejection(RejectionReason.TOO_LARGE, "9000 bytes", topic, 1_795_413_600_000, payload))


@pytest.mark.parametrize("topic", ["plantwatch/telemetry/pump-7", "tenants/acme/devices/pump-7/telemetry"])
@pytest.mark.parametrize("payload", [b'{"ts": 1, "row": "ab12:7", "v": 1}', b'{"ts":1,"row":"ab12:7","v'])
def test_a_dead_letter_is_known_by_its_device_and_mark(topic: str, payload: bytes) -> None:
    bucket = Bucket()
    bucket.put(f"{LETTERS}/1.jsonl.gz", letter(topic, payload))
    view = LakeView(bucket, NAMES)
    assert view.refresh()
    assert list(view.refused()) == [Refused("pump-7", "ab12:7", "too_large", "9000 bytes")]


def test_an_object_is_read_once_and_only_if_it_is_new_enough() -> None:
    bucket = Bucket()
    bucket.put(f"{LETTERS}/1.jsonl.gz", letter("x", b"{}"))
    view = LakeView(bucket, NAMES)
    view.refresh()
    view.refresh()
    assert bucket.read == 1
    LakeView(bucket, NAMES, since=datetime(2026, 11, 24, tzinfo=UTC).timestamp()).refresh()
    assert bucket.read == 1


def test_what_cannot_be_read_in_time_is_said() -> None:
    bucket = Bucket()
    bucket.put(f"{LETTERS}/1.jsonl.gz", letter("x", b"{}"))
    assert not LakeView(bucket, NAMES).refresh(within_s=-1.0)


def test_a_row_that_a_region_refused_is_not_missing_there() -> None:
    run = Replay(Path("x.csv"), "pump-7", Via.THING, name="ab12", sent={"ab12:2", "ab12:3"})
    stored = Stored("us-east-1", lake={})
    region = replaying._region(stored, [RefusedRow(3, "dr", "too_large", "")], run)
    assert (region["missing"], region["rejected"], region["rejected_by_reason"]) == (1, 1, {"too_large": 1})


def test_each_row_is_named_once_although_both_regions_refuse_it() -> None:
    rows = [RefusedRow(9, "primary", "too_large", ""), RefusedRow(3, "file", "not_a_number", "v='n/a'")]
    once = replaying._once([*rows, RefusedRow(9, "dr", "too_large", "")])
    assert [(row.number, row.reason) for row in once] == [(3, "not_a_number"), (9, "too_large")]


def test_a_screen_of_rows_is_shown_and_the_rest_is_counted() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [{"row": n, "refused_by": "local bus", "reason": "too_large", "detail": "9000 bytes"} for n in range(2, 15)]
    show.bad_rows(console, rows)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "  row 2, refused by the local bus: too_large (9000 bytes)"
    assert lines[-1] == "  and 3 more rows, all in --report FILE"
    assert len(lines) == 11
