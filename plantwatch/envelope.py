"""The gateway's batch on the wire: many scored readings of many devices in one MQTT message of about 5 kB.

IoT Core meters messages in steps of 5 kB, so a message per reading costs ten to twenty times as much.
Layout, version 1:

    b"PW" | version (one byte) | zlib-compressed JSON (UTF-8)

    {"epoch": 3, "bundle": "5f0c...", "series": [series, ...], "rejected": [[reason, detail, topic, base64], ...],
     "dropped": [[device, epoch, first, last], ...]}

    series = [device, signal names, sequences, observed, received, values, scores, flags, extras]
      sequences  [first] where contiguous, else one per reading
      observed   [first, difference to the one before, ...], milliseconds
      received   received_at - observed_at, per reading, milliseconds
      values     one list per signal, null where the sensor gave none
      scores     one per reading
      flags      [] or one per reading: 1 warming up, 2 process anomaly open, 4 sensor fault open
      extras     {"index of the reading": {"attributes": {}, "shares": [], "faults": [], "transitions": [],
                 "ready_in_s": 52, "signs": [], "state": "cleaning", "suppression": "maintenance"}}, each part only
                 where there is one; unknown parts are skipped (`plantwatch.extras`)

`dropped` declares readings that the gateway numbered and gave up on purpose (its queue was full): they will not come.
Older regions pass over it.

Columns of one series compress well: neighbours are alike. Numbers are decimal text, so a reading that left the
gateway is the same reading, to the last bit, in the region.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from plantwatch.extras import (
    attributes_of,
    encode_extra,
    malformed,
    number,
    ready_in_s_of,
    state_of,
    suppression_of,
    transitions_of,
    whole,
)
from plantwatch.incident import Fault, Kind
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import (
    CLOCK_AHEAD_MS_MAX,
    CLOCK_IS_SET_FROM,
    SIGNALS_MAX,
    EpochMs,
    InvalidReading,
    Reading,
    Rejection,
    RejectionReason,
    Source,
    check_time,
    checked_name,
    signal_name,
    storable,
)

MAGIC: Final = b"PW"
VERSION: Final = 1
_HEADER: Final = MAGIC + bytes([VERSION])
# Deflate can blow up a thousandfold. A full batch holds about 20 kB of JSON; fifty times that is still harmless.
JSON_BYTES_MAX: Final = 1_000_000
READINGS_MAX: Final = 10_000
# Just below IoT Core's metering step, and far below the 7,300 B at which Greengrass nucleus lite drops the connection.
BATCH_BYTES_MAX: Final = 5_000
# A refused payload is rarely longer than 100 bytes.
_REJECTIONS_PER_MESSAGE: Final = 20
# Names of 128 characters that share nothing still fit into a message; usual ones take a fifth of it.
_DROPPED_PER_MESSAGE: Final = 30
# No gateway numbers more readings in one epoch; and what fits a signed 64-bit column fits every store.
_NUMBER_MAX: Final = 2**62
_LEVEL: Final = 6  # 9 gains 1 % in size and costs twice the time

_WARMING_UP: Final = 1
_KIND_FLAGS: Final = ((Kind.PROCESS_ANOMALY, 2), (Kind.SENSOR_FAULT, 4))
_FLAGS_ALL: Final = 7


class Dropped(NamedTuple):
    """Readings `first` to `last` (inclusive) of one device in one boot epoch, which the gateway gave up on purpose."""

    device: str
    epoch: int
    first: int
    last: int


class Batch(NamedTuple):
    """A decoded batch. `rejected` holds single readings that were refused here, and what the gateway itself refused
    (with the local topic where it came from)."""

    epoch: int
    bundle: str
    scored: list[ScoredReading]
    rejected: list[Rejection]
    dropped: Sequence[Dropped] = ()


class Part(NamedTuple):
    """One message of a split batch, with the readings that it carries."""

    payload: bytes
    scored: Sequence[ScoredReading]


def is_batch(payload: bytes) -> bool:
    """Whether this is a gateway's batch of any version; no JSON text begins like that."""
    return payload.startswith(MAGIC)


