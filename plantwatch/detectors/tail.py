"""How rare is a novelty among this signal's own: a running quantile, and an exponential tail beyond it.

Novelties are logarithms of distances, which makes the tail of the distances an exponential one, whatever the signal's
own tail is like. The quantile moves a little at each reading, up where it was exceeded, down where not.

Source. Exceedances over a high quantile decay exponentially: Pickands, Annals of Statistics 1975, with shape 0; online
as in SPOT (Siffer et al., KDD 2017).
"""

from __future__ import annotations

import math
from typing import Final

_LN10: Final = math.log(10.0)
# Starting values, in log1p of standard deviations: gone after the warm-up.
_FIRST_EXCESS: Final = 0.3
_FIRST_STEP: Final = 0.1
_EXCESS_MIN: Final = 1e-3
# One huge novelty must not make the tail deaf.
_EXCESS_LEARNT_MAX: Final = 6.0
# The guess that the decay starts with is gone after some ten exceedances.
_YOUNG_WEIGHT: Final = 0.2
# A running quantile moves by this many mean distances, times its weight, at each reading: enough to follow, too little
# to jitter (anything from 1 to 6 finds the same).
_QUANTILE_STEPS: Final = 3.0


class Tail:
    """The `share` quantile of novelties and the mean excess over it. Counts are readings."""

    __slots__ = ("quantile", "excess", "step", "_share", "_excess_weight", "_warm_up", "_floor")

    def __init__(self, share: float, excess_memory: int, warm_up: int) -> None:
        self.quantile, self.excess, self.step = 0.0, _FIRST_EXCESS, _FIRST_STEP
        self._share, self._excess_weight, self._warm_up = share, 1.0 / excess_memory, warm_up
        self._floor = -math.log10(1.0 - share)

    def surprise(self, novelty: float) -> float:
        beyond = novelty - self.quantile
        if beyond > 0.0:
            return self._floor + beyond / self.excess / _LN10
        return self._floor * novelty / self.quantile

    def learn(self, novelty: float, reading: int, weight: float) -> None:
        """`weight`: of this reading in the quantile."""
        beyond = novelty - self.quantile
        self.step += weight * (abs(beyond) - self.step)
        share = self._share if beyond > 0.0 else self._share - 1.0
        quantile = self.quantile + _QUANTILE_STEPS * weight * self.step * share
        self.quantile = quantile = quantile if quantile > 0.0 else 0.0  # noqa: FURB136
        beyond = novelty - quantile
        if beyond <= 0.0:
            return
        if reading > self._warm_up:
            beyond = min(beyond, _EXCESS_LEARNT_MAX * self.excess)
            weight = self._excess_weight
        else:
            weight = _YOUNG_WEIGHT
        self.excess = max(_EXCESS_MIN, self.excess + weight * (beyond - self.excess))

    def numbers(self) -> list[float]:
        return [self.quantile, self.excess, self.step]

    def restore(self, numbers: list[float]) -> None:
        self.quantile, self.excess, self.step = map(float, numbers)
