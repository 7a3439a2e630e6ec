"""Stretches of time: what touches becomes one, and what lies in them is found."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.intervals import Interval, holds, merged

INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: Interval(pair[0], pair[0] + pair[1]))
)


@given(INTERVALS)
def test_merged_intervals_hold_the_same_instants_and_do_not_touch(intervals: list[Interval]) -> None:
    result = merged(intervals)
    assert all(before.last < after.first for before, after in pairwise(result))
    for at in range(-1, 72):
        assert holds(result, at) == any(interval.holds(at) for interval in intervals)


@given(INTERVALS, INTERVALS)
def test_shared_time_is_none_where_intervals_do_not_overlap(ours: list[Interval], theirs: list[Interval]) -> None:
    for one in ours:
        for other in theirs:
            both = [at for at in range(72) if one.holds(at) and other.holds(at)]
            assert one.overlaps(other) == bool(both)
            assert one.shared_ms(other) == max(0, len(both) - 1)
