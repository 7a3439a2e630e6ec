"""What a runtime needs of the world. Adapters live in `plantwatch.aws`; tests bring their own.

Every method either has done its work durably when it returns or raises DeliveryFailed (retry) after its own bounded
retries. Each may be called again with the same argument and then changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from plantwatch.incident import Alert
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Rejection


class DeliveryFailed(Exception):
    """The network's or a service's fault: retry, and never acknowledge what it was about."""


class Clock(Protocol):
    def now(self) -> EpochMs: ...


class ResultStore(Protocol):
    """Anomalies, incidents and the latest state of each device (a DynamoDB global table)."""

    def put_anomaly(self, scored: ScoredReading) -> bool:
        """Store one anomalous reading under its idempotency key; False where it was stored before."""

    def put_transition(self, alert: Alert) -> Alert | None:
        """Open or clear the incident. The alert that still has to be sent (also after a crash before sending), or None.

        It carries another incident's name where it clears one that a scorer, since restarted cold, had opened.
        """

    def mark_notified(self, alert: Alert) -> None:
        """Remember that the alert was sent, so that no repeat sends it again."""

    def put_device_states(self, latest: Sequence[ScoredReading]) -> None:
        """The newest reading of each device; an older one never replaces a newer one."""


class Notifier(Protocol):
    def notify(self, alert: Alert) -> None:
        """Send the alert to everyone who subscribed (SNS)."""


class Lake(Protocol):
    def append(self, scored: Sequence[ScoredReading], *, position: str, stored_at: EpochMs) -> None:
        """Store scored readings; `position` (shard and first sequence number) names the objects, so that a repeat
        from the same checkpoint replaces instead of adding."""


class DeadLetters(Protocol):
    def put(self, rejections: Sequence[Rejection], *, position: str) -> None:
        """Keep refused records, reason and bytes; named by `position` as in Lake."""


class ActiveRegion(Protocol):
    def is_active(self) -> bool:
        """Whether this region may write results and send alerts now (hot standby: the other one only scores)."""
