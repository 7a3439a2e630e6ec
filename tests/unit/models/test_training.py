"""Training: what it promises is what a backtest shows, labels are obeyed, and the same data gives the same bytes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.backtest import backtest
from models.catalogue import CATALOGUE, SLOW, STANDARD, configuration
from models.history import InvalidHistory, Series, csv_series
from models.labels import Label, LabelVerdict
from models.replay import replay
from models.training import Trained, Wish, train
from plantwatch.bundle.container import write
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.watch_config import WatchConfig
from tests.unit.models.plant_files import ROWS, at, machine, rows

# A false alarm and a fault, both in the last third.
FALSE, FAULT = (1_350, 1_420), (1_600, 1_700)
WISH = Wish("fan", "fan", config=WatchConfig())


def fleet(folder: Path, **last: Any) -> tuple[Series, ...]:
    """Three machines; `last` says what is special about the third."""
    return csv_series(
        [machine(folder, "fan-1"), machine(folder, "fan-2"), machine(folder, "fan-3", **last)], tenant="acme"
    )


def label(verdict: LabelVerdict, stretch: tuple[int, int]) -> Label:
    return Label("fan-3", verdict, "mk", at(ROWS), rows(*stretch))


def alerts_in(series: tuple[Series, ...], bundle: Bundle, stretch: tuple[int, int]) -> int:
    _, (found,) = replay(series, [bundle])
    return sum(one.kind is Kind.PROCESS_ANOMALY and one.evidence.overlaps(rows(*stretch)) for one in found)


def trained_on(series: tuple[Series, ...], *labels: Label, **wish: Any) -> Trained:
    return train(series, replace(WISH, **wish), labels)


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    series = fleet(tmp_path)
    first, second = (trained_on(order).bundle for order in (series, tuple(reversed(series))))
    assert write(first) == write(second)
    assert first.created_at == at(ROWS - 1)
    assert trained_on(series, created_at=at(0)).bundle.created_at == at(0)


def test_another_reading_is_another_fingerprint(tmp_path: Path) -> None:
    series = fleet(tmp_path)
    changed = csv_series([tmp_path / f"fan-{number}.csv" for number in (1, 2)], tenant="acme")
    first, second = (trained_on(one).bundle.training for one in (series, changed))
    assert first
    assert second
    assert (first.machines, first.rows, second.machines) == (3, 3 * ROWS, 2)
    assert first.sha256 != second.sha256


def test_the_expected_alert_count_is_that_of_a_backtest_of_the_last_third(tmp_path: Path) -> None:
    series = fleet(tmp_path, shifts=[FALSE], labelled=None)
    trained = trained_on(series, alerts_per_day=10.0)
    result = backtest(series, trained.bundle, thresholds=False)
    held_out = [one for one in result.found if one.opened_at >= at(0) + (at(ROWS - 1) - at(0)) * 2 / 3]
    calibration = trained.bundle.calibration
    assert calibration
    assert calibration.alerts == len(held_out) == 1
    assert trained.bundle.expected_alerts_per_day == pytest.approx(1 / calibration.machine_days)
    assert calibration.machine_days == pytest.approx(result.machine_days / 3, rel=0.01)
    assert calibration.readings == pytest.approx(3 * ROWS / 3, abs=6)
    assert [share for share, _ in calibration.scores] == [0.5, 0.9, 0.99, 0.999, 1.0]


def test_what_operators_call_false_is_learnt_as_normal(tmp_path: Path) -> None:
    series = fleet(tmp_path, shifts=[FALSE], labelled=None)
    without = trained_on(series, alerts_per_day=10.0).bundle
    after = trained_on(series, label(LabelVerdict.FALSE, FALSE), alerts_per_day=10.0).bundle
    assert alerts_in(series, without, FALSE) == 1
    assert alerts_in(series, after, FALSE) == 0
    assert without.training
    assert after.training
    assert without.training.sha256 != after.training.sha256, "what was known is part of the fingerprint"


def test_a_true_label_is_kept_found_at_the_price_of_more_alerts(tmp_path: Path) -> None:
    """Two short stretches alike: every threshold that silences the one loses the other."""
    series = fleet(tmp_path, shifts=[(1_350, 1_357), (1_600, 1_607)], labelled=None)
    quiet = trained_on(series, alerts_per_day=0.0)
    assert alerts_in(series, quiet.bundle, (1_600, 1_650)) == 0
    kept = trained_on(series, label(LabelVerdict.TRUE, (1_600, 1_650)), alerts_per_day=0.0)
    assert alerts_in(series, kept.bundle, (1_600, 1_650)) == 1
    assert any("loses fan-3" in note for note in kept.choice.notes)


@pytest.mark.parametrize("by", ["an operator", "the calendar"])
def test_expected_time_is_neither_learnt_nor_counted(tmp_path: Path, by: str) -> None:
    series = fleet(tmp_path, shifts=[FALSE], labelled=None)
    wish = replace(WISH, alerts_per_day=0.0)
    if by == "an operator":
        trained = train(series, wish, [label(LabelVerdict.EXPECTED, FALSE)])
    else:
        stretch = rows(*FALSE)
        trained = train(series, wish, windows=[MaintenanceWindow(stretch.first, stretch.last + 1, "", "fan-[3-9]")])
    assert trained.choice.trial.alerts == 0
    plain = trained_on(fleet(tmp_path, labelled=None), alerts_per_day=0.0)
    assert {name: prior.band() for name, prior in trained.bundle.priors.items()} == {
        name: prior.band() for name, prior in plain.bundle.priors.items()
    }


def test_labelled_faults_in_the_first_two_thirds_are_not_learnt(tmp_path: Path) -> None:
    early = (400, 500)
    faulty = trained_on(fleet(tmp_path, shifts=[early], labelled=[early])).bundle
    believed = trained_on(fleet(tmp_path, shifts=[early], labelled=None)).bundle
    high = [bundle.priors["flow"].band()[1] for bundle in (faulty, believed)]
    assert high[0] < 26.0 < high[1]


def test_a_label_by_incident_is_obeyed_once_the_incident_occurs(tmp_path: Path) -> None:
    series = fleet(tmp_path, shifts=[FALSE], labelled=None)
    plain = trained_on(series, alerts_per_day=10.0)
    _, (found,) = replay(series, [plain.bundle])
    (incident,) = (one.incident_id for one in found if one.kind is Kind.PROCESS_ANOMALY)
    named = Label("fan-3", LabelVerdict.EXPECTED, "mk", at(ROWS), None, incident)
    stranger = named._replace(incident="0" * 16)
    trained = trained_on(series, named, stranger, alerts_per_day=10.0)
    assert trained.choice.trial.alerts == 0
    assert trained.unused == (stranger,)


@pytest.mark.parametrize(
    ("count", "shift", "problem"),
    [(900, 9.0, "normal readings to learn from"), (1, 9.0, "too short")],
)
def test_too_short_a_recording_is_refused(tmp_path: Path, count: int, shift: float, problem: str) -> None:
    with pytest.raises(InvalidHistory, match=f"fan-3.csv: .*{problem}"):
        trained_on(fleet(tmp_path, count=count, shift=shift))


def test_a_recording_without_variation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "still.csv"
    file.write_text("time,a\n" + "".join(f"{at(row)},5\n" for row in range(ROWS)))
    with pytest.raises(InvalidHistory, match=r"still\.csv: no signal varies"):
        train(csv_series([file], tenant="acme"), WISH)


def test_a_wrong_name_is_refused_before_anything_is_read() -> None:
    def never() -> Any:
        raise AssertionError("read")

    with pytest.raises(ValueError, match="name"):
        train([Series("acme", "fan", "fan.csv", never)], replace(WISH, name="no name!"))


def test_the_catalogue_chooses_by_how_often_machines_speak() -> None:
    assert configuration("auto", 1.0) == CATALOGUE[STANDARD].config == WatchConfig()
    assert configuration("auto", 300.0) == CATALOGUE[SLOW].config
    assert configuration(STANDARD, 300.0) == WatchConfig()
    with pytest.raises(KeyError):
        configuration("best", 1.0)


def test_a_replay_finds_what_the_machines_of_a_runtime_find(tmp_path: Path) -> None:
    series = fleet(tmp_path, shifts=[FAULT], labelled=None)
    bundle = trained_on(series[:2]).bundle
    machines = Machines.of(bundle)
    live = [
        (transition.kind, transition.first_seen, reading.observed_at)
        for one in series
        for reading in one.read()
        for transition in machines.watch(reading).transitions
        if transition.phase is Phase.OPENED
    ]
    extents, (found, same) = replay(series, [bundle, bundle])
    assert sorted((one.kind, one.first_seen, one.opened_at) for one in found) == sorted(live)
    assert found == same
    assert len(live) >= 1
    assert [extent.readings for extent in extents] == [ROWS] * 3


def test_a_level_that_moves_at_random_still_has_a_calibration(tmp_path: Path) -> None:
    """Every reading of held-out time is counted, whatever it scored."""
    chance = random.Random(4)
    file, level = tmp_path / "wander.csv", 0.0
    lines = ["time,a"]
    for row in range(ROWS):
        level += chance.gauss(0, 1)
        lines.append(f"{at(row)},{level:.3f}")
    file.write_text("\n".join(lines) + "\n")
    calibration = train(csv_series([file], tenant="acme"), WISH).bundle.calibration
    assert calibration
    assert calibration.readings == ROWS // 3
    scores = [score for _, score in calibration.scores]
    assert scores == sorted(scores)
