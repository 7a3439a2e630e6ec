"""What the results table holds: keys and items as plain values. Pure; `results` does the calls.

    pk             sk                                         what
    device#pump-7  anomaly#2026-11-23T06:01:15.250Z#{key}     one anomalous reading (deleted by `ttl`)
    device#pump-7  incident#{first seen}#{kind}#{id}          one incident from its opening to its clearing
    device#pump-7  open#{kind}                                the one incident of this kind that is open now
    device#pump-7  state                                      the newest reading

One tenant has one table, so the tenant is in no key.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from plantwatch.alert_text import cause_fields
from plantwatch.incident import Alert, Kind, Phase
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, isoformat

# A year of seasons to compare with, and a month to notice. The lake keeps every reading for longer.
ANOMALY_TTL_DAYS: Final = 400
_DAY_MS: Final = 24 * 3600 * 1000

# DynamoDB's numbers are 0 or 1e-130 to 9.99e125 in magnitude; a float goes further in both directions.
_NUMBER_MIN: Final = 1e-128
_NUMBER_MAX: Final = 1e125

STATE_SK: Final = "state"
ANOMALY_PREFIX: Final = "anomaly#"
INCIDENT_PREFIX: Final = "incident#"
OPEN_PREFIX: Final = "open#"

Item = dict[str, Any]


def device_pk(device: str) -> str:
    return f"device#{device}"


def anomaly_sk(scored: ScoredReading) -> str:
    return f"{ANOMALY_PREFIX}{isoformat(scored.reading.observed_at)}#{scored.reading.key}"


def incident_sk(first_seen: EpochMs, kind: Kind, incident_id: str) -> str:
    return f"{INCIDENT_PREFIX}{isoformat(first_seen)}#{kind}#{incident_id}"


def open_sk(kind: Kind) -> str:
    return f"{OPEN_PREFIX}{kind}"


def notified_name(phase: Phase) -> str:
    """The attribute that remembers that the alert of this phase was sent."""
    return f"notified_{phase}"


def anomaly_item(scored: ScoredReading) -> Item:
    # Counted from its arrival: a replayed history is old when it comes, and should not be gone at once.
    kept_from = max(scored.reading.observed_at, scored.reading.received_at)
    return {
        "sk": anomaly_sk(scored),
        **reading_attributes(scored),
        "shares": {name: number(share) for name, share in scored.shares},
        "faults": [{"signal": fault.signal, "fault": str(fault.fault)} for fault in scored.faults],
        "ttl": (kept_from + ANOMALY_TTL_DAYS * _DAY_MS) // 1000,
    }


def state_item(scored: ScoredReading) -> Item:
    state = {"sk": STATE_SK, **reading_attributes(scored), "faulty": sorted({fault.signal for fault in scored.faults})}
    # Only while warming up, and only where it can be foreseen.
    return state if scored.ready_in_s is None else state | {"ready_in_s": scored.ready_in_s}


def reading_attributes(scored: ScoredReading) -> Item:
    """What an anomaly and a device's state have in common. `observed_ms` is what conditions compare."""
    reading = scored.reading
    return {
        "pk": device_pk(reading.device),
        "tenant": reading.tenant,
        "device": reading.device,
        "observed_at": isoformat(reading.observed_at),
        "observed_ms": reading.observed_at,
        "key": reading.key,
        "gateway": reading.gateway,
        "signals": {name: number(value) for name, value in reading.signals.items()},
        "missing": list(reading.missing),
        "attributes": {name: text(value) for name, value in reading.attributes.items()},
        "score": number(scored.score),
        "open_kinds": [str(kind) for kind in scored.open_kinds],
        "warming_up": scored.warming_up,
        "bundle": scored.bundle,
    }


def incident_item(alert: Alert) -> Item:
    """An incident as it opens."""
    return {
        "pk": device_pk(alert.device),
        "sk": incident_sk(alert.first_seen, alert.kind, alert.incident_id),
        "incident_id": alert.incident_id,
        "tenant": alert.tenant,
        "device": alert.device,
        "kind": str(alert.kind),
        "phase": str(Phase.OPENED),
        "severity": str(alert.severity),
        "score": number(alert.score),
        "first_seen": isoformat(alert.first_seen),
        "first_seen_ms": alert.first_seen,
        "opened_at": isoformat(alert.observed_at),
        "causes": [
            {name: number(value) if isinstance(value, float) else value for name, value in cause_fields(cause).items()}
            for cause in alert.causes
        ],
        "region": alert.region,
    }


def open_item(alert: Alert) -> Item:
    """The guard: one open incident per device and kind."""
    return {
        "pk": device_pk(alert.device),
        "sk": open_sk(alert.kind),
        "incident_id": alert.incident_id,
        "first_seen_ms": alert.first_seen,
    }


def number(value: float) -> Decimal | str:
    """The float without loss: its shortest text as a Decimal (17 digits of 38), or as text where DynamoDB has none."""
    if value == 0:
        return Decimal(0)
    if math.isfinite(value) and _NUMBER_MIN < abs(value) < _NUMBER_MAX:
        return Decimal(repr(float(value)))
    return repr(value)


def text(value: str) -> str:
    """The text with what is not Unicode (a lone surrogate out of a JSON escape) replaced: DynamoDB refuses it."""
    return value.encode("utf-8", "replace").decode()
