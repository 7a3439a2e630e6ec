"""Score and learn, one signal: our detector against river's HalfSpaceTrees, on the same values in the same run.

    python -m benchmarks.detection

adds what scoring costs (`scoring_cost`) and how good it is on labelled series (`scoring`): build/bench/detection.json.

One hot sensor flatters: a plant's sensors take turns, and their memories do not fit into a core's cache together. So
both sides watch many sensors in turn. River's trees have river's own defaults (10 trees of height 8, window 250); the
25 trees that are usual in comparisons cost about 2.5 times as much.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from river import anomaly

from benchmarks import scoring, scoring_cost, synthetic
from benchmarks.rows import Row, at_least, gather, publish
from plantwatch.detectors.novelty import Novelty

SPEEDUP_GOAL: Final = 10.0
_SENSORS: Final = 200
_RIVER_SENSORS: Final = 20
_WARM_READINGS: Final = 1_000
_RIVER_WARM_READINGS: Final = 300
_TIMED_READINGS: Final = 50
_ROUNDS: Final = 5

Step = Callable[[float], object]


def values(sensors: int, readings: int, seed: int = 1) -> list[list[float]]:
    """`readings` rows of one value for each sensor: noise about a wandering level, within [0, 1] as river wants."""
    chance = random.Random(seed)
    levels = [0.5] * sensors
    rows = []
    for _ in range(readings):
        levels = [level + 0.002 * chance.gauss(0.0, 1.0) - 0.002 * (level - 0.5) for level in levels]
        rows.append([min(max(level + chance.gauss(0.0, 0.05), 0.0), 1.0) for level in levels])
    return rows


def half_space_trees() -> Step:
    """One of river's detectors as one step: score, then learn."""
    trees: Any = anomaly.HalfSpaceTrees(seed=1)

    def step(value: float) -> object:
        features = {"x": value}
        score = trees.score_one(features)
        trees.learn_one(features)
        return score

    return step


def microseconds_per_value(steps: Sequence[Step], warm: int, seed: int) -> float:
    """Median over some rounds of the mean cost of a step, the sensors taking turns."""
    rows = values(len(steps), warm + _ROUNDS * _TIMED_READINGS, seed)
    for row in rows[:warm]:
        _feed(steps, row)
    costs = []
    for start in range(warm, len(rows), _TIMED_READINGS):
        began = time.perf_counter()
        for row in rows[start : start + _TIMED_READINGS]:
            _feed(steps, row)
        costs.append((time.perf_counter() - began) / (_TIMED_READINGS * len(steps)))
    return statistics.median(costs) * 1e6


def _feed(steps: Sequence[Step], row: Sequence[float]) -> None:
    for step, value in zip(steps, row, strict=True):
        step(value)


def measure() -> list[Row]:
    theirs = microseconds_per_value([half_space_trees() for _ in range(_RIVER_SENSORS)], _RIVER_WARM_READINGS, seed=2)
    ours = microseconds_per_value([Novelty().step for _ in range(_SENSORS)], _WARM_READINGS, seed=2)
    return _rows(theirs / ours, f"river HalfSpaceTrees: {theirs:.1f} us a value, ours {ours:.2f} us")


def unmeasured() -> list[Row]:
    return _rows(None, "")


def _rows(speedup: float | None, compared_with: str) -> list[Row]:
    return [at_least("score and learn, one signal", SPEEDUP_GOAL, speedup, "times faster", compared_with)]


if __name__ == "__main__":
    publish(
        "detection",
        gather(
            [
                (scoring.measure, scoring.unmeasured()),
                (synthetic.measure, synthetic.unmeasured()),
                (measure, unmeasured()),
                (scoring_cost.measure, scoring_cost.unmeasured()),
            ]
        ),
    )
