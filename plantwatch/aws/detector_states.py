"""The detectors' state in S3, beside the checkpoint that it belongs to, so that a failover does not reset warm-up.

    detector-state/{application}/{shard}/a    one line of JSON {"version", "covers", "bundle"}, then the snapshot
    detector-state/{application}/{shard}/b

The state is written before its checkpoint. A crash between the two leaves the older checkpoint, whose state must still
be there: hence two objects, written in turn. Each is useful for exactly one checkpoint; with any other the records
between the two would be learnt twice or not at all. The last one of a shard that was split or merged covers SHARD_END,
and is what the shards begin with that it became. A state that cannot be read is none: its shard starts cold.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Final

from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors
from plantwatch.names import DETECTOR_STATE_PREFIX

log = logging.getLogger(__name__)

STATE_VERSION: Final = 1
_SLOTS: Final = ("a", "b")
_COVERS: Final = re.compile(r"[0-9]{1,64}(\.[0-9]{1,9})?|SHARD_END")


class S3DetectorStates:
    """States of one application's shards. `bundle` is the digest of the models: another one's state is of no use."""

    def __init__(self, s3: Any, bucket: str, *, application: str, bundle: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._application = application
        self._bundle = bundle
        self._slot = 0

    def save(self, shard: str, covers: str, snapshot: bytes) -> None:
        """Replace the older one of the shard's two states."""
        header = json.dumps({"version": STATE_VERSION, "covers": covers, "bundle": self._bundle}).encode()
        key = self._key(shard, _SLOTS[self._slot])
        with service_errors(f"write s3://{self._bucket}/{key}"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=header + b"\n" + snapshot)
        self._slot = 1 - self._slot

    def load(self, shard: str, covers: str) -> bytes | None:
        """The state that covers exactly `covers`, or None. The next save leaves it in place."""
        wanted = {"version": STATE_VERSION, "covers": covers, "bundle": self._bundle}
        for slot, name in enumerate(_SLOTS):
            key = self._key(shard, name)
            state = self._read(key)
            if state is None:
                continue
            header, _, snapshot = state.partition(b"\n")
            if self._decode(header, key) == wanted:
                self._slot = 1 - slot
                return snapshot
        return None

    def newest(self, shard: str) -> tuple[str, bytes] | None:
        """The state that covers most, and what it covers; None where there is none. The next save leaves it there."""
        found: list[tuple[tuple[str, int], int, str, bytes]] = []
        for slot, name in enumerate(_SLOTS):
            state = self._read(key := self._key(shard, name))
            header, _, snapshot = (state or b"").partition(b"\n")
            covers = self._covers(self._decode(header, key)) if state is not None else ""
            if covers:
                found.append((_order(covers), slot, covers, snapshot))
        if not found:
            return None
        _, slot, covers, snapshot = max(found)
        self._slot = 1 - slot
        return covers, snapshot

    def _decode(self, header: bytes, key: str) -> Any:
        """The header's fields, or None where nobody can read them."""
        try:
            return json.loads(header)
        except (ValueError, RecursionError) as error:
            log.warning("s3://%s/%s is damaged, and of no use: %s", self._bucket, key, error)
            return None

    def _covers(self, header: Any) -> str:
        """What a state of ours covers; empty where it is of another version or bundle, or where it is no state."""
        ours = {"version": STATE_VERSION, "bundle": self._bundle}
        if not isinstance(header, dict) or {**header, **ours} != header:
            return ""
        covers = header.get("covers")
        return covers if isinstance(covers, str) and _COVERS.fullmatch(covers) else ""

    def _key(self, shard: str, slot: str) -> str:
        return f"{DETECTOR_STATE_PREFIX}{self._application}/{shard}/{slot}"

    def _read(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none (which S3 tells only to those who may list the bucket)."""
        with service_errors(f"read s3://{self._bucket}/{key}"):
            try:
                return bytes(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise


def _order(covers: str) -> tuple[str, int]:
    """By position: sequence numbers have the same number of digits, and SHARD_END is after them all."""
    sequence, _, sub_sequence = covers.partition(".")
    return sequence, int(sub_sequence or 0)
