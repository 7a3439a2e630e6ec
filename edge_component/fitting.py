"""Whether a reading fits into a message to the cloud by itself. Pure.

One that does not would be sent for ever: the nucleus ends the connection of whoever publishes it, the component starts
anew, and finds it first in its queue. So it becomes a dead letter before it is numbered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Final

from edge_component.settings import IOT_CORE_BYTES_MAX
from plantwatch import envelope
from plantwatch.incident import Cause
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import TIMESTAMP_KEY, Reading, Rejection, RejectionReason

# What a score may add: shares, causes and faults of eight signals, some 120 B each before compression.
READING_BYTES_MAX: Final = IOT_CORE_BYTES_MAX - 1_000
_NAMED_MAX: Final = 8
# With so few signals all that can be said fits, whatever their names.
_FEW: Final = 6
# A number as decimal text with its comma; a character beyond printable ASCII as JSON.
_NUMBER_CHARS: Final = 25
_ESCAPED_CHARS: Final = 6


def checked(reading: Reading, topic: str) -> Reading | Rejection:
    """`reading`, or why it cannot go to the cloud (with all that it says, as JSON)."""
    if not reading.attributes and len(reading.signals) + len(reading.missing) <= _FEW:
        return reading
    if _chars_max(reading) <= READING_BYTES_MAX:
        return reading
    size = _size(ScoredReading(reading, 0.0))
    if size <= READING_BYTES_MAX:
        return reading
    said = {TIMESTAMP_KEY: reading.observed_at, **reading.attributes, **reading.signals}
    payload = json.dumps(said | dict.fromkeys(reading.missing)).encode()
    detail = f"{size} bytes compressed, a message to the cloud takes {READING_BYTES_MAX}"
    return Rejection(RejectionReason.TOO_LARGE, detail, topic, reading.received_at, payload)


def shortened(scored: ScoredReading) -> ScoredReading:
    """Where a score explains so much that the whole no longer fits, only the signals that matter most are named."""
    named = max(len(scored.shares), len(scored.faults), *(len(item.causes) for item in scored.transitions), 0)
    if named <= _NAMED_MAX or _size(scored) <= IOT_CORE_BYTES_MAX:
        return scored
    return scored._replace(
        shares=scored.shares[:_NAMED_MAX],
        faults=scored.faults[:_NAMED_MAX],
        transitions=tuple(item._replace(causes=_strongest(item.causes)) for item in scored.transitions),
    )


def _strongest(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The first ones, which have the largest shares; again these sum to 1."""
    kept = causes[:_NAMED_MAX]
    total = sum(cause.share for cause in kept) or 1.0
    return tuple(cause._replace(share=cause.share / total) for cause in kept)


def _size(scored: ScoredReading) -> int:
    return len(envelope.encode([scored], epoch=0, bundle=scored.bundle))


def _chars_max(reading: Reading) -> int:
    """Its JSON has no more characters, as far as they cannot be compressed; cheap."""
    texts = chain(reading.signals, reading.missing, reading.attributes, reading.attributes.values())
    chars = sum(len(text) if text.isascii() and text.isprintable() else _ESCAPED_CHARS * len(text) for text in texts)
    return chars + _NUMBER_CHARS * len(reading.signals)
