"""The native core: a small C library for the hot paths, equal to the pure Python version to the last bit.

    core/        its C sources
    lib/         what `build` makes of them here; not committed
    library.py   finds the library, checks that it is built from these sources, loads it
    novelty.py   the live detector
    twofold.py   the detector of series with one signal

Whoever needs a detector asks here. Where there is no usable library, or after `use(False)`, the pure version is
made, and one warning a process says so. States are interchangeable.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import NamedTuple

from plantwatch.detectors.novelty import Novelty, NoveltyParameters
from plantwatch.detectors.twofold_series import TwofoldSeries
from plantwatch.native import library
from plantwatch.native.novelty import NativeNovelty, NoveltyCore, NoveltyPanel
from plantwatch.native.twofold import NativeTwofold, SeriesCore

logger = logging.getLogger(__name__)

_wanted = True


class Core(NamedTuple):
    """What the library offers each detector."""

    novelty: NoveltyCore
    series: SeriesCore


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
    return Novelty(parameters) if core is None else NativeNovelty(core.novelty, parameters)


def twofold(train_rows: int | None) -> TwofoldSeries | NativeTwofold:
    """The detector of a series with one signal."""
    core = _core()
    return TwofoldSeries(train_rows) if core is None else NativeTwofold(core.series, train_rows)


def panel() -> NoveltyPanel | None:
    """What steps the native detectors of one reading together; None while detectors are pure."""
    core = _core()
    return None if core is None else NoveltyPanel(core.novelty)


def _core() -> Core | None:
    return _loaded() if _wanted else None


@cache
def _loaded() -> Core | None:
    try:
        loaded = library.load()
        return Core(NoveltyCore(loaded), SeriesCore(loaded))
    except (library.Unusable, ValueError, AttributeError) as error:
        logger.warning("the pure Python detectors are used, not the native core: %s", error)
        return None
