"""Stretches of time, closed at both ends, in milliseconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plantwatch.telemetry import EpochMs


class Interval(NamedTuple):
    """From `first` to `last`, both included; one instant is an interval of length 0."""

    first: EpochMs
    last: EpochMs

    @property
    def length_ms(self) -> int:
        return self.last - self.first

    def holds(self, at: EpochMs) -> bool:
        return self.first <= at <= self.last

    def overlaps(self, other: Interval) -> bool:
        return self.first <= other.last and other.first <= self.last

    def shared_ms(self, other: Interval) -> int:
        return max(0, min(self.last, other.last) - max(self.first, other.first))


def merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same time as intervals that do not touch, in order."""
    result: list[Interval] = []
    for interval in sorted(intervals):
        if result and interval.first <= result[-1].last:
            result[-1] = Interval(result[-1].first, max(result[-1].last, interval.last))
        else:
            result.append(interval)
    return tuple(result)


def holds(intervals: Sequence[Interval], at: EpochMs) -> bool:
    """Whether `at` lies in one of some merged intervals."""
    place = bisect_right(intervals, at, key=lambda interval: interval.first)
    return place > 0 and at <= intervals[place - 1].last
