"""What goes over the wire: content types in, instances; scores, content types out. No state, no I/O.

Two kinds of instance. `Values` have no names and no time: they are what the built-in RandomCutForest takes.

    text/csv                1.5,16.0                                              one instance a line
    application/json        {"instances": [{"features": [1.5, 16.0]}]}
                            {"instances": [{"data": {"features": {"values": [1.5, 16.0]}}}]}
    application/jsonlines   {"features": [1.5, 16.0]}                             one instance a line

Readings are our own, in JSON and JSON lines, and may stand beside the others:

    {"tenant": "acme", "device": "pump-1", "ts": 1732341600, "signals": {"flow": 1.5, "pressure": null}}

with, optionally, `attributes` (texts) and `received_at` (milliseconds, for replays of what another runtime has seen).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final, NoReturn

from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import (
    TIMESTAMP_KEY,
    EpochMs,
    InvalidReading,
    Reading,
    Source,
    checked_name,
    parse_timestamp,
    reading_from_fields,
    storable,
)

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"

Values = tuple[float, ...]
"""One value for each signal of the bundle, in its order."""
Instance = Values | Reading
Answer = float | ScoredReading
"""To values a score; to a reading all that is known of it."""
Json = dict[str, Any]

_READING_KEYS: Final = frozenset({"tenant", "device", TIMESTAMP_KEY, "signals", "attributes", "received_at"})


class InvalidRequest(ValueError):
    """The caller's fault, in one line that says what and where."""


class UnsupportedType(ValueError):
    """A content type that is not spoken here."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where an instance stood: "line 3", "instance 3" (both from 1)."""

    unit: str
    number: int

    def refuse(self, problem: str) -> NoReturn:
        raise InvalidRequest(f"{self.unit} {self.number}: {storable(problem)}")


def parse(body: bytes, content_type: str, *, now: EpochMs) -> Iterator[Instance]:
    """The instances of a request, as they are read. UnsupportedType; InvalidRequest, maybe only on the way.

    `now` judges the readings' times: they may not be more than a day ahead.
    """
    kind = media_type(content_type)
    parser = _PARSERS.get(kind)
    if parser is None:
        raise UnsupportedType(f"content type {storable(kind)!r} is not one of {', '.join(_PARSERS)}")
    instances = parser(body, now)
    first = next(instances, None)
    if first is None:
        raise InvalidRequest("the request holds no instance")
    return chain([first], instances)


def answer_type(accept: str, *, default: str) -> str:
    """The type of the answer for an Accept header: the first that we speak, `default` for anything or nothing."""
    wanted = [media_type(part) for part in accept.split(",") if part.strip()] or ["*/*"]
    for kind in wanted:
        if kind in _ENCODERS:
            return kind
        if kind in {"*/*", "application/*"}:
            return default
    raise UnsupportedType(f"none of {storable(accept)!r} is one of {', '.join(_ENCODERS)}")


def encode(answers: Sequence[Answer], kind: str) -> bytes:
    out = io.StringIO()
    _ENCODERS[kind](answers, out)
    return out.getvalue().encode()


def media_type(header: str) -> str:
    """`text/csv; label_size=0` -> `text/csv`."""
    return header.partition(";")[0].strip().lower()


def _parse_csv(body: bytes, _now: EpochMs) -> Iterator[Instance]:
    for line, text in _lines(body):
        yield tuple(_number(field, line) for field in text.split(","))


def _parse_json_lines(body: bytes, now: EpochMs) -> Iterator[Instance]:
    for line, text in _lines(body):
        yield _instance(_decode(text, line), line, now)


def _parse_json(body: bytes, now: EpochMs) -> Iterator[Instance]:
    whole = Line("request", 1)
    try:
        request = _decode(body.decode(), whole)
    except UnicodeDecodeError:
        whole.refuse("is not UTF-8")
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, list):
        raise InvalidRequest('the request is not {"instances": [...]}')
    for number, value in enumerate(instances, start=1):
        yield _instance(value, Line("instance", number), now)


def _lines(body: bytes) -> Iterator[tuple[Line, str]]:
    """Every line; an empty one has no answer to stand in its place, so there is none but after the last."""
    empty: Line | None = None
    for number, raw in enumerate(io.BytesIO(body), start=1):
        line = Line("line", number)
        try:
            text = raw.decode().strip()
        except UnicodeDecodeError:
            line.refuse("is not UTF-8")
        if empty is not None and text:
            empty.refuse("is empty")
        if not text:
            empty = empty or line
            continue
        yield line, text


def _number(field: str, line: Line) -> float:
    try:
        value = float(field)
    except ValueError:
        line.refuse(f"{field.strip()!r} is no number")
    if not math.isfinite(value):
        line.refuse(f"{field.strip()!r} is not finite")
    return value


