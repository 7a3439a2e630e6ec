"""Make a score mean what it says: what share of this signal's own readings has been as remarkable?

A detector's tail rests on assumptions, and its views are asked together; so its surprises are too frequent while much
is new and too rare later, when nearly every reading is nothing new at all. Here readings are ranked, by surprise, and
those without any by their *unrest*, the distance from their short mean; they are counted in bins with exponential
forgetting, and a reading's calibrated surprise is -log10 of the share of readings at least as remarkable. Until there
is experience the surprise is believed, with as much weight as PRIOR_READINGS.

It costs 161 numbers and a sum over the bins above. It misleads after a long fault, which for FORGET_READINGS looks
ordinary; hence a decision rests on the detector's surprise, and the published score on this one.

Source. Conformal p-values (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; online for
anomalies: Laxhammar and Falkman, 2014).
"""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Mapping
from functools import reduce
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX
from plantwatch.detectors.memory import packed, unpacked

_UNREST_BINS: Final = 64
_BINS_PER_DECADE: Final = 8
_BINS: Final = _UNREST_BINS + int(SURPRISE_MAX) * _BINS_PER_DECADE + 1
# Unrest that falls into the middle bin, in mean absolute changes: half of the bins for the outer 7 % of a Gaussian.
_UNREST_MIDDLE: Final = 1.6
# Enough for a share of 1 % to be known to within a quarter of itself (15 readings), short enough to leave youth behind.
FORGET_READINGS: Final = 1500
PRIOR_READINGS: Final = 100.0
# A young detector's surprises are 2 to 5 times as frequent as they say (see `plantwatch.detectors.twofold`).
_PRIOR_FREQUENCY: Final = 3.0
# What SURPRISE_MAX says. After a million readings the prior is no number any more, and a share may be 0.
_SHARE_MIN: Final = 1e-12
# Weights grow instead of all counts shrinking; they are brought down long before they lose digits.
_WEIGHT_MAX: Final = 1e9


class Calibration:
    """Surprise and unrest in, calibrated surprise out, in the order of readings."""

    __slots__ = ("_counts", "_total", "_weight", "_prior")

    def __init__(self) -> None:
        self._counts = [0.0] * _BINS
        self._total, self._weight = 0.0, 1.0
        # What is believed is forgotten like what is counted.
        self._prior = PRIOR_READINGS

    def step(self, surprise: float, unrest: float) -> float:
        """The calibrated surprise; then this reading is counted."""
        place = _bin(surprise, unrest)
        # The mid-p value: half of those in the same bin, so that neither few bins nor equal readings bias it.
        # One after the other: from Python 3.12 on `sum` compensates for rounding, and scores must not depend on that.
        as_rare = reduce(operator.add, self._counts[place:], 0.0) - 0.5 * self._counts[place]
        believed = min(1.0, _PRIOR_FREQUENCY * math.pow(10.0, -surprise)) if surprise > 0.0 else 1.0
        share = (as_rare + self._prior * believed) / (self._total + self._prior)
        self._count(place)
        # Nothing can be less remarkable than a reading on its short mean.
        return -math.log10(max(share, _SHARE_MIN)) if place and share < 1.0 else 0.0

    def _count(self, place: int) -> None:
        self._counts[place] += self._weight
        self._total += self._weight
        self._weight *= 1.0 + 1.0 / FORGET_READINGS
        if self._weight > _WEIGHT_MAX:
            self._rescale()

    def _rescale(self) -> None:
        self._counts = [count / self._weight for count in self._counts]
        self._total /= self._weight
        self._prior /= self._weight
        self._weight = 1.0

    def state(self) -> dict[str, Any]:
        return {
            "counts": packed(array("d", self._counts), _BINS),
            "total": self._total,
            "weight": self._weight,
            "prior": self._prior,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        counts = unpacked(state["counts"], _BINS, "d").tolist()
        self._counts, self._prior = counts, float(state["prior"])
        self._total, self._weight = float(state["total"]), float(state["weight"])


def _bin(surprise: float, unrest: float) -> int:
    if surprise > 0.0:
        return _UNREST_BINS + int(surprise * _BINS_PER_DECADE)
    return int((_UNREST_BINS - 1) * unrest / (unrest + _UNREST_MIDDLE))
