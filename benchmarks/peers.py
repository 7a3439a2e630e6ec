"""River's and PySAD's detectors beside ours, on the same series: how good, and how fast.

    python -m benchmarks.peers

On NAB each is judged at the one threshold that suits it best over all files, by the scores that it gives itself or by
their ranks among its last ones (`models.river_adapter`), whichever is better. The synthetic telemetry asks for
decisions, which neither library makes: theirs are the adapter's, the most remarkable reading in a thousand.

PySAD is no dependency of this project: PLANTWATCH_PYSAD_PYTHON names a Python that has it, else its rows say
`not measured`.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from benchmarks import scoring
from benchmarks.rows import Row, at_least, publish
from benchmarks.synthetic import Telemetry, telemetry
from models.river_adapter import WARM_UP, RiverSeries, pipeline
from plantwatch.csvfile import layout_of
from plantwatch.detectors.catalogue import AUTO, CATALOGUE
from plantwatch.detectors.series import Verdict
from plantwatch.score import Rows

PYSAD: Final = os.environ.get("PLANTWATCH_PYSAD_PYTHON", "")
_RIVER: Final = ("HalfSpaceTrees", "OneClassSVM")
_PYSAD: Final = ("HalfSpaceTrees", "LODA")
# One seed of the synthetic telemetry: 42 series of 4,000 readings.
_SERIES: Final = 42
_RETURN_READINGS: Final = 60
# Faults that are shorter than the others there.
_FAULT_READINGS: Final = {"spike": 1, "missing peak": 50}

Series = Sequence[Sequence[float]]


class Heard(NamedTuple):
    """What a detector says of some series, and how long it took."""

    scores: list[list[float]]
    seconds: float

    @property
    def microseconds(self) -> float:
        return 1e6 * self.seconds / sum(map(len, self.scores))


class Peer(NamedTuple):
    """Somebody else's detector of one signal."""

    name: str
    hear: Callable[[Series], Heard]


class Decisions(NamedTuple):
    """Of the synthetic telemetry: the share of faults found, and false alarms per 1,000 readings."""

    recall: float
    false_alarms: float


def peers() -> list[Peer]:
    """River's, and PySAD's where there is a Python that has it."""
    river = [Peer(f"river {name}", _river(name)) for name in _RIVER]
    return river + ([Peer(f"PySAD {name}", _pysad(name)) for name in _PYSAD] if PYSAD else [])


def _river(name: str) -> Callable[[Series], Heard]:
    def hear(series: Series) -> Heard:
        began = time.perf_counter()
        scores = []
        for values in series:
            detector: Any = pipeline(name)
            scores.append([_score_and_learn(detector, value) for value in values])
        return Heard(scores, time.perf_counter() - began)

    return hear


def _score_and_learn(detector: Any, value: float) -> float:
    row = {"0": value}
    score = float(detector.score_one(row))
    detector.learn_one(row)
    return score


