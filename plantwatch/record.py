"""What the IoT rule puts into the stream: the payload as it arrived, beside what the broker knows of it.

The rule's SQL is `SELECT encode(*, 'base64') AS payload, topic() AS topic, timestamp() AS received_at`: any payload
passes (so that a malformed one reaches dead letters with its bytes), and no field of the payload can pose as the topic.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final, NamedTuple

from plantwatch.telemetry import EpochMs, InvalidReading, RejectionReason

RULE_SQL: Final = "SELECT encode(*, 'base64') AS payload, topic() AS topic, timestamp() AS received_at"


class Record(NamedTuple):
    """One MQTT message as the rule forwarded it."""

    topic: str
    received_at: EpochMs
    payload: bytes


def encode_record(record: Record) -> bytes:
    """What the rule would have written; for tests, replays and redrives."""
    payload = base64.b64encode(record.payload).decode()
    return json.dumps({"payload": payload, "topic": record.topic, "received_at": record.received_at}).encode()


def decode_record(data: bytes) -> Record:
    """Raises InvalidReading(MALFORMED_RECORD) for anything that our rule did not write."""
    try:
        fields = json.loads(data)
        payload = base64.b64decode(fields["payload"], validate=True)
        topic, received_at = fields["topic"], fields["received_at"]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidReading(RejectionReason.MALFORMED_RECORD, type(error).__name__) from None
    if type(topic) is not str or type(received_at) is not int:
        raise InvalidReading(RejectionReason.MALFORMED_RECORD, "topic or received_at")
    return Record(topic, received_at, payload)
