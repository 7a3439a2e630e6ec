"""How signals follow one another: learnt from a fleet, left by a machine that misbehaves."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.detectors.relation import RELATED_MAX, Relation, ShortMeans
from plantwatch.detectors.relation_fit import MachineMoments, fit, inverse

SIGNALS = ("current", "temperature", "vibration")
RELATION = Relation(SIGNALS, (14.0, 60.0, 2.0), ("vibration",), ((2.0, 0.0, -5.0), (0.0, 1.0, 0.0), (-5.0, 0.0, 25.0)))


def machine(seed: int, seconds: int, level: float = 0.0) -> Iterator[tuple[int, dict[str, float]]]:
    """A load moves current and vibration; temperature goes its own way."""
    chance, load = random.Random(seed), 0.0
    for second in range(seconds):
        load = 0.98 * load + 0.2 * chance.gauss(0.0, 1.0)
        yield (
            second * 1000,
            {
                "current": 14.0 + level + load + 0.1 * chance.gauss(0.0, 1.0),
                "temperature": 60.0 + chance.gauss(0.0, 1.0),
                "vibration": 2.0 + level + 0.2 * load + 0.02 * chance.gauss(0.0, 1.0),
            },
        )


def moments(*machines: Iterator[tuple[int, dict[str, float]]]) -> list[MachineMoments]:
    found = []
    for readings in machines:
        known = MachineMoments(SIGNALS)
        for at, values in readings:
            known.step(values, at)
        found.append(known)
    return found


def test_what_follows_the_others_is_learnt_and_what_does_not_is_left_alone() -> None:
    relation = fit(moments(machine(1, 3000), machine(2, 3000, level=5.0)))
    assert relation is not None
    assert relation.targets == ("current", "vibration")
    said = {
        name: -relation.deviations(
            [centre + (name == signal) for signal, centre in zip(SIGNALS, relation.centre, strict=True)]
        )[1]
        for name in SIGNALS
    }
    assert said["vibration"] == pytest.approx(-1.0)
    assert said["current"] == pytest.approx(0.2, abs=0.02)
    assert said["temperature"] == pytest.approx(0.0, abs=0.02)


def test_load_alone_is_no_deviation_and_a_fault_under_load_is() -> None:
    relation = fit(moments(machine(1, 3000), machine(2, 3000)))
    assert relation is not None
    centre = dict(zip(relation.signals, relation.centre, strict=True))
    loaded = [centre["current"] + 3.0, centre["temperature"], centre["vibration"] + 0.6]
    assert max(map(abs, relation.deviations(loaded))) < 0.3
    faulty = [centre["current"], centre["temperature"], centre["vibration"] + 0.6]
    assert dict(zip(relation.targets, relation.deviations(faulty), strict=True))["vibration"] == pytest.approx(0.6)


def test_too_little_is_no_relation() -> None:
    assert fit([]) is None
    assert fit(moments(machine(1, 300))) is None


def test_signals_of_which_none_follows_the_others_have_no_relation() -> None:
    chance = random.Random(7)
    own_ways = ((second * 1000, {name: chance.gauss(0.0, 1.0) for name in SIGNALS}) for second in range(5000))
    assert fit(moments(own_ways)) is None


def test_a_signal_that_never_moves_is_left_out() -> None:
    fixed = ((at, values | {"temperature": 60.0}) for at, values in machine(3, 3000))
    relation = fit(moments(fixed))
    assert relation is not None
    assert relation.signals == ("current", "vibration")


def test_a_copy_of_a_signal_does_not_cancel_it_to_nothing() -> None:
    copied = ((at, values | {"temperature": values["current"]}) for at, values in machine(3, 3000))
    relation = fit(moments(copied))
    assert relation is not None
    apart = [centre + (signal == "current") for signal, centre in zip(relation.signals, relation.centre, strict=True)]
    deviations = dict(zip(relation.targets, relation.deviations(apart), strict=True))
    assert 0.4 < deviations["current"] <= 1.0


def test_who_follows_the_culprit_is_not_blamed() -> None:
    relation = fit(moments(machine(1, 3000), machine(2, 3000)))
    assert relation is not None
    means = [
        mean + (2.0 if signal == "vibration" else 0.0) for signal, mean in zip(SIGNALS, relation.centre, strict=True)
    ]
    deviations = dict(zip(relation.targets, relation.deviations(means), strict=True))
    assert abs(deviations["current"]) > 1.0
    assert relation.implicated(means, ["vibration", "current"]) == ["vibration"]


def test_two_that_misbehave_are_both_blamed() -> None:
    relation = fit(moments(machine(1, 3000), machine(2, 3000)))
    assert relation is not None
    away = {"vibration": 2.0, "temperature": 9.0, "current": 0.0}
    means = [mean + away[signal] for signal, mean in zip(SIGNALS, relation.centre, strict=True)]
    assert relation.implicated(means, ["vibration", "current", "temperature"]) == ["vibration", "temperature"]


def test_of_two_that_disagree_with_one_another_only_both_are_named() -> None:
    relation = fit(moments(machine(1, 3000), machine(2, 3000)))
    assert relation is not None
    away = {"vibration": 0.2, "temperature": 0.0, "current": -1.0}
    means = [mean + away[signal] for signal, mean in zip(SIGNALS, relation.centre, strict=True)]
    assert set(relation.implicated(means, ["vibration", "current"])) == {"vibration", "current"}


@pytest.mark.parametrize("rate", [1, 5, 0.5])
def test_short_means_do_not_depend_on_the_rate_of_readings(rate: float) -> None:
    means = ShortMeans(["x"], 10.0)
    means.step({"x": 0.0}, 0)
    for turn in range(1, round(20 * rate) + 1):
        means.step({"x": 1.0}, round(turn * 1000 / rate))
    assert means.values[0] == pytest.approx(1.0 - math.exp(-2.0), rel=1e-9)


def test_a_reading_without_one_of_the_signals_changes_nothing() -> None:
    means = ShortMeans(["x", "y"], 10.0)
    means.step({"x": 1.0, "y": 2.0}, 1000)
    assert not means.step({"x": 5.0}, 2000)
    assert (means.values, means.at) == ([1.0, 2.0], 1000)


def test_means_that_were_saved_go_on_to_the_last_bit() -> None:
    rows = list(machine(5, 200))
    whole, first, second = (ShortMeans(SIGNALS, 10.0) for _ in range(3))
    for at, values in rows:
        whole.step(values, at)
    for at, values in rows[:90]:
        first.step(values, at)
    second.restore(first.state())
    for at, values in rows[90:]:
        second.step(values, at)
    assert second.state() == whole.state()


def test_a_state_of_other_signals_is_refused() -> None:
    with pytest.raises(ValueError, match="3 signals"):
        ShortMeans(SIGNALS, 10.0).restore([0, [1.0]])


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"signals": ("vibration",), "centre": (0.0,), "precision": ((1.0,),)}, "2 to"),
        ({"targets": ("pressure",)}, "none of the signals"),
        ({"targets": ()}, "no target"),
        ({"centre": (1.0,)}, "centres"),
        ({"precision": ((1.0, 1.0),)}, "rows"),
        ({"precision": ((1.0, 1.0),) * 3}, "as long"),
        ({"precision": ((0.0, 0.0, 0.0),) * 3}, "positive"),
        ({"precision": ((math.nan, 0.0, 1.0),) * 3}, "finite"),
        ({"mean_s": 0.0}, "mean_s"),
    ],
)
def test_a_relation_that_makes_no_sense_is_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(RELATION, **wrong)


@given(st.lists(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4), min_size=4, max_size=4))
def test_an_inverse_undoes_its_matrix(parts: list[list[float]]) -> None:
    # A product with its own transpose, and a part of the identity: a covariance that is not singular.
    matrix = [
        [sum(a * b for a, b in zip(x, y, strict=True)) + (0.5 if i == j else 0.0) for j, y in enumerate(parts)]
        for i, x in enumerate(parts)
    ]
    undone = inverse(matrix)
    assert undone is not None
    for i, row in enumerate(matrix):
        for j in range(4):
            product = sum(row[k] * undone[k][j] for k in range(4))
            assert product == pytest.approx(float(i == j), abs=1e-9)


def test_a_singular_matrix_has_no_inverse() -> None:
    assert inverse([[1.0, 2.0], [2.0, 4.0]]) is None


def test_no_more_signals_are_related_than_a_reading_can_afford() -> None:
    many = tuple(f"s{i:02d}" for i in range(RELATED_MAX + 1))
    known = MachineMoments(many)
    chance = random.Random(3)
    for second in range(3000):
        load = chance.gauss(0.0, 1.0)
        known.step({name: load + 0.1 * chance.gauss(0.0, 1.0) for name in many}, second * 1000)
    assert fit([known]) is None
