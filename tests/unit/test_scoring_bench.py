"""The altered series that detectors are judged by, and that nothing counts as met which was not measured."""

from __future__ import annotations

import statistics

from benchmarks import scoring, scoring_cost, synthetic
from benchmarks.scoring import Table

SERIES: Table = [["timestamp", "value"], *([f"2024-01-01 00:{turn:02d}:00", str(turn)] for turn in range(50))]


def values(table: Table) -> list[float]:
    return [float(row[1]) for row in table[1:]]


def test_every_second_reading_keeps_its_time() -> None:
    assert scoring.every_second(SERIES) == [SERIES[0], *SERIES[1::2]]


def test_pair_means_carry_the_later_time() -> None:
    altered = scoring.pair_means(SERIES)
    assert altered[1] == ["2024-01-01 00:01:00", "0.5"]
    assert len(altered) == 26


def test_noise_is_a_twentieth_of_the_deviation_and_the_same_each_time() -> None:
    long: Table = [SERIES[0], *([str(turn), str(turn % 100)] for turn in range(5000))]
    noise = [a - b for a, b in zip(values(scoring.with_noise(long)), values(long), strict=True)]
    assert 0.045 < statistics.pstdev(noise) / statistics.pstdev(values(long)) < 0.055
    assert scoring.with_noise(long) == scoring.with_noise(long)


def test_the_first_eighth_is_cut() -> None:
    assert scoring.with_its_start_cut(SERIES) == [SERIES[0], *SERIES[7:]]


def test_what_was_not_measured_is_not_met() -> None:
    rows = [*scoring.unmeasured(), *scoring_cost.unmeasured(), *synthetic.unmeasured()]
    assert len({row.name for row in rows}) == len(rows)
    assert not any(row.met for row in rows)


def test_a_synthetic_fault_changes_its_own_readings_only() -> None:
    seen = set()
    for series in synthetic.telemetry():
        seen.add(series.fault)
        assert 3_000 < series.fault_end < len(series.values)
        assert max(abs(value) for value in series.values[:3_000]) < 2.0
    assert seen == set(synthetic.FAULTS)
