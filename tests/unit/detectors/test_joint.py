"""Several signals: what the detector finds, what it leaves alone, and what it survives."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence

import pytest

from plantwatch.detectors.joint import Joint
from plantwatch.detectors.series import UNREMARKABLE, Verdict

Row = tuple[float | None, ...]
START_ROWS = 200
SIGNALS = 4


def ordinary(seed: int, rows: int, load_step: float = 0.3) -> Iterator[list[float]]:
    """Signals that share a load which wanders, each with noise, unit and level of its own."""
    chance = random.Random(seed)
    load = 0.0
    for _ in range(rows):
        load += load_step * chance.gauss(0.0, 1.0) - 0.3 * load
        yield [100.0 * n + 10.0**n * (load + chance.gauss(0.0, 0.5)) for n in range(SIGNALS)]


def verdicts(detector: Joint, rows: Sequence[Row | list[float]]) -> list[Verdict]:
    return [detector.step(row) for row in rows]


def made() -> Joint:
    return Joint(SIGNALS, START_ROWS)


def test_says_nothing_during_its_start_up() -> None:
    assert set(verdicts(made(), list(ordinary(1, START_ROWS)))) == {UNREMARKABLE}


@pytest.mark.parametrize("seed", range(5))
def test_raises_no_alarm_while_all_is_ordinary(seed: int) -> None:
    assert not any(verdict.alarm for verdict in verdicts(made(), list(ordinary(seed, 3000))))


def test_a_score_of_99_percent_is_met_once_in_a_hundred_ordinary_rows() -> None:
    scores = [verdict.score for verdict in verdicts(made(), list(ordinary(2, 12_000)))][2000:]
    assert 0.005 < sum(score > 0.99 for score in scores) / len(scores) < 0.02


@pytest.mark.parametrize("signal", range(SIGNALS))
def test_finds_a_shifted_signal_soon_names_it_and_sees_its_end(signal: int) -> None:
    rows = list(ordinary(3, 1200))
    for row in rows[600:800]:
        row[signal] += 4.0 * 10.0**signal
    detector = made()
    before, during = verdicts(detector, rows[:600]), verdicts(detector, rows[600:800])
    shares = detector.contributions()
    after = verdicts(detector, rows[800:])
    assert not any(verdict.alarm for verdict in before)
    assert during[40].alarm
    assert during[-1].alarm
    assert max(range(SIGNALS), key=lambda n: shares[n]) == signal
    assert sum(shares) == pytest.approx(100.0)
    assert not any(verdict.alarm for verdict in after[60:])


def test_finds_signals_that_no_longer_move_together() -> None:
    """Each signal for itself stays as it was: only the load that they shared becomes four loads."""
    rows = list(ordinary(1, 1600, load_step=1.0))
    others = [list(ordinary(50 + n, 1600, load_step=1.0)) for n in range(SIGNALS)]
    for turn in range(1000, 1600):
        rows[turn] = [others[n][turn][n] for n in range(SIGNALS)]
    found = [verdict.alarm for verdict in verdicts(Joint(SIGNALS, 500), rows)]
    assert not any(found[:1000])
    assert sum(found[1000:]) > 400


def test_an_alarm_is_at_least_as_strange_as_one_row_in_a_hundred_when_it_begins() -> None:
    rows = list(ordinary(5, 900))
    for row in rows[600:]:
        row[2] += 900.0
    heard = verdicts(made(), rows)
    first = next(verdict for verdict in heard if verdict.alarm)
    assert first.score >= 0.99
    assert all(0.0 <= verdict.score <= 1.0 for verdict in heard)


def test_unit_and_offset_do_not_matter() -> None:
    """Up to the ten-thousandth of the level that stands in for the deviation of a signal that does not vary."""
    rows = list(ordinary(6, 900))
    for row in rows[600:]:
        row[1] += 60.0
    other = [[value * 8.0 + 5.0 for value in row] for row in rows]
    plain, scaled = verdicts(made(), rows), verdicts(made(), other)
    assert [verdict.alarm for verdict in plain] == [verdict.alarm for verdict in scaled]
    assert max(abs(a.score - b.score) for a, b in zip(plain, scaled, strict=True)) < 0.02


def test_a_constant_signal_and_constant_machines_are_survived() -> None:
    chance = random.Random(7)
    beside_a_varying_one = [(7.0, chance.gauss(0.0, 1.0)) for _ in range(800)]
    assert not any(verdict.alarm for verdict in verdicts(Joint(2, START_ROWS), beside_a_varying_one))
    assert not any(verdict.alarm for verdict in verdicts(Joint(2, START_ROWS), [(7.0, 0.0)] * 800))


def test_one_signal_is_enough() -> None:
    rows = [row[:1] for row in ordinary(8, 900)]
    for row in rows[600:]:
        row[0] += 8.0
    heard = verdicts(Joint(1, START_ROWS), rows)
    assert not any(verdict.alarm for verdict in heard[:600])
    assert heard[-1].alarm


def test_a_missing_value_is_the_last_one() -> None:
    rows: list[Row] = [tuple(row) for row in ordinary(9, 900)]
    gaps = list(rows)
    held = list(rows)
    for turn in (100, 101, 400, 401, 402):
        gaps[turn] = (*rows[turn][:2], None, rows[turn][3])
        held[turn] = (*rows[turn][:2], held[turn - 1][2], rows[turn][3])
    assert verdicts(made(), gaps) == verdicts(made(), held)


def test_a_signal_that_is_missing_from_the_start_is_survived() -> None:
    rows: list[Row] = [(None, *row[1:]) for row in ordinary(10, 900)]
    assert not any(verdict.alarm for verdict in verdicts(made(), rows))


def test_absurd_values_are_survived_and_forgotten() -> None:
    rows = list(ordinary(11, 1500))
    rows[700] = [1e308, -1e308, 1e300, 0.0]
    heard = verdicts(made(), rows)
    assert heard[700].score > 0.99
    assert all(math.isfinite(verdict.score) for verdict in heard)
    assert not any(verdict.alarm for verdict in heard[1000:])


def test_a_copy_goes_on_as_the_original() -> None:
    rows = list(ordinary(12, 900))
    detector = made()
    verdicts(detector, rows[:500])
    copied = copy.deepcopy(detector)
    assert verdicts(copied, rows[500:]) == verdicts(detector, rows[500:])


def test_too_few_training_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="10 training rows are too few"):
        Joint(SIGNALS, 10)
