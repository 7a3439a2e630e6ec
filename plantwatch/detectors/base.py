"""What every detector of one signal can do, and how the strangeness of a value is expressed.

*Surprise* is -log10 of a tail probability: 0 says ordinary, 3 says that about one reading in a thousand is so strange
in ordinary running. Surprises are compared, added up and put into limits; people get the *score*, 1 - 10^-surprise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

# A tail probability below 1e-12 is an extrapolation that no amount of readings at one sensor can support.
SURPRISE_MAX: Final = 12.0

State = Mapping[str, Any]
"""A detector's memory as JSON can hold it: numbers, strings, lists. The same on every machine and Python version."""


class Detector(Protocol):
    """One signal, value after value, in the order of observation. `plantwatch.detectors.checks` is its test battery."""

    @property
    def handle(self) -> int:
        """What the native core steps it by (`plantwatch.native`); 0 where only `step` will do."""

    @property
    def warming_up(self) -> bool:
        """Still too young to be asked: every surprise is 0."""

    @property
    def readings_left(self) -> int | None:
        """Readings until the warm-up is over, 0 where it is; None where nobody can tell: the signal never varied."""

    def score_one(self, value: float) -> float:
        """The surprise of `value` if it came now, from 0 to SURPRISE_MAX. Changes nothing. ValueError unless finite."""

    def learn_one(self, value: float) -> None:
        """`value` has come. ValueError unless finite, and then nothing has changed."""

    def step(self, value: float) -> float:
        """Score, then learn: the hot path. Equal to `score_one` followed by `learn_one`, to the last bit."""

    def freeze(self) -> None:
        """Something is wrong with the machine: what came lately and what comes now shall not be learnt as ordinary."""

    def thaw(self) -> None:
        """Learn again."""

    def expected(self) -> tuple[float, float] | None:
        """The band of values that would have been ordinary; None while there is none."""

    def state(self) -> State:
        """Everything needed to go on elsewhere; `restore` of it gives the same surprises to the last bit."""

    def restore(self, state: State) -> None:
        """Go on from a `state`. ValueError, with the reason, where it is not one of this detector's."""


def score_of(surprise: float) -> float:
    """Surprise as a score in [0, 1], rounded to 6 digits: one number on the wire, in tables and on the screen."""
    return round(1.0 - math.pow(10.0, -surprise), 6) if surprise > 0.0 else 0.0
