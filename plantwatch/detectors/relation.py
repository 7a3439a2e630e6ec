"""How the signals of one machine type move together, and how far a machine leaves that.

Idea. Load moves most signals of a machine at once, and hides what moves one of them alone: a bearing that runs warm
under half load is no warmer than a well one under full load. Where a fleet has shown how a signal follows the others,
its *deviation* from what they say is watched like a signal of its own (`plantwatch.machine`), by the same detector and
with a prior of its own. Deviations are those of short means, since the noise of single readings is shared by nobody.

Cost. One exponential, and a product of a small matrix and a vector for each reading.

When it misleads. Whatever moves a signal moves the deviations of those that follow it too, less strongly. A relation
that differs from state to state is learnt as its average, and is then weak. It knows straight lines only.

Source. The regression of each variable on all others by the inverse covariance (Lauritzen, Graphical Models, 1996,
section 5.1); regression adjustment of correlated signals in process control: Hawkins, Technometrics 33 (1991).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from plantwatch.telemetry import EpochMs

# 16 signals cost 256 products a reading, as much as scoring them; a larger machine is better cut into its parts.
RELATED_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Relation:
    """What each target signal is expected to be, given the others. ValueError where the numbers make no sense.

    The deviation of target i is the sum over all signals j of `weights[i][j] * (mean_j - centre[j])`, in the target's
    unit: its own weight is 1, the others' are what they say about it, taken away.
    """

    signals: tuple[str, ...]
    """2 to RELATED_MAX; a reading without one of them says nothing about the relation."""
    centre: tuple[float, ...]
    """Their means over the fleet."""
    targets: tuple[str, ...]
    """Those that follow the others closely enough to be watched."""
    weights: tuple[tuple[float, ...], ...]
    """(targets, signals)"""
    mean_s: float = 10.0
    """Time constant of the short means. Ten seconds take out nine tenths of the noise at 5 readings/s and delay a fault
    by less than that."""

    def __post_init__(self) -> None:
        _check(2 <= len(self.signals) <= RELATED_MAX, f"{len(self.signals)} signals; 2 to {RELATED_MAX} can be related")
        _check(len(set(self.signals)) == len(self.signals), "a signal is named twice")
        _check(len(set(self.targets)) == len(self.targets) > 0, "no target, or one is named twice")
        _check(set(self.targets) <= set(self.signals), "a target is none of the signals")
        _check(len(self.centre) == len(self.signals), f"{len(self.centre)} centres of {len(self.signals)} signals")
        _check(len(self.weights) == len(self.targets), f"{len(self.weights)} rows of {len(self.targets)} targets")
        _check(all(len(row) == len(self.signals) for row in self.weights), "a row is not as long as there are signals")
        numbers = [*self.centre, *(weight for row in self.weights for weight in row)]
        _check(all(map(math.isfinite, numbers)), "a number is not finite")
        _check(0.0 < self.mean_s < math.inf, f"mean_s is {self.mean_s}; it must be positive and finite")
        own = [row[self.signals.index(target)] for row, target in zip(self.weights, self.targets, strict=True)]
        _check(all(weight == 1.0 for weight in own), "a target's own weight is not 1")

    def watching(self, targets: Container[str]) -> Relation | None:
        """The same with some of its targets only; None where that leaves none."""
        kept = [(target, row) for target, row in zip(self.targets, self.weights, strict=True) if target in targets]
        if not kept:
            return None
        return replace(self, targets=tuple(target for target, _ in kept), weights=tuple(row for _, row in kept))

    def deviations(self, means: Sequence[float]) -> list[float]:
        """Of the targets, for the short means of all signals."""
        away = [mean - centre for mean, centre in zip(means, self.centre, strict=True)]
        return [sum(map(float.__mul__, row, away)) for row in self.weights]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "signals": list(self.signals),
            "centre": list(self.centre),
            "targets": list(self.targets),
            "weights": [list(row) for row in self.weights],
            "mean_s": self.mean_s,
        }


class ShortMeans:
    """Exponential means of several signals over observed time, whatever the rate of readings."""

    __slots__ = ("_signals", "_mean_ms", "values", "at")

    def __init__(self, signals: Sequence[str], mean_s: float) -> None:
        self._signals = tuple(signals)
        self._mean_ms = mean_s * 1000.0
        self.values: list[float] = []
        """Empty before the first complete reading."""
        self.at: EpochMs = 0

    def step(self, reading: Mapping[str, float], at: EpochMs) -> bool:
        """Take a reading's values; False, and nothing has changed, where one is missing. `at` never runs backwards."""
        try:
            latest = [reading[signal] for signal in self._signals]
        except KeyError:
            return False
        if not self.values:
            self.values = latest
        else:
            weight = -math.expm1((self.at - at) / self._mean_ms)
            self.values = [mean + weight * (value - mean) for mean, value in zip(self.values, latest, strict=True)]
        self.at = at
        return True

    def set_clock(self, at: EpochMs) -> None:
        """The device's clock was set back."""
        self.at = at

    def state(self) -> list[Any]:
        return [self.at, self.values]

    def restore(self, state: Sequence[Any]) -> None:
        """ValueError or TypeError where it is none of `state()`."""
        at, values = state
        if len(values) not in (0, len(self._signals)):
            raise ValueError(f"{len(values)} short means of {len(self._signals)} signals")
        self.at, self.values = at, [float(value) for value in values]


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
