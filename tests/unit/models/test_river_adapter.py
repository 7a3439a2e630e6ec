"""River's detectors behind our interface: calibrated, causal, repeatable, and imported only when they are asked for."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence

import pytest

from models.river_adapter import RANKED, WARM_UP, RiverSeries, make
from plantwatch.detectors.catalogue import factory
from plantwatch.detectors.series import UNREMARKABLE, Verdict

NAMES = ("HalfSpaceTrees", "OneClassSVM", "LODA")
# A hundred projections a row are slow; a short series shows as much.
LENGTH = {"LODA": 900}


def series(rows: int, seed: int = 1) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(chance.gauss(20, 1), chance.gauss(5, 0.2)) for _ in range(rows)]


def verdicts(name: str, rows: Sequence[Sequence[float | None]], train_rows: int | None = None) -> list[Verdict]:
    detector = make(name, len(rows[0]), train_rows)
    return [detector.step(row) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_rows_score_above_099_about_once_in_a_hundred(name: str) -> None:
    heard = verdicts(name, series(LENGTH.get(name, 2_500)))
    assert all(0.0 <= verdict.score <= 1.0 for verdict in heard)
    assert set(heard[:WARM_UP]) == {UNREMARKABLE}
    high = sum(verdict.score > 0.99 for verdict in heard[WARM_UP:]) / (len(heard) - WARM_UP)
    assert 0.002 <= high <= 0.03


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_get_the_same_verdicts_and_no_later_row_changes_them(name: str) -> None:
    rows = series(700)
    heard = verdicts(name, rows)
    assert heard == verdicts(name, rows)
    assert heard[:500] == verdicts(name, [*rows[:500], *series(50, seed=9)])[:500]


def test_a_row_far_from_all_others_is_an_alarm() -> None:
    *heard, last = verdicts("OneClassSVM", [*series(1_000), (60.0, 5.0)])
    assert last.score > 0.999
    assert last.alarm
    assert not heard[-1].alarm


def test_a_missing_value_counts_as_the_last_one() -> None:
    rows = series(600)
    gaps: list[Sequence[float | None]] = [(first, None) if turn % 3 else (first, 5.0) for turn, (first, _) in
                                          enumerate(rows)]  # fmt: skip
    assert verdicts("OneClassSVM", gaps) == verdicts("OneClassSVM", [(first, 5.0) for first, _ in rows])
    assert verdicts("OneClassSVM", [(None, 1.0)]) == [UNREMARKABLE]


def test_training_rows_are_never_in_alarm() -> None:
    rows: list[Sequence[float]] = [*series(900), *[(80.0, 5.0)] * 100]
    assert not any(verdict.alarm for verdict in verdicts("OneClassSVM", rows, train_rows=1_000))
    assert any(verdict.alarm for verdict in verdicts("OneClassSVM", rows))


def test_what_is_remembered_is_bounded() -> None:
    class Steady:
        def score_one(self, row: dict[str, float]) -> float:
            return row["0"]

        def learn_one(self, row: dict[str, float]) -> None:
            """Nothing."""

    detector = RiverSeries(Steady(), 1, 0)
    chance = random.Random(3)
    for _ in range(3 * RANKED):
        detector.step((chance.random(),))
    # Beyond all of its 2,000 last: as rare as a rank can say.
    assert detector.step((2.0,)).score == pytest.approx(1 - 0.5 / (RANKED + 1), abs=1e-6)


@pytest.mark.parametrize("name", ["", "GaussianScorer", "Nothing", "__init__"])
def test_what_cannot_be_used_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match="HalfSpaceTrees, LODA, OneClassSVM"):
        make(name, 1, None)


def test_the_catalogue_finds_river_by_name_and_imports_it_only_then() -> None:
    program = (
        "import sys; from plantwatch.detectors.catalogue import factory; make = factory('river:OneClassSVM');"
        "before = 'river' in sys.modules; make(1, None).step((1.0,));"
        "sys.exit(before or 'river' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", ["magic", "river", "sklearn:IsolationForest"])
def test_the_catalogue_refuses_names_of_no_family(name: str) -> None:
    with pytest.raises(ValueError, match=r"there is no .*; there are auto"):
        factory(name)
