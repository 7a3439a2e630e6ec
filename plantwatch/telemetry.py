"""The telemetry contract: what a reading is, and what is refused, with a closed set of reasons.

A device publishes one JSON object on `tenants/{tenant}/devices/{device}/telemetry`:

    {"ts": 1732341600, "temperature": 83.2, "vibration": 0.19, "operator": "mk"}

`ts` is the sensor's time: epoch seconds or milliseconds (a number or a numeric string) or ISO 8601. Every other number
is a signal, every string or boolean an attribute, and `null` says that the sensor gave no value. A gateway publishes
many readings of many devices at once on its own topic (see `plantwatch.envelope`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn

EpochMs = int
"""Milliseconds since 1970-01-01T00:00Z."""

# IoT Core refuses larger MQTT payloads, so a larger one here never came from a device.
PAYLOAD_BYTES_MAX: Final = 128 * 1024
# A machine with more sensors than this is several machines; it also bounds the state that one payload can create.
SIGNALS_MAX: Final = 256
ATTRIBUTES_MAX: Final = 64
NAME_CHARS_MAX: Final = 128
ATTRIBUTE_CHARS_MAX: Final = 1024
# A sentence; the bytes themselves are kept beside it.
DETAIL_CHARS_MAX: Final = 160
# Historians begin in the nineties; anything older is a clock that was never set (epoch 0, GPS weeks).
OBSERVED_AT_MIN: Final[EpochMs] = 631_152_000_000  # 1990-01-01
# What a receiver without a clock of its own accepts; calendars and 64 bits go on for long after.
OBSERVED_AT_MAX: Final[EpochMs] = 4_102_444_800_000  # 2100-01-01
# A device's clock may be wrong by a time zone, not by more than a day.
CLOCK_AHEAD_MS_MAX: Final = 24 * 3600 * 1000
# Before this project began: a receiver whose clock says so has not set it yet, and cannot judge anybody else's.
CLOCK_IS_SET_FROM: Final[EpochMs] = 1_735_689_600_000  # 2025-01-01
# Below this a number means seconds: as milliseconds it would be before 1973, as seconds it is the year 5138.
_SECONDS_BELOW: Final = 100_000_000_000

# Python refuses to print integers of thousands of digits.
_SHOWN_MAX: Final = 10**18

TIMESTAMP_KEY: Final = "ts"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_TOPIC_LEVELS: Final = 5


class RejectionReason(StrEnum):
    """Why a record went to dead letters. Closed: it is also a metric's dimension."""

    MALFORMED_RECORD = "malformed_record"
    UNKNOWN_TOPIC = "unknown_topic"
    WRONG_TENANT = "wrong_tenant"
    INVALID_NAME = "invalid_name"
    TOO_LARGE = "too_large"
    WRONG_ENCODING = "wrong_encoding"
    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    NOT_FINITE = "not_finite"
    NOT_A_NUMBER = "not_a_number"
    UNSUPPORTED_VALUE = "unsupported_value"
    NO_SIGNALS = "no_signals"
    TOO_MANY_SIGNALS = "too_many_signals"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    MISSING_TIMESTAMP = "missing_timestamp"
    INVALID_TIMESTAMP = "invalid_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    NOT_A_GATEWAY = "not_a_gateway"
    UNKNOWN_VERSION = "unknown_version"
    MALFORMED_BATCH = "malformed_batch"
    MALFORMED_ROW = "malformed_row"


