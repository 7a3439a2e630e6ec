"""How the signals of one machine type move together, and how far a machine leaves that.

Idea. Load moves most signals of a machine at once, and hides what moves one of them alone: a bearing that runs warm
under half load is no warmer than a well one under full load. Where a fleet has shown how a signal follows the others,
its *deviation* from what they say is watched like a signal of its own (`plantwatch.machine`), by the same detector and
with a prior of its own. Deviations are those of short means, since the noise of single readings is shared by nobody.

Cost. One exponential, and a product of a small matrix and a vector for each reading.

Blame. Whatever moves one signal moves the deviations of those that follow it too. `implicated` tells them apart, as far
as there are other signals to ask.

When it misleads. A relation that differs from state to state is learnt as its average, and is then weak. It knows
straight lines only.

Source. The regression of each variable on all others by the inverse covariance (Lauritzen, Graphical Models, 1996,
section 5.1); regression adjustment of correlated signals in process control: Hawkins, Technometrics 33 (1991).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from plantwatch.telemetry import EpochMs

# 16 signals cost 256 products a reading, as much as scoring them; a larger machine is better cut into its parts.
RELATED_MAX: Final = 16
# Standard deviations from what the signals that are not blamed say: once in two thousand for a Gaussian.
_STILL_STRANGE: Final = 3.5


@dataclass(frozen=True, slots=True)
class Relation:
    """What each target signal is expected to be, given the others. ValueError where the numbers make no sense.

    With P the `precision`, the deviation of target i from what the others say is the sum over all signals j of
    `P[i][j] / P[i][i] * (mean_j - centre[j])`, in the target's unit; its variance in ordinary running is `1 / P[i][i]`.
    """

    signals: tuple[str, ...]
    """2 to RELATED_MAX; a reading without one of them says nothing about the relation."""
    centre: tuple[float, ...]
    """Their means over the fleet."""
    targets: tuple[str, ...]
    """Those that follow the others closely enough to be watched."""
    precision: tuple[tuple[float, ...], ...]
    """(signals, signals): the inverse covariance of the short means within one machine."""
    mean_s: float = 10.0
    """Time constant of the short means. Ten seconds take out nine tenths of the noise at 5 readings/s and delay a fault
    by less than that."""
    _weights: tuple[tuple[float, ...], ...] = field(init=False, repr=False, compare=False)
    """(targets, signals): the targets' rows of the precision, each divided by its diagonal."""

    def __post_init__(self) -> None:
        _check(2 <= len(self.signals) <= RELATED_MAX, f"{len(self.signals)} signals; 2 to {RELATED_MAX} can be related")
        _check(len(set(self.signals)) == len(self.signals), "a signal is named twice")
        _check(len(set(self.targets)) == len(self.targets) > 0, "no target, or one is named twice")
        _check(set(self.targets) <= set(self.signals), "a target is none of the signals")
        _check(len(self.centre) == len(self.signals), f"{len(self.centre)} centres of {len(self.signals)} signals")
        _check(len(self.precision) == len(self.signals), f"{len(self.precision)} rows of {len(self.signals)} signals")
        _check(
            all(len(row) == len(self.signals) for row in self.precision), "a row is not as long as there are signals"
        )
        numbers = [*self.centre, *(part for row in self.precision for part in row)]
        _check(all(map(math.isfinite, numbers)), "a number is not finite")
        _check(all(row[i] > 0.0 for i, row in enumerate(self.precision)), "a precision is not positive")
        _check(0.0 < self.mean_s < math.inf, f"mean_s is {self.mean_s}; it must be positive and finite")
        rows = [(self.signals.index(target), self.precision[self.signals.index(target)]) for target in self.targets]
        object.__setattr__(self, "_weights", tuple(tuple(part / row[i] for part in row) for i, row in rows))
        _check(all(math.isfinite(weight) for row in self._weights for weight in row), "a weight is not finite")

    def watching(self, targets: Container[str]) -> Relation | None:
        """The same with some of its targets only; None where that leaves none."""
        kept = tuple(target for target in self.targets if target in targets)
        return replace(self, targets=kept) if kept else None

    def deviations(self, means: Sequence[float]) -> list[float]:
        """Of the targets, for the short means of all signals."""
        away = [mean - centre for mean, centre in zip(means, self.centre, strict=True)]
        return [sum(map(float.__mul__, row, away)) for row in self._weights]

    def implicated(self, means: Sequence[float], suspects: Sequence[str]) -> list[str]:
        """Those of the suspects, the strongest first, that do not merely follow one that is blamed before.

        The first always is blamed. Another one follows where it agrees with all signals that are not blamed, while
        those that are blamed do not agree with the rest even without it. Where two signals can only be held against
        one another, nobody can tell which of them is wrong: both are named.
        """
        away = [mean - centre for mean, centre in zip(means, self.centre, strict=True)]
        blamed: list[int] = []
        for suspect in map(self.signals.index, suspects):
            agrees = self._strangeness(suspect, away, blamed) < _STILL_STRANGE
            if not (blamed and agrees and all(self._strangeness(i, away, [suspect]) >= _STILL_STRANGE for i in blamed)):
                blamed.append(suspect)
        return [self.signals[i] for i in blamed]

    def _strangeness(self, signal: int, away: Sequence[float], without: Sequence[int]) -> float:
        """The deviation of a signal from what the others but `without` say, in standard deviations.

        Without some, the precision of the rest is its Schur complement.
        """
        precision = {i: dict(enumerate(row)) for i, row in enumerate(self.precision)}
        for gone in without:
            row = precision.pop(gone)
            for other in precision.values():
                part = other.pop(gone) / row[gone]
                for j in other:
                    other[j] -= part * row[j]
        row = precision[signal]
        # Rounding may leave nothing of a precision that is next to singular; then nobody can tell.
        return (
            abs(sum(part * away[j] for j, part in row.items())) / math.sqrt(row[signal]) if row[signal] > 0.0 else 0.0
        )

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "signals": list(self.signals),
            "centre": list(self.centre),
            "targets": list(self.targets),
            "precision": [list(row) for row in self.precision],
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
