"""Two levels found in a signal: is the machine off or on, low or high?

Idea. Of the values seen so far a thinned sample is kept: every n-th value, n doubling whenever the sample is full, so
that it spans the whole life in bounded memory. Otsu's threshold divides the sorted sample into the two groups with the
least spread within them. They count as two levels only if both are common and the gap between them is empty and wide
beside the spread within: any sample can be cut in two, few have a gap. A value is then on the side whose edge is near;
within the middle third of the gap it stays where the last value was, so that noise does not flap.

Cost. A sample of 512 values; sorting it whenever twice as many values have come (then every 4,096 values): 0.2 ms each.

When it misleads. Three levels are cut at the widest gap that Otsu finds; two levels that wander over each other are not
found; before both levels have been seen there is no split (`level` is None), and the rules that need it do not hold.

Source. Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from plantwatch.states.rules import Level

# With a twentieth of it on the rarer level these are 26 values, enough to know a level's spread.
SAMPLE_MAX: Final = 512
_FIRST_LOOK: Final = 64
# Seldom enough to cost nothing, often enough to follow a level that moves within hours.
_LOOK_EVERY_MAX: Final = 4096
# What is rarer is an excursion, no level.
_SHARE_MIN: Final = 0.05
# An empty gap of three times the larger deviation within a level. Between the inner 90 % of 64 Gaussian values lies
# none wider than one deviation; a signal of three rounded steps shows two deviations.
_GAP_DEVIATIONS_MIN: Final = 3.0
# Also a tenth of the whole range: two neighbouring steps of a rounded value are no levels.
_GAP_OF_RANGE_MIN: Final = 0.1


class OnOffSplit:
    """The two levels of one signal, learnt from its past values only."""

    __slots__ = ("_sample", "_stride", "_seen", "_next_look", "_low_edge", "_high_edge", "level")

    def __init__(self) -> None:
        self._sample: list[float] = []
        self._stride = 1
        self._seen = 0
        self._next_look = _FIRST_LOOK
        # The inner edges of the two levels; NaN while there is no split.
        self._low_edge = self._high_edge = math.nan
        self.level: Level | None = None
        """On which level the last value was; None while there is no split."""

    def learn(self, value: float) -> None:
        """A value of ordinary running has come."""
        if self._seen % self._stride == 0:
            self._sample.append(value)
            if len(self._sample) == SAMPLE_MAX:
                self._sample = self._sample[::2]
                self._stride *= 2
        self._seen += 1
        if self._seen == self._next_look:
            self._next_look += min(self._seen, _LOOK_EVERY_MAX)
            edges = find_gap(sorted(self._sample))
            if edges is not None:
                self._low_edge, self._high_edge = edges

    def tell(self, value: float) -> None:
        """`value` is the last one now."""
        self.level = self.side(value)

    def side(self, value: float) -> Level | None:
        """The level that `value` is on; in the middle of the gap the last one's, None while there is no split."""
        third = self._high_edge / 3.0 - self._low_edge / 3.0
        if value <= self._low_edge + third:
            return Level.LOW
        if value >= self._high_edge - third:
            return Level.HIGH
        if self.level is None and third > 0.0:
            return Level.LOW if value < self._low_edge / 2.0 + self._high_edge / 2.0 else Level.HIGH
        return self.level

    def state(self) -> list[Any]:
        """As JSON can hold it."""
        edges = [None, None] if math.isnan(self._low_edge) else [self._low_edge, self._high_edge]
        return [self._sample, self._stride, self._seen, self._next_look, *edges, self.level]

    def restore(self, state: Sequence[Any]) -> None:
        """Raises ValueError or TypeError where it is not a state of `state()`."""
        sample, stride, seen, next_look, low, high, level = state
        if len(sample) >= SAMPLE_MAX or stride < 1 or next_look <= seen:
            raise ValueError("a split's state is not as expected")
        self._sample = [float(value) for value in sample]
        self._stride, self._seen, self._next_look = stride, seen, next_look
        self._low_edge, self._high_edge = (math.nan if edge is None else float(edge) for edge in (low, high))
        self.level = None if level is None else Level(level)


def find_gap(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The inner edges of the two levels in ascending values; None where they are not two levels."""
    lowest = ordered[0] / 2.0
    span = ordered[-1] / 2.0 - lowest
    if not span > 0.0:
        return None
    # From 0 to 1, so that squares neither overflow nor vanish.
    positions = [(value / 2.0 - lowest) / span for value in ordered]
    cut = _otsu(positions)
    if cut is None:
        return None
    low, high = positions[:cut], positions[cut:]
    wide = max(_GAP_DEVIATIONS_MIN * max(_deviation(low), _deviation(high)), _GAP_OF_RANGE_MIN)
    return (ordered[cut - 1], ordered[cut]) if high[0] - low[-1] > wide else None


def _otsu(positions: Sequence[float]) -> int | None:
    """How many values belong to the lower level: where the variance between the two groups is largest."""
    count = len(positions)
    fewest = max(1, math.ceil(_SHARE_MIN * count))
    sums = list(accumulate(positions))
    best, best_cut = 0.0, None
    for cut in range(fewest, count - fewest + 1):
        difference = sums[cut - 1] / cut - (sums[-1] - sums[cut - 1]) / (count - cut)
        between = cut * (count - cut) * difference * difference
        if between > best and positions[cut] != positions[cut - 1]:
            best, best_cut = between, cut
    return best_cut


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
