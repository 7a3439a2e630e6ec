"""A bundle's fields as JSON, and back. What comes back has been checked field by field; `InvalidBundle` says which.

Canonical JSON (sorted, without spaces), so that the same bundle is the same text and one digest covers it. Numbers are
decimal text that reads back to the last bit; a limit that is infinite is the text "inf" or "-inf".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from plantwatch.bundle.model import Bundle, BundleProblem, Calibration, InvalidBundle, Training
from plantwatch.detectors.novelty import Novelty
from plantwatch.detectors.prior import Prior, PriorView
from plantwatch.detectors.relation import Relation
from plantwatch.settings import InvalidSettings, coerce, load
from plantwatch.telemetry import InvalidReading, signal_name
from plantwatch.watch_config import WatchConfig

SCHEMA: Final = "plantwatch.bundle/1"

# The views of an array's name, each with that of its prior.
OF_SIGNAL: Final = {"raw": "raw", "slow": "slow"}
OF_DEVIATION: Final = {"deviation-raw": "raw", "deviation-slow": "slow"}

Arrays = Mapping[str, bytes]
"""The cells of each view of each signal, by `array_name`."""


def array_name(signal: str, view: str) -> str:
    return f"{signal}/{view}"


def arrays_of(bundle: Bundle) -> dict[str, bytes]:
    return {
        array_name(signal, view): prior.views()[name].cells
        for known, views in ((bundle.priors, OF_SIGNAL), (bundle.deviations, OF_DEVIATION))
        for signal, prior in known.items()
        for view, name in views.items()
    }


def to_manifest(bundle: Bundle) -> dict[str, Any]:
    """Everything but the arrays, which it names by their digests."""
    return {
        "schema": SCHEMA,
        "detector": Novelty.KIND,
        "name": bundle.name,
        "machine_type": bundle.machine_type,
        "created_at": bundle.created_at,
        "config": _without_infinities(bundle.config.plain()),
        "priors": {signal: prior.numbers() for signal, prior in bundle.priors.items()},
        "relation": bundle.relation and bundle.relation.plain(),
        "deviations": {signal: prior.numbers() for signal, prior in bundle.deviations.items()},
        "arrays": {name: hashlib.sha256(cells).hexdigest() for name, cells in arrays_of(bundle).items()},
        "training": bundle.training and bundle.training._asdict(),
        "calibration": bundle.calibration and bundle.calibration._asdict(),
        "expected_alerts_per_day": bundle.expected_alerts_per_day,
    }


def canonical(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse(text: str) -> dict[str, Any]:
    """The manifest's fields, of a schema that this version knows."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(BundleProblem.MANIFEST, f"no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidBundle(BundleProblem.MANIFEST, "not a JSON object")
    if fields.get("schema") != SCHEMA:
        raise InvalidBundle(BundleProblem.SCHEMA_VERSION, f"{fields.get('schema')!r}; this version reads {SCHEMA}")
    return fields


