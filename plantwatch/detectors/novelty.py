"""Novelty: how far is this value from every value seen before, and how rare is it to be that far?

Idea. A grid of cells over the signal's range remembers which values have occurred. A value in a cell that has been met
is ordinary: most readings end here, after one look into a byte array. Otherwise the distance to the nearest met cell,
in standard deviations, is the *novelty*, and a running tail says how rare so large a novelty is: the share of readings
that are novel at all, and an exponential decay of how far they are. Novelty, unlike a band of mean and deviation, needs
no shape: on/off signals, several operating points and heavy tails are learnt as they are. It is asked twice: of the
reading (a sudden change) and of its short exponential mean (a change too weak for one reading).

Delay. Values become "met" only one to two blocks after they came; a slow drift would otherwise teach itself away,
each value close to the one before.

Cost. Two byte arrays of 1 KB and about 25 numbers a signal; no search on the usual path. Sorted memories (`bisect` over
600 to 2,000 values) find the same novelty at 3 to 12 times the cost (docs/decisions/0010-detector.md).

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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX, State

# 1,024 cells over 8 times the first readings' range, which has 128 of them: a cell is about 1/32 of a standard
# deviation, far below `near`, and a view costs 1 KB.
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
# Beyond this a grid would not fit into a float's range.
_INVERSE_MIN: Final = 1e-290
# Thirty years of readings at one a second; and it fits into every kind of number.
_PARAMETER_MAX: Final = 1e9
# A position further out says no more, and distances to it stay finite.
_POSITION_MAX: Final = 1e15


@dataclass(frozen=True, slots=True)
class NoveltyParameters:
    """What is chosen about a `Novelty` detector; all counts are readings."""

    mean_readings: int = 20
    """Time constant of the short mean."""
    warm_up: int = 256
    """Readings before the first surprise. Fewer, and the tail rests on a handful of novelties."""
    block: int = 512
    """A value counts as met one to two blocks after it came. A young detector has shorter blocks (1/8 of its age)."""
    memory: int = 5000
    """Time constant of the standard deviations."""
    tail_memory: int = 16_384
    """Time constant of the tail; half its age in a young detector, to which at first nearly everything is new."""
    near: float = 0.1
    """Novelty that still counts as met, in standard deviations: gaps between remembered values are no news."""
    prior_run: float = 100.0
    """Novel readings assumed before there is experience. An ordinary excursion is novel for many readings in a row, so
    that the first of its kind must not look as rare as its first reading is."""
    prior_excess: float = 0.4
    """Mean novelty beyond `near` that is assumed before there is experience. The record of a Gaussian that wanders N
    times is exceeded by 1 / sqrt(2 ln N) deviations on average (Embrechts et al., Modelling Extremal Events, 1997):
    0.4 for N = 20, about what ten minutes show of a load that changes within a minute."""
    prior_weight: float = 100.0
    """How many novelties that assumption weighs: one run."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 < getattr(self, name) <= _PARAMETER_MAX:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive and at most {_PARAMETER_MAX:g}")


