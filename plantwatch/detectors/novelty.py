"""Novelty: how far is this value from every value seen before, and how rare is it to be that far?

Idea. A grid of cells over the signal's range remembers which values have occurred. A value in a cell that has been met
is ordinary: most readings end here, after one look into a byte array. Otherwise the distance to the nearest met cell,
in standard deviations, is the *novelty*, and a running tail says how rare so large a novelty is: a share of readings
that are novel at all, and an exponential decay of log(1 + novelty) beyond. Novelty, unlike a band of mean and
deviation, needs no shape: on/off signals, several operating points and heavy tails are learnt as they are. It is asked
twice: of the reading (a sudden change) and of its short exponential mean (a change too weak for one reading).

Delay. Values become "met" only one to two blocks after they came; a slow drift would otherwise teach itself away,
each value close to the one before.

Cost. Two byte arrays of 1 KB and about 25 numbers a signal; no allocation on the usual path. Sorted memories
(`bisect` over 600 to 2,000 values) find the same novelty but cost several times as much per reading.

When it misleads. Changes inside the known range (another frequency, a missing cycle, a broken correlation between
signals) are invisible; during the first minutes much is new, and the tail makes it cautious; a signal that has never
varied has no scale, so its first other value is only learnt; the grid is anchored at the first values, so two copies
of a signal that differ by a factor or an offset get the same scores only as far as floats round alike.

Source. Novelty as distance to the nearest past value: k-nearest-neighbour outlier detection (Ramaswamy, Rastogi and
Shim, SIGMOD 2000); the calibrated running tail follows conformal p-values (Laxhammar and Falkman, 2014).

>>> detector = Novelty()
>>> for turn in range(2000):
...     detector.learn_one(20.0 + turn % 7)
>>> detector.score_one(23.0), detector.score_one(90.0) > 3.0
(0.0, True)
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX, State

# 1,024 cells over at least 8 times the first readings' range: 128 cells or more within what is usual, so that a cell
# (at most about 1/16 of a standard deviation) blurs no decision, and 1 KB a view.
CELLS: Final = 1024
_FIRST_RANGE_CELLS: Final = 128
_START_READINGS: Final = 32

# What a cell remembers: never met, met in this block, met in the last block, met before (and only then ordinary).
_UNMET, _NEW, _WAITING, _MET = 0, 1, 2, 3
_AGE: Final = bytes([_UNMET, _WAITING, _MET, _MET]) + bytes(252)
_FORGET_LATEST: Final = bytes([_UNMET, _UNMET, _UNMET, _MET]) + bytes(252)

_LN10: Final = math.log(10.0)
_TWO_LOOKS: Final = math.log10(2.0)
# A quantised signal may deviate by less than a cell; its next step is no news of a hundred deviations.
_DEVIATION_CELLS_MIN: Final = 2.0
# One huge novelty must not make the tail deaf.
_EXCESS_LEARNT_MAX: Final = 4.0
# Values beyond the grid within about two blocks before it widens: a single absurd value would only blur it. While
# warming up a machine may just be starting, so two are enough.
_SIGHTS: Final = 8
_SIGHTS_YOUNG: Final = 2


@dataclass(frozen=True, slots=True)
class NoveltyParameters:
    """What is chosen about a `Novelty` detector; all counts are readings."""

    mean_readings: int = 20
    """Time constant of the short mean."""
    warm_up: int = 256
    """Readings before the first surprise. Fewer and the tail rests on a handful of novelties."""
    block: int = 512
    """Longest delay before values count as met is two blocks; a young detector has shorter ones (1/8 of its age)."""
    memory: int = 5000
    """Time constant of the standard deviations."""
    tail_blocks: float = 32.0
    """Time constant of the tail, in blocks."""
    prior_excess: float = 0.15
    """Mean of log(1 + novelty) beyond `near` that is assumed before there is experience."""
    prior_weight: float = 10.0
    """Novelties that the assumption weighs as much as."""
    near: float = 0.1
    """Novelty (standard deviations) that still counts as met: gaps between remembered values are no news."""


class _View:
    """One view of the signal: the cells that it has met, and the tail of its novelty."""

    __slots__ = ("cells", "count", "excess", "variance")

    def __init__(self) -> None:
        # One cell more than the grid has, since a value on its upper edge may round into it.
        self.cells = bytearray(CELLS + 1)
        self.variance = 0.0
        self.count = 0.0
        self.excess = 0.0

    def gap(self, position: float) -> float:
        """Cells between a position and the nearest met cell: 0 inside one, infinite before any is met."""
        cells = self.cells
        cell = int(min(max(position, 0.0), CELLS))
        below, above = cells.rfind(_MET, 0, cell + 1), cells.find(_MET, cell)
        down = position - below - 1.0 if below >= 0 else math.inf
        up = above - position if above >= 0 else math.inf
        return max(0.0, min(down, up))

    def end_block(self, keep: float) -> None:
        """What waited is met from now on, and the tail's experience fades."""
        self.cells[:] = self.cells.translate(_AGE)
        self.count *= keep
        self.excess *= keep

    def widen(self, *, upwards: bool) -> None:
        """Cells twice as wide: pairs become one, and the freed half of the grid lies above or below."""
        cells = self.cells
        half, empty = bytes(map(max, cells[0:CELLS:2], cells[1:CELLS:2])), bytes(CELLS // 2)
        cells[:] = (half + empty if upwards else empty + half) + b"\0"


class Novelty:
    """Novelty of the reading and of its short mean against everything met before. See the module's docstring."""

    __slots__ = (
        "parameters", "_raw", "_slow", "_raw_cells", "_slow_cells", "_mean_weight", "_memory", "_low", "_inverse",
        "_first_low", "_first_high", "_mean", "_centre", "_age", "_readings", "_block", "_block_left", "_weight",
        "_beyond", "_frozen",
    )  # fmt: skip
    KIND: Final = "novelty/1"

    def __init__(self, parameters: NoveltyParameters = NoveltyParameters()) -> None:
        self.parameters = parameters
        self._mean_weight = 1.0 / parameters.mean_readings
        self._memory = parameters.memory
        self._raw, self._slow = _View(), _View()
        self._raw_cells, self._slow_cells = self._raw.cells, self._slow.cells
        # Without a grid every value lies below it, and so takes the path that makes one.
        self._low, self._inverse = math.inf, 1.0
        self._first_low, self._first_high = math.inf, -math.inf
        self._mean = self._centre = self._weight = 0.0
        self._readings = self._beyond = 0
        self._block = self._block_left = _START_READINGS
        self._frozen = False

    @property
    def warming_up(self) -> bool:
        return self._low == math.inf or self._readings < self.parameters.warm_up

    def score_one(self, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"a detector takes finite values, not {value}")
        low, inverse = self._low, self._inverse
        if low == math.inf:
            return 0.0
        inside = min(max(value, low), low + CELLS / inverse)
        mean = self._mean + self._mean_weight * (inside - self._mean)
        return self._surprise((value - low) * inverse, (mean - low) * inverse, learn=False)

    def learn_one(self, value: float) -> None:
        self.step(value)

    def freeze(self) -> None:
        self._frozen = True
        for cells in (self._raw_cells, self._slow_cells):
            cells[:] = cells.translate(_FORGET_LATEST)

    def thaw(self) -> None:
        self._frozen = False

    def expected(self) -> tuple[float, float] | None:
        """From the lowest to the highest value met."""
        lowest, highest = self._raw_cells.find(_MET), self._raw_cells.rfind(_MET)
        if lowest < 0:
            return None
        return self._low + lowest / self._inverse, self._low + (highest + 1) / self._inverse

    def step(self, value: float) -> float:
        low = self._low
        position = (value - low) * self._inverse
        if not 0.0 <= position < CELLS:
            return self._step_outside(value)
        mean = self._mean
        self._mean = mean = mean + self._mean_weight * (value - mean)
        slow_position = (mean - low) * self._inverse
        surprise = 0.0
        if self._raw_cells[int(position)] != _MET or self._slow_cells[int(slow_position)] != _MET:
            surprise = self._surprise(position, slow_position, learn=not self._frozen)
            if self._frozen:
                return surprise
        self._learn_moments(value, mean)
        return surprise

    def _learn_moments(self, value: float, mean: float) -> None:
        self._readings = readings = self._readings + 1
        weight = 1.0 / min(readings, self._memory)
        # Both deviations are taken from the centre before this value.
        deviation, slow_deviation = value - self._centre, mean - self._centre
        self._centre += weight * deviation
        raw, slow = self._raw, self._slow
        raw.variance += weight * (deviation * deviation - raw.variance)
        slow.variance += weight * (slow_deviation * slow_deviation - slow.variance)
        self._block_left -= 1
        if not self._block_left:
            self._end_block()

    def _surprise(self, position: float, slow_position: float, *, learn: bool) -> float:
        """Bonferroni over the two views: the rarer of two looks is half as rare."""
        surprise = max(
            self._view_surprise(self._raw, position, learn=learn),
            self._view_surprise(self._slow, slow_position, learn=learn),
        )
        if self._readings < self.parameters.warm_up:
            return 0.0
        return min(max(surprise - _TWO_LOOKS, 0.0), SURPRISE_MAX)

    def _view_surprise(self, view: _View, position: float, *, learn: bool) -> float:
        gap = view.gap(position)
        if learn and 0.0 <= position < CELLS and not view.cells[int(position)]:
            view.cells[int(position)] = _NEW
        if gap == 0.0 or gap == math.inf:
            return 0.0
        parameters = self.parameters
        deviation = max(math.sqrt(view.variance) * self._inverse, _DEVIATION_CELLS_MIN)
        beyond = math.log1p(gap / deviation) - math.log1p(parameters.near)
        if beyond <= 0.0:
            return 0.0
        readings = self._weight + (self._block - self._block_left)
        rate = (view.count + 1.0) / (readings + 1.0)
        prior = parameters.prior_weight
        excess = (prior * parameters.prior_excess + view.excess) / (prior + view.count)
        if learn:
            view.count += 1.0
            view.excess += min(beyond, _EXCESS_LEARNT_MAX * excess)
        return (beyond / excess - math.log(rate)) / _LN10

    def _end_block(self) -> None:
        parameters = self.parameters
        keep = 1.0 - 1.0 / parameters.tail_blocks
        self._raw.end_block(keep)
        self._slow.end_block(keep)
        self._weight = keep * (self._weight + self._block)
        self._beyond >>= 1
        self._block = self._block_left = max(_START_READINGS, min(parameters.block, self._readings // 8))

    def _step_outside(self, value: float) -> float:
        """The rare path: no grid yet, a value beyond it, or no value at all."""
        if not math.isfinite(value):
            raise ValueError(f"a detector takes finite values, not {value}")
        if self._low == math.inf:
            self._start(value)
            return 0.0
        low, inverse = self._low, self._inverse
        position = (value - low) * inverse
        # The mean moves to the grid's edge at most: one absurd value must not drag it away for minutes.
        inside = min(max(value, low), low + CELLS / inverse)
        self._mean = mean = self._mean + self._mean_weight * (inside - self._mean)
        surprise = self._surprise(position, (mean - low) * inverse, learn=not self._frozen)
        if not self._frozen:
            self._believe(value)
            self._learn_moments(inside, mean)
        return surprise

    def _start(self, value: float) -> None:
        """Anchor the grid when there are enough readings and they differ."""
        self._first_low, self._first_high = min(self._first_low, value), max(self._first_high, value)
        self._readings += 1
        low, high = self._first_low, self._first_high
        if self._readings < _START_READINGS or not high > low:
            return
        inverse = _FIRST_RANGE_CELLS / (high - low)
        if not 0.0 < inverse < math.inf:
            return
        self._inverse, self._low = inverse, (low + high) / 2.0 - CELLS / 2.0 / inverse
        self._mean = self._centre = value
        # The variance of a uniform spread over the first range, until there is better.
        self._raw.variance = self._slow.variance = (high - low) ** 2 / 12.0
        self._readings = 0

    def _believe(self, value: float) -> None:
        """Widen the grid towards a value beyond it, once that is no single absurd one."""
        self._beyond += 1
        if self._beyond < (_SIGHTS_YOUNG if self.warming_up else _SIGHTS):
            return
        upwards = value > self._low
        span = CELLS / self._inverse
        # A span beyond a float's range would make every position 0.
        if span > 1e300:
            return
        self._raw.widen(upwards=upwards)
        self._slow.widen(upwards=upwards)
        self._inverse /= 2.0
        if not upwards:
            self._low -= span

    def state(self) -> State:
        return {
            "kind": self.KIND,
            "scalars": {name: getattr(self, name) for name in _SCALARS if math.isfinite(getattr(self, name))},
            "views": [
                [base64.b64encode(view.cells).decode(), view.variance, view.count, view.excess]
                for view in (self._raw, self._slow)
            ],
        }

    def restore(self, state: State) -> None:
        if state.get("kind") != self.KIND:
            raise ValueError(f"this is the state of {state.get('kind')!r}, not of {self.KIND!r}")
        scalars = {name: _checked_number(name, state["scalars"][name]) for name in state["scalars"]}
        unknown = set(scalars) - set(_SCALARS)
        missing = set(_SCALARS) - set(scalars) - set(_INFINITE_AT_START)
        if unknown or missing:
            raise ValueError(f"a {self.KIND} state has {sorted(_SCALARS)}; unknown {unknown}, missing {missing}")
        views = [_checked_view(view) for view in state["views"]]
        if len(views) != 2:
            raise ValueError(f"two views, not {len(views)}")
        for name in _SCALARS:
            setattr(self, name, scalars.get(name, _INFINITE_AT_START.get(name)))
        for view, (cells, variance, count, excess) in zip((self._raw, self._slow), views, strict=True):
            view.cells[:] = cells
            view.variance, view.count, view.excess = variance, count, excess


_INFINITE_AT_START: Final = {"_low": math.inf, "_first_low": math.inf, "_first_high": -math.inf}
_SCALARS: Final = (
    "_low", "_inverse", "_first_low", "_first_high", "_mean", "_centre", "_readings", "_block", "_block_left",
    "_weight", "_beyond", "_frozen",
)  # fmt: skip


def _checked_number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is no finite number: {value!r}")
    return value


def _checked_view(view: Any) -> tuple[bytes, float, float, float]:
    text, *numbers = view
    try:
        cells = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"cells are no base64: {error}") from None
    if len(cells) != CELLS + 1 or max(cells) > _MET:
        raise ValueError(f"{len(cells)} cells up to {max(cells, default=0)}; expected {CELLS + 1} up to {_MET}")
    variance, count, excess = (_checked_number("view", number) for number in numbers)
    return cells, variance, count, excess
