"""Shares and causes: which signals a verdict comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.explain import Suspect, causes, price_of_looks, shares
from plantwatch.incident import Fault

BAND = (1.0, 2.0)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60))
def test_causes_sum_to_one_and_the_largest_comes_first(weights: list[float]) -> None:
    found = causes(Suspect(f"s{index}", weight, 3.0, BAND) for index, weight in enumerate(weights))
    assert sum(cause.share for cause in found) == pytest.approx(1.0)
    assert [cause.share for cause in found] == sorted((cause.share for cause in found), reverse=True)


def test_signals_without_a_part_are_not_named() -> None:
    suspects = [Suspect("noise", 0.1, 1.0, BAND), Suspect("pressure", 99.0, 3.0, BAND, Fault.STUCK)]
    assert causes(suspects) == (("pressure", 1.0, 3.0, 1.0, 2.0, Fault.STUCK),)


def test_causes_without_any_evidence_left_are_still_named() -> None:
    assert [cause.share for cause in causes([Suspect("a", 0.0, None, (None, None))])] == [0.0]


def test_shares_are_ordered_by_size_then_name() -> None:
    assert shares([("b", 1.0), ("a", 1.0), ("c", 2.0)]) == (("c", 0.5), ("a", 0.25), ("b", 0.25))


def test_one_signal_has_no_price_and_a_hundred_cost_two_powers_of_ten() -> None:
    assert [price_of_looks(signals) for signals in (0, 1, 100)] == [0.0, 0.0, 2.0]
