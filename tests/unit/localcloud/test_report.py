"""The demo's verdict: `ok` says exactly that everything arrived once and every fault, and nothing else, was alerted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from localcloud.evidence import Stored
from localcloud.report import Expected, Facts, ReceivedAlert, build, percentiles
from plantwatch.telemetry import isoformat

NOW = 1_795_413_600_000
SENT = {"edge": {"pump-1": {"a", "b"}}, "thing": {"fan-1": {"c"}}}


def stored(**changes: Any) -> Stored:
    counts = {"pump-1": Counter(a=1, b=1), "fan-1": Counter(c=1)}
    return Stored("us-east-1", **{"stream": counts, "lake": counts, **changes})


def alert(device: str = "pump-1", *, at: int = NOW + 2000, phase: str = "opened", alert_id: str = "x") -> ReceivedAlert:
    body = {
        "alert_id": alert_id, "device": device, "phase": phase, "kind": "process_anomaly", "observed_at": isoformat(at),
        "first_seen": isoformat(at), "tenant": "acme", "severity": "high", "score": 1.0, "incident_id": "i",
        "region": "us-east-1", "text": "t", "signals": [{"signal": "pressure"}],
    }  # fmt: skip
    return ReceivedAlert(body, at + 150)


def facts(**changes: Any) -> Facts:
    return replace(
        Facts(
            sent=SENT,
            stored={"primary": stored(), "dr": stored()},
            alerts=[alert()],
            expected=[Expected("pump-1", "pressure_loss", "process_anomaly", ((NOW, NOW + 60_000),))],
            store_delays_ms=[900.0, 1100.0],
            live_devices=frozenset({"pump-1"}),
        ),
        **changes,
    )


def test_a_run_in_which_everything_is_right_is_ok() -> None:
    report = build(facts())
    assert report["ok"]
    assert report["problems"] == []
    assert report["readings"] == {"sent": 3, "by_path": {"edge": 2, "thing": 1}}
    assert report["regions"]["dr"]["received"] == 3
    assert report["faults"][0]["delay_s"] == 2.0
    assert report["latency_ms"]["publish_to_alert"] == {"p50": 150, "p99": 150}
    assert report["latency_ms"]["publish_to_lake_or_table"] == {"p50": 900.0, "p99": 1100.0}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stored": {"primary": stored(), "dr": stored(lake={"pump-1": Counter(a=1)})}}, "dr: 2 readings are missing"),
        (
            {"stored": {"primary": stored(lake={"pump-1": Counter(a=2, b=1), "fan-1": Counter(c=1)})}},
            "primary: 1 rows are stored twice",
        ),
        (
            {"stored": {"primary": stored(dead_letters=Counter(not_finite=1))}},
            "primary: 1 records were refused, 0 were sent broken",
        ),
        ({"alerts": []}, "pump-1: pressure_loss was not found"),
        ({"alerts": [alert(), alert("fan-1", alert_id="y")]}, "1 alerts without a fault"),
        ({"alerts": [alert(), alert(at=NOW - 5000, alert_id="y")]}, "1 alerts without a fault"),
        ({"alerts": [alert(), alert()]}, "1 alerts were sent twice"),
    ],
)
def test_whatever_is_wrong_is_named_and_not_ok(changes: dict[str, Any], problem: str) -> None:
    report = build(facts(**changes))
    assert not report["ok"]
    assert report["problems"] == [problem]


def test_a_clearing_is_no_alert_of_its_own() -> None:
    report = build(facts(alerts=[alert(), alert(phase="cleared", at=NOW + 90_000, alert_id="z")]))
    assert report["ok"]
    assert len(report["alerts"]) == 1


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles(range(1, 201)) == {"p50": 100, "p99": 198}
    assert percentiles([7.0]) == {"p50": 7.0, "p99": 7.0}
    assert percentiles([]) == {"p50": None, "p99": None}
