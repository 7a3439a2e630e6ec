"""The workshop's commands: what they write, and one line with exit code 2 for each kind of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from models.cli import backtest, labels, registry, train
from models.history import csv_series
from plantwatch.aws.lake import compress_lines, readings_folder, row
from plantwatch.bundle.container import load, save
from plantwatch.bundle.model import Bundle
from plantwatch.maintenance import MaintenanceWindow, windows_text
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import isoformat
from tests.unit.models.plant_files import at, machine

APP = typer.Typer()
for command in (backtest, labels, registry, train):
    command.register(APP)
FAULT = (1_600, 1_700)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, list(map(str, arguments)), env={"COLUMNS": "400"})


def good(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """The one line that says why."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines that are well and one with a labelled fault, and a bundle of the two."""
    folder = tmp_path_factory.mktemp("plant")
    for name in ("fan-1", "fan-2"):
        machine(folder, name)
    machine(folder, "fan-3", shifts=[FAULT], labelled=[FAULT])
    files = (folder / "fan-1.csv", folder / "fan-2.csv")
    good("train", *files, "--machine-type", "fan", "--detector", "standard", "-o", folder / "fan.bundle")
    return folder


def test_a_trained_bundle_says_what_it_is(plant: Path) -> None:
    bundle = load(plant / "fan.bundle")
    assert (bundle.name, bundle.machine_type, set(bundle.priors)) == ("fan", "fan", {"flow", "level"})
    assert bundle.training
    assert bundle.training.sources == ("fan-1.csv", "fan-2.csv")
    assert bundle.expected_alerts_per_day == 0.0


def test_a_backtest_reports_incidents_scores_thresholds_and_the_shadow_run(plant: Path) -> None:
    report = plant / "report.json"
    shown = good(
        "backtest", plant / "fan-3.csv", "--bundle", plant / "fan.bundle", "--against", plant / "fan.bundle",
        "--report", report,
    )  # fmt: skip
    content = json.loads(report.read_text())
    (incident,) = content["incidents"]
    assert incident["judged"] == "true"
    assert incident["incident_id"] in shown
    assert content["scores"]["event"] == {"recall": 1.0, "precision": 1.0, "f1": 1.0}
    assert 0 < content["scores"]["median_delay_s"] < 3600
    assert [count["open_at"] for count in content["thresholds"]] == [10, 16, 25, 40, 63, 100, 160, 250]
    counts = [count["alerts"] for count in content["thresholds"]]
    assert counts == sorted(counts, reverse=True)
    assert (len(content["against"]["both"]), content["against"]["only_new"]) == (1, [])
    assert content["machines"][0]["alerts"] == {"process_anomaly": 1, "sensor_fault": 0}


