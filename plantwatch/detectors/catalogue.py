"""Detectors of series by name. A detector's module is imported when it is asked for: only some need numpy.

`auto` chooses by the number of signals and by nothing else: no file, no name and no value decides.

Detectors of others are not installed with this package: `FAMILY:NAME` is looked up through the entry point group
`plantwatch.detectors`, where a family registers a function of (name, signals, train_rows).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from plantwatch.detectors.series import SeriesDetector

AUTO: Final = "auto"
GROUP: Final = "plantwatch.detectors"
_ONE_SIGNAL: Final = "this detector watches one signal, not {signals}"

Factory = Callable[[int, int | None], SeriesDetector]
"""(signals, train_rows): `train_rows` first rows are known to be normal; None, nothing is known. ValueError, with the
reason, where there is no such detector for so many signals or so few training rows."""


def _auto(signals: int, train_rows: int | None) -> SeriesDetector:
    return (_twofold if signals == 1 else _joint)(signals, train_rows)


def _joint(signals: int, train_rows: int | None) -> SeriesDetector:
    from plantwatch.detectors.joint import Joint

    return Joint(signals, train_rows)


def _twofold(signals: int, train_rows: int | None) -> SeriesDetector:
    from plantwatch import native

    _need(signals == 1, _ONE_SIGNAL.format(signals=signals))
    return native.twofold(train_rows)


def _patient(signals: int, _train_rows: int | None) -> SeriesDetector:
    from plantwatch.detectors.patient import PatientNovelty

    _need(signals == 1, _ONE_SIGNAL.format(signals=signals))
    return PatientNovelty()


def _need(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


CATALOGUE: Final[Mapping[str, Factory]] = MappingProxyType(
    {AUTO: _auto, "twofold": _twofold, "joint": _joint, "patient-novelty": _patient}
)


def factory(name: str) -> Factory:
    """What makes the detector `name`. ValueError, with those that there are, for a name that is none of them.

    Whether a family has the member is found out when it is made, and ModuleNotFoundError where it needs what is not
    installed.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    # 30 ms that nobody pays who asks for one of ours.
    from importlib.metadata import entry_points

    families = {entry.name: entry for entry in entry_points(group=GROUP)}
    family, separator, member = name.partition(":")
    if not separator or family not in families:
        known = ", ".join([*CATALOGUE, *(f"{other}:NAME" for other in sorted(families))])
        raise ValueError(f"there is no {name!r}; there are {known}")
    return functools.partial(_make_member, families[family].load, member)


def _make_member(load: Callable[[], Any], member: str, signals: int, train_rows: int | None) -> SeriesDetector:
    detector: SeriesDetector = load()(member, signals, train_rows)
    return detector
