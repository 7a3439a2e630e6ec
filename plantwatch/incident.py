"""What a machine's misbehaviour is called: kinds, severities, transitions, and the alert that people read.

An *incident* is one stretch of misbehaviour of one kind at one machine. It has the same identity wherever it is
found (gateway, consumer, either region), because the identity is made of what was observed only.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import NamedTuple

from plantwatch.telemetry import EpochMs


class Kind(StrEnum):
    """What misbehaves: the process, or the sensor that watches it. Operators call different people for each."""

    PROCESS_ANOMALY = "process_anomaly"
    SENSOR_FAULT = "sensor_fault"


class Severity(StrEnum):
    """How soon somebody should look (ISA-18.2 priorities, lowest first)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Phase(StrEnum):
    """Which way an incident turned with one reading."""

    OPENED = "opened"
    CLEARED = "cleared"


class Fault(StrEnum):
    """What a sensor does wrong; a closed set, which is also a metric's dimension."""

    STUCK = "stuck"
    OUT_OF_RANGE = "out_of_range"
    GAP = "gap"
    NOT_FINITE = "not_finite"


class Cause(NamedTuple):
    """One signal's part in an incident.

    `share` is the part of the evidence that this signal carries (0 to 1, all causes sum to 1); `observed` is the value
    of the reading that opened the incident (None where the sensor gave none), `expected_low` and `expected_high` the
    band that the detector would have found ordinary (None where it has none). `fault` is set for sensor faults only.
    """

    signal: str
    share: float
    observed: float | None
    expected_low: float | None
    expected_high: float | None
    fault: Fault | None = None


class FirstSign(NamedTuple):
    """Which of an incident's signals misbehaved first, and when by its own clock."""

    signal: str
    at: EpochMs


class Transition(NamedTuple):
    """An incident opens or clears with this reading. `first_seen` is the observed time at which it began."""

    kind: Kind
    phase: Phase
    first_seen: EpochMs
    severity: Severity
    score: float
    causes: tuple[Cause, ...]
    first_sign: FirstSign | None = None
    """None where an older gateway found the incident."""


def incident_id(tenant: str, device: str, kind: Kind, first_seen: EpochMs) -> str:
    """The incident's stable name: 16 hexadecimal digits, equal in every runtime and region."""
    digest = hashlib.sha256(f"{tenant}/{device}/{kind}/{first_seen}".encode())
    return digest.hexdigest()[:16]


class Alert(NamedTuple):
    """What people get: where, what, since when, how sure, why. `alert_id` is the same for every repeat of one alert."""

    incident_id: str
    tenant: str
    device: str
    kind: Kind
    phase: Phase
    severity: Severity
    score: float
    first_seen: EpochMs
    observed_at: EpochMs
    causes: tuple[Cause, ...]
    region: str
    first_sign: FirstSign | None = None

    @property
    def alert_id(self) -> str:
        return f"{self.incident_id}-{self.phase}"

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals involved, the one with the largest share first."""
        return tuple(cause.signal for cause in sorted(self.causes, key=lambda cause: -cause.share))
