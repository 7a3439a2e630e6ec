"""A phase portrait: a value is strange where it stands after what came ten readings earlier.

Idea. The pairs (value, value LAG readings before) of a cycle lie on a closed line, those of a standing load near the
diagonal, those of noise in a disc. A signal that swings faster, misses a peak, is shifted inside its known range or
creeps leaves that figure although each single value has been met. So pairs are remembered, thinned where they lie
closest, and asked for the distance to the nearest one; the rest is as in `plantwatch.detectors.twofold`.

Pairs are learnt DELAY readings late: a path is always near to where it just was, and a fault must not hide behind its
own beginning.

Cost. 100 pairs sorted by value: a search looks at those only whose value alone is near enough, some ten of them.

When it misleads. Rhythms much slower than the lag look like standing loads: in a period of 250 readings a doubled
frequency is not seen. On the public series, where nothing is strange but labelled, it adds false alarms and no event:
it takes part in the alarm, where its evidence must last, and not in the first sign of an event (`twofold_series`).

Source. Delay embedding: Takens, Detecting strange attractors in turbulence, 1981; distance to the nearest neighbour in
it: Ramaswamy, Rastogi and Shim, SIGMOD 2000.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX
from plantwatch.detectors.memory import WINSOR_DEVIATIONS, packed, unpacked
from plantwatch.detectors.tail import Tail

# 5 to 20 find the same in rhythms of 30 to 250 readings.
LAG: Final = 10
# 100 to 250 find the same.
PAIRS: Final = 100
DELAY: Final = 40
_SPREAD_MEMORY: Final = 5000
_TAIL_MEMORY: Final = 3000
_EXCESS_MEMORY: Final = 64
_QUANTILE: Final = 0.99
_WARM_UP: Final = 100 + DELAY
_START_READINGS: Final = 30 + DELAY
_WINSOR_AFTER: Final = 32
# Standard deviations between remembered pairs when the memory is full for the first time, and how that grows.
_FIRST_RESOLUTION: Final = 0.02
_COARSER: Final = 1.25


class Portrait:
    """One signal's pairs. Positions in, surprises out, in the order of readings."""

    __slots__ = (
        "_values", "_earlier", "_resolution", "_mean", "_variance", "_readings", "_recent", "_pending", "_tail",
        "_pair",
    )  # fmt: skip

    def __init__(self) -> None:
        self._values, self._earlier = array("f"), array("f")
        self._resolution = self._mean = self._variance = 0.0
        self._readings = 0
        # The last LAG positions and the last DELAY pairs, each a ring with the oldest at the place of the next.
        self._recent, self._pending = array("f", bytes(4 * LAG)), array("f", bytes(2 * 4 * DELAY))
        self._tail = Tail(_QUANTILE, _EXCESS_MEMORY, _WARM_UP)
        # Whatever goes through it has the resolution of what is remembered.
        self._pair = array("f", (0.0, 0.0))

    def step(self, position: float) -> float:
        """The surprise of a position (`TwofoldNovelty.position`); then it is learnt, and its pair DELAY readings on."""
        reading, pair, place = self._readings, self._pair, self._readings % LAG
        usual = self._learn_spread(position, reading)
        pair[0], pair[1] = position, self._recent[place] if reading >= LAG else usual
        self._recent[place] = usual
        novelty = self._novelty(pair[0], pair[1]) if reading > _START_READINGS else 0.0
        surprise = self._tail.surprise(novelty) if novelty > 0.0 and reading > _WARM_UP else 0.0
        self._tail.learn(novelty, reading, max(1.0 / _TAIL_MEMORY, 1.0 / (reading + 1)))
        self._remember_later(reading)
        self._readings += 1
        return min(surprise, SURPRISE_MAX)

    def _learn_spread(self, position: float, reading: int) -> float:
        """Mean and variance go with the position; the answer is what of it may count as usual."""
        deviation = position - self._mean
        if reading > _WINSOR_AFTER:
            reach = WINSOR_DEVIATIONS * math.sqrt(self._variance)
            deviation = min(max(deviation, -reach), reach) if reach > 0.0 else deviation
        usual = self._mean + deviation
        weight = max(1.0 / _SPREAD_MEMORY, 1.0 / (reading + 1))
        moved = weight * deviation
        self._mean += moved
        self._variance = (1.0 - weight) * (self._variance + moved * deviation)
        return usual

    def _novelty(self, value: float, earlier: float) -> float:
        """log1p of the standard deviations to the nearest pair: 0 within the resolution."""
        met = self._met()
        nearest = self._nearest(value, earlier, met)
        if nearest <= met or nearest == math.inf or self._variance <= 0.0:
            return 0.0
        return math.log1p(math.sqrt(nearest / self._variance))

    def _met(self) -> float:
        """Squared distance up to which a pair counts as one that is remembered."""
        return self._resolution * self._resolution * self._variance

    def _nearest(self, value: float, earlier: float, enough: float) -> float:
        """Squared distance to the nearest pair, or to the first found within `enough`; infinite without any."""
        values = self._values
        middle = bisect_left(values, value)
        best = self._nearest_among(range(middle, len(values)), value, earlier, enough, math.inf)
        return self._nearest_among(range(middle - 1, -1, -1), value, earlier, enough, best)

    def _nearest_among(self, places: range, value: float, earlier: float, enough: float, best: float) -> float:
        """The same over pairs whose values go away from `value`, where `best` was found before."""
        values, others = self._values, self._earlier
        for place in places:
            if best <= enough:
                break
            apart = values[place] - value
            apart *= apart
            if apart >= best:
                break
            other = others[place] - earlier
            apart += other * other
            if apart < best:
                best = apart
        return best

    def _remember_later(self, reading: int) -> None:
        pending, place = self._pending, 2 * (reading % DELAY)
        if reading >= DELAY:
            self._remember(pending[place], pending[place + 1])
        pending[place], pending[place + 1] = self._pair

    def _remember(self, value: float, earlier: float) -> None:
        met = self._met()
        if self._nearest(value, earlier, met) <= met:
            return
        place = bisect_left(self._values, value)
        self._values.insert(place, value)
        self._earlier.insert(place, earlier)
        while len(self._values) >= PAIRS:
            self._thin()

    def _thin(self) -> None:
        """Keep, in the order of values, what is further than a coarser resolution from all that is kept."""
        self._resolution = max(_FIRST_RESOLUTION, _COARSER * self._resolution)
        met = self._met()
        values, others = self._values, self._earlier
        self._values, self._earlier = array("f"), array("f")
        for value, other in zip(values, others, strict=True):
            if self._nearest(value, other, met) > met:
                self._values.append(value)
                self._earlier.append(other)

    def state(self) -> dict[str, Any]:
        return {
            "count": len(self._values),
            "pairs": packed(self._values + self._earlier, 2 * PAIRS),
            "waiting": packed(self._recent + self._pending, LAG + 2 * DELAY),
            "numbers": [self._readings, self._resolution, self._mean, self._variance, *self._tail.numbers()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        count, waiting = int(state["count"]), unpacked(state["waiting"], LAG + 2 * DELAY)
        if not 0 <= count < PAIRS:
            raise ValueError(f"a portrait of {PAIRS} pairs cannot hold {count}")
        pairs = unpacked(state["pairs"], 2 * PAIRS)
        self._values, self._earlier = pairs[:count], pairs[count : 2 * count]
        self._recent, self._pending = waiting[:LAG], waiting[LAG:]
        readings, resolution, mean, variance, *tail = state["numbers"]
        self._readings, self._resolution = int(readings), float(resolution)
        self._mean, self._variance = float(mean), float(variance)
        self._tail.restore(tail)
