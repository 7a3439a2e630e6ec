"""How signals move together, against the start-up: broken correlation, other dynamics, levels held back by control.

Idea. Rows are whitened by the covariance of the whole start-up along two sets of axes: the symmetric ones, of which
each belongs to one signal, and the principal ones. Per axis there are three *channels*: the level; the size of the
innovation, which is what the axis' own last value does not explain; and the product of neighbouring innovations, which
is 0 on average until the dynamics change. Short means of all channels are compared with the start-up, as the largest
of a kind and as the kind's sum of squares.

Limits. What counts as far is learnt by leaving out: the start-up is cut into contiguous folds, and each is scored by
what the others teach. A start-up that is stationary scores all its folds alike. Where the worst fold is much worse than
the middle one, the start-up is known not to tell what comes next; the limit rises by that ratio to a power, and so this
detector steps back by itself on machines that wander. It rises too with the most evidence that was met while quiet,
one minute of rows late.

Cost. About 25 numpy calls a row, 15 to 25 us; memory of about 20 rows and two square matrices.

When it misleads. It never learns another normal: a machine that settles in a new, healthy state stays in alarm, unless
that state is close by comparison with the fault. Five folds tell poorly how stationary a start-up is, and a start-up of
fewer than about five rows for each signal is mostly noise (docs/several-signals.md).

Sources. Hotelling's T2 and principal axes in process monitoring: Jackson, A User's Guide to Principal Components, 1991.
Innovations of autoregressive series: Alwan and Roberts, Journal of Business and Economic Statistics 1988. Limits from
left-out contiguous folds: block cross-validation, Burman, Chow and Nolan, Biometrika 1994.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from plantwatch.detectors.joint_level import Array, deviations

_KINDS: Final = 6
"""Level, innovation and product, each along symmetric and along principal axes."""
_SETTLING_ROWS: Final = 5
_MEAN_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class EvidenceParameters:
    """What is chosen about `JointEvidence`. Weights are per row."""

    level_weight: float = 0.05
    """Of a row in the short mean of levels: 20 rows."""
    innovation_weight: float = 0.02
    """Of a row in the short mean of innovations and their products: 50 rows."""
    eigenvalue_min: float = 0.005
    """Correlations' eigenvalues below it are noise of their estimate."""
    level_max: float = 6.0
    """The most that one row's level counts, in deviations."""
    innovation_max: float = 4.0
    """The most that one row's innovation counts, in deviations."""
    product_max: float = 1.0
    """The most that one product of innovations counts."""
    folds: int = 5
    quantile: float = 0.98
    """Share of the left-out rows that are below the limit."""
    margin: float = 1.2
    """Times the left-out rows' quantile: the limit where the start-up is stationary."""
    alike: float = 1.15
    """Ratio of worst to middle fold up to which the start-up counts as stationary."""
    wariness: float = 5.0
    """Power of the ratio beyond that by which the limit rises."""
    late_rows: int = 60
    """Rows until evidence met while quiet raises the limit, and for which it does so at once after an alarm."""
    off: float = 0.75
    """Share of the limit below which the alarm is over."""
    elsewhere: float = 0.5
    """Share of the alarm's usual evidence that counts as having come back to another place."""


class _Axes(NamedTuple):
    """Whitening, and each axis' own dynamics, as some rows teach them."""

    mean: Array
    whiten: Array
    memory: Array
    """Lag-1 autocorrelation of each axis."""
    inverse_innovation: Array