def storable(quoted: str) -> str:
    """What a sender wrote, as text that any store takes: cut, and halves of characters spelled out."""
    return quoted[:DETAIL_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


class InvalidReading(ValueError):
    """The sender's fault: the record goes to dead letters with `reason`; its neighbours are unharmed.

    `detail` often quotes what the sender wrote, so it is `storable`.
    """

    def __init__(self, reason: RejectionReason, detail: str = "") -> None:
        detail = storable(detail)
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class Rejection(NamedTuple):
    """A refused record: why, where it came from, and its bytes as they arrived."""

    reason: RejectionReason
    detail: str
    topic: str
    received_at: EpochMs
    payload: bytes


class Reading(NamedTuple):
    """What one machine's sensors said at one time.

    `observed_at` is the sensor's clock, `received_at` ours (the gateway's where there is one). `signals` are finite;
    `missing` names the signals for which the sensor gave no value. A gateway numbers its readings per device by
    `epoch` (its boot) and `sequence`, and two gateways may speak for one device; a thing without sequence is known by
    `digest` of its payload instead.
    """

    tenant: str
    device: str
    observed_at: EpochMs
    received_at: EpochMs
    signals: Mapping[str, float]
    attributes: Mapping[str, str] = {}
    missing: tuple[str, ...] = ()
    gateway: str = ""
    epoch: int = 0
    sequence: int = 0
    digest: str = ""

    @property
    def key(self) -> str:
        """Idempotency key within (tenant, device): the same on both legs and after every repeat."""
        if self.gateway:
            return f"{self.gateway}.{self.epoch:06d}.{self.sequence:012d}"
        return f"{self.observed_at:013d}.{self.digest}"


class Source(NamedTuple):
    """Who published, as the broker's policy lets it say: the levels of the topic, never the payload."""

    tenant: str
    device: str


def telemetry_topic(tenant: str, device: str) -> str:
    return f"tenants/{tenant}/devices/{device}/telemetry"


def uplink_filter(tenant: str) -> str:
    """All that a tenant's devices may publish, and what the IoT rule passes on: more than `telemetry_topic`, so that a
    message on a mistyped level becomes a dead letter (UNKNOWN_TOPIC) instead of nothing."""
    return f"tenants/{tenant}/devices/+/#"


def parse_topic(topic: str) -> Source:
    """`tenants/{tenant}/devices/{device}/telemetry` -> its tenant and device; InvalidReading(UNKNOWN_TOPIC) for any
    other, of which the rule passes on those below the device's name (`uplink_filter`)."""
    levels = topic.split("/")
    if len(levels) != _TOPIC_LEVELS or (levels[0], levels[2], levels[4]) != ("tenants", "devices", "telemetry"):
        raise InvalidReading(RejectionReason.UNKNOWN_TOPIC, topic[:NAME_CHARS_MAX])
    return Source(checked_name(levels[1]), checked_name(levels[3]))


def checked_name(name: str) -> str:
    """A tenant's, device's or signal's name, if it is one: letters, digits and `_.:-`, at most 128 characters.

    Spaces are allowed inside signal names only by `signal_name`.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidReading(RejectionReason.INVALID_NAME, repr(name[:NAME_CHARS_MAX]))
    return name


def signal_name(name: str) -> str:
    """A signal's or attribute's name: printable, not empty, at most 128 characters ("Volume Flow RateRMS" is one)."""
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidReading(RejectionReason.INVALID_NAME, repr(name[:NAME_CHARS_MAX]))
    return name


def parse_reading(payload: bytes, source: Source, *, received_at: EpochMs) -> Reading:
    """One device's own payload. Raises InvalidReading with one reason of the closed set."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidReading(RejectionReason.TOO_LARGE, f"{len(payload)} bytes")
    fields = decode_object(payload)
    digest = hashlib.blake2b(payload, digest_size=8).hexdigest()
    return reading_from_fields(fields, source, received_at=received_at)._replace(digest=digest)


def reading_from_fields(fields: dict[str, Any], source: Source, *, received_at: EpochMs) -> Reading:
    """A decoded payload as a Reading (without identity). `fields` loses its timestamp."""
    if TIMESTAMP_KEY not in fields:
        raise InvalidReading(RejectionReason.MISSING_TIMESTAMP)
    observed_at = parse_timestamp(fields.pop(TIMESTAMP_KEY), received_at=received_at)
    signals: dict[str, float] = {}
    attributes: dict[str, str] = {}
    missing: list[str] = []
    for name, value in fields.items():
        kind = type(value)
        if kind is float or kind is int:
            name = signal_name(name)
            signals[name] = finite(name, value)
        elif value is None:
            missing.append(signal_name(name))
        elif kind is str or kind is bool:
            attributes[signal_name(name)] = attribute_text(value if kind is str else str(value).lower())
        else:
            raise InvalidReading(RejectionReason.UNSUPPORTED_VALUE, f"{name[:NAME_CHARS_MAX]}: {kind.__name__}")
    if not signals and not missing:
        raise InvalidReading(RejectionReason.NO_SIGNALS)
    if len(signals) + len(missing) > SIGNALS_MAX:
        raise InvalidReading(RejectionReason.TOO_MANY_SIGNALS, f"{len(signals) + len(missing)}")
    if len(attributes) > ATTRIBUTES_MAX:
        raise InvalidReading(RejectionReason.TOO_MANY_ATTRIBUTES, f"{len(attributes)}")
    return Reading(source.tenant, source.device, observed_at, received_at, signals, attributes, tuple(missing))


def decode_object(payload: bytes) -> dict[str, Any]:
    """The payload as one JSON object (RFC 8259: UTF-8, no NaN or Infinity, no key twice)."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidReading(RejectionReason.WRONG_ENCODING, str(error)) from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidReading(RejectionReason.MALFORMED_JSON, f"{error.msg} at {error.pos}") from None
    except (RecursionError, ValueError) as error:  # too deep, or an integer of more than 4,300 digits
        if isinstance(error, InvalidReading):
            raise
        raise InvalidReading(RejectionReason.MALFORMED_JSON, type(error).__name__) from None
    if type(value) is not dict:
        raise InvalidReading(RejectionReason.NOT_AN_OBJECT, type(value).__name__)
    return value


def finite(name: str, value: float) -> float:
    """The value as a finite float, or InvalidReading."""
    try:
        value = float(value)
    except OverflowError:
        raise InvalidReading(RejectionReason.NOT_FINITE, f"{name}: integer beyond a float's range") from None
    if not math.isfinite(value):
        raise InvalidReading(RejectionReason.NOT_FINITE, f"{name}={value}")
    return value


def parse_timestamp(value: object, *, received_at: EpochMs) -> EpochMs:
    """Epoch seconds or milliseconds (number or numeric string) or ISO 8601, as milliseconds.

    Numbers below 1e11 are seconds. An ISO time without zone is UTC. InvalidReading for what is no time, and for what
    `check_time` refuses.
    """
    if type(value) is str:
        observed_at = _from_text(value.strip())
    elif type(value) is int or type(value) is float:
        observed_at = _from_number(value)
    else:
        raise InvalidReading(RejectionReason.INVALID_TIMESTAMP, type(value).__name__)
    return check_time(observed_at, received_at=received_at)


def check_time(observed_at: EpochMs, *, received_at: EpochMs) -> EpochMs:
    """`observed_at` if it is plausible. A time before 1990 or more than a day after `received_at` is refused: it is a
    clock that was never set, and it would poison every order by time."""
    newest = received_at if received_at >= CLOCK_IS_SET_FROM else OBSERVED_AT_MAX
    if not OBSERVED_AT_MIN <= observed_at <= newest + CLOCK_AHEAD_MS_MAX:
        raise InvalidReading(
            RejectionReason.TIMESTAMP_OUT_OF_RANGE, f"{max(-_SHOWN_MAX, min(observed_at, _SHOWN_MAX))} ms"
        )
    return observed_at


def isoformat(at: EpochMs) -> str:
    """2026-11-23T06:01:15.250Z: what people and the lake read."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_number(value: float) -> EpochMs:
    if type(value) is float and not math.isfinite(value):
        raise InvalidReading(RejectionReason.INVALID_TIMESTAMP, str(value))
    return round(value * 1000) if abs(value) < _SECONDS_BELOW else round(value)


def _from_text(text: str) -> EpochMs:
    try:
        return _from_number(float(text))
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidReading):
            raise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidReading(RejectionReason.INVALID_TIMESTAMP, repr(text[:40])) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def attribute_text(value: str) -> str:
    """An attribute's value: text that can be written as UTF-8 (JSON can escape halves of characters), bounded."""
    if len(value) > ATTRIBUTE_CHARS_MAX:
        raise InvalidReading(RejectionReason.TOO_LARGE, f"attribute of {len(value)} characters")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidReading(RejectionReason.WRONG_ENCODING, "half a character in an attribute")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidReading(RejectionReason.DUPLICATE_KEY)
    return fields


def _refuse_constant(constant: str) -> NoReturn:
    raise InvalidReading(RejectionReason.NOT_FINITE, constant)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
