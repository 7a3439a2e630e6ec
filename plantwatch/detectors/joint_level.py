"""Level shifts of several signals, each measured against how far that signal is known to wander.

Idea. Signals are first made independent of each other in their fast part, so that one disturbance is not counted once
per sensor. Each then gives two *channels*: its value, and the size of its step from row to row (which sees a stuck or
noisier sensor, and a broken correlation as noise). Per channel a short exponential mean is compared with a slow
baseline. The scale is not the channel's noise alone: a process whose block means vary rho times as much as white noise
allows has been seen to wander, and will wander further than a short start-up has shown; the scale grows with rho, more
so where the start-up is short. While all is quiet the scale keeps learning how far the channel strays, late, so that
the beginning of a fault does not excuse itself.

End of an alarm. The level is back near its baseline; or it has dropped to a small part of what it was during the alarm:
the machine came back, but to a slightly other place, and the baseline is learnt anew.

Cost. About 15 numpy calls a row, 15 to 25 us for 8 to 52 signals; memory of about 20 rows and one square matrix.

When it misleads. Slow drift below the rate of the baseline is followed rather than found; a fault during the start-up
becomes the norm; what changes only the correlation of slow parts is invisible (`joint_evidence` looks there).

Sources. Control charts with exponentially weighted means: Roberts, Technometrics 1959, and for several variables Lowry
et al., Technometrics 1992. Batch means for the variance of correlated series: Conway, Management Science 1963.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# How far a channel strays is learnt from every fourth row: its short mean hardly changes from one row to the next.
_ROWS_PER_LESSON: Final = 4
# The filters' first rows of the start-up hold no history.
_SETTLING_ROWS: Final = 5
_MEAN_ROWS: Final = 20
# A signal that is constant in the start-up has no scale: a ten-thousandth of its level is what we take a change by.
_RELATIVE_DEVIATION_MIN: Final = 1e-4
# Eigenvalues of a correlation matrix below this are noise of its estimate.
_EIGENVALUE_MIN: Final = 0.02
# The square of one deviation counts at most this much when straying is learnt.
_LESSON_MAX: Final = 50.0


@dataclass(frozen=True, slots=True)
class LevelParameters:
    """What is chosen about `LevelShift`. Weights are per row, levels in units of a channel's scale."""

    fast: float = 0.05
    """Weight of a row in the short mean: 20 rows."""
    slow: float = 0.005
    """Weight of the short mean in the baseline: 200 rows."""
    quick: float = 0.15
    """Weight of a row in the mean that looks for the end of an alarm: 7 rows."""
    block: int = 15
    """Rows of the means whose spread is compared with white noise."""
    caution: float = 8.0
    """How much a wandering channel's scale grows for a short start-up: sqrt(1 + caution * rho^3 * block / rows)."""
    on: float = 3.4
    """The level that raises an alarm."""
    off: float = 0.5
    """Share of `on` below which the alarm is over."""
    sure: float = 0.3
    """Share of the alarm's usual level that the quick mean must fall below as well, to end it early."""
    elsewhere: float = 0.15
    """Share of the alarm's usual level that counts as having come back to another place."""
    lesson: float = 0.01
    """Weight of a row in the learnt straying."""
    trust: float = 0.4
    """Squared straying, in units of the start-up's scale, that is as expected; beyond it the scale grows."""
    prior: float = 4.0
    """How much more than in the start-up a channel is expected to stray, squared."""
    late_rows: int = 60
    """Rows until a deviation is learnt, and for which a new baseline is learnt."""
    sparse: float = 3.0
    """Standard errors below which a correlation counts as none."""
    step_max: float = 4.0
    """The most that one step counts, in standard deviations of the fast part."""