def _pysad(name: str) -> Callable[[Series], Heard]:
    def hear(series: Series) -> Heard:
        done = subprocess.run(
            [PYSAD, str(Path(__file__).with_name("peers_pysad.py"))],
            input=json.dumps({"detector": name, "series": series}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{PYSAD} failed: {done.stderr.strip()[-300:]}")
        answer = json.loads(done.stdout)
        return Heard(answer["scores"], answer["seconds"])

    return hear


def _ours(series: Series) -> list[list[float]]:
    scores = []
    for values in series:
        step = CATALOGUE[AUTO](1, None).step
        scores.append([step((value,)).score for value in values])
    return scores


def nab(everybody: Sequence[Peer]) -> list[Row]:
    """NAB's standard profile over the given files."""
    files = sorted((scoring.NAB / "data").glob("*/*.csv"))
    if not files:
        raise FileNotFoundError(f"{scoring.NAB} holds no series")
    series = [[values[0] for _, values in _rows_of(file)] for file in files]
    ours = _nab_score(files, _ours(series))
    rows = []
    for peer in everybody:
        heard = peer.hear(series)
        plain = _nab_score(files, heard.scores)
        ranked = _nab_score(files, [[verdict.score for verdict in _ranked(scores)] for scores in heard.scores])
        theirs = max(plain, ranked)
        beside = (
            f"ours {ours:.1f}, theirs {theirs:.1f} ({'ranked' if ranked > plain else 'plain'}) at "
            f"{heard.microseconds:.0f} us a reading"
        )
        rows.append(at_least(f"NAB: ours above {peer.name}", 0, ours - theirs, "points", beside))
    return rows


def _rows_of(file: Path) -> Iterator[tuple[str, list[float]]]:
    with file.open(encoding="utf-8", newline="") as lines:
        for time_text, values in Rows(lines, layout_of(file)):
            yield time_text, [value for value in values if value is not None]


def _nab_score(files: Sequence[Path], scores: Series) -> float:
    with TemporaryDirectory() as folder:
        for file, own in zip(files, scores, strict=True):
            target = Path(folder) / "results" / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("anomaly_score\n" + "".join(f"{_finite(score)!r}\n" for score in own))
        answer = Path(folder) / "answer.json"
        arguments = (scoring.SCORERS / "score_nab.py", Path(folder) / "results", "--nab-root", scoring.NAB)
        subprocess.run([sys.executable, *map(str, arguments), "--json", str(answer)], check=True, capture_output=True)
        return float(json.loads(answer.read_text())["standard"]["score"])


def _finite(score: float) -> float:
    return score if math.isfinite(score) else 0.0


def synthetic(everybody: Sequence[Peer]) -> list[Row]:
    made = list(islice(telemetry(), _SERIES))
    ours = _judge(made, [_our_alarms(series.values) for series in made])
    rows = []
    for peer in everybody:
        heard = peer.hear([series.values for series in made])
        theirs = _judge(made, [[verdict.alarm for verdict in _ranked(scores)] for scores in heard.scores])
        beside = (
            f"ours {ours.recall:.2f} at {ours.false_alarms:.2f} false alarms per 1,000, theirs {theirs.recall:.2f} at "
            f"{theirs.false_alarms:.2f}; {heard.microseconds:.0f} us a reading"
        )
        rows.append(at_least(f"synthetic recall: ours above {peer.name}", 0, ours.recall - theirs.recall, "", beside))
    return rows


def _our_alarms(values: Sequence[float]) -> list[bool]:
    step = CATALOGUE[AUTO](1, None).step
    return [step((value,)).alarm for value in values]


def _ranked(scores: Sequence[float]) -> list[Verdict]:
    """The adapter's verdicts on scores that were given before."""
    step = RiverSeries(_Recorded(scores), 1, WARM_UP).step
    return [step((0.0,)) for _ in scores]


class _Recorded:
    """A detector that says what another one has said."""

    def __init__(self, scores: Sequence[float]) -> None:
        self._scores = iter(scores)

    def score_one(self, _row: dict[str, float]) -> float:
        return next(self._scores)

    def learn_one(self, _row: dict[str, float]) -> None:
        """It has learnt before."""


def _judge(made: Sequence[Telemetry], alarms: Sequence[Sequence[bool]]) -> Decisions:
    found = false_alarms = 0
    for series, on in zip(made, alarms, strict=True):
        end = series.fault_end
        begin = end - _FAULT_READINGS.get(series.fault, 300)
        found += any(on[begin:end])
        begun = [turn for turn in range(1, len(on)) if on[turn] and not on[turn - 1]]
        false_alarms += sum(not begin <= turn < end + _RETURN_READINGS for turn in begun)
    return Decisions(found / len(made), 1000 * false_alarms / sum(map(len, alarms)))


def measure() -> list[Row]:
    everybody = peers()
    return [*nab(everybody), *synthetic(everybody), *([] if PYSAD else _unmeasured("PySAD", _PYSAD))]


def unmeasured() -> list[Row]:
    return [*_unmeasured("river", _RIVER), *_unmeasured("PySAD", _PYSAD)]


def _unmeasured(library: str, names: Sequence[str]) -> list[Row]:
    return [
        at_least(f"{title}: ours above {library} {name}", 0, None, unit)
        for title, unit in (("NAB", "points"), ("synthetic recall", ""))
        for name in names
    ]


if __name__ == "__main__":
    publish("peers", measure())
