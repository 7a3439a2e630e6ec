"""The native core: a small C library for the hot paths, equal to the pure Python version to the last bit.

    core/        its C sources
    lib/         what `build` makes of them here; not committed
    library.py   finds the library, checks that it is built from these sources, loads it
    novelty.py   the live detector
    series.py    the detector of series with one signal

Whoever needs a detector asks here. Where there is no usable library, or after `use(False)`, the pure version is
made, and one warning a process says so. States are interchangeable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ctypes import PyDLL
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from plantwatch.detectors.novelty import Novelty, NoveltyParameters
from plantwatch.native import library
from plantwatch.native.novelty import NativeNovelty, NoveltyCore, NoveltyPanel

if TYPE_CHECKING:
    from plantwatch.detectors.twofold_series import TwofoldSeries
    from plantwatch.native.series import NativeTwofold, SeriesCore

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_wanted = True


def use(wanted: bool) -> None:
    """Whether detectors that are made from now on may be native ones. For entry points and tests."""
    global _wanted
    _wanted = wanted


def in_use() -> bool:
    """Whether the next detector will be a native one."""
    return _core() is not None


def novelty(parameters: NoveltyParameters) -> Novelty | NativeNovelty:
    """The live detector of one signal."""
    core = _core()
    return Novelty(parameters) if core is None else NativeNovelty(core, parameters)


def twofold(train_rows: int | None) -> TwofoldSeries | NativeTwofold:
    """The detector of a series with one signal. Loaded when it is asked for: no live runtime needs it."""
    from plantwatch.detectors.twofold_series import TwofoldSeries
    from plantwatch.native.series import NativeTwofold

    core = _series_core() if _wanted else None
    return TwofoldSeries(train_rows) if core is None else NativeTwofold(core, train_rows)


def panel() -> NoveltyPanel | None:
    """What steps the native detectors of one reading together; None while detectors are pure."""
    core = _core()
    return None if core is None else NoveltyPanel(core)


def _core() -> NoveltyCore | None:
    return _novelty_core() if _wanted else None


@cache
def _novelty_core() -> NoveltyCore | None:
    loaded = _library()
    return None if loaded is None else _checked(lambda: NoveltyCore(loaded))


@cache
def _series_core() -> SeriesCore | None:
    from plantwatch.native.series import SeriesCore

    loaded = _library()
    return None if loaded is None else _checked(lambda: SeriesCore(loaded))


@cache
def _library() -> PyDLL | None:
    return _checked(library.load)


def _checked(load: Callable[[], _T]) -> _T | None:
    """What it gives; None, and a warning, where the library cannot be used."""
    try:
        return load()
    except (library.Unusable, ValueError, AttributeError) as error:
        logger.warning("the pure Python detectors are used, not the native core: %s", error)
        return None
