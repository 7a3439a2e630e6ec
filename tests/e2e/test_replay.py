"""A file goes through the whole pipeline, by the gateway and by a thing, and the report says what became of it."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localcloud import series
from localcloud.cloud import LocalCloud
from localcloud.evidence import device_items
from localcloud.region import REPOSITORY
from plantwatch.telemetry import isoformat

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def replayed(cloud: LocalCloud, file: Path, device: str, via: str, tmp_path: Path) -> dict[str, Any]:
    report = tmp_path / f"{device}.json"
    command = [sys.executable, "-m", "plantwatch.cli", "replay", str(file), "--tenant", "acme", "--device", device]
    options = ["--via", via, "--report", str(report), "--root", str(cloud.layout.root)]
    subprocess.run([*command, *options], check=True, cwd=REPOSITORY, capture_output=True, timeout=200)
    result: dict[str, Any] = json.loads(report.read_text())
    return result


@pytest.mark.parametrize("via", ["edge", "thing"])
def test_a_labelled_series_arrives_in_both_regions_and_its_fault_is_alerted(
    cloud: LocalCloud, tmp_path: Path, via: str
) -> None:
    recorded = series.make(tmp_path)
    report = replayed(cloud, recorded.file, f"replay-{via}", via, tmp_path)
    assert report["ok"]
    assert report["sent"] == 1500
    for region in report["regions"].values():
        assert (region["received"], region["missing"], region["duplicate"], region["lake_rows"]) == (1500, 0, 0, 1500)
    [alert] = report["alerts"]
    (first, last), *_ = recorded.windows
    assert isoformat(first) <= alert["observed_at"] <= isoformat(last)
    assert {"vibration", "temperature"} >= {alert["signal"]}
    assert alert["device"] == f"replay-{via}"


def test_the_incident_is_in_the_table_of_both_regions_and_the_state_is_the_newest(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    report = replayed(cloud, series.make(tmp_path).file, "replay-results", "edge", tmp_path)
    [alert] = report["alerts"]
    with cloud.aws():
        for region in cloud.layout.regions:
            table = cloud.session(region.role).resource("dynamodb").Table(cloud.layout.names(region).table)
            incidents = device_items(table, "replay-results", prefix="incident#")
            assert alert["incident_id"] in [item["incident_id"] for item in incidents]
            assert device_items(table, "replay-results", prefix="anomaly#")
            assert len(device_items(table, "replay-results", prefix="state")) == 1


def test_a_bad_row_is_named_and_the_rest_is_replayed(cloud: LocalCloud, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out, delimiter=";")
        rows.writerow(["when", "flow"])
        rows.writerows([isoformat(1_600_000_000_000 + 1000 * second), second % 7] for second in range(20))
        rows.writerow([isoformat(1_600_000_020_000), "broken"])
        rows.writerow(["yesterday", 3])
        rows.writerow([isoformat(1_600_000_022_000), 3])
    report = replayed(cloud, file, "replay-bad", "thing", tmp_path)
    assert report["ok"]
    assert report["sent"] == 21
    assert [(bad["row"], bad["reason"]) for bad in report["bad_rows"]] == [
        (22, "not_a_number"),
        (23, "invalid_timestamp"),
    ]


def test_a_row_that_the_local_bus_does_not_take_is_named_and_the_rest_is_replayed(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    file = tmp_path / "long.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["time", "flow", *(f"note {number}" for number in range(10))])
        for second in range(20):
            note = "x" * 900 if second == 7 else "short"
            rows.writerow([isoformat(1_600_000_000_000 + 1000 * second), second, *[note] * 10])
    report = replayed(cloud, file, "replay-long", "edge", tmp_path)
    assert report["ok"]
    assert report["sent"] == 19
    assert [(bad["row"], bad["refused_by"], bad["reason"]) for bad in report["bad_rows"]] == [
        (9, "local bus", "too_large")
    ]
    assert {region["rejected"] for region in report["regions"].values()} == {0}


def test_an_interrupted_replay_says_how_far_it_came(cloud: LocalCloud, tmp_path: Path) -> None:
    file = series.make(tmp_path).file
    command = [sys.executable, "-m", "plantwatch.cli", "replay", str(file), "--tenant", "acme"]
    options = ["--device", "replay-broken-off", "--rate", "1000", "--root", str(cloud.layout.root)]
    running = subprocess.Popen([*command, *options], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("signals: temperature, ")
    assert running.stderr.readline() == "1000 rows sent\n"
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    said = running.stderr.read()
    assert running.wait(30) == 130
    assert "Traceback" not in said
    count = re.search(r"(\d+) rows sent, 0 refused; stored so far: \D*(\d+) in primary, \D*(\d+) in dr", said)
    assert count, said
    assert 1000 <= int(count[1]) < 1500
    assert all(int(stored) <= int(count[1]) for stored in (count[2], count[3]))


def test_the_same_file_again_is_known(cloud: LocalCloud, tmp_path: Path) -> None:
    file = series.make(tmp_path).file
    first, again = (replayed(cloud, file, "replay-again", "edge", tmp_path) for _ in range(2))
    assert (first["known_before"], first["ok"]) == (0, True)
    assert (again["known_before"], again["ok"]) == (1500, True)


@pytest.mark.parametrize("name", ["skab_dev/data/valve1/0.csv", "nab_dev/data/realKnownCause/nyc_taxi.csv"])
def test_a_real_series_arrives_in_both_regions(cloud: LocalCloud, tmp_path: Path, name: str) -> None:
    file = series.data_folder() / name
    if not file.exists():
        pytest.skip(f"no labelled series here: {file} (name their folder with PLANTWATCH_DATA)")
    report = replayed(cloud, file, f"real-{file.stem}", "edge", tmp_path)
    assert report["ok"]
    assert {region["received"] for region in report["regions"].values()} == {report["sent"]}


def queued_alerts(cloud: LocalCloud, role: str) -> list[dict[str, Any]]:
    names = cloud.layout.names(cloud.layout.region(role))
    sqs = cloud.session(role).client("sqs")
    url = sqs.get_queue_url(QueueName=names.alerts_queue)["QueueUrl"]
    bodies: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [json.loads(message["Body"]) for message in messages]
    return bodies


def test_the_alert_is_in_the_queue_of_the_active_region_only(cloud: LocalCloud, tmp_path: Path) -> None:
    report = replayed(cloud, series.make(tmp_path).file, "replay-queue", "edge", tmp_path)
    [alert] = report["alerts"]
    with cloud.aws():
        bodies = queued_alerts(cloud, "primary")
        # The standby has stored the same readings (replay waits for that), so it has had its chance to alert.
        assert queued_alerts(cloud, "dr") == []
    [queued] = [body for body in bodies if body["device"] == "replay-queue" and body["phase"] == "opened"]
    assert queued["incident_id"] == alert["incident_id"]
    assert queued["text"] == alert["text"]
    assert queued["signals"][0]["expected_high"] is not None
