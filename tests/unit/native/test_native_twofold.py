"""The native detector of series equals the pure one to the last bit, whatever comes and in whatever order."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plantwatch import native
from plantwatch.detectors import checks
from plantwatch.detectors.series import Verdict
from plantwatch.detectors.twofold_series import TwofoldSeries
from plantwatch.native.series import NativeTwofold
from tests.unit.native.parity import EXTREMES, Stretch, bits, finite, same_state, stretches

pytestmark = pytest.mark.skipif(not native.in_use(), reason="the native core is not built: no C compiler here")

_LIFE = st.lists(
    st.one_of(stretches, stretches, finite, st.sampled_from(["miss", "restore", "swap"])), min_size=1, max_size=12
)


def made(train_rows: int | None = None) -> NativeTwofold:
    detector = native.twofold(train_rows)
    assert isinstance(detector, NativeTwofold)
    return detector


def said(verdicts: list[Verdict]) -> list[tuple[str, bool]]:
    return [(score, verdict.alarm) for score, verdict in zip(bits(v.score for v in verdicts), verdicts, strict=True)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=_LIFE, train_rows=st.sampled_from([None, 1, 200]))
def test_equals_the_pure_one_whatever_comes(life: list[Any], train_rows: int | None) -> None:
    fast, pure = made(train_rows), TwofoldSeries(train_rows)
    for event in life:
        if event in ("restore", "swap"):
            states = [json.loads(json.dumps(one.state(), allow_nan=False)) for one in (pure, fast)]
            fast, pure = made(), TwofoldSeries()
            fast.restore(states[event == "restore"])
            pure.restore(states[event != "restore"])
        else:
            values = event.values() if isinstance(event, Stretch) else [None if event == "miss" else event]
            assert said([fast.step((value,)) for value in values]) == said([pure.step((value,)) for value in values])
        same_state(fast.state(), pure.state())


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(stretches, min_size=1, max_size=5), piece=st.integers(1, 999), gap=st.integers(2, 50))
def test_rows_in_batches_are_rows_one_by_one(parts: list[Stretch], piece: int, gap: int) -> None:
    values = [None if turn % gap == 0 else value for part in parts for turn, value in enumerate(part.values())]
    single, batch = made(30), made(30)
    verdicts: list[Verdict] = []
    for begin in range(0, len(values), piece):
        verdicts += batch.steps(values[begin : begin + piece])
    assert said(verdicts) == said([single.step((value,)) for value in values])
    same_state(single.state(), batch.state())


def test_equals_the_pure_one_over_a_long_life_with_faults() -> None:
    """Long enough to fill and thin every memory, to leave youth, and to bring the weights of the calibration down."""
    chance = random.Random(11)
    values = [
        math.sin(turn / 30.0) * 5.0 + chance.gauss(0.0, 1.0) + (25.0 if turn % 5000 > 4900 else 0.0)
        for turn in range(34_000)
    ]
    fast, pure = made(), TwofoldSeries()
    verdicts = fast.steps(values)
    assert said(verdicts) == said([pure.step((value,)) for value in values])
    same_state(fast.state(), pure.state())
    assert any(verdict.alarm for verdict in verdicts)


def test_a_frozen_state_is_taken_over() -> None:
    """A series never freezes; its novelty's state can say that it was."""
    pure = TwofoldSeries()
    for value in checks.signal(5, 3000):
        pure.step((value,))
    pure._novelty.freeze()
    fast = made()
    fast.restore(pure.state())
    values = list(checks.signal(6, 500))
    assert said(fast.steps(values)) == said([pure.step((value,)) for value in values])
    same_state(fast.state(), pure.state())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_and_changes_nothing(value: float) -> None:
    fast = made()
    for usual in EXTREMES:
        fast.step((usual,))
    before = fast.state()
    with pytest.raises(ValueError, match="finite"):
        fast.step((value,))
    with pytest.raises(ValueError, match="finite"):
        fast.steps([value])
    assert fast.state() == before


@pytest.mark.parametrize(
    "broken", [{}, {"kind": "unknown/9"}, {"kind": NativeTwofold.KIND}, {"readings": -1}, {"readings": 2**60}]
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(broken: dict[str, Any]) -> None:
    fast = made()
    for value in checks.signal(7, 300):
        fast.step((value,))
    before = fast.state()
    with pytest.raises(ValueError, match="state"):
        fast.restore({**before, **broken} if "readings" in broken else broken)
    assert fast.state() == before


@pytest.mark.parametrize("place", ["portrait", "novelty", "event", "evidence", "calibration"])
def test_a_state_with_words_for_numbers_is_refused(place: str) -> None:
    state = json.loads(json.dumps(made().state()))
    if isinstance(state[place], list):
        state[place] = ["x"] * len(state[place])
    elif place == "novelty":
        state[place]["numbers"]["_mean"] = "x"
    else:
        state[place]["numbers" if place == "portrait" else "total"] = "x"
    with pytest.raises(ValueError):
        made().restore(state)


def test_a_portrait_of_negative_age_does_not_reach_the_core() -> None:
    state = json.loads(json.dumps(made().state()))
    state["portrait"]["numbers"][0] = -7
    with pytest.raises(ValueError, match="readings"):
        made().restore(state)


def test_without_the_core_the_pure_one_is_made() -> None:
    native.use(False)
    try:
        assert isinstance(native.twofold(None), TwofoldSeries)
    finally:
        native.use(True)
