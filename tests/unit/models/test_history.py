"""Recorded data: what is in it comes out in order, and what is no recording is refused by file and line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.history import InvalidHistory, csv_series
from models.intervals import Interval
from models.lake_history import Period, lake_series, period_of
from models.stores import FolderStore
from plantwatch.aws.lake import compress_lines, readings_folder, row
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading, isoformat
from tests.unit.models.plant_files import BEGINS, at, machine, rows

DAY_MS = 24 * 3600 * 1000


def test_a_csv_file_is_one_machine_named_by_the_file_with_its_labelled_faults(tmp_path: Path) -> None:
    (series,) = csv_series([machine(tmp_path, "fan-1", labelled=[(3, 5), (9, 9)], count=12)], tenant="acme")
    readings = list(series.read())
    assert [reading.observed_at for reading in readings] == [at(row) for row in range(12)]
    assert {(one.tenant, one.device) for one in readings} == {("acme", "fan-1")}
    assert set(readings[0].signals) == {"flow", "level"}
    assert series.faults == (rows(3, 5), rows(9, 9))
    assert list(series.read()) == readings


def test_without_a_column_of_labels_nobody_has_looked(tmp_path: Path) -> None:
    (series,) = csv_series([machine(tmp_path, "fan-1", labelled=None, count=3)], tenant="acme")
    assert series.faults is None


def read_all(file: Path) -> list[Reading]:
    return [one for series in csv_series([file], tenant="acme") for one in series.read()]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time,a\n2026-03-01 00:00,1\n2026-03-01 00:01,x\n2026-03-01 00:02,1\n", "line 3: not_a_number"),
        ("time,a\n2026-03-01 00:02,1\n2026-03-01 00:01,2\n", "line 3: the time .* before that of the row above"),
        ("time,a\nnever,1\n", "line 2: invalid_timestamp"),
        ("time,a\n2026-03-01 00:00,1,7\n", "line 2: malformed_row"),
        ("time,a,label\n2026-03-01 00:00,1,bad\n", "line 2: label is 'bad', not 0 or 1"),
        ("time,a,anomaly\n2026-03-01 00:00,1,nan\n", "line 2: anomaly is 'nan', not 0 or 1"),
        ("time,word\n2026-03-01 00:00,on\n", "no numeric column"),
        ("", "is empty"),
    ],
)
def test_what_is_no_recording_is_refused_with_file_and_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "fan.csv"
    file.write_text(text)
    with pytest.raises(InvalidHistory, match=rf"fan\.csv: .*{problem}"):
        read_all(file)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [machine(folder, "fan-1", count=3) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(InvalidHistory, match="two files are named 'fan-1'"):
        csv_series(files, tenant="acme")


def reading(device: str, observed_at: int, sequence: int) -> Reading:
    signals = {"flow": float(sequence)}
    return Reading("acme", device, observed_at, observed_at + 5, signals, gateway="gw", epoch=1, sequence=sequence)


def stored(root: Path, name: str, readings: Sequence[Reading], *, region: str = "us-east-1") -> None:
    """As the consumer writes it."""
    for one in readings:
        folder = root / readings_folder("acme", region, isoformat(one.observed_at)[:10])
        folder.mkdir(parents=True, exist_ok=True)
        fields = row(ScoredReading(one, 0.0), region=region, stored_at=one.received_at)
        (folder / f"{name}-{one.sequence}.jsonl.gz").write_bytes(compress_lines([fields]))


def test_a_lake_gives_each_machine_its_readings_once_and_in_order(tmp_path: Path) -> None:
    lake, copies = tmp_path / "lake", tmp_path / "copies"
    copies.mkdir()
    mine = [reading("fan-1", BEGINS + turn * DAY_MS // 4, turn) for turn in range(12)]
    stored(lake, "b", mine[:6])
    stored(lake, "a", mine[6:])
    stored(lake, "again", mine[3:9])
    stored(lake, "dr", mine, region="us-west-2")
    stored(lake, "c", [reading("fan-2", BEGINS, 0)])
    store = FolderStore(lake)
    fan_1, fan_2 = lake_series(store, copies, tenant="acme", period=Period())
    assert [one.signals["flow"] for one in fan_1.read()] == [float(turn) for turn in range(12)]
    assert (fan_1.device, fan_2.device) == ("fan-1", "fan-2")
    assert fan_1.faults is None


def test_a_period_cuts_the_lake_at_both_ends(tmp_path: Path) -> None:
    mine = [reading("fan-1", BEGINS + turn * DAY_MS // 4, turn) for turn in range(12)]
    stored(tmp_path / "lake", "a", mine)
    copies = tmp_path / "copies"
    copies.mkdir()
    period = Period(mine[2].observed_at, mine[9].observed_at)
    (fan,) = lake_series(FolderStore(tmp_path / "lake"), copies, tenant="acme", period=period)
    assert [one.signals["flow"] for one in fan.read()] == [float(turn) for turn in range(2, 10)]


def test_an_empty_lake_and_a_wrong_period_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidHistory, match="no readings of tenant 'acme'"):
        lake_series(FolderStore(tmp_path), tmp_path, tenant="acme", period=Period())
    for since, until in (("soon", None), ("2026-03-02", "2026-03-01")):
        with pytest.raises(InvalidHistory):
            period_of(since, until)
    assert period_of("2026-03-01", None) == Period(1_772_323_200_000, None)


GOOD: dict[str, Any] = row(ScoredReading(reading("fan-1", BEGINS, 1), 0.0), region="us-east-1", stored_at=BEGINS)


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip",
        gzip.compress(b"{}\n")[:-9],
        gzip.compress(b"[]\n"),
        gzip.compress(json.dumps(GOOD | {"tenant": "other"}).encode()),
        gzip.compress(json.dumps(GOOD | {"device": "../up"}).encode()),
        gzip.compress(json.dumps(GOOD | {"signals": {"flow": "high"}}).encode()),
        gzip.compress(json.dumps(GOOD | {"observed_at": "never"}).encode()),
    ],
)
def test_an_object_that_is_none_of_the_lake_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    name = f"{readings_folder('acme', 'us-east-1', isoformat(BEGINS)[:10])}/0.jsonl.gz"
    file = tmp_path / "lake" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(body)
    with pytest.raises(InvalidHistory, match=r"0\.jsonl\.gz: "):
        lake_series(FolderStore(tmp_path / "lake"), tmp_path, tenant="acme", period=Period())


def test_labelled_instants_are_intervals_of_no_length(tmp_path: Path) -> None:
    (series,) = csv_series([machine(tmp_path, "fan-1", labelled=[(4, 4)], count=6)], tenant="acme")
    assert series.faults == (Interval(at(4), at(4)),)
