"""A payload that Python cannot read as JSON ends its sender's connection, for ever.

Stock: `_rule_message` takes malformed JSON for text, but not what makes Python's parser give up on JSON that is well
formed: an integer of more than 4,300 digits (ValueError) and thousands of brackets inside each other (RecursionError).
The error ends the MQTT session before the PUBACK, no action runs, and the device sends the same message again.
AWS: a payload that is no JSON has no attributes; `encode(*, 'base64')` passes its bytes, whatever they are (AWS IoT
Core developer guide, "Working with binary payloads").
Here: what cannot be read as JSON is text, as malformed JSON is.
"""

from __future__ import annotations

from typing import Any

from ministack.services import iot

NAMES = ("ministack.services.iot:_rule_message",)


def apply() -> None:
    read_message = iot._rule_message

    def read_message_or_text(payload: bytes) -> Any:
        try:
            return read_message(payload)
        except (ValueError, RecursionError):
            # Upstream has decoded it before it parsed it: it is UTF-8.
            return payload.decode()

    iot._rule_message = read_message_or_text
