"""Dead letters: every refused record with its reason and its bytes, in S3 beside the lake.

    dead-letters/tenant=acme/region=us-east-1/day=2026-11-23/{shard}-{first sequence}.jsonl.gz

`day` is the day of arrival: a refused record has no observed time to be trusted.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from plantwatch.aws.lake import day_of, put_lines, read_lines, sane
from plantwatch.names import DEAD_LETTERS_PREFIX
from plantwatch.telemetry import Rejection, isoformat


class S3DeadLetters:
    """DeadLetters in one bucket, for the streams of one tenant."""

    def __init__(self, s3: Any, bucket: str, *, tenant: str, region: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._tenant = tenant
        self._region = region

    def put(self, rejections: Sequence[Rejection], *, position: str) -> None:
        days: dict[str, list[dict[str, Any]]] = {}
        for rejection in rejections:
            days.setdefault(day_of(sane(rejection.received_at)), []).append(dead_letter(rejection))
        for day, rows in days.items():
            key = f"{dead_letters_folder(self._tenant, self._region)}/day={day}/{position}.jsonl.gz"
            put_lines(self._s3, self._bucket, key, rows)


def dead_letters_folder(tenant: str, region: str) -> str:
    return f"{DEAD_LETTERS_PREFIX}tenant={tenant}/region={region}"


def dead_letter(rejection: Rejection) -> dict[str, Any]:
    """One line: enough to find the sender, to see what it sent, and to send it again."""
    return {
        "reason": str(rejection.reason),
        "detail": rejection.detail,
        "topic": rejection.topic,
        "received_at": isoformat(sane(rejection.received_at)),
        "payload": base64.b64encode(rejection.payload).decode(),
    }


def read_dead_letters(s3: Any, bucket: str, *, tenant: str, region: str) -> Iterator[dict[str, Any]]:
    """Every refused record that is kept."""
    return read_lines(s3, bucket, f"{dead_letters_folder(tenant, region)}/")
