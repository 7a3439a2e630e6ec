"""Several signals of one machine: level shifts, joint evidence and leaps, one calibrated score and one alarm.

Idea. The first rows (`train_rows`, or as many as a start-up takes) teach what is normal; nothing is said about them.
Then `LevelShift`, `JointEvidence` and `Leap` look at every row, and the strongest counts. Each gives a number whose
alarm level is 1, which is no probability: a running 0.99 quantile of it, learnt while quiet, turns it into one. An
alarm is at least as strange as one row in a hundred.

A missing value is taken to be the signal's last one: a gap is another detector's business, not a change of level.

Cost. 35 to 50 us a row for 8 to 52 signals; learning the start-up takes 10 to 100 ms once.

When it misleads. A fault during the start-up becomes the norm. See `joint_level`, `joint_evidence` and `leap` for
the rest.

>>> import random
>>> chance = random.Random(1)
>>> detector = Joint(signals=2)
>>> quiet = [detector.step((chance.gauss(5, 1), chance.gauss(50, 9))) for _ in range(600)]
>>> sum(verdict.alarm for verdict in quiet)
0
>>> [detector.step((chance.gauss(5, 1), chance.gauss(90, 9))) for _ in range(30)][-1].alarm
True
>>> [share > 90 for share in detector.contributions()]
[False, True]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from plantwatch.detectors.base import SURPRISE_MAX, score_of
from plantwatch.detectors.joint_evidence import JointEvidence
from plantwatch.detectors.joint_level import Array, LevelShift, deviations
from plantwatch.detectors.leap import Leap
from plantwatch.detectors.series import UNREMARKABLE, Verdict

# Three rows a signal at least, or their covariance is mostly noise; and ten blocks of 15 to learn wandering from.
START_ROWS_MIN: Final = 150
_ROWS_PER_SIGNAL: Final = 3
# Below, neither block means nor left-out folds say anything.
TRAIN_ROWS_MIN: Final = 60
# More rows teach no more, and held as numbers of Python they take 100 MB for 52 signals.
TRAIN_ROWS_MAX: Final = 50_000
# Further out says no more; and one absurd value must be forgotten by the short means within minutes.
_DEVIATIONS_MAX: Final = 1e3

# The tail of the statistic: its 0.99 quantile, in units of the alarm level.
_QUANTILE_AT_FIRST: Final = 0.7
_QUANTILE_MIN: Final = 0.05
_TAIL: Final = 0.01
# A row of the strangest hundredth raises the quantile by 10 %; 99 others bring it back.
_QUANTILE_WEIGHT: Final = 0.1


class Joint:
    """Several signals: level shifts, joint evidence and leaps. See the module's docstring."""

    def __init__(self, signals: int, train_rows: int | None = None) -> None:
        start_rows = max(START_ROWS_MIN, _ROWS_PER_SIGNAL * signals) if train_rows is None else train_rows
        self._start_rows = min(start_rows, TRAIN_ROWS_MAX)
        if self._start_rows < TRAIN_ROWS_MIN:
            raise ValueError(f"{train_rows} training rows are too few to learn from; at least {TRAIN_ROWS_MIN}")
        self._start: list[Sequence[float | None]] = []
        self._quantile = _QUANTILE_AT_FIRST
        self._level: LevelShift | None = None
        self._evidence: JointEvidence | None = None
        self._leap: Leap | None = None
        self._last = self._low = self._high = np.zeros(signals)

    def step(self, values: Sequence[float | None]) -> Verdict:
        if self._level is None or self._evidence is None or self._leap is None:
            self._start.append(tuple(values))
            if len(self._start) == self._start_rows:
                self._learn_start()
            return UNREMARKABLE
        # The list becomes an array of NaN where a value is missing.
        row = np.array(values, dtype=np.float64)
        if not math.isfinite(float(row.sum())):
            row = np.where(np.isnan(row), self._last, row)
        self._last = row = np.minimum(np.maximum(row, self._low), self._high)
        statistic = max(self._level.step(row), self._evidence.step(row), self._leap.step(row))
        alarm = self._level.alarm or self._evidence.alarm or self._leap.alarm
        surprise = min(2.0 * statistic / self._quantile, SURPRISE_MAX)
        if not alarm:
            self._learn_tail(statistic)
        return Verdict(score_of(surprise), alarm)

    def contributions(self) -> list[float]:
        """Each signal's share in the last row's strangeness, in percent: they add up to 100 (all 0 at the start)."""
        if self._level is None or self._evidence is None or self._leap is None:
            return [0.0] * len(self._last)
        parts = (self._level.contributions(), self._evidence.contributions(), self._leap.contributions())
        squares = np.max(parts, axis=0) ** 2
        return [float(share) for share in 100.0 * squares / max(float(squares.sum()), 1e-12)]

    def _learn_tail(self, statistic: float) -> None:
        """A stochastic approximation of the 0.99 quantile (Robbins and Monro 1951), no higher than the alarm level."""
        step = 1.0 - _TAIL if statistic > self._quantile else -_TAIL
        self._quantile = min(max(self._quantile * math.exp(_QUANTILE_WEIGHT * step), _QUANTILE_MIN), 1.0)

    def _learn_start(self) -> None:
        start = _filled(np.array(self._start, dtype=np.float64))
        self._start = []
        with np.errstate(over="ignore"):
            mean, inverse = deviations(start)
            self._low, self._high = mean - _DEVIATIONS_MAX / inverse, mean + _DEVIATIONS_MAX / inverse
        self._last = start[-1]
        self._level, self._evidence, self._leap = LevelShift(start), JointEvidence(start), Leap(start)


def _filled(rows: Array) -> Array:
    """Missing values become the last one before; at the beginning, the first one after; 0 where there is none."""
    for column in rows.T:
        known = np.flatnonzero(~np.isnan(column))
        if not len(known):
            column[:] = 0.0
            continue
        before = np.maximum.accumulate(np.where(np.isnan(column), -1, np.arange(len(column))))
        column[:] = column[np.where(before < 0, known[0], before)]
    return rows
