"""The ports in memory, for tests. They keep the same contract as the real adapters (see tests/contract)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from plantwatch.aws.items import anomaly_sk
from plantwatch.aws.lake import day_of, row
from plantwatch.aws.results import STILL_OPEN_MS
from plantwatch.incident import Alert, Kind, Phase
from plantwatch.ports import DeliveryFailed
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Rejection


class SteadyClock:
    """Time that passes when a test says so."""

    def __init__(self, now: EpochMs = 1_795_000_000_000) -> None:
        self.at = now

    def now(self) -> EpochMs:
        return self.at


@dataclass
class Incident:
    alert: Alert
    cleared: bool = False
    notified: set[Phase] = field(default_factory=set)


class MemoryResults:
    """ResultStore."""

    def __init__(self) -> None:
        self.anomalies: dict[tuple[str, str], ScoredReading] = {}
        self.incidents: dict[str, Incident] = {}
        self.open: dict[tuple[str, Kind], str] = {}
        self.states: dict[str, ScoredReading] = {}

    def put_anomaly(self, scored: ScoredReading) -> bool:
        key = (scored.reading.device, anomaly_sk(scored))
        if key in self.anomalies:
            return False
        self.anomalies[key] = scored
        return True

    def put_transition(self, alert: Alert) -> Alert | None:
        return self._open(alert) if alert.phase is Phase.OPENED else self._clear(alert)

    def mark_notified(self, alert: Alert) -> None:
        incident = self.incidents.get(alert.incident_id)
        if incident is not None:
            incident.notified.add(alert.phase)
        if alert.phase is Phase.CLEARED:
            self._free(alert)

    def put_device_states(self, latest: Sequence[ScoredReading]) -> None:
        for scored in latest:
            known = self.states.get(scored.reading.device)
            if known is None or known.reading.observed_at < scored.reading.observed_at:
                self.states[scored.reading.device] = scored

    def _open(self, alert: Alert) -> Alert | None:
        known = self.incidents.get(alert.incident_id)
        if known is not None:
            return None if Phase.OPENED in known.notified else alert
        other = self.incidents.get(self.open.get((alert.device, alert.kind), ""))
        if other is not None and alert.first_seen < other.alert.first_seen + STILL_OPEN_MS:
            return None
        if other is not None:
            other.cleared = True
        self.incidents[alert.incident_id] = Incident(alert)
        self.open[alert.device, alert.kind] = alert.incident_id
        return alert

    def _clear(self, alert: Alert) -> Alert | None:
        guard = self.open.get((alert.device, alert.kind))
        if guard is not None and alert.incident_id not in self.incidents:
            alert = alert._replace(incident_id=guard, first_seen=self.incidents[guard].alert.first_seen)
        incident = self.incidents.get(alert.incident_id)
        if incident is not None:
            incident.cleared = True
            if Phase.CLEARED not in incident.notified:
                return alert
        self._free(alert)
        return None

    def _free(self, alert: Alert) -> None:
        if self.open.get((alert.device, alert.kind)) == alert.incident_id:
            del self.open[alert.device, alert.kind]


class MemoryNotifier:
    """Notifier."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def notify(self, alert: Alert) -> None:
        self.sent.append(alert)


class MemoryLake:
    """Lake: objects by name, each a list of rows; the longer of two writers of one object wins."""

    def __init__(self, region: str = "us-east-1") -> None:
        self.region = region
        self.objects: dict[str, list[dict[str, Any]]] = {}

    def append(self, scored: Sequence[ScoredReading], *, position: str, stored_at: EpochMs) -> None:
        folders: dict[str, list[dict[str, Any]]] = {}
        for item in scored:
            name = f"{day_of(item.reading.observed_at)}/{position}"
            folders.setdefault(name, []).append(row(item, region=self.region, stored_at=stored_at))
        for name, rows in folders.items():
            if len(rows) >= len(self.objects.get(name, ())):
                self.objects[name] = rows

    def rows(self) -> list[dict[str, Any]]:
        return [fields for rows in self.objects.values() for fields in rows]


class MemoryDeadLetters:
    """DeadLetters: objects by name."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Rejection]] = {}

    def put(self, rejections: Sequence[Rejection], *, position: str) -> None:
        if len(rejections) >= len(self.objects.get(position, ())):
            self.objects[position] = list(rejections)

    def all(self) -> list[Rejection]:
        return [rejection for rejections in self.objects.values() for rejection in rejections]


class MemoryStates:
    """DetectorStates: the two newest per shard, as in S3."""

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[str, bytes]]] = {}

    def save(self, shard: str, covers: str, snapshot: bytes) -> None:
        self.kept[shard] = [*self.kept.get(shard, []), (covers, snapshot)][-2:]

    def load(self, shard: str, covers: str) -> bytes | None:
        return dict(self.kept.get(shard, ())).get(covers)

    def newest(self, shard: str) -> tuple[str, bytes] | None:
        return max(self.kept.get(shard, ()), default=None)


class MemoryFamily:
    """ShardFamily: each shard with its parents."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[str, ...]] = {}

    def parents(self, shard_id: str) -> tuple[str, ...]:
        return self.of.get(shard_id, ())


class MemoryMeter:
    """Meter."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    def report(self, counts: dict[str, Any]) -> None:
        self.reports.append(counts)


class Switch:
    """ActiveRegion, as a test sets it; None where nobody can tell."""

    def __init__(self, active: bool | None = True) -> None:
        self.active = active

    def is_active(self) -> bool:
        if self.active is None:
            raise DeliveryFailed("the active region cannot be read")
        return self.active


class Crash(BaseException):
    """The process dies here: what it did before is done, and nothing after it happens."""


class Fuse:
    """Counts calls of what it guards, and crashes at one of them, before or after its effect."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.at = at
        self.after = after
        self.calls = 0

    def guard(self, target: Any) -> Any:
        return _Guarded(target, self)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.at and not self.after:
                raise Crash
            result = function(*args, **kwargs)
            if self.calls == self.at and self.after:
                raise Crash
            return result

        return guarded


class _Guarded:
    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return self._fuse.wrap(getattr(self._target, name))
