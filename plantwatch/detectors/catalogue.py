"""Detectors of series by name. A detector's module is imported when it is asked for: only some need numpy.

`auto` chooses by the number of signals and by nothing else: no file, no name and no value decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from plantwatch.detectors.series import SeriesDetector

AUTO: Final = "auto"
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
    from plantwatch.detectors.twofold_series import TwofoldSeries

    _need(signals == 1, _ONE_SIGNAL.format(signals=signals))
    return TwofoldSeries(train_rows)


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
