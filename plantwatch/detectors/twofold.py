"""Twofold novelty: a value is strange when it is new among all values and new among all deviations from its baseline.

Idea. A distance to the nearest value ever seen tells what has not been met before, without any shape assumed: on/off
signals, several operating points and heavy tails are learnt as they are. Asked of values only, it cries at each slow
drift; asked of deviations from a slow baseline only, at each return to a known level. So both are asked, each in its
own standard deviations, and their geometric mean counts. Three *views* of the signal are asked this way: the reading
(a sudden change), its short mean (a change too weak for one reading) and the logarithm of its activity, the mean
absolute change (stuck, noisier, faster, a cycle that is missing). Each view has a running tail of its own novelties:
their 0.99 quantile, and an exponential decay beyond it. The rarest view speaks.

Cost. Six memories of 240 float32: below 14 KB as JSON. Six binary searches a reading; 8 us in pure Python.

When it misleads. A change inside the known range that leaves the activity as it was (half the frequency at twice the
amplitude, two cycles swapped) is invisible. The first hundred readings are not judged, and until about two thousand
too much is new: surprises are then 2 to 5 times as frequent as they say, later 2 to 10 times rarer. Whoever needs a
calibrated score puts `plantwatch.detectors.calibration` behind it.

Source. Distance to the nearest past value: Ramaswamy, Rastogi and Shim, SIGMOD 2000.

>>> detector = TwofoldNovelty()
>>> for turn in range(2000):
...     detector.learn_one(20.0 + turn % 7)
>>> detector.score_one(23.0) < 0.5, detector.score_one(90.0) > 3.0
(True, True)
"""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from plantwatch.detectors.base import SURPRISE_MAX, State
from plantwatch.detectors.memory import WINSOR_VARIANCES, Memory, packed, unpacked
from plantwatch.detectors.tail import Tail

