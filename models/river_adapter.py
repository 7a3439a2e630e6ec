"""River's detectors as detectors of series: `plantwatch score --detector river:HalfSpaceTrees`.

Idea. River's unsupervised detectors give a score of no fixed meaning, and no decision. Here values are scaled as each
detector wants them, and its score is ranked among its own last RANKED ones: the share that was at least as high is the
tail probability (conformal p-values; Laxhammar and Falkman, 2014). The most remarkable row in about a thousand begins
an alarm, which lasts while such rows follow within HOLD rows.

Cost. That of the detector (20 to 200 us a row), a sorted list of RANKED numbers, and river itself: 150 MB and seconds
of import, which nobody pays who does not ask for it.

When it misleads. No rank is rarer than 1 in RANKED, so a score never exceeds 0.9995; after a long fault its rows look
ordinary. LocalOutlierFactor keeps every row that it has seen: only for short files.

>>> detector = make("HalfSpaceTrees", 1, None)
>>> verdicts = [detector.step((turn % 7 + 0.1 * (turn % 3),)) for turn in range(1500)]
>>> detector.step((40.0,)).score > 0.99
True
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from plantwatch.detectors.base import score_of
from plantwatch.detectors.series import UNREMARKABLE, SeriesDetector, Verdict

# A share of one in a thousand is seen twice among so many: known to within its own size.
RANKED: Final = 2_000
# Once in about a thousand rows; the same as `plantwatch score`'s own detectors aim at.
ALARM_AT: Final = 3.0
HOLD: Final = 200
# River's half-space trees begin to score after their first window of 250 rows, and young histograms find all strange:
# scores of that time are no experience.
WARM_UP: Final = 300
# The forest's size in the paper (Tan, Ting and Liu, IJCAI 2011); river's default is 10.
_TREES: Final = 25


def make(name: str, signals: int, train_rows: int | None) -> SeriesDetector:
    """The detector `name` of `river.anomaly`. ValueError, with those that there are, where there is none."""
    return RiverSeries(pipeline(name), signals, max(WARM_UP, train_rows or 0))


def pipeline(name: str) -> Any:
    """River's own object for `make`: a scaler and the detector, with `score_one` and `learn_one`. ValueError."""
    makers = _makers()
    if name not in makers:
        raise ValueError(f"river has no detector {name!r} that can be used here; there are {', '.join(sorted(makers))}")
    return makers[name]()


class RiverSeries:
    """A pipeline of river with `score_one` and `learn_one`, ranked and decided on. See the module's docstring."""

    def __init__(self, detector: Any, signals: int, warm_up: int) -> None:
        self._detector = detector
        self._names = [str(signal) for signal in range(signals)]
        self._last: dict[str, float] = {}
        self._ranks = _Ranks()
        self._warm_up = warm_up
        self._rows = 0
        self._alarm_until = -1

    def step(self, values: Sequence[float | None]) -> Verdict:
        """A value that is missing counts as its last; until each signal has had one, nothing is scored."""
        self._rows += 1
        self._last |= {name: value for name, value in zip(self._names, values, strict=True) if value is not None}
        if len(self._last) < len(self._names):
            return UNREMARKABLE
        row = dict(self._last)
        found = float(self._detector.score_one(row))
        self._detector.learn_one(row)
        if self._rows <= self._warm_up:
            return UNREMARKABLE
        surprise = self._ranks.surprise(found)
        if surprise >= ALARM_AT:
            self._alarm_until = self._rows + HOLD
        return Verdict(score_of(surprise), self._rows <= self._alarm_until)


class _Ranks:
    """How high a score is among the last RANKED."""

    def __init__(self) -> None:
        self._sorted: list[float] = []
        self._in_order: deque[float] = deque()

    def surprise(self, score: float) -> float:
        """-log10 of the share of scores at least as high, half of the equal ones counted; then it is one of them."""
        if not math.isfinite(score):
            return 0.0
        place = bisect_left(self._sorted, score)
        higher = len(self._sorted) - place
        equal = bisect_left(self._sorted, math.nextafter(score, math.inf)) - place
        share = (higher - 0.5 * equal + 0.5) / (len(self._sorted) + 1)
        self._keep(score)
        return -math.log10(share)

    def _keep(self, score: float) -> None:
        insort(self._sorted, score)
        self._in_order.append(score)
        if len(self._in_order) > RANKED:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]


class _RangedTrees:
    """Half-space trees need to know each signal's range beforehand: that of the first WARM_UP rows, which they learn
    then, with as much again on both sides. On NAB that is worth 15 points more than scaling by the range so far."""

    def __init__(self) -> None:
        self._first: list[dict[str, float]] = []
        self._trees: Any = None

    def score_one(self, row: dict[str, float]) -> float:
        return float(self._trees.score_one(row)) if self._trees is not None else 0.0

    def learn_one(self, row: dict[str, float]) -> None:
        if self._trees is not None:
            self._trees.learn_one(row)
            return
        self._first.append(row)
        if len(self._first) == WARM_UP:
            self._plant()

    def _plant(self) -> None:
        from river import anomaly

        limits = {name: _with_room([row[name] for row in self._first]) for name in self._first[0]}
        self._trees = anomaly.HalfSpaceTrees(n_trees=_TREES, limits=limits, seed=1)
        for row in self._first:
            self._trees.learn_one(row)
        self._first.clear()


def _with_room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    return low - room, high + room


def _makers() -> dict[str, Callable[[], Any]]:
    """River's unsupervised detectors behind the scaling that each asks for. Others need an answer to learn from."""
    from river import anomaly, preprocessing

    return {
        "HalfSpaceTrees": _RangedTrees,
        "OneClassSVM": lambda: preprocessing.StandardScaler() | anomaly.OneClassSVM(),
        "LODA": lambda: preprocessing.StandardScaler() | anomaly.LODA(seed=1),
    }