class JointEvidence:
    """`step` gives the evidence over its limit: more than 1 raises the alarm. See the module's docstring."""

    _caution: float
    _sum_gain: Array

    def __init__(self, start: Array, parameters: EvidenceParameters | None = None) -> None:
        """`start`: rows x signals of normal operation."""
        self._p = p = parameters or EvidenceParameters()
        self.alarm = False
        self._usual = 0.0
        # The most evidence met while quiet; what is met now counts only later, or a fault would excuse itself.
        self._seen = 1.0
        self._late = [0.0] * p.late_rows
        self._turn = self._settling = 0
        self._signals = signals = start.shape[1]
        self._weights = np.repeat((p.level_weight, p.innovation_weight), (2 * signals, 4 * signals))
        limits = self._learn_limits(start)
        self._axes = _learn_axes(start, p)
        channels, values, innovations = self._channels_of(self._axes, start)
        self._mean, inverse = self._scale(channels)
        self._inverse: Array = inverse / np.repeat(limits, signals)
        self._short: Array = self._short_means(channels[-100:])[-1]
        self._value: Array = values[-1]
        self._innovation: Array = innovations[-1]
        self._squares: Array = np.zeros(_KINDS * signals)
        self._offset: Array = self._axes.mean @ self._axes.whiten

    def step(self, row: Array) -> float:
        p, axes = self._p, self._axes
        value = np.minimum(np.maximum(row @ axes.whiten - self._offset, -p.level_max), p.level_max)
        innovation = (value - axes.memory * self._value) * axes.inverse_innovation
        innovation = np.minimum(np.maximum(innovation, -p.innovation_max), p.innovation_max)
        product = np.minimum(np.maximum(innovation * self._innovation, -p.product_max), p.product_max)
        y = np.concatenate((value, np.abs(innovation), product))
        self._value, self._innovation = value, innovation
        self._short = self._short + self._weights * (y - self._short)
        distance = (self._short - self._mean) * self._inverse
        self._squares = distance * distance
        sums = self._squares.reshape(_KINDS, -1).sum(1) * self._sum_gain
        evidence = math.sqrt(max(float(self._squares.max()), float(sums.max())))
        limit = self.limit
        self._decide(evidence)
        # Right after an alarm the limit is being learnt anew, from evidence that is no news.
        return min(evidence / limit, 1.0) if self._settling else evidence / limit

    @property
    def limit(self) -> float:
        """Evidence beyond it raises the alarm."""
        return self._caution * self._seen

    def contributions(self) -> Array:
        """One number a signal: the strongest kind of evidence along its own axis, in units of the limit."""
        symmetric = self._squares.reshape(_KINDS // 2, 2, -1)[:, 0]
        return np.asarray(np.sqrt(symmetric.max(0)) / self.limit)

    def _decide(self, evidence: float) -> None:
        p = self._p
        if self._settling:
            self._settling -= 1
            self._seen = max(self._seen, evidence)
        elif self.alarm:
            self._usual += (0.1 if evidence > self._usual else 0.01) * (evidence - self._usual)
            if evidence < p.off * self.limit:
                self.alarm = False
            elif evidence < p.elsewhere * self._usual:
                self.alarm, self._settling, self._seen = False, p.late_rows, evidence
        else:
            self._seen = max(self._seen, self._late[self._turn])
            self._late[self._turn] = evidence
            self._turn = (self._turn + 1) % p.late_rows
            self.alarm, self._usual = evidence > self.limit, evidence

    def _learn_limits(self, start: Array) -> Array:
        """A limit for each kind's largest channel; sets the gain of its sum and how high the limit is held."""
        p = self._p
        folds = []
        for part in np.array_split(np.arange(len(start)), p.folds):
            left_out, before, after = start[part], start[: part[0]], start[part[-1] + 1 :]
            axes = _learn_axes(np.vstack((before, after)), p)
            # Before and after are filtered apart: the seam between them is no row that ever came.
            mean, inverse = self._scale(
                np.vstack([self._channels_of(axes, rows)[0] for rows in (before, after) if len(rows)])
            )
            distances = np.abs((self._short_means(self._channels_of(axes, left_out)[0]) - mean) * inverse)
            folds.append(distances[_SETTLING_ROWS:].reshape(-1, _KINDS, self._signals))
        largest = [np.quantile(fold.max(2), p.quantile, axis=0) for fold in folds]
        # A constant start-up has no evidence in any fold: all alike, and nothing to be wary of.
        ratio = (np.max(largest, axis=0) + 1e-9) / (np.median(largest, axis=0) + 1e-9)
        typical_ratio = math.exp(float(np.log(ratio).mean()))
        self._caution = p.margin * max(typical_ratio / p.alike, 1.0) ** p.wariness
        together = np.vstack(folds)
        limits = np.quantile(together.max(2), p.quantile, axis=0) + 1e-9
        sums = np.quantile(np.sqrt((together**2).mean(2)), p.quantile, axis=0)
        self._sum_gain = (limits / (sums + 1e-9)) ** 2 / self._signals
        return np.asarray(limits)

    def _channels_of(self, axes: _Axes, rows: Array) -> tuple[Array, Array, Array]:
        p = self._p
        values = np.clip((rows - axes.mean) @ axes.whiten, -p.level_max, p.level_max)
        innovations = (values[1:] - axes.memory * values[:-1]) * axes.inverse_innovation
        innovations = np.clip(innovations, -p.innovation_max, p.innovation_max)
        innovations = np.vstack((innovations[:1], innovations))
        products = np.clip(innovations[1:] * innovations[:-1], -p.product_max, p.product_max)
        products = np.vstack((np.zeros(values.shape[1]), products))
        return np.hstack((values, np.abs(innovations), products)), values, innovations

    def _short_means(self, channels: Array) -> Array:
        short, means = channels[:_MEAN_ROWS].mean(0), np.empty_like(channels)
        for turn, y in enumerate(channels):
            short = short + self._weights * (y - short)
            means[turn] = short
        return means

    def _scale(self, channels: Array) -> tuple[Array, Array]:
        """Mean and inverse deviation of each short mean; no less than independent rows would have."""
        independent = channels.std(0) * np.sqrt(self._weights / (2 - self._weights))
        return channels.mean(0), 1.0 / (np.maximum(self._short_means(channels)[_MEAN_ROWS:].std(0), independent) + 1e-4)


def _learn_axes(rows: Array, p: EvidenceParameters) -> _Axes:
    mean, inverse = deviations(rows)
    scaled = (rows - mean) * inverse
    covariance = scaled.T @ scaled / len(scaled)
    deviation = np.sqrt(np.diag(covariance)) + 1e-9
    values, vectors = np.linalg.eigh(covariance / deviation[:, None] / deviation)
    principal = vectors / np.sqrt(np.maximum(values, p.eigenvalue_min))
    whiten = inverse[:, None] * (np.hstack((principal @ vectors.T, principal)) / deviation[:, None])
    along = np.clip((rows - mean) @ whiten, -p.level_max, p.level_max)
    memory = (along[1:] * along[:-1]).sum(0) / ((along**2).sum(0) + 1e-9)
    return _Axes(mean, whiten, memory, 1.0 / ((along[1:] - memory * along[:-1]).std(0) + 1e-6))
