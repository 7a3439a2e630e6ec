"""Readings that other components publish on the gateway's local topics `plantwatch/telemetry/{device}`.

A message is one JSON object as a device would publish to the cloud, or an array of such objects. An object with the two
members `source` (a name as a device's) and `seq` (1, 2, 3, ... per device, without holes) is acknowledged on
`plantwatch/acks` once it is safe on disk, and taken once however often it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
    storable,
)

# Enough to see what it was; a message can hold a hundred objects that are nested too deeply.
_BEGINNING_BYTES: Final = 1_000
SOURCE_KEY: Final = "source"
SEQUENCE_KEY: Final = "seq"


class LocalMessage(NamedTuple):
    """One message of a local topic, and when it arrived. `on_safe` is called, by the worker, when all up to it is on
    disk."""

    topic: str
    payload: Payload
    received_at: EpochMs
    on_safe: Callable[[], None] | None = None


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
    if not isinstance(payload, bytes):  # the nucleus promises an object and passes on what it gets
        value: Any = payload
        return value if isinstance(value, list) else [value]
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidReading(RejectionReason.TOO_LARGE, f"{len(payload)} bytes")
    try:
        value = _DECODER.decode(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidReading(RejectionReason.WRONG_ENCODING, str(error)) from None
    except (RecursionError, ValueError) as error:
        raise InvalidReading(RejectionReason.MALFORMED_JSON, str(error)) from None
    return value if isinstance(value, list) else [value]


class _RepeatedKey(NamedTuple):
    """Stands for an object with a key twice, so that only this object of an array is refused."""

    pairs: list[tuple[str, Any]]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _RepeatedKey:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _RepeatedKey(pairs)


# NaN and Infinity become floats here, which `reading_from_fields` refuses, again for this object only.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=float)


def _read_one(fields: Any, publisher: Source, message: LocalMessage) -> LocalReading:
    source, sequence = "", 0
    try:
        if type(fields) is _RepeatedKey:
            raise InvalidReading(RejectionReason.DUPLICATE_KEY)
        if type(fields) is not dict:
            raise InvalidReading(RejectionReason.NOT_AN_OBJECT, type(fields).__name__)
        rest = dict(fields)  # a refusal keeps the object as it came
        if type(fields.get(SEQUENCE_KEY)) is int and type(fields.get(SOURCE_KEY)) is str:
            # An unfit name numbers nothing: it would have to be kept, and acknowledged, as it is.
            source, sequence = checked_name(rest.pop(SOURCE_KEY)), rest.pop(SEQUENCE_KEY)
        reading = reading_from_fields(rest, publisher, received_at=message.received_at)
        return LocalReading(reading, publisher.device, source, sequence)
    except InvalidReading as error:
        refused = _rejection(error, message, fields)
        return LocalReading(refused, publisher.device, source, sequence)


def _rejection(error: InvalidReading, message: LocalMessage, payload: Any) -> Rejection:
    data = payload if isinstance(payload, bytes) else _encoded(payload, message)
    return Rejection(error.reason, error.detail, storable(message.topic), message.received_at, data)


def _encoded(value: Any, message: LocalMessage) -> bytes:
    """One object of a message as JSON; where it is nested too deeply for that, how the message begins."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return message.payload[:_BEGINNING_BYTES] if isinstance(message.payload, bytes) else b""