class _View:
    """One view of the signal: the cells that it has met, and the tail of its novelty."""

    __slots__ = ("cells", "variance", "count", "excess", "new_count", "new_excess")

    def __init__(self) -> None:
        # One cell more than the grid has, since a value on its upper edge may round into it.
        self.cells = bytearray(CELLS + 1)
        # Of positions, in cells squared.
        self.variance = 0.0
        # Novel readings and the sum of their novelties, up to the last block; and those of this block, which are not
        # yet experience: a fault must not soften its own verdict.
        self.count = self.excess = self.new_count = self.new_excess = 0.0

    def gap(self, position: float) -> float:
        """Cells between a position and the nearest met cell: 0 inside one, infinite before any is met."""
        cells = self.cells
        position = min(max(position, -_POSITION_MAX), _POSITION_MAX)
        cell = int(_within(position))
        below, above = cells.rfind(_MET, 0, cell + 1), cells.find(_MET, cell)
        down = position - below - 1.0 if below >= 0 else math.inf
        up = above - position if above >= 0 else math.inf
        return max(0.0, min(down, up))

    def end_block(self, keep: float) -> None:
        """What waited is met from now on; the block's novelties join the tail's experience, and all of it fades."""
        self.cells[:] = self.cells.translate(_AGE)
        self.count = keep * (self.count + self.new_count)
        self.excess = keep * (self.excess + self.new_excess)
        self.new_count = self.new_excess = 0.0

    def forget_latest(self) -> None:
        """Nothing since the block before the last one has come."""
        self.cells[:] = self.cells.translate(_FORGET_LATEST)
        self.new_count = self.new_excess = 0.0

    def widen(self, *, upwards: bool) -> None:
        """Cells twice as wide: pairs become one, and the freed half of the grid lies above or below."""
        cells = self.cells
        half, empty = bytes(map(max, cells[0:CELLS:2], cells[1:CELLS:2])), bytes(CELLS // 2)
        cells[:] = (half + empty if upwards else empty + half) + b"\0"
        self.variance /= 4.0


class Novelty:
    """Novelty of the reading and of its short mean against everything met before. See the module's docstring."""

    __slots__ = (
        "parameters", "_raw", "_slow", "_raw_cells", "_slow_cells", "_mean_weight", "_memory", "_low", "_inverse",
        "_first_low", "_first_high", "_slow_position", "_centre", "_readings", "_block", "_block_left", "_weight",
        "_beyond", "_frozen",
    )  # fmt: skip
    KIND: Final = "novelty/1"
    # Nothing of it is native (`plantwatch.native`).
    handle: Final = 0

    def __init__(self, parameters: NoveltyParameters = NoveltyParameters()) -> None:
        self.parameters = parameters
        self._mean_weight = 1.0 / parameters.mean_readings
        self._memory = parameters.memory
        self._raw, self._slow = _View(), _View()
        self._raw_cells, self._slow_cells = self._raw.cells, self._slow.cells
        # Without a grid every value lies below it, and so takes the path that makes one.
        self._low, self._inverse = math.inf, 1.0
        self._first_low, self._first_high = math.inf, -math.inf
        self._slow_position = self._centre = self._weight = 0.0
        self._readings = self._beyond = 0
        self._block = self._block_left = _START_READINGS
        self._frozen = False

    @property
    def warming_up(self) -> bool:
        return self._low == math.inf or self._readings < self.parameters.warm_up

    @property
    def readings_left(self) -> int | None:
        return left_of_warm_up(self._low, self._readings, self.parameters)

    def score_one(self, value: float) -> float:
        position = (value - self._low) * self._inverse
        if not 0.0 <= position < CELLS:
            _check_finite(value)
            if self._low == math.inf:
                return 0.0
        slow_position = self._slow_position + self._mean_weight * (_within(position) - self._slow_position)
        return self._surprise(position, slow_position, learn=False)

    def learn_one(self, value: float) -> None:
        self.step(value)

    def freeze(self) -> None:
        self._frozen = True
        self._raw.forget_latest()
        self._slow.forget_latest()

    def thaw(self) -> None:
        self._frozen = False

    def expected(self) -> tuple[float, float] | None:
        """From the lowest to the highest value met."""
        return band(self._raw_cells, self._low, self._inverse)

    def step(self, value: float) -> float:
        position = (value - self._low) * self._inverse
        if not 0.0 <= position < CELLS:
            return self._step_outside(value)
        slow_position = self._slow_position
        self._slow_position = slow_position = slow_position + self._mean_weight * (position - slow_position)
        surprise = 0.0
        if self._raw_cells[int(position)] != _MET or self._slow_cells[int(slow_position)] != _MET:
            surprise = self._surprise(position, slow_position, learn=not self._frozen)
            if self._frozen:
                return surprise
        self._learn_moments(position, slow_position)
        return surprise

    def _learn_moments(self, position: float, slow_position: float) -> None:
        self._readings = readings = self._readings + 1
        weight = 1.0 / min(readings, self._memory)
        # Both deviations are taken from the centre before this value.
        deviation, slow_deviation = position - self._centre, slow_position - self._centre
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
        beyond = gap / max(math.sqrt(view.variance), _DEVIATION_CELLS_MIN) - parameters.near
        if beyond <= 0.0:
            return 0.0
        run, weight = parameters.prior_run, parameters.prior_weight
        rate = (view.count + run) / (self._weight + run)
        excess = (view.excess + weight * parameters.prior_excess) / (view.count + weight)
        if learn:
            view.new_count += 1.0
            view.new_excess += min(beyond, _EXCESS_LEARNT_MAX * excess)
        return (beyond / excess - math.log(rate)) / _LN10

    def _end_block(self) -> None:
        block, memory = self._block, min(self._readings // 2, self.parameters.tail_memory)
        keep = 1.0 - block / max(block, memory)
        self._raw.end_block(keep)
        self._slow.end_block(keep)
        self._weight = keep * (self._weight + block)
        self._beyond >>= 1
        self._block = self._block_left = max(_START_READINGS, min(self.parameters.block, self._readings // 8))

    def _step_outside(self, value: float) -> float:
        """The rare path: no value at all, no grid yet, or a value beyond it."""
        _check_finite(value)
        if self._low == math.inf:
            self._start(value)
            return 0.0
        position = (value - self._low) * self._inverse
        inside = _within(position)
        self._slow_position = slow_position = self._slow_position + self._mean_weight * (inside - self._slow_position)
        surprise = self._surprise(position, slow_position, learn=not self._frozen)
        if not self._frozen:
            self._learn_moments(inside, slow_position)
            self._believe(upwards=position > 0.0)
        return surprise

    def _start(self, value: float) -> None:
        """Anchor the grid when there are enough readings and they differ."""
        self._first_low, self._first_high = min(self._first_low, value), max(self._first_high, value)
        self._readings += 1
        low, high = self._first_low, self._first_high
        if self._readings < _START_READINGS or not high > low:
            return
        inverse = _FIRST_RANGE_CELLS / (high - low)
        # Values at both ends of a float's range, or a difference too small to divide by: no grid can hold them.
        if not _INVERSE_MIN <= inverse < math.inf:
            return
        self._inverse, self._low = inverse, (low / 2.0 + high / 2.0) - CELLS / 2.0 / inverse
        self._slow_position = self._centre = (value - self._low) * inverse
        # The variance of a uniform spread over the first range, until there is better.
        self._raw.variance = self._slow.variance = _FIRST_RANGE_CELLS**2 / 12.0
        self._readings = 0

    def _believe(self, *, upwards: bool) -> None:
        """Widen the grid towards a value beyond it, once that is no single absurd one."""
        self._beyond += 1
        if self._beyond < (_SIGHTS_YOUNG if self.warming_up else _SIGHTS) or self._inverse < _INVERSE_MIN:
            return
        below = 0.0 if upwards else CELLS / 2.0
        self._slow_position = self._slow_position / 2.0 + below
        self._centre = self._centre / 2.0 + below
        self._raw.widen(upwards=upwards)
        self._slow.widen(upwards=upwards)
        if not upwards:
            self._low -= CELLS / self._inverse
        self._inverse /= 2.0

    def state(self) -> State:
        return packed_state(
            tuple(getattr(self, name) for name in _SCALARS),
            [(view.cells, [getattr(view, name) for name in _VIEW_NUMBERS]) for view in (self._raw, self._slow)],
        )

    def restore(self, state: State) -> None:
        scalars, views = unpacked_state(state)
        for name, scalar in zip(_SCALARS, scalars, strict=True):
            setattr(self, name, scalar)
        for view, (cells, numbers) in zip((self._raw, self._slow), views, strict=True):
            view.cells[:] = cells
            for name, number in zip(_VIEW_NUMBERS, numbers, strict=True):
                setattr(view, name, number)


Views = Sequence[tuple[bytes | bytearray, Sequence[float]]]
"""Cells and numbers (`_VIEW_NUMBERS`) of the reading's view and of the short mean's."""


def packed_state(scalars: Sequence[Any], views: Views) -> State:
    """The state with these scalars (`_SCALARS`) and views."""
    return {
        "kind": Novelty.KIND,
        # JSON has no infinity: what is infinite at the start is left out until it is not.
        "scalars": {name: value for name, value in zip(_SCALARS, scalars, strict=True) if math.isfinite(value)},
        "views": [[base64.b64encode(cells).decode(), list(numbers)] for cells, numbers in views],
    }


def unpacked_state(state: State) -> tuple[list[Any], list[tuple[bytes, list[float]]]]:
    """The scalars and views of a state. ValueError where it is none."""
    if state.get("kind") != Novelty.KIND:
        raise ValueError(f"this is the state of {state.get('kind')!r}, not of {Novelty.KIND!r}")
    try:
        scalars = _INFINITE_AT_START | state["scalars"]
        (raw, raw_numbers), (slow, slow_numbers) = state["views"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"a {Novelty.KIND} state is incomplete: {error!r}") from None
    if set(scalars) != set(_SCALARS):
        raise ValueError(f"a {Novelty.KIND} state has {sorted(_SCALARS)}, not {sorted(scalars)}")
    views = [(_checked_cells(raw), raw_numbers), (_checked_cells(slow), slow_numbers)]
    if any(len(numbers) != len(_VIEW_NUMBERS) for _, numbers in views):
        raise ValueError(f"a view has the numbers {', '.join(_VIEW_NUMBERS)}")
    return [scalars[name] for name in _SCALARS], views


def left_of_warm_up(low: float, readings: int, parameters: NoveltyParameters) -> int | None:
    """See `Detector.readings_left`. Before there is a grid, `readings` are those that shall anchor it."""
    if low < math.inf:
        return max(0, math.ceil(parameters.warm_up) - readings)
    return _START_READINGS - readings + math.ceil(parameters.warm_up) if readings < _START_READINGS else None


def band(cells: bytes | bytearray, low: float, inverse: float) -> tuple[float, float] | None:
    """From the lowest to the highest value met."""
    lowest, highest = cells.find(_MET), cells.rfind(_MET)
    return None if lowest < 0 else (low + lowest / inverse, low + (highest + 1) / inverse)


def _check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"a detector takes finite values, not {value}")


def _within(position: float) -> float:
    """The grid's edge for a position beyond it: one absurd value must not drag means away for minutes."""
    return min(max(position, 0.0), float(CELLS))


_INFINITE_AT_START: Final = {"_low": math.inf, "_first_low": math.inf, "_first_high": -math.inf}
_SCALARS: Final = (
    "_low", "_inverse", "_first_low", "_first_high", "_slow_position", "_centre", "_readings", "_block", "_block_left",
    "_weight", "_beyond", "_frozen",
)  # fmt: skip
_VIEW_NUMBERS: Final = ("variance", "count", "excess", "new_count", "new_excess")


def _checked_cells(text: Any) -> bytes:
    try:
        cells = base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error) as error:
        raise ValueError(f"cells are no base64: {error}") from None
    if len(cells) != CELLS + 1 or max(cells) > _MET:
        raise ValueError(f"{len(cells)} cells up to {max(cells, default=0)}; expected {CELLS + 1} up to {_MET}")
    return cells