def encode_batches(
    scored: Sequence[ScoredReading], *, epoch: int, bundle: str, bytes_max: int = BATCH_BYTES_MAX
) -> list[bytes]:
    """The readings as messages of at most `bytes_max` (a single reading may exceed it)."""
    return [part.payload for part in encode_parts(scored, epoch=epoch, bundle=bundle, bytes_max=bytes_max)]


def encode_parts(
    scored: Sequence[ScoredReading], *, epoch: int, bundle: str, bytes_max: int = BATCH_BYTES_MAX
) -> Iterator[Part]:
    """Like encode_batches, with the readings in each message."""
    if not scored:
        return
    payload = encode(scored, epoch=epoch, bundle=bundle)
    if len(payload) <= bytes_max or len(scored) == 1:
        yield Part(payload, scored)
        return
    # Equal parts, 15 % larger in sum because each begins with an empty dictionary; halving would leave them half full.
    parts = min(len(scored), max(2, math.ceil(1.15 * len(payload) / bytes_max)))
    step = math.ceil(len(scored) / parts)
    for start in range(0, len(scored), step):
        yield from encode_parts(scored[start : start + step], epoch=epoch, bundle=bundle, bytes_max=bytes_max)


def encode_rejections(
    rejections: Sequence[Rejection], *, epoch: int, bundle: str, bytes_max: int = BATCH_BYTES_MAX
) -> list[bytes]:
    """What the gateway has refused, for the dead letters of the regions. A long payload is cut (its detail says so);
    the gateway keeps the whole."""
    messages = []
    for start in range(0, len(rejections), _REJECTIONS_PER_MESSAGE):
        part = [_cut(refused, bytes_max // 2) for refused in rejections[start : start + _REJECTIONS_PER_MESSAGE]]
        message = _pack({"epoch": epoch, "bundle": bundle, "series": [], "rejected": part})
        messages += (
            [message]
            if len(message) <= bytes_max or len(part) == 1
            else [_pack({"epoch": epoch, "bundle": bundle, "series": [], "rejected": [item]}) for item in part]
        )
    return messages


def encode_dropped(dropped: Sequence[Dropped], *, epoch: int, bundle: str) -> list[bytes]:
    """Declarations of what will not come, as messages below BATCH_BYTES_MAX."""
    return [
        _pack(
            {"epoch": epoch, "bundle": bundle, "series": [], "dropped": dropped[start : start + _DROPPED_PER_MESSAGE]}
        )
        for start in range(0, len(dropped), _DROPPED_PER_MESSAGE)
    ]


def encode(scored: Sequence[ScoredReading], *, epoch: int, bundle: str) -> bytes:
    """All readings as one message, whatever its size."""
    groups: dict[tuple[str, tuple[str, ...]], list[ScoredReading]] = {}
    for item in scored:
        reading = item.reading
        groups.setdefault((reading.device, (*reading.signals, *reading.missing)), []).append(item)
    series = [_encode_series(device, names, items) for (device, names), items in groups.items()]
    return _pack({"epoch": epoch, "bundle": bundle, "series": series})


def decode(payload: bytes, source: Source, *, received_at: EpochMs) -> Batch:
    """A batch that `source` published. InvalidReading where the batch as a whole cannot be read; single bad readings
    are in `Batch.rejected` and leave their neighbours unharmed."""
    fields = _decode_json(payload)
    try:
        epoch, bundle, series = fields["epoch"], fields["bundle"], fields["series"]
        if type(epoch) is not int or epoch < 0 or type(bundle) is not str or type(series) is not list:
            raise malformed("header")
        batch = Batch(epoch, bundle, [], [], [_dropped(item) for item in fields.get("dropped", ())])
        for columns in series:
            _decode_series(columns, source, batch, received_at)
        batch.rejected.extend(_forwarded(item, received_at) for item in fields.get("rejected", ()))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InvalidReading):
            raise
        raise malformed(type(error).__name__) from None
    if len(series) > 1:
        batch.scored.sort(key=lambda item: (item.reading.device, item.reading.sequence))
    return batch


def _pack(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return _HEADER + zlib.compress(text.encode(), _LEVEL)


def _cut(refused: Rejection, bytes_max: int) -> list[str]:
    payload, detail = refused.payload, refused.detail
    if len(payload) > bytes_max:
        payload, detail = payload[:bytes_max], f"{detail} (the first {bytes_max} of {len(payload)} bytes)".strip()
    return [refused.reason, detail, refused.topic, base64.b64encode(payload).decode()]


def _encode_series(device: str, names: Sequence[str], items: list[ScoredReading]) -> list[Any]:
    readings = [item.reading for item in items]
    observed = [reading.observed_at for reading in readings]
    flags = [_flags(item) for item in items]
    before = ["", *(item.state for item in items)]
    extras = {str(index): extra for index, item in enumerate(items) if (extra := encode_extra(item, before[index]))}
    return [
        device,
        names,
        _encode_sequences([reading.sequence for reading in readings]),
        [observed[0], *(after - before for before, after in pairwise(observed))],
        [reading.received_at - reading.observed_at for reading in readings],
        [[_short(reading.signals.get(name)) for reading in readings] for name in names],
        [_short(item.score) for item in items],
        flags if any(flags) else [],
        extras,
    ]


def _short(value: float | None) -> float | int | None:
    """32.0 as 32: two bytes less, and the same float when read."""
    return int(value) if value is not None and value.is_integer() and abs(value) < 1e15 and value != 0 else value


def _encode_sequences(sequences: list[int]) -> list[int]:
    contiguous = sequences[-1] - sequences[0] == len(sequences) - 1 and sequences == sorted(sequences)
    return sequences[:1] if contiguous else sequences


def _flags(item: ScoredReading) -> int:
    flags = _WARMING_UP if item.warming_up else 0
    for kind, flag in _KIND_FLAGS:
        if kind in item.open_kinds:
            flags |= flag
    return flags


def _decode_json(payload: bytes) -> dict[str, Any]:
    if payload[len(MAGIC) : len(_HEADER)] != _HEADER[len(MAGIC) :]:
        raise InvalidReading(RejectionReason.UNKNOWN_VERSION, payload[: len(_HEADER)].hex())
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(payload[len(_HEADER) :], JSON_BYTES_MAX)
        if not inflater.eof:
            raise InvalidReading(
                *(
                    (RejectionReason.TOO_LARGE, f"over {JSON_BYTES_MAX} bytes of JSON")
                    if inflater.unconsumed_tail
                    else (RejectionReason.MALFORMED_BATCH, "truncated")
                )
            )
        fields = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, InvalidReading):
            raise
        raise malformed(type(error).__name__) from None
    if type(fields) is not dict:
        raise malformed(type(fields).__name__)
    return fields


def _decode_series(columns: Any, source: Source, batch: Batch, received_at: EpochMs) -> None:
    device, names, sequences, observed, received, values, scores, flags, extras = columns
    count = len(scores)
    checked_name(device)
    names = [signal_name(name) for name in names]
    if not 0 < len(names) <= SIGNALS_MAX or len(set(names)) != len(names):
        raise InvalidReading(RejectionReason.TOO_MANY_SIGNALS, f"{len(names)}")
    if len(sequences) == 1:
        sequences = list(range(sequences[0], sequences[0] + count))
    flags = flags or [0] * count
    if len(batch.scored) + len(batch.rejected) + count > READINGS_MAX:
        raise InvalidReading(RejectionReason.TOO_LARGE, f"over {READINGS_MAX} readings")
    if {len(sequences), len(observed), len(received), len(flags), *map(len, values)} != {count}:
        raise malformed("columns of different length")
    if len(values) != len(names) or not whole([*sequences, *observed, *received, *flags]):
        raise malformed("columns")
    rows = zip(sequences, accumulate(observed), received, zip(*values, strict=True), scores, flags, strict=True)
    state = ""
    for index, row in enumerate(rows):
        extra = extras.get(str(index), {})
        try:
            state = state_of(extra, state)
            scored = _decode_reading(device, names, row, extra, source, batch, received_at)
            batch.scored.append(scored._replace(state=state) if state else scored)
        except InvalidReading as error:
            batch.rejected.append(_rejection(error, _bytes_of(device, names, row, extra), received_at))
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # a form that no encoder of ours writes
            refused = malformed(type(error).__name__)
            batch.rejected.append(_rejection(refused, _bytes_of(device, names, row, extra), received_at))


def _decode_reading(
    device: str, names: list[str], row: tuple[Any, ...], extra: Any, source: Source, batch: Batch, received_at: EpochMs
) -> ScoredReading:
    sequence, observed_at, delay, values, score, flags = row
    signals = {name: number(name, value) for name, value in zip(names, values, strict=True) if value is not None}
    missing = tuple(name for name, value in zip(names, values, strict=True) if value is None)
    check_time(observed_at, received_at=received_at)
    if not 0 <= number("score", score) <= 1 or not 0 <= flags <= _FLAGS_ALL or sequence < 0:
        raise InvalidReading(RejectionReason.MALFORMED_BATCH, "score, flags or sequence")
    reading = Reading(
        source.tenant, device, observed_at, _received(observed_at + delay, received_at), signals, attributes_of(extra),
        missing, gateway=source.device, epoch=batch.epoch, sequence=sequence,
    )  # fmt: skip
    return ScoredReading(
        reading,
        float(score),
        tuple((signal_name(name), number(name, share)) for name, share in extra.get("shares", ())),
        tuple(SensorFault(signal_name(name), Fault(fault)) for name, fault in extra.get("faults", ())),
        tuple(kind for kind, flag in _KIND_FLAGS if flags & flag),
        transitions_of(extra),
        bool(flags & _WARMING_UP),
        batch.bundle,
        ready_in_s_of(extra),
        suppression=suppression_of(extra),
    )


def _received(at: EpochMs, received_at: EpochMs) -> EpochMs:
    """The gateway's own time of receipt; the broker's where the gateway's clock cannot be right."""
    return at if CLOCK_IS_SET_FROM <= at <= received_at + CLOCK_AHEAD_MS_MAX else received_at


def _dropped(item: Any) -> Dropped:
    device, epoch, first, last = item
    if not whole([epoch, first, last]) or not 0 <= epoch <= _NUMBER_MAX or not 0 < first <= last <= _NUMBER_MAX:
        raise malformed("dropped")
    return Dropped(checked_name(device), epoch, first, last)


def _forwarded(item: Any, received_at: EpochMs) -> Rejection:
    reason, detail, topic, payload = item
    error = InvalidReading(RejectionReason(reason), str(detail))
    rejection = _rejection(error, base64.b64decode(payload, validate=True), received_at)
    return rejection._replace(topic=storable(str(topic)))


def _rejection(error: InvalidReading, payload: bytes, received_at: EpochMs) -> Rejection:
    return Rejection(error.reason, error.detail, "", received_at, payload)


def _bytes_of(device: str, names: list[str], row: tuple[Any, ...], extra: Any) -> bytes:
    """A refused reading as the JSON object that a device would have sent, with its sequence."""
    sequence, observed_at, _, values, _, _ = row
    fields = {"device": device, "sequence": sequence, "ts": observed_at, **dict(zip(names, values, strict=True))}
    return json.dumps({**fields, "extra": extra}).encode()
