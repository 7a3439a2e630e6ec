"""Learns a `Relation` from the recordings of a fleet, in one pass and a few sums.

Each machine's own level is taken out, so that machines which differ in level agree about how signals move together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from plantwatch.detectors.relation import RELATED_MAX, Relation, ShortMeans
from plantwatch.telemetry import EpochMs

MEAN_S: Final = 10.0
# A short mean begins at the first value; after six time constants that weighs 1/400.
_SETTLING_S: Final = 6 * MEAN_S
# Part of a diagonal covariance that is mixed in: keeps signals that copy one another from cancelling to nothing.
_SHRINKAGE: Final = 1e-3
# A signal of which the others explain less than a third of the variance is seen as well alone.
_EXPLAINED_MIN: Final = 1.5
# Independent moments that a covariance of 16 signals needs at the least; short means are independent after 2 MEAN_S.
_MOMENTS_MIN: Final = 100
_MIN_SPAN_S: Final = _MOMENTS_MIN * 2 * MEAN_S

Matrix = list[list[float]]


class MachineMoments:
    """Means and covariances of one machine's short means, by Welford's update."""

    def __init__(self, signals: Sequence[str]) -> None:
        self.signals = tuple(signals)
        self._means = ShortMeans(signals, MEAN_S)
        self._first: EpochMs | None = None
        self.count = 0
        self.centre = [0.0] * len(signals)
        self.products = [[0.0] * len(signals) for _ in signals]
        self.span_s = 0.0

    def step(self, values: Mapping[str, float], at: EpochMs) -> None:
        """One reading, in order of time."""
        if not self._means.step(values, at):
            return
        if self._first is None:
            self._first = at
        self.span_s = (at - self._first) / 1000
        if self.span_s < _SETTLING_S:
            return
        self.count += 1
        before = [value - mean for value, mean in zip(self._means.values, self.centre, strict=True)]
        self.centre = [mean + delta / self.count for mean, delta in zip(self.centre, before, strict=True)]
        after = [value - mean for value, mean in zip(self._means.values, self.centre, strict=True)]
        for row, delta in zip(self.products, before, strict=True):
            for column, other in enumerate(after):
                row[column] += delta * other


def fit(machines: Sequence[MachineMoments]) -> Relation | None:
    """What they have in common; None where they are too few, too short, or no signal follows the others."""
    known = [machine for machine in machines if machine.count]
    if not known or sum(machine.span_s for machine in known) < _MIN_SPAN_S:
        return None
    signals, count = known[0].signals, sum(machine.count for machine in known)
    size = range(len(signals))
    covariance = [[sum(machine.products[i][j] for machine in known) / count for j in size] for i in size]
    centre = [sum(machine.centre[i] * machine.count for machine in known) / count for i in size]
    moving = [i for i in size if math.isfinite(covariance[i][i]) and covariance[i][i] > (1e-9 * abs(centre[i])) ** 2]
    if not 2 <= len(moving) <= RELATED_MAX:
        return None
    scale = {i: math.sqrt(covariance[i][i]) for i in moving}
    correlation = [
        [covariance[i][j] / (scale[i] * scale[j]) * (1.0 if i == j else 1.0 - _SHRINKAGE) for j in moving]
        for i in moving
    ]
    precision = inverse(correlation)
    if precision is None:
        return None
    return _relation(signals, centre, moving, scale, precision)


def _relation(
    signals: Sequence[str],
    centre: Sequence[float],
    moving: Sequence[int],
    scale: Mapping[int, float],
    precision: Matrix,
) -> Relation | None:
    """`precision` is that of the correlation, with 1 for the variance of each signal."""
    # Its diagonal is 1 / (share of the variance that the others do not explain).
    targets = [signals[i] for row, i in zip(precision, moving, strict=True) if row[moving.index(i)] >= _EXPLAINED_MIN]
    if not targets:
        return None
    return Relation(
        tuple(signals[i] for i in moving),
        tuple(centre[i] for i in moving),
        tuple(targets),
        tuple(
            tuple(part / (scale[i] * scale[j]) for part, j in zip(row, moving, strict=True))
            for row, i in zip(precision, moving, strict=True)
        ),
        MEAN_S,
    )


def inverse(matrix: Matrix) -> Matrix | None:
    """By Gauss and Jordan with pivots; None where there is none. For matrices of up to RELATED_MAX rows."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        if abs(rows[pivot][column]) < 1e-12:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        divisor = rows[column][column]
        rows[column] = [value / divisor for value in rows[column]]
        for index in range(size):
            factor = rows[index][column]
            if index != column and factor:
                rows[index] = [a - factor * b for a, b in zip(rows[index], rows[column], strict=True)]
    return [row[size:] for row in rows]
