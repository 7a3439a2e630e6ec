"""What scores one machine's rows, whatever the number of its signals: a row in, a calibrated score and a decision out.

A *row* is what one time stamp brings: one value for each signal, in the same order every time, None where it is
missing. Rows come in the order of time and a verdict never changes afterwards, so that a file is scored as it would
have been live.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """What is said about one row, with nothing known but it and the rows before it."""

    score: float
    """In [0, 1]: 1 - tail probability (`plantwatch.detectors.base.score_of`). In ordinary running a score of 0.99 is
    exceeded by about one independent row in a hundred."""
    alarm: bool
    """In alarm at this row. Decided with hysteresis or hold-off, so that one fault is one stretch of alarm."""


UNREMARKABLE = Verdict(0.0, alarm=False)


class SeriesDetector(Protocol):
    """One machine, row after row. `plantwatch.detectors.catalogue` makes them by name."""

    def step(self, values: Sequence[float | None]) -> Verdict:
        """Score this row, then learn it. `values` are finite or None and as many as the detector was made for."""