def _decode(text: str, line: Line) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line.refuse(f"is no JSON: {error.msg} at {error.pos}")
    except (ValueError, RecursionError) as error:
        line.refuse(f"is no JSON that can be read: {error}")


def _instance(value: Any, line: Line, now: EpochMs) -> Instance:
    if not isinstance(value, dict):
        line.refuse(f"is a {type(value).__name__}, not an object")
    if "signals" in value:
        return _reading(value, line, now)
    features = value.get("features")
    data = value.get("data")
    if isinstance(data, dict):
        features = data.get("features")
    if isinstance(features, dict):
        if "keys" in features:
            line.refuse("sparse features (keys) are not supported: send every value")
        features = features.get("values")
    if not isinstance(features, list):
        line.refuse("has neither features nor data.features.values nor signals")
    return tuple(_json_number(feature, line) for feature in features)


def _json_number(value: Any, line: Line) -> float:
    if type(value) is not float and type(value) is not int:
        line.refuse(f"{json.dumps(value)} is no number")
    try:
        return float(value)
    except OverflowError:
        line.refuse("an integer beyond a float's range")


def _reading(value: Json, line: Line, now: EpochMs) -> Reading:
    unknown = sorted(set(value) - _READING_KEYS)
    if unknown:
        line.refuse(f"unknown key {unknown[0]!r}")
    missing = [key for key in ("tenant", "device", TIMESTAMP_KEY) if key not in value]
    if missing:
        line.refuse(f"{missing[0]} is missing")
    try:
        source = Source(checked_name(_text(value, "tenant", line)), checked_name(_text(value, "device", line)))
        observed_at = parse_timestamp(value[TIMESTAMP_KEY], received_at=now)
        fields = _signals(value, line)
        # Nobody's clock but the sensor's decides about a score here, so that a request repeated is answered alike.
        received_at = value.get("received_at", observed_at)
        if type(received_at) is not int:
            line.refuse("received_at is no whole number of milliseconds")
        return reading_from_fields({**fields, TIMESTAMP_KEY: observed_at}, source, received_at=received_at)
    except InvalidReading as error:
        line.refuse(str(error))


def _signals(value: Json, line: Line) -> Json:
    signals, attributes = value["signals"], value.get("attributes", {})
    if not isinstance(signals, dict) or not isinstance(attributes, dict):
        line.refuse("signals and attributes are objects")
    for name, signal in signals.items():
        if signal is not None and type(signal) is not float and type(signal) is not int:
            line.refuse(f"signal {name!r} is {json.dumps(signal)}, not a number or null")
    for name, attribute in attributes.items():
        if type(attribute) is not str and type(attribute) is not bool:
            line.refuse(f"attribute {name!r} is no text")
    both = sorted((signals.keys() | {TIMESTAMP_KEY}) & attributes.keys()) or [
        name for name in signals if name == TIMESTAMP_KEY
    ]
    if both:
        line.refuse(f"{both[0]!r} is there twice")
    return {**signals, **attributes}


def _text(value: Json, key: str, line: Line) -> str:
    text = value[key]
    if not isinstance(text, str):
        line.refuse(f"{key} is no text")
    return text


def _described(answer: Answer) -> str:
    if isinstance(answer, float):
        return f'{{"score": {answer!r}}}'
    reading = answer.reading
    return json.dumps(
        {
            "score": answer.score,
            "tenant": reading.tenant,
            "device": reading.device,
            "observed_at": reading.observed_at,
            "shares": dict(answer.shares),
            "faults": {fault.signal: fault.fault for fault in answer.faults},
            "open_kinds": list(answer.open_kinds),
            "warming_up": answer.warming_up,
            "ready_in_s": answer.ready_in_s,
            "state": answer.state,
            "suppression": answer.suppression,
            "bundle": answer.bundle,
        }
    )


# Each writes answer by answer: a request of a million values has a million answers.
def _encode_json(answers: Sequence[Answer], out: IO[str]) -> None:
    out.write('{"scores": [')
    for number, answer in enumerate(answers):
        out.write(", " if number else "")
        out.write(_described(answer))
    out.write("]}")


def _encode_json_lines(answers: Sequence[Answer], out: IO[str]) -> None:
    for answer in answers:
        out.write(_described(answer) + "\n")


def _encode_csv(answers: Sequence[Answer], out: IO[str]) -> None:
    for answer in answers:
        out.write(f"{answer if isinstance(answer, float) else answer.score!r}\n")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not finite")


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_PARSERS: Final[dict[str, Callable[[bytes, EpochMs], Iterator[Instance]]]] = {
    CSV: _parse_csv,
    JSON: _parse_json,
    JSON_LINES: _parse_json_lines,
}
_ENCODERS: Final[dict[str, Callable[[Sequence[Answer], IO[str]], None]]] = {
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    CSV: _encode_csv,
}
