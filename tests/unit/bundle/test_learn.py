"""A bundle is learnt from recordings, and those that nothing can be learnt from are refused with file and reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from plantwatch.bundle.container import read, write
from plantwatch.bundle.learn import Untrainable, learn
from plantwatch.bundle.model import Bundle
from plantwatch.bundle.recorded import ROWS_MIN
from plantwatch.csvfile import InvalidFile
from plantwatch.incident import Kind
from plantwatch.machine import Machines
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig
from tests.unit.bundle.fleets import NOW, START, record, running

ROWS = 4000


def learnt(*files: Path) -> Bundle:
    return learn(files, name="pumps", machine_type="pump", config=WatchConfig(), now=NOW)


@cache
def of_a_fleet() -> Bundle:
    with TemporaryDirectory() as folder:
        return learnt(*(record(Path(folder) / f"pump-{seed}.csv", seed, ROWS) for seed in range(4)))


def test_it_says_what_it_was_learnt_from() -> None:
    bundle = of_a_fleet()
    assert bundle.training is not None
    assert bundle.training.rows == 4 * ROWS
    assert bundle.training.machines == 4
    assert bundle.training.sources == ("pump-0.csv", "pump-1.csv", "pump-2.csv", "pump-3.csv")
    assert (bundle.training.first, bundle.training.last) == (START, START + 1000 * (ROWS - 1))
    assert sorted(bundle.priors) == ["pressure", "temperature"]
    assert {prior.machines for prior in bundle.priors.values()} == {4}
    assert read(write(bundle)) == bundle


def test_it_says_what_it_makes_of_its_own_training_data() -> None:
    calibration = of_a_fleet().calibration
    assert calibration is not None
    assert calibration.readings == 4 * ROWS
    assert calibration.machine_days == pytest.approx(4 * (ROWS - 1) / 86_400)
    assert of_a_fleet().expected_alerts_per_day == calibration.alerts / calibration.machine_days
    shares, scores = zip(*calibration.scores, strict=True)
    assert shares == (0.5, 0.9, 0.99, 0.999, 1.0)
    assert list(scores) == sorted(scores)
    assert scores[0] == 0.0


def test_the_order_of_files_does_not_matter_their_content_does(tmp_path: Path) -> None:
    files = [record(tmp_path / f"pump-{seed}.csv", seed, 1500) for seed in range(2)]
    assert learnt(*files) == learnt(*reversed(files))
    before = learnt(*files).training
    record(files[0], 9, 1500)
    after = learnt(*files).training
    assert before is not None
    assert after is not None
    assert before.sha256 != after.sha256


def test_a_new_machine_of_the_fleet_is_watched_in_half_a_minute_and_alone_in_five() -> None:
    def first_watched(machines: Machines) -> int:
        for turn, value in enumerate(running(70, 400)):
            at = START + 1000 * turn
            if not machines.watch(Reading("acme", "new", at, at, {"temperature": value})).warming_up:
                return turn
        raise AssertionError("never")

    assert first_watched(Machines.of(of_a_fleet())) < 40
    assert first_watched(Machines()) > 280


def test_its_machines_find_a_fault_that_begins_after_a_minute() -> None:
    machines = Machines.of(of_a_fleet())
    opened = []
    for turn, value in enumerate(running(71, 90)):
        at = START + 1000 * turn
        shifted = value + 15.0 if turn >= 60 else value
        scored = machines.watch(Reading("acme", "new", at, at, {"temperature": shifted}))
        opened += [(turn, transition.kind) for transition in scored.transitions]
        assert scored.bundle == of_a_fleet().digest
    [(turn, kind)] = opened
    assert kind is Kind.PROCESS_ANOMALY
    assert 60 < turn < 75


def test_its_machines_go_on_after_a_restore() -> None:
    """In the trial, guided, and on their own, to the last bit; and under no other bundle."""
    life = [
        Reading("acme", "new", START + 1000 * t, START, {"temperature": v}) for t, v in enumerate(running(72, 4500))
    ]
    original = Machines.of(of_a_fleet())
    for turn, reading in enumerate(life):
        if turn in (10, 200, 4300):
            restored = Machines.of(of_a_fleet())
            restored.restore(original.snapshot())
            assert restored.snapshot() == original.snapshot()
            original = restored
        original.watch(reading)
    untouched = Machines.of(of_a_fleet())
    for reading in life:
        untouched.watch(reading)
    assert original.snapshot() == untouched.snapshot()
    with pytest.raises(ValueError, match="belongs to bundle"):
        Machines().restore(original.snapshot())


def test_machines_that_each_have_their_own_level_give_no_prior(tmp_path: Path) -> None:
    files = [record(tmp_path / f"pump-{seed}.csv", seed, 1500, level=20.0 + 100.0 * seed) for seed in range(3)]
    bundle = learnt(*files)
    assert not bundle.priors
    assert bundle.digest == WatchConfig().digest


def test_a_fleet_of_one_has_a_prior(tmp_path: Path) -> None:
    assert sorted(learnt(record(tmp_path / "pump.csv", 1)).priors) == ["pressure", "temperature"]


def short(path: Path) -> None:
    record(path, 1, ROWS_MIN - 1)


def constant(path: Path) -> None:
    path.write_text("time,t\n" + "".join(f"{START + 1000 * turn},5.0\n" for turn in range(2000)))


def runs_backwards(path: Path) -> None:
    path.write_text(f"time,t\n{START + 1000},5.0\n{START},5.0\n")


def with_a_bad_row(path: Path) -> None:
    path.write_text(f"time,t\n{START},5.0\n{START + 1000},five\n{START + 2000},5.0\n")


@pytest.mark.parametrize(
    ("write_bad", "problem"),
    [
        (short, f"bad.csv: {ROWS_MIN - 1} rows; at least {ROWS_MIN}"),
        (constant, "bad.csv: no signal varies"),
        (runs_backwards, "bad.csv: line 3: its time is before"),
        (with_a_bad_row, "bad.csv: line 3: not_a_number"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    tmp_path: Path, write_bad: Callable[[Path], None], problem: str
) -> None:
    write_bad(tmp_path / "bad.csv")
    with pytest.raises(Untrainable, match=problem):
        learnt(record(tmp_path / "good.csv", 1, 1500), tmp_path / "bad.csv")


def test_files_that_are_no_series_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InvalidFile, match=r"empty\.csv"):
        learnt(tmp_path / "empty.csv")


def test_two_machines_have_two_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [record(folder / "pump.csv", 1, 1500) for folder in (tmp_path, tmp_path / "b")]
    with pytest.raises(Untrainable, match="two recordings"):
        learnt(*files)
    with pytest.raises(Untrainable, match="no recording"):
        learnt()


@pytest.mark.parametrize("stranger", ["a-first", "z-last"])
def test_one_machine_that_is_like_no_other_takes_nobody_elses_prior_whatever_its_name(
    tmp_path: Path, stranger: str
) -> None:
    alike = [record(tmp_path / f"pump-{seed}.csv", seed, ROWS) for seed in range(3)]
    bundle = learnt(*alike, record(tmp_path / f"{stranger}.csv", 9, ROWS, level=60.0))
    assert sorted(bundle.priors) == ["pressure", "temperature"]