def from_manifest(fields: Mapping[str, Any], arrays: Arrays) -> Bundle:
    """The bundle of a parsed manifest and of arrays that have been held against it."""
    detector = _take(fields, "detector", str)
    if detector != Novelty.KIND:
        raise InvalidBundle(BundleProblem.CONFIG, f"detector {detector!r}; this version has {Novelty.KIND}")
    numbers, deviations = (_take(fields, name, dict) for name in ("priors", "deviations"))
    try:
        return Bundle(
            name=_take(fields, "name", str),
            machine_type=_take(fields, "machine_type", str),
            config=_config(_take(fields, "config", dict)),
            priors={_signal(signal): _prior(signal, own, arrays, OF_SIGNAL) for signal, own in numbers.items()},
            relation=_relation(_take(fields, "relation", dict, type(None))),
            deviations={
                _signal(signal): _prior(signal, own, arrays, OF_DEVIATION) for signal, own in deviations.items()
            },
            training=_training(_take(fields, "training", dict, type(None))),
            calibration=_calibration(_take(fields, "calibration", dict, type(None))),
            expected_alerts_per_day=_optional_number(fields, "expected_alerts_per_day"),
            created_at=_take(fields, "created_at", int),
        )
    except InvalidBundle:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidBundle(BundleProblem.MANIFEST, str(error)) from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_infinities(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _take(fields: Mapping[str, Any], name: str, *types: type) -> Any:
    if name not in fields:
        raise InvalidBundle(BundleProblem.MANIFEST, f"{name} is missing")
    value = fields[name]
    if type(value) not in types:
        raise InvalidBundle(BundleProblem.MANIFEST, f"{name} is a {type(value).__name__}")
    return value


def _number(fields: Mapping[str, Any], name: str) -> float:
    return float(_take(fields, name, float, int))


def _optional_number(fields: Mapping[str, Any], name: str) -> float | None:
    return None if _take(fields, name, float, int, type(None)) is None else _number(fields, name)


def _config(fields: Mapping[str, Any]) -> WatchConfig:
    try:
        return load(WatchConfig, fields)
    except (InvalidSettings, OverflowError, RecursionError) as error:
        raise InvalidBundle(BundleProblem.CONFIG, str(error)) from None


def _signal(name: str) -> str:
    try:
        return signal_name(name)
    except InvalidReading as error:
        raise InvalidBundle(BundleProblem.MANIFEST, f"priors: {error}") from None


def _relation(fields: Mapping[str, Any] | None) -> Relation | None:
    if fields is None:
        return None
    return Relation(
        signals=tuple(map(_signal, _texts(_take(fields, "signals", list)))),
        centre=_numbers(_take(fields, "centre", list)),
        targets=tuple(_texts(_take(fields, "targets", list))),
        precision=tuple(_numbers(row) for row in _take(fields, "precision", list)),
        mean_s=_number(fields, "mean_s"),
    )


def _numbers(items: Any) -> tuple[float, ...]:
    if type(items) is not list or any(type(item) not in (float, int) for item in items):
        raise InvalidBundle(BundleProblem.MANIFEST, "a relation holds something else than numbers")
    return tuple(map(float, items))


def _prior(signal: str, fields: Any, arrays: Arrays, views: Mapping[str, str]) -> Prior:
    if not isinstance(fields, dict):
        raise InvalidBundle(BundleProblem.MANIFEST, f"priors: {signal} is a {type(fields).__name__}")
    try:
        return Prior(
            machines=_take(fields, "machines", int),
            readings=_take(fields, "readings", int),
            low=_number(fields, "low"),
            inverse=_number(fields, "inverse"),
            centre=_number(fields, "centre"),
            weight=_number(fields, "weight"),
            **{
                name: _view(_take(fields, name, dict), arrays[array_name(signal, view)]) for view, name in views.items()
            },
        )
    except InvalidBundle:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidBundle(BundleProblem.VALUE, f"{signal}: {error}") from None


def _view(fields: Mapping[str, Any], cells: bytes) -> PriorView:
    return PriorView(cells, _number(fields, "variance"), _number(fields, "count"), _number(fields, "excess"))


def _training(fields: Mapping[str, Any] | None) -> Training | None:
    if fields is None:
        return None
    return Training(
        sha256=_take(fields, "sha256", str),
        rows=_take(fields, "rows", int),
        machines=_take(fields, "machines", int),
        first=_take(fields, "first", int),
        last=_take(fields, "last", int),
        sources=tuple(_texts(_take(fields, "sources", list))),
    )


def _texts(items: list[Any]) -> list[str]:
    if any(type(item) is not str for item in items):
        raise InvalidBundle(BundleProblem.MANIFEST, "a list holds something else than texts")
    return items


def _calibration(fields: Mapping[str, Any] | None) -> Calibration | None:
    if fields is None:
        return None
    return Calibration(
        readings=_take(fields, "readings", int),
        machine_days=_number(fields, "machine_days"),
        alerts=_take(fields, "alerts", int),
        scores=_pairs(_take(fields, "scores", list)),
    )


def _pairs(items: list[Any]) -> tuple[tuple[float, float], ...]:
    if any(type(item) is not list or len(item) != 2 for item in items):
        raise InvalidBundle(BundleProblem.MANIFEST, "scores are no pairs")
    return tuple((coerce(float, share), coerce(float, score)) for share, score in items)
