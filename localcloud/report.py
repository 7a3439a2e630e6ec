"""The demo's verdict: what was sent, what each region holds of it, which faults were found, how fast. Pure.

`ok` needs: nothing missing in either region, no row twice, every fault found, no alert false, no alert sent twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.evidence import Stored
from plantwatch.telemetry import EpochMs, isoformat


@dataclass(frozen=True)
class Expected:
    """A fault that was caused on purpose (or that a recorded series is labelled with): an alert of `kind` (any, where
    empty) at `device` is right while it is observed within one of `windows`, and at least one is wanted in each."""

    device: str
    name: str
    kind: str
    windows: tuple[tuple[EpochMs, EpochMs], ...]


@dataclass(frozen=True)
class ReceivedAlert:
    """An alert as the subscriber got it."""

    body: Mapping[str, Any]
    received_at: EpochMs

    @property
    def observed_at(self) -> EpochMs:
        return _epoch_ms(self.body["observed_at"])

    @property
    def is_opening(self) -> bool:
        return bool(self.body["phase"] == "opened")


@dataclass(frozen=True)
class Facts:
    """Everything that the verdict is made of. `sent` maps a path (edge, thing, replay) to device -> marks."""

    sent: Mapping[str, Mapping[str, set[str]]]
    stored: Mapping[str, Stored]
    alerts: Sequence[ReceivedAlert]
    expected: Sequence[Expected]
    store_delays_ms: Sequence[float]
    live_devices: frozenset[str]
    live_at: EpochMs = 0
    rss_mb: Mapping[str, float] = field(default_factory=dict)
    duration_s: float = 0.0
    refused: int = 0


def build(facts: Facts) -> dict[str, Any]:
    """The report, as `report.json` has it."""
    regions = {role: _region(stored, facts) for role, stored in facts.stored.items()}
    openings = [alert for alert in facts.alerts if alert.is_opening]
    false = [alert for alert in openings if not any(_explains(fault, alert) for fault in facts.expected)]
    faults = [_fault(fault, start, end, openings) for fault in facts.expected for start, end in fault.windows]
    delays = [alert.received_at - alert.observed_at for alert in openings if alert.body["device"] in facts.live_devices]
    report = {
        "ok": False,
        "problems": [],
        "duration_s": round(facts.duration_s, 1),
        "readings": {
            "sent": sum(_count(devices) for devices in facts.sent.values()),
            "by_path": {path: _count(devices) for path, devices in facts.sent.items()},
        },
        "regions": regions,
        "alerts": [alert_fields(alert) for alert in openings],
        "faults": faults,
        "false_alerts": len(false),
        "repeated_alerts": _repeated(facts.alerts),
        "latency_ms": {
            "publish_to_alert": percentiles(delays),
            "publish_to_lake_or_table": percentiles(facts.store_delays_ms),
        },
        "rss_mb": dict(facts.rss_mb),
    }
    report["problems"] = _problems(report, facts.refused)
    report["ok"] = not report["problems"]
    return report


def percentiles(values: Iterable[float]) -> dict[str, float | None]:
    """p50 and p99 by nearest rank; None where there is nothing to measure."""
    ordered = sorted(values)
    return {
        name: round(ordered[max(0, math.ceil(rank * len(ordered)) - 1)], 1) if ordered else None
        for name, rank in (("p50", 0.50), ("p99", 0.99))
    }


def _region(stored: Stored, facts: Facts) -> dict[str, Any]:
    sent: dict[str, set[str]] = {}
    for devices in facts.sent.values():
        for device, marks in devices.items():
            sent.setdefault(device, set()).update(marks)
    missing = stored.missing(sent)
    return {
        "region": stored.region,
        "received": stored.received,
        "redelivered": stored.redelivered,
        "duplicate": stored.duplicate,
        "missing": sum(map(len, missing.values())),
        "missing_by_device": {device: sorted(marks)[:20] for device, marks in missing.items()},
        "rejected": stored.dead_letters.total(),
        "rejected_by_reason": dict(sorted(stored.dead_letters.items())),
        "lake_rows": stored.lake_rows,
    }


def _fault(fault: Expected, start: EpochMs, end: EpochMs, openings: Sequence[ReceivedAlert]) -> dict[str, Any]:
    found = sorted(
        (alert for alert in openings if _explains(fault, alert) and start <= alert.observed_at <= end),
        key=lambda alert: alert.observed_at,
    )
    return {
        "device": fault.device,
        "fault": fault.name,
        "kind": fault.kind or "any",
        "started_at": isoformat(start),
        "detected": bool(found),
        "delay_s": round((found[0].observed_at - start) / 1000, 1) if found else None,
    }


def _explains(fault: Expected, alert: ReceivedAlert) -> bool:
    return (
        fault.device == alert.body["device"]
        and fault.kind in ("", alert.body["kind"])
        and any(start <= alert.observed_at <= end for start, end in fault.windows)
    )


def alert_fields(alert: ReceivedAlert) -> dict[str, Any]:
    body = alert.body
    return {
        "tenant": body["tenant"],
        "device": body["device"],
        "signal": body["signals"][0]["signal"] if body["signals"] else None,
        "kind": body["kind"],
        "severity": body["severity"],
        "score": body["score"],
        "observed_at": body["observed_at"],
        "alerted_at": isoformat(alert.received_at),
        "incident_id": body["incident_id"],
        "region": body["region"],
        "text": body["text"],
        "signals": body["signals"],
        "first_seen": body["first_seen"],
    }


def _repeated(alerts: Sequence[ReceivedAlert]) -> int:
    """Alerts that a person got a second time."""
    counts = Counter(alert.body["alert_id"] for alert in alerts)
    return counts.total() - len(counts)


def _problems(report: Mapping[str, Any], refused: int) -> list[str]:
    problems = []
    for role, region in report["regions"].items():
        if region["missing"]:
            problems.append(f"{role}: {region['missing']} readings are missing")
        if region["duplicate"]:
            problems.append(f"{role}: {region['duplicate']} rows are stored twice")
        if region["rejected"] != refused:
            problems.append(f"{role}: {region['rejected']} records were refused, {refused} were sent broken")
    problems += [
        f"{fault['device']}: {fault['fault']} was not found" for fault in report["faults"] if not fault["detected"]
    ]
    if report["false_alerts"]:
        problems.append(f"{report['false_alerts']} alerts without a fault")
    if report["repeated_alerts"]:
        problems.append(f"{report['repeated_alerts']} alerts were sent twice")
    return problems


def _count(devices: Mapping[str, set[str]]) -> int:
    return sum(map(len, devices.values()))


def _epoch_ms(text: str) -> EpochMs:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
