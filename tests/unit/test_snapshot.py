"""What is no snapshot, or not ours, is refused with its reason, however it was made."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import Any

import pytest

from plantwatch import snapshot

MACHINES: list[dict[str, Any]] = [{"device": ["acme", "pump-1"], "newest": 1}, {"device": ["acme", "pump-2"]}]


def sealed(body: bytes) -> bytes:
    """A body with the checksum that fits it, as somebody would make it who knows the format."""
    return body + hashlib.sha256(body).digest()


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


HEADER = framed(json.dumps({"bundle": "b1", "machines": 1}).encode())


def test_gives_back_what_was_packed() -> None:
    assert list(snapshot.unpack(snapshot.pack("b1", MACHINES), bundle="b1")) == MACHINES
    assert list(snapshot.unpack(snapshot.pack("b1", []), bundle="b1")) == []


def test_the_same_state_gives_the_same_bytes() -> None:
    assert snapshot.pack("b1", MACHINES) == snapshot.pack("b1", MACHINES)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no snapshot of this version"),
        (b"PWM0" + bytes(64), "no snapshot of this version"),
        (b"PWM1", "checksum"),
        (b"PWM1" + bytes(64), "checksum"),
        (sealed(b"PWM1"), "not laid out"),
        (sealed(b"PWM1" + framed(b"{}")), "not laid out"),
        (sealed(b"PWM1" + framed(b"{")), "Expecting"),
        (sealed(b"PWM1" + HEADER + b"\0"), "not laid out"),
        (sealed(b"PWM1" + HEADER + framed(b"no zlib")), "not laid out"),
        (sealed(b"PWM1" + HEADER + framed(zlib.compress(b"no json"))), "Expecting"),
        (sealed(b"PWM1" + HEADER + framed(zlib.compress(bytes(26_000_000)))), "larger than"),
        (snapshot.pack("b2", MACHINES), "belongs to bundle b2"),
    ],
)
def test_anything_else_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(snapshot.unpack(data, bundle="b1"))


def test_what_json_cannot_hold_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        snapshot.pack("b1", [{"value": float("nan")}])