# Readings before a nearest neighbour means anything.
_START_READINGS: Final = 30
# Values beyond this many times the first change say no more, and their squares stay finite.
_POSITION_MAX: Final = 1e30
# A signal that stands still has no activity to take the logarithm of; 2 % of the usual one is as still as matters.
_STILL_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class TwofoldParameters:
    """What is chosen about a `TwofoldNovelty`; counts are readings."""

    mean_readings: int = 20
    """Time constant of the short mean."""
    activity_readings: int = 40
    """Time constant of the activity."""
    baseline_readings: int = 320
    """Time constant of the slow baseline. Younger than this, everything is its own baseline."""
    remembered: int = 240
    """Values in each of six memories; 200 to 620 find the same."""
    spread_memory: int = 5000
    """Time constant of the standard deviations."""
    quantile: float = 0.99
    """Of a view's novelties: beyond it, the exponential tail."""
    tail_memory: int = 3000
    """Time constant of the quantile."""
    excess_memory: int = 64
    """Time constant, in exceedances, of the tail's decay."""
    warm_up: int = 100
    """Readings before the first surprise."""
    activity_discount: float = 0.5
    """Taken off the surprise of the activity: it answers changes that the other views also see, and more noise."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        if not self.quantile < 1.0:
            raise ValueError(f"quantile is {self.quantile}; it must lie below 1")


class _Weights(NamedTuple):
    """What a new reading weighs in each running number: 1 / its time constant, but a mean while it is younger."""

    mean: float
    activity: float
    baseline: float
    spread: float
    tail: float


class _View:
    """One view: twofold novelty of its numbers, and the tail of those novelties."""

    __slots__ = (
        "by_value",
        "by_deviation",
        "baseline",
        "tail",
        "parameters",
        "pending",
        "_single",
    )

    def __init__(self, parameters: TwofoldParameters, delay: int = 0) -> None:
        self.by_value, self.by_deviation = Memory(parameters.remembered), Memory(parameters.remembered)
        self.baseline = 0.0
        self.tail = Tail(parameters.quantile, parameters.excess_memory, parameters.warm_up)
        self.parameters = parameters
        # Pairs of value and deviation, oldest first, that wait to be remembered.
        self.pending = array("f", bytes(2 * 4 * delay))
        self._single = array("f", (0.0, 0.0))

    def surprise(self, value: float, reading: int, weights: _Weights, *, learn: bool) -> float:
        by_value = self.by_value
        usual, out = value, value - by_value.mean
        if out * out > WINSOR_VARIANCES * by_value.variance:
            usual = by_value.winsorised(value, reading)
        baseline = self.baseline + weights.baseline * (usual - self.baseline)
        single = self._single
        single[0], single[1] = value, value - baseline
        value, deviation = single
        at_once = learn and not self.pending
        novelty = by_value.novelty(value, reading, weights.spread, learn=learn, remember=at_once)
        novelty *= self.by_deviation.novelty(deviation, reading, weights.spread, learn=learn, remember=at_once)
        if learn and not at_once:
            self._remember_later(value, deviation, reading)
        surprise = 0.0
        if reading <= _START_READINGS:
            novelty = 0.0
        elif novelty > 0.0:
            novelty = math.log1p(math.sqrt(novelty))
            surprise = self.tail.surprise(novelty) if reading > self.parameters.warm_up else 0.0
        if learn:
            self.baseline = baseline
            self.tail.learn(novelty, reading, weights.tail)
        return surprise

    def _remember_later(self, value: float, deviation: float, reading: int) -> None:
        pending = self.pending
        place = 2 * reading % len(pending)
        if 2 * reading >= len(pending):
            self.by_value.remember(pending[place], reading)
            self.by_deviation.remember(pending[place + 1], reading)
        pending[place], pending[place + 1] = value, deviation

    def forget_latest(self, reading: int) -> None:
        self.by_value.forget_latest(reading)
        self.by_deviation.forget_latest(reading)
        # What waits came during the last readings, too: the oldest that still waits takes the place of all.
        if 2 * reading >= len(self.pending) > 0:
            place = 2 * reading % len(self.pending)
            self.pending = self.pending[place : place + 2] * (len(self.pending) // 2)

    def state(self) -> list[Any]:
        numbers = [self.baseline, *self.tail.numbers()]
        return [self.by_value.state(), self.by_deviation.state(), packed(self.pending, len(self.pending)), numbers]

    def restore(self, state: list[Any]) -> None:
        by_value, by_deviation, pending, numbers = state
        self.pending = unpacked(pending, len(self.pending))
        self.by_value.restore(by_value)
        self.by_deviation.restore(by_deviation)
        self.baseline = float(numbers[0])
        self.tail.restore(numbers[1:])


class TwofoldNovelty:
    """One signal; surprises before any hold-off. See the module's docstring."""

    __slots__ = (
        "parameters", "_weights", "_grown_up", "_reading", "_slow", "_activity", "_readings", "_origin", "_unit",
        "_last", "_mean", "_change", "_usual_change", "_frozen",
    )  # fmt: skip
    KIND: Final = "twofold/2"
    # Nothing of it is native (`plantwatch.native`).
    handle: Final = 0

    def __init__(self, parameters: TwofoldParameters = TwofoldParameters()) -> None:
        self.parameters = parameters
        self._reading, self._slow = _View(parameters), _View(parameters)
        self._activity = _View(parameters, delay=parameters.activity_readings)
        self._weights = _Weights(
            1.0 / parameters.mean_readings,
            1.0 / parameters.activity_readings,
            1.0 / parameters.baseline_readings,
            1.0 / parameters.spread_memory,
            1.0 / parameters.tail_memory,
        )
        # From this reading on, every running number has its full memory.
        self._grown_up = round(1.0 / min(self._weights))
        self._readings = 0
        # The first value and the first change: float32 memories keep their resolution at any offset and unit.
        self._origin = self._unit = 0.0
        self._last = self._mean = self._change = self._usual_change = 0.0
        self._frozen = False

    @property
    def warming_up(self) -> bool:
        return self._readings <= self.parameters.warm_up

    @property
    def readings_left(self) -> int | None:
        return max(0, self.parameters.warm_up + 1 - self._readings)

    def score_one(self, value: float) -> float:
        return self._surprise(value, follow=False, learn=False)

    def learn_one(self, value: float) -> None:
        self.step(value)

    def step(self, value: float) -> float:
        if not self._unit:
            self._start(value)
        surprise = self._surprise(value, follow=True, learn=not self._frozen)
        if not self._frozen:
            self._readings += 1
        return surprise

    def freeze(self) -> None:
        self._frozen = True
        for view in self._views():
            view.forget_latest(self._readings)

    def thaw(self) -> None:
        self._frozen = False

    def expected(self) -> tuple[float, float] | None:
        """From the lowest to the highest value met."""
        met = self._reading.by_value.values
        if not met or self.warming_up:
            return None
        return self._origin + met[0] * self._unit, self._origin + met[-1] * self._unit

    def unrest(self, value: float) -> float:
        """Distance of `value`, if it came now, from the short mean, in mean absolute changes; at most 1e6."""
        if self._usual_change <= 0.0:
            return 0.0
        return min(abs(self.position(value) - self._mean) / self._usual_change, 1e6)

    def _surprise(self, value: float, *, follow: bool, learn: bool) -> float:
        """`follow`: short mean and activity go with the value, also while nothing is learnt."""
        position, reading = self.position(value), self._readings
        usual = self._reading.by_value.winsorised(position, reading)
        weights = self._weights if reading >= self._grown_up else _at_least(self._weights, 1.0 / (reading + 1))
        mean = self._mean + weights.mean * (usual - self._mean)
        change = abs(usual - self._last)
        activity = self._change + weights.activity * (change - self._change)
        usual_change = self._usual_change + weights.spread * (change - self._usual_change)
        moving = activity + _STILL_SHARE * usual_change
        surprise = max(
            self._reading.surprise(position, reading, weights, learn=learn),
            self._slow.surprise(mean, reading, weights, learn=learn),
            self._activity.surprise(math.log(moving) if moving > 0.0 else 0.0, reading, weights, learn=learn)
            - self.parameters.activity_discount,
        )
        if follow:
            self._last, self._mean, self._change = usual, mean, activity
        if learn:
            self._usual_change = usual_change
        return min(max(surprise, 0.0), SURPRISE_MAX)

    def _start(self, value: float) -> None:
        """Until the signal has changed for the first time."""
        _check_finite(value)
        if not self._readings:
            self._origin = value
        self._unit = min(abs(value - self._origin), sys.float_info.max)

    def position(self, value: float) -> float:
        """The value in units of the first change, from the first value."""
        _check_finite(value)
        if not self._unit:
            return 0.0
        return min(max((value - self._origin) / self._unit, -_POSITION_MAX), _POSITION_MAX)

    def _views(self) -> tuple[_View, _View, _View]:
        return self._reading, self._slow, self._activity

    def state(self) -> State:
        return {
            "kind": self.KIND,
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "views": [view.state() for view in self._views()],
        }

    def restore(self, state: State) -> None:
        if state.get("kind") != self.KIND:
            raise ValueError(f"this is the state of {state.get('kind')!r}, not of {self.KIND!r}")
        try:
            numbers, views = state["numbers"], state["views"]
            for view, view_state in zip(self._views(), views, strict=True):
                view.restore(view_state)
            for name in _NUMBERS:
                setattr(self, name, numbers[name])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a {self.KIND} state is incomplete: {error!r}") from None


def _at_least(weights: _Weights, weight: float) -> _Weights:
    return _Weights(*[max(own, weight) for own in weights])


def _check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"a detector takes finite values, not {value}")


_NUMBERS: Final = (
    "_readings", "_origin", "_unit", "_last", "_mean", "_change", "_usual_change", "_frozen",
)  # fmt: skip
