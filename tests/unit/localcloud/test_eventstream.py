"""Framing: what is encoded is decoded again, and no damaged byte passes."""

from __future__ import annotations

import pytest
from awscrt.eventstream import Header  # the real implementation's names for the same types
from hypothesis import given
from hypothesis import strategies as st

from localcloud.nucleus.eventstream import (
    OVERHEAD_BYTES,
    PRELUDE_BYTES,
    MalformedFrame,
    Message,
    decode,
    decode_prelude,
    encode,
)

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=40).map(str.lower)
VALUES = st.one_of(st.booleans(), st.integers(-(2**31), 2**31 - 1), st.text(max_size=100), st.binary(max_size=100))
MESSAGES = st.builds(Message, st.dictionaries(NAMES, VALUES, max_size=6), st.binary(max_size=300))


@given(MESSAGES)
def test_a_frame_decodes_to_the_message_that_was_encoded(message: Message) -> None:
    frame = encode(message)
    assert decode(frame) == message
    assert decode_prelude(frame[:PRELUDE_BYTES]).total == len(frame)


@given(MESSAGES, st.data())
def test_one_damaged_byte_is_noticed(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    index = data.draw(st.integers(0, len(frame) - 1))
    frame[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedFrame):
        decode(bytes(frame))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        assert encode(decode(data))
    except MalformedFrame as error:
        assert str(error)


def test_headers_longer_than_the_frame_are_refused() -> None:
    frame = encode(Message({}, b""))
    assert len(frame) == OVERHEAD_BYTES
    with pytest.raises(MalformedFrame, match="prelude of 5 bytes"):
        decode_prelude(frame[:5])


def test_the_bytes_are_those_of_the_protocol() -> None:
    # Total 16 + 5 + 3, one header "a" of type 7 (string) with value "b"; checksums by zlib.
    frame = encode(Message({"a": "b"}, b"xyz"))
    assert frame[:8] == bytes.fromhex("0000001900000006")
    assert frame[12:21] == b"\x01a\x07\x00\x01bxyz"
    assert Header.from_string("a", "b").type.value == frame[14]
