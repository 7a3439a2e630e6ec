"""The native live detector equals the pure one, which is its oracle, whatever comes."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plantwatch import native
from plantwatch.detectors import checks
from plantwatch.detectors.novelty import Novelty, NoveltyParameters
from plantwatch.native.novelty import NativeNovelty, NoveltyPanel
from tests.unit.native import parity

pytestmark = pytest.mark.skipif(not native.in_use(), reason="the native core is not built: no C compiler here")

parameters = st.builds(
    NoveltyParameters,
    mean_readings=st.integers(1, 50),
    warm_up=st.integers(1, 400),
    block=st.integers(1, 600),
    memory=st.integers(1, 6000),
    tail_memory=st.integers(1, 20_000),
    near=st.floats(0.01, 2.0),
)


def make(chosen: NoveltyParameters = NoveltyParameters()) -> NativeNovelty:  # noqa: B008 - it is frozen
    made = native.novelty(chosen)
    assert isinstance(made, NativeNovelty)
    return made


def make_panel() -> NoveltyPanel:
    made = native.panel()
    assert made is not None
    return made


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_passes_the_battery(check: Callable[[checks.MakeDetector], None]) -> None:
    check(make)


@given(parity.lives, parameters)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_lives_as_the_pure_one_does_to_the_last_bit(life: list[Any], chosen: NoveltyParameters) -> None:
    parity.live(life, make(chosen), Novelty(chosen), lambda: (make(chosen), Novelty(chosen)))


@pytest.mark.parametrize("seed", range(4))
def test_months_of_an_ordinary_signal_give_the_same_surprises(seed: int) -> None:
    ours, oracle = make(), Novelty()
    values = list(checks.signal(seed, 60_000))
    assert [ours.step(value) for value in values] == [oracle.step(value) for value in values]
    parity.same_state(ours.state(), oracle.state())


def test_a_panel_steps_as_each_detector_by_itself() -> None:
    panel, chance = make_panel(), random.Random(6)
    together, apart = [make() for _ in range(9)], [Novelty() for _ in range(9)]
    for turn in range(6000):
        places = sorted(chance.sample(range(9), chance.randint(1, 9))) if turn % 3 else list(range(9))
        values = [chance.gauss(place, 1.0) + 30.0 * (chance.random() < 0.01) for place in places]
        surprises = panel([together[place].handle for place in places], values) or [0.0] * len(places)
        assert list(surprises) == [apart[place].step(value) for place, value in zip(places, values, strict=True)]
    for one, other in zip(together, apart, strict=True):
        parity.same_state(one.state(), other.state())


def test_a_panel_refuses_what_is_not_finite() -> None:
    detectors = [make(), make()]
    with pytest.raises(ValueError, match="finite"):
        make_panel()([detector.handle for detector in detectors], [1.0, math.nan])


@pytest.mark.parametrize(
    "broken",
    [
        {"_readings": "many"}, {"_readings": 1e300}, {"_readings": 2.5}, {"_centre": None}, {"_low": [1.0]},
        {"_beyond": 2**70},
    ],
)  # fmt: skip
def test_a_state_with_something_else_than_numbers_is_refused(broken: dict[str, Any]) -> None:
    state = make().state()
    with pytest.raises(ValueError, match="state"):
        make().restore({**state, "scalars": {**state["scalars"], **broken}})


@given(st.floats(), st.floats(), finite := st.floats(allow_nan=False, allow_infinity=False))
def test_a_broken_state_leads_nowhere_outside_its_memory(position: float, centre: float, value: float) -> None:
    detector = make()
    for ordinary in checks.signal(1, 600):
        detector.step(ordinary)
    state = detector.state()
    detector.restore({**state, "scalars": {**state["scalars"], "_slow_position": position, "_centre": centre}})
    try:
        detector.step(value)
    except ValueError:
        return
    assert detector.expected() is not None


def test_it_is_not_copied_by_its_address() -> None:
    with pytest.raises(TypeError, match="restore"):
        copy.deepcopy(make())
