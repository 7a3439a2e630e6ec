"""Checkpoint progress: positions are numbers, marks only grow, and nothing is due before it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.shard.checkpoint import Position, Progress, parse_position

STEPS = st.lists(st.one_of(st.integers(0, 10**56), st.sampled_from(["write", "checkpoint"])), max_size=60)


@given(STEPS)
def test_a_checkpoint_is_never_ahead_of_what_is_written_nor_that_of_what_is_taken(steps: list[int | str]) -> None:
    progress = Progress.starting_at(None)
    confirmed: list[Position] = []
    for step in steps:
        if step == "write":
            progress = progress.write()
        elif step == "checkpoint":
            if progress.due is not None:
                confirmed.append(progress.due)
            progress = progress.checkpoint()
        elif isinstance(step, int) and progress.is_new(Position(step)):
            progress = progress.take(Position(step))
        marks = [mark for mark in (progress.checkpointed, progress.written, progress.taken) if mark is not None]
        assert marks == sorted(marks)
    assert confirmed == sorted(set(confirmed)), "each checkpoint is later than the one before"


def test_sequence_numbers_are_compared_as_numbers_not_as_text() -> None:
    assert Position(10) > Position(9)
    assert str(Position(10)) > str(Position(9)), "names of objects sort as positions do"


def test_records_of_one_aggregated_record_are_ordered_by_their_sub_sequence() -> None:
    assert Position(7, 0) < Position(7, 1) < Position(8, 0)


def test_a_record_that_was_taken_before_is_not_new() -> None:
    progress = Progress.starting_at(Position(5)).take(Position(8))
    assert not progress.is_new(Position(5))
    assert not progress.is_new(Position(8))
    assert progress.is_new(Position(9))


def test_taking_an_old_record_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        Progress.starting_at(Position(5)).take(Position(4))


@pytest.mark.parametrize("start", [None, "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"])
def test_a_shard_without_checkpoint_starts_at_its_beginning(start: str | None) -> None:
    assert parse_position(start, 0) is None


def test_a_checkpoint_is_read_as_the_daemon_writes_it() -> None:
    assert parse_position("49590338271490256608559692538361571095921575989136588898", None) == Position(
        49590338271490256608559692538361571095921575989136588898
    )
    assert parse_position("12", 3) == Position(12, 3)
