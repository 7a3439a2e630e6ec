"""Event-stream framing, as Greengrass IPC uses it. Bytes in, messages out; no I/O.

    [total length u32][headers length u32][crc32 of both] headers payload [crc32 of all before]

Everything is big-endian. A header is its name's length (u8), its name, its type (u8) and its value. Names are compared
without case. Source: aws-c-event-stream, `event_stream.h`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

PRELUDE_BYTES: Final = 12
_CRC_BYTES: Final = 4
OVERHEAD_BYTES: Final = PRELUDE_BYTES + _CRC_BYTES

HeaderValue = bool | int | str | bytes
"""What a header may hold; integers are written as int32, which is all that IPC uses."""


class MessageType(IntEnum):
    """Value of the header `:message-type`."""

    APPLICATION_MESSAGE = 0
    APPLICATION_ERROR = 1
    PING = 2
    PING_RESPONSE = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class MessageFlag(IntEnum):
    """Bits of the header `:message-flags`."""

    CONNECTION_ACCEPTED = 1
    TERMINATE_STREAM = 2


class _Type(IntEnum):
    TRUE = 0
    FALSE = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


_INTEGERS: Final = {
    _Type.INT8: struct.Struct(">b"),
    _Type.INT16: struct.Struct(">h"),
    _Type.INT32: struct.Struct(">i"),
    _Type.INT64: struct.Struct(">q"),
    _Type.TIMESTAMP: struct.Struct(">q"),
}
_UUID_BYTES: Final = 16


class MalformedFrame(ValueError):
    """The other side does not speak event-stream, or bytes were damaged: close the connection."""


class Message(NamedTuple):
    """One frame. Header names are in lower case."""

    headers: Mapping[str, HeaderValue]
    payload: bytes = b""


class Prelude(NamedTuple):
    """Lengths in bytes: of the whole frame, and of its headers."""

    total: int
    headers: int


def encode(message: Message) -> bytes:
    headers = b"".join(_encode_header(name, value) for name, value in message.headers.items())
    total = OVERHEAD_BYTES + len(headers) + len(message.payload)
    prelude = struct.pack(">II", total, len(headers))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + message.payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def decode_prelude(data: bytes) -> Prelude:
    """The first 12 bytes of a frame; MalformedFrame where their checksum or lengths are wrong."""
    if len(data) != PRELUDE_BYTES:
        raise MalformedFrame(f"prelude of {len(data)} bytes")
    total, headers, crc = struct.unpack(">III", data)
    if zlib.crc32(data[:8]) != crc:
        raise MalformedFrame("prelude checksum")
    if total < OVERHEAD_BYTES + headers:
        raise MalformedFrame(f"{total} bytes cannot hold {headers} bytes of headers")
    return Prelude(total, headers)


def decode(frame: bytes) -> Message:
    """One whole frame."""
    prelude = decode_prelude(frame[:PRELUDE_BYTES])
    if len(frame) != prelude.total:
        raise MalformedFrame(f"{len(frame)} bytes, announced {prelude.total}")
    if zlib.crc32(frame[:-_CRC_BYTES]) != int.from_bytes(frame[-_CRC_BYTES:], "big"):
        raise MalformedFrame("message checksum")
    end = PRELUDE_BYTES + prelude.headers
    try:
        headers = _decode_headers(frame[PRELUDE_BYTES:end])
    except (IndexError, struct.error, ValueError) as error:
        raise MalformedFrame(f"headers: {error}") from None
    return Message(headers, frame[end:-_CRC_BYTES])


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    return bytes((len(encoded),)) + encoded + _encode_value(value)


def _encode_value(value: HeaderValue) -> bytes:
    if isinstance(value, bool):
        return bytes((_Type.TRUE if value else _Type.FALSE,))
    if isinstance(value, int):
        return bytes((_Type.INT32,)) + _INTEGERS[_Type.INT32].pack(value)
    kind, data = (_Type.STRING, value.encode()) if isinstance(value, str) else (_Type.BYTES, value)
    return bytes((kind,)) + struct.pack(">H", len(data)) + data


def _decode_headers(data: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name = data[at + 1 : name_end].decode().lower()
        headers[name], at = _decode_value(_Type(data[name_end]), data, name_end + 1)
    return headers


def _decode_value(kind: _Type, data: bytes, at: int) -> tuple[HeaderValue, int]:
    """A value and where the next header begins."""
    if kind in (_Type.TRUE, _Type.FALSE):
        return kind is _Type.TRUE, at
    if kind in _INTEGERS:
        form = _INTEGERS[kind]
        return form.unpack_from(data, at)[0], at + form.size
    if kind is _Type.UUID:
        return _slice(data, at, at + _UUID_BYTES), at + _UUID_BYTES
    (length,) = struct.unpack_from(">H", data, at)
    end = at + 2 + length
    value = _slice(data, at + 2, end)
    return (value.decode() if kind is _Type.STRING else value), end


def _slice(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise IndexError("value beyond the headers")
    return data[start:end]
