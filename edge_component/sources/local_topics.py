"""Readings that other components publish on the gateway's local topics `plantwatch/telemetry/{device}`.

A message is one JSON object as a device would publish to the cloud, or an array of such objects. An object with the two
members `source` (text) and `seq` (1, 2, 3, ... per device, without holes) is acknowledged on `plantwatch/acks` once it
is safe on disk, and taken once however often it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from edge_component.nucleus import Payload
from plantwatch.telemetry import (
    PAYLOAD_BYTES_MAX,
    EpochMs,
    InvalidReading,
    Reading,
    Rejection,
    RejectionReason,
    Source,
    checked_name,
    reading_from_fields,
)

SOURCE_KEY: Final = "source"
SEQUENCE_KEY: Final = "seq"


class LocalMessage(NamedTuple):
    """One message of a local topic, and when it arrived."""

    topic: str
    payload: Payload
    received_at: EpochMs


class LocalReading(NamedTuple):
    """One object of a message: a reading or its refusal. `source` is empty where the sender does not number."""

    outcome: Reading | Rejection
    device: str
    source: str = ""
    sequence: int = 0


def read(message: LocalMessage, tenant: str) -> Iterator[LocalReading]:
    """The readings of one local message; a bad one leaves its neighbours unharmed."""
    device = message.topic.rpartition("/")[2]
    try:
        publisher = Source(tenant, checked_name(device))
        objects = _objects(message.payload)
    except InvalidReading as error:
        yield LocalReading(_rejection(error, message, message.payload), device)
        return
    for fields in objects:
        yield _read_one(fields, publisher, message)


def _objects(payload: Payload) -> list[Any]:
    if isinstance(payload, dict):
        return [payload]
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidReading(RejectionReason.TOO_LARGE, f"{len(payload)} bytes")
    try:
        value = _DECODER.decode(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidReading(RejectionReason.WRONG_ENCODING, str(error)) from None
    except (RecursionError, ValueError) as error:
        raise InvalidReading(RejectionReason.MALFORMED_JSON, str(error)) from None
    return value if isinstance(value, list) else [value]


class _RepeatedKey:
    """Stands for an object with a key twice, so that only this object of an array is refused."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _RepeatedKey:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _RepeatedKey()


# NaN and Infinity become floats here, which `reading_from_fields` refuses, again for this object only.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=float)


def _read_one(fields: Any, publisher: Source, message: LocalMessage) -> LocalReading:
    source, sequence = "", 0
    try:
        if type(fields) is _RepeatedKey:
            raise InvalidReading(RejectionReason.DUPLICATE_KEY)
        if type(fields) is not dict:
            raise InvalidReading(RejectionReason.NOT_AN_OBJECT, type(fields).__name__)
        if type(fields.get(SEQUENCE_KEY)) is int and type(fields.get(SOURCE_KEY)) is str:
            source, sequence = fields.pop(SOURCE_KEY), fields.pop(SEQUENCE_KEY)
        reading = reading_from_fields(fields, publisher, received_at=message.received_at)
        return LocalReading(reading, publisher.device, source, sequence)
    except InvalidReading as error:
        refused = _rejection(error, message, fields)
        return LocalReading(refused, publisher.device, source, sequence)


def _rejection(error: InvalidReading, message: LocalMessage, payload: Any) -> Rejection:
    data = payload if isinstance(payload, bytes) else json.dumps(payload, default=lambda _: None).encode()
    return Rejection(error.reason, error.detail, message.topic, message.received_at, data)