def test_a_lake_of_the_same_readings_is_the_same_training(plant: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (series,) = csv_series([plant / f"fan-{number}.csv"], tenant="acme")
        days: dict[str, list[dict[str, Any]]] = {}
        for reading in series.read():
            folder = readings_folder("acme", "us-east-1", isoformat(reading.observed_at)[:10])
            fields = row(ScoredReading(reading, 0.0), region="us-east-1", stored_at=reading.observed_at)
            days.setdefault(folder, []).append({**fields, "key": str(reading.observed_at)})
        for folder, rows in days.items():
            (tmp_path / "lake" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "lake" / folder / f"{number}.jsonl.gz").write_bytes(compress_lines(rows))
    place = ("--from-lake", tmp_path / "lake", "--tenant", "acme")
    good("train", *place, "--machine-type", "fan", "--detector", "standard", "-o", tmp_path / "lake.bundle")
    mine, theirs = load(tmp_path / "lake.bundle"), load(plant / "fan.bundle")
    assert mine.training
    assert theirs.training
    assert mine.training.sha256 == theirs.training.sha256
    assert mine.training.sources == ("lake#fan-1", "lake#fan-2")
    assert (mine.digest, mine.calibration) == (theirs.digest, theirs.calibration)
    shown = good("backtest", *place, "--bundle", tmp_path / "lake.bundle", "--until", isoformat(at(600)))
    assert "on 0.8 machine-days" in shown


def test_recordings_that_a_bundle_was_trained_on_are_no_test_of_it(plant: Path) -> None:
    shown = good("backtest", plant / "fan-1.csv", plant / "fan-3.csv", "--bundle", plant / "fan.bundle")
    told = [line for line in shown.splitlines() if "trained on" in line]
    assert told == ["fan-1.csv is among what fan was trained on: this is no test of it"]


def test_no_alert_says_how_little_is_known(plant: Path, tmp_path: Path) -> None:
    shown = good(
        "train", plant / "fan-1.csv", plant / "fan-2.csv", "--detector", "standard", "-o", tmp_path / "f.bundle"
    )
    calibration = load(tmp_path / "f.bundle").calibration
    assert calibration is not None
    days = calibration.machine_days
    assert f"no alert on {days:.1f} machine-days that it was not learnt from: fewer than {3 / days:.2g} a day" in shown


def test_a_label_that_has_nothing_to_say_is_told(plant: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    add = ("labels", "add", file, "--verdict", "true", "--by", "mk")
    good(*add, "--device", "fan-9", "--since", isoformat(at(0)), "--until", isoformat(at(1)))
    good(*add, "--device", "fan-3", "--since", "2025-01-01", "--until", "2025-01-02")
    good(*add, "--device", "fan-3", "--incident", "0" * 16)
    shown = good("backtest", plant / "fan-3.csv", "--labels", file, "--no-thresholds")
    assert [line for line in shown.splitlines() if line.startswith("label")] == [
        "label without effect: fan-9 was not watched from 2026-03-04T04:53 to 2026-03-04T04:54",
        "label without effect: fan-3 was not watched from 2025-01-01T00:00 to 2025-01-02T00:00",
        "label without effect: incident 0000000000000000 of fan-3 did not occur",
    ]


def test_a_configuration_stands_in_for_a_bundle(plant: Path, tmp_path: Path) -> None:
    config, report = tmp_path / "deaf.json", tmp_path / "report.json"
    config.write_text('{"process_policy": {"open_at": 9000, "evidence_max": 9000}}')
    good("backtest", plant / "fan-3.csv", "--config", config, "--no-thresholds", "--report", report)
    content = json.loads(report.read_text())
    assert content["incidents"] == []
    assert content["scores"]["event"]["recall"] == 0.0


def test_no_incident_opens_during_maintenance_that_the_runtimes_would_know(plant: Path, tmp_path: Path) -> None:
    file, report = tmp_path / "windows.json", tmp_path / "report.json"
    file.write_text(windows_text([MaintenanceWindow(at(FAULT[0]) - 60_000, at(FAULT[1]) + 60_000, "overhaul")]))
    good("backtest", plant / "fan-3.csv", "--maintenance", file, "--report", report)
    assert json.loads(report.read_text())["incidents"] == []
    work = tmp_path / "work.ics"
    begin, end = (
        isoformat(at(minute))[:19].replace("-", "").replace(":", "") for minute in (FAULT[0] - 1, FAULT[1] + 1)
    )
    event = f"BEGIN:VEVENT\nSUMMARY:overhaul\nDTSTART:{begin}Z\nDTEND:{end}Z\nEND:VEVENT"
    work.write_text(f"BEGIN:VCALENDAR\n{event}\nEND:VCALENDAR\n")
    good("backtest", plant / "fan-3.csv", "--calendar", work, "--report", report)
    assert json.loads(report.read_text())["incidents"] == []
    work.write_text("BEGIN:VCALENDAR\n")
    assert "work.ics: " in refused("backtest", plant / "fan-3.csv", "--calendar", work)
    file.write_text('[{"begins_at": "soon"}]')
    assert "windows.json: maintenance window 0" in refused("backtest", plant / "fan-3.csv", "--maintenance", file)


def test_an_incident_is_labelled_by_its_name_in_a_report(plant: Path, tmp_path: Path) -> None:
    report, file = tmp_path / "report.json", tmp_path / "labels.jsonl"
    good("backtest", plant / "fan-3.csv", "--bundle", plant / "fan.bundle", "--report", report)
    (incident,) = json.loads(report.read_text())["incidents"]
    name = incident["incident_id"]
    good("labels", "add", file, "--incident", name, "--report", report, "--verdict", "true", "--by", "[b]mk[/b]")
    label = json.loads(file.read_text())
    assert (label["device"], label["since"], label["until"]) == ("fan-3", incident["first_seen"], incident["ended_at"])
    assert "[b]mk[/b]" in good("labels", "list", file)
    good("labels", "add", file, "--device", "fan-3", "--since", label["since"], "--until", label["until"],
         "--verdict", "false", "--by", "ops")  # fmt: skip
    assert "true" not in good("labels", "list", file)
    assert "true" in good("labels", "list", file, "--all")


def test_a_version_goes_from_candidate_to_production_and_back(plant: Path, tmp_path: Path) -> None:
    place = ("--registry", tmp_path / "models", "--tenant", "acme")
    mine = (*place, "--machine-type", "fan", "--by", "mk")
    assert "no models of tenant acme" in good("models", "list", *place)
    digests = []
    for name, bundle in (("one", load(plant / "fan.bundle")), ("two", Bundle("two", "fan"))):
        save(bundle, tmp_path / f"{name}.bundle")
        digests.append(bundle.digest)
        good("models", "push", tmp_path / f"{name}.bundle", *place, "--by", "mk")
        good("models", "promote", "shadow", *mine)
        good("models", "promote", "production", *mine, "--version", bundle.digest)
    assert [line.split() for line in good("models", "list", *place).splitlines() if digests[1] in line] == [
        [digests[1], "production"]
    ]
    assert f"production: {digests[0]}" in good("models", "revert", *mine, "--comment", "too loud")
    assert "too loud" in good("models", "list", *place, "--history")
    good("models", "pull", "production", *mine[:-2], "-o", tmp_path / "back.bundle")
    assert (tmp_path / "back.bundle").read_bytes() == (tmp_path / "one.bundle").read_bytes()
    assert "nothing_before" in refused("models", "revert", *mine)


@pytest.mark.parametrize(
    "command",
    [("train",), ("backtest",), ("labels", "add"), ("labels", "list"),
     *(("models", name) for name in ("list", "push", "pull", "promote", "revert"))],
)  # fmt: skip
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    assert "Usage" in good(*command, "--help")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("time,word\n2026-03-01T00:00Z,on\n", "no numeric column"),
        ("time,a\n", "no"),
        ("time,a\n" + "".join(f"{at(row)},7\n" for row in range(1_700)), "no signal varies"),
        ("time,a\n" + "".join(f"{at(row)},{row % 7}\n" for row in range(300)), "normal readings"),
        ("time,a\n" + "".join(f"{at(row)},{row % 7}\n" for row in (1, 0)), "line 3: the time"),
        ("time,a,b\n2026-03-01T00:00Z,1,2\n2026-03-01T00:01Z;1;2\n", "line 3: malformed_row"),
        ("time,a\n2026-03-01T00:00Z,nan\n", "line 2: not_finite"),
    ],
)
def test_data_that_nothing_can_be_learnt_from_is_one_line_and_no_bundle(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    line = refused("train", file, "-o", tmp_path / "out.bundle")
    assert line.startswith("cannot train: ")
    assert "bad.csv" in line
    assert problem in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_bundle_that_was_tampered_with_is_refused_by_name(plant: Path, tmp_path: Path) -> None:
    body = bytearray((plant / "fan.bundle").read_bytes())
    body[-5] ^= 1
    (tmp_path / "bad.bundle").write_bytes(body)
    line = refused(
        "backtest", plant / "fan-3.csv", "--bundle", tmp_path / "bad.bundle", "--report", tmp_path / "r.json"
    )
    assert "bad.bundle" in line
    assert "digest" in line
    assert not (tmp_path / "r.json").exists()
    assert "digest" in refused(
        "models", "push", tmp_path / "bad.bundle", "--registry", tmp_path / "models", "--tenant", "acme"
    )
    assert not (tmp_path / "models").exists()


def test_wrong_calls_are_one_line_each(plant: Path, tmp_path: Path) -> None:
    csv, out = plant / "fan-1.csv", tmp_path / "out.bundle"
    (tmp_path / "labels.jsonl").write_text('{"device": "fan-1"}\n')
    (tmp_path / "config.json").write_text('{"open_at": 3}')
    calls = {
        "name CSV files, or a lake": ("train", "-o", out),
        "--since and --until are for a lake": ("train", csv, "--since", "2026-01-01", "-o", out),
        "there is no 'best'": ("train", csv, "--detector", "best", "-o", out),
        "nan is no rate": ("train", csv, "--alerts-per-day", "nan", "-o", out),
        "labels.jsonl: line 1: no_stretch": ("train", csv, "--labels", tmp_path / "labels.jsonl", "-o", out),
        "name 'no name'": ("train", csv, "--name", "no name", "-o", out),
        "no readings of tenant": ("train", "--from-lake", tmp_path, "-o", out),
        "tenant: invalid_name": ("train", "--from-lake", tmp_path, "--tenant", "../acme", "-o", out),
        "config.json: open_at: no such setting": ("backtest", csv, "--config", tmp_path / "config.json"),
        "give one of them": ("backtest", csv, "--config", out, "--bundle", out),
        f"{tmp_path}: Is a directory": ("train", csv, "-o", tmp_path),
        f"{plant}: Is a directory": ("backtest", csv, "--report", plant),
        "No such file": ("backtest", csv, "--bundle", tmp_path / "none.bundle"),
        "none.csv": ("backtest", tmp_path / "none.csv"),
        "invalid_verdict": ("labels", "add", tmp_path / "x", "--verdict", "maybe", "--device", "fan", "--since",
                            isoformat(at(0)), "--until", isoformat(at(1))),
        "no backtest report": ("labels", "add", tmp_path / "x", "--verdict", "true", "--incident", "0" * 16,
                               "--report", tmp_path / "config.json"),
    }  # fmt: skip
    for problem, arguments in calls.items():
        assert problem in refused(*arguments)
    assert not out.exists()
    assert not (tmp_path / "x").exists()