class LevelShift:
    """`step` gives the largest level over `on`: more than 1 raises the alarm. See the module's docstring."""

    _previous: Array
    _short: Array
    _quick: Array
    _baseline: Array
    _level: Array
    _straying: Array
    _lessons: Array
    _inverse_start: Array
    _inverse: Array

    def __init__(self, start: Array, parameters: LevelParameters | None = None) -> None:
        """`start`: rows x signals of normal operation, at least three blocks."""
        self._p = parameters = parameters or LevelParameters()
        self.alarm = False
        self._rows = len(start)
        self._relearning = 0
        self._usual = 0.0
        self._whiten = _fast_part_whitener(start, parameters)
        channels = self._channels_of(start)
        self._learn_scale(channels)
        self._run_filters(channels)

    def step(self, row: Array) -> float:
        p = self._p
        self._rows += 1
        value = row @ self._whiten
        y = np.concatenate((value, np.minimum(np.abs(value - self._previous), p.step_max)))
        self._previous = value
        self._short = self._short + p.fast * (y - self._short)
        deviation = self._short - self._baseline
        self._level = np.abs(deviation * self._inverse)
        level = float(self._level.max())
        if self._relearning:
            self._relearning -= 1
            self._baseline = self._short
            return 0.0
        if self.alarm:
            self._look_for_the_end(y, level)
            return level / p.on
        if self._rows % _ROWS_PER_LESSON == 0:
            self._learn_straying(deviation)
        if level > p.on:
            self.alarm, self._usual, self._quick = True, level, self._short
        else:
            self._baseline = self._baseline + p.slow * deviation
        return level / p.on

    def contributions(self) -> Array:
        """One number a signal: the larger level of its two channels, in units of the alarm level."""
        values, steps = np.split(self._level, 2)
        return np.asarray(np.maximum(values, steps) / self._p.on)

    def _look_for_the_end(self, y: Array, level: float) -> None:
        p = self._p
        self._quick = self._quick + p.quick * (y - self._quick)
        # The usual level of this alarm rises fast and falls slowly.
        self._usual += (0.1 if level > self._usual else 0.01) * (level - self._usual)
        now = float(np.abs((self._quick - self._baseline) * self._inverse).max())
        off = p.off * p.on
        is_back = now < min(off, p.sure * self._usual)
        is_elsewhere = not is_back and now < p.elsewhere * self._usual
        if is_back or is_elsewhere:
            self._short = self._quick
        if is_elsewhere:
            self._relearning = p.late_rows
        self.alarm = not (is_back or is_elsewhere or level < off)

    def _learn_straying(self, deviation: Array) -> None:
        p = self._p
        slot = self._rows // _ROWS_PER_LESSON % len(self._lessons)
        self._straying = self._straying + p.lesson * _ROWS_PER_LESSON * (self._lessons[slot] - self._straying)
        self._inverse = self._inverse_start / np.sqrt(np.maximum(self._straying / p.trust, 1.0))
        self._lessons[slot] = np.minimum((deviation * self._inverse_start) ** 2, _LESSON_MAX)

    def _channels_of(self, start: Array) -> Array:
        values = start @ self._whiten
        steps = np.minimum(np.abs(np.diff(values, axis=0)), self._p.step_max)
        self._previous = values[-1]
        return np.hstack((values, np.vstack((np.ones(values.shape[1]), steps))))[_SETTLING_ROWS:]

    def _learn_scale(self, channels: Array) -> None:
        block = self._p.block
        noise = np.sqrt(np.maximum((np.diff(channels, axis=0) ** 2).mean(0) / 2, 1e-6) / block)
        rho = np.maximum(_block_means(channels, block).std(0) / noise, 1.0)
        caution = np.sqrt(1.0 + self._p.caution * rho**3 * block / self._rows)
        self._inverse_start = 1.0 / (noise * rho * caution)

    def _run_filters(self, channels: Array) -> None:
        """The start-up as if it had been live: where the filters stand at its end, and how far channels strayed."""
        p = self._p
        short, baseline = channels[:_MEAN_ROWS].mean(0), channels[:_MEAN_ROWS].mean(0)
        strayed, rows = np.zeros_like(short), 0
        for turn, y in enumerate(channels):
            short = short + p.fast * (y - short)
            baseline = baseline + max(p.slow, 1.0 / (turn + _MEAN_ROWS)) * (short - baseline)
            if turn >= _MEAN_ROWS:
                strayed += ((short - baseline) * self._inverse_start) ** 2
                rows += 1
        self._short = short
        self._quick = short
        self._baseline = channels[-round(1 / p.slow) :].mean(0)
        self._level = np.zeros_like(short)
        self._straying = p.prior * strayed / rows
        self._inverse = self._inverse_start / np.sqrt(np.maximum(self._straying / p.trust, 1.0))
        self._lessons = np.zeros((max(p.late_rows // _ROWS_PER_LESSON, 1), len(short)))


def _block_means(rows: Array, block: int) -> Array:
    """Means of all `block` consecutive rows."""
    sums = np.cumsum(np.vstack((np.zeros(rows.shape[1]), rows)), axis=0)
    return np.asarray((sums[block:] - sums[:-block]) / block)


def deviations(rows: Array) -> tuple[Array, Array]:
    """Mean and inverse deviation of each signal, the latter bounded for signals that do not vary."""
    mean = rows.mean(0)
    return mean, 1.0 / (rows.std(0) + _RELATIVE_DEVIATION_MIN * np.abs(mean) + 1e-9)


def _fast_part_whitener(start: Array, p: LevelParameters) -> Array:
    """Signals x signals: what makes the fast parts of the start-up's signals independent and of deviation 1.

    Correlations that so short a start-up cannot tell from none count as none (soft threshold).
    """
    mean, inverse = deviations(start)
    scaled = (start - mean) * inverse
    half = p.block // 2
    means = _block_means(scaled, p.block)
    fast = scaled[half : half + len(means)] - means
    deviation = fast.std(0) + 1e-6
    correlation = (fast / deviation).T @ (fast / deviation) / len(fast)
    correlation = np.sign(correlation) * np.maximum(np.abs(correlation) - p.sparse / math.sqrt(len(fast)), 0.0)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = (vectors / np.sqrt(np.maximum(values, _EIGENVALUE_MIN))) @ vectors.T
    return np.asarray((inverse / deviation)[:, None] * root)
