"""A leap: a signal is, for a few rows in a row, far outside everything that was met before.

Idea. Where a signal swings or wanders by itself, a step of many times its noise is within what level shifts allow: they
measure by how far block means stray, and a swing strays far. It may still lie where the signal never was. Per signal
the range of all that was met is kept, of medians of three rows, so that a spike does not widen it. Three rows in a row
that lie outside by more than the width of the range are a leap. The range is learnt ten rows late: what is reached
slowly is in it before it is far outside, and a drift never leaps; a leap is noticed before it could excuse itself.

Start-ups. Independent normal rows span 3.5 deviations in 150 medians of three; the width counts as five deviations of
the start-up at least, so that they must come to lie nearly seven out, three times in a row. A heavy tail raises that:
its outliers are in the deviation. Where the start-up saw a part of a slow swing, the rest is learnt as drift is.

End of an alarm. Three rows in a row lie nearer than half of what raises it, or at a small part of where the alarm was:
the machine came back, but to a slightly other place; or it has stayed for `stay_rows`. The last rows then join the
range, which is frozen in between.

Cost. About 20 numpy calls a row, 10 us for 8 to 52 signals; memory of 10 rows.

When it misleads. What lies within the range, or less than its width outside, is left to the others, and so is whatever
takes more than about ten rows to get there. A lasting new state of a healthy machine that is entered at once is an
alarm. A signal that did not vary at all in the start-up leaps with its first lasting change of level. A spike whose
value is held over two missing ones is a leap.

Source. Limits from the sample's own range, for series of unknown distribution: distribution-free control charts, Bakir,
Communications in Statistics 2004; medians of three against spikes: Tukey, Exploratory Data Analysis, 1977.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from plantwatch.detectors.joint_level import Array, deviations


@dataclass(frozen=True, slots=True)
class LeapParameters:
    """What is chosen about `Leap`."""

    width: float = 1.0
    """How far outside the range a leap is, in widths of the range."""
    width_min: float = 5.0
    """The least width of the range, in deviations of the start-up."""
    late_rows: int = 10
    """Rows until what was met widens the range."""
    off: float = 0.5
    """Share of `width` below which a row counts as back."""
    elsewhere: float = 0.3
    """Share of the alarm's usual distance that counts as having come back to another place."""
    stay_rows: int = 500
    """Rows of alarm after which the machine's state is the new normal: longer than faults that people leave alone."""


class Leap:
    """`step` gives how far outside the last three rows are; more than 1 raises the alarm. See the module."""

    def __init__(self, start: Array, parameters: LeapParameters | None = None) -> None:
        """`start`: rows x signals of normal operation, at least three."""
        self._p = parameters or LeapParameters()
        self.alarm = False
        self._width_min = self._p.width_min / deviations(start)[1]
        medians = _median(start[:-2], start[1:-1], start[2:])
        self._low, self._high = medians.min(0), medians.max(0)
        self._before, self._last = start[-2], start[-1]
        self._late: deque[Array] = deque(maxlen=self._p.late_rows)
        self._outside: deque[Array] = deque([np.zeros(start.shape[1])] * 3, maxlen=3)
        self._back_rows = self._alarm_rows = 0
        self._usual = 0.0

    def step(self, row: Array) -> float:
        scale = self._p.width * self._width()
        self._outside.append(np.maximum(np.maximum(row - self._high, self._low - row), 0.0) / scale)
        median = _median(self._before, self._last, row)
        self._before, self._last = self._last, row
        if self.alarm:
            farthest = float(self._outside[-1].max())
            self._look_for_the_end(median, farthest)
            return farthest
        if len(self._late) == self._p.late_rows:
            self._learn(self._late[0])
        self._late.append(median)
        farthest = float(self.contributions().max())
        if farthest > 1.0:
            self.alarm, self._usual, self._back_rows, self._alarm_rows = True, farthest, 0, 0
        return farthest

    def contributions(self) -> Array:
        """One number a signal: how far outside the nearest of the last three rows is, in units of the alarm level."""
        return np.asarray(np.minimum(np.minimum(self._outside[0], self._outside[1]), self._outside[2]))

    def _width(self) -> Array:
        return np.asarray(np.maximum(self._high - self._low, self._width_min))

    def _learn(self, median: Array) -> None:
        """What is itself as far as a leap has not lasted, and widens nothing."""
        reach = self._p.width * self._width()
        is_far = (median > self._high + reach) | (median < self._low - reach)
        self._widen(np.where(is_far, self._low, median))

    def _widen(self, values: Array) -> None:
        self._low, self._high = np.minimum(self._low, values), np.maximum(self._high, values)

    def _look_for_the_end(self, median: Array, farthest: float) -> None:
        p = self._p
        self._alarm_rows += 1
        # As in `joint_level`: the usual distance of this alarm rises fast and falls slowly.
        self._usual += (0.1 if farthest > self._usual else 0.01) * (farthest - self._usual)
        is_back = farthest < max(p.off, p.elsewhere * self._usual)
        self._back_rows = self._back_rows + 1 if is_back else 0
        if self._back_rows >= len(self._outside) or self._alarm_rows >= p.stay_rows:
            self.alarm = False
            self._widen(median)
            self._outside.extend([np.zeros_like(median)] * 3)


def _median(a: Array, b: Array, c: Array) -> Array:
    """Of three, one by one."""
    return np.asarray(np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)))
