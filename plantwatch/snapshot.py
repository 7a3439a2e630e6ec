"""The memory of many machines as bytes: versioned, bound to its bundle, checksummed, and never a pickle.

    PWM1 | length, header (JSON: bundle, machines) | length, zlib(JSON) of each machine ... | SHA-256 of it all

One frame a machine keeps what is decompressed at once small, whatever the number of machines.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

_MAGIC: Final = b"PWM1"
_LENGTH: Final = struct.Struct(">I")
_CHECKSUM_BYTES: Final = 32
# 256 signals in 8 states (`plantwatch.states.rules`) of about 4 KB each, with room for a detector three times as large.
_MACHINE_BYTES_MAX: Final = 24 * 1024 * 1024
# Byte arrays of few values compress well at any level; the fastest keeps a checkpoint short.
_LEVEL: Final = 1


def pack(bundle: str, machines: Iterable[dict[str, Any]]) -> bytes:
    """The snapshot of machine states (each as JSON can hold it)."""
    frames = bytearray()
    count = 0
    for machine in machines:
        frame = zlib.compress(json.dumps(machine, separators=(",", ":"), allow_nan=False).encode(), _LEVEL)
        frames += _LENGTH.pack(len(frame)) + frame
        count += 1
    header = json.dumps({"bundle": bundle, "machines": count}).encode()
    body = _MAGIC + _LENGTH.pack(len(header)) + header + frames
    return body + hashlib.sha256(body).digest()


def unpack(data: bytes, *, bundle: str) -> Iterator[dict[str, Any]]:
    """The machine states of a snapshot. ValueError says what is wrong with it."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"no snapshot of this version: begins with {data[:4]!r}, not {_MAGIC!r}")
    body = memoryview(data)[:-_CHECKSUM_BYTES]
    if hashlib.sha256(body).digest() != data[-_CHECKSUM_BYTES:]:
        raise ValueError("the snapshot is damaged: its checksum does not fit")
    try:
        header, start = _header(body)
        if header["bundle"] != bundle:
            raise ValueError(f"the snapshot belongs to bundle {header['bundle']}, this runtime watches with {bundle}")
        yield from _frames(body, start)
    except (struct.error, zlib.error, KeyError) as error:
        raise ValueError(f"the snapshot is not laid out as expected: {error!r}") from None


def _header(body: memoryview) -> tuple[dict[str, Any], int]:
    begin = len(_MAGIC) + _LENGTH.size
    end = begin + _LENGTH.unpack_from(body, len(_MAGIC))[0]
    return json.loads(bytes(body[begin:end])), end


def _frames(body: memoryview, start: int) -> Iterator[dict[str, Any]]:
    while start < len(body):
        begin = start + _LENGTH.size
        start = begin + _LENGTH.unpack_from(body, start)[0]
        yield _decode(body[begin:start])


def _decode(frame: memoryview) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    text = inflater.decompress(frame, _MACHINE_BYTES_MAX)
    if inflater.unconsumed_tail:
        raise ValueError(f"one machine's state is larger than {_MACHINE_BYTES_MAX} bytes")
    state: dict[str, Any] = json.loads(text)
    return state
