"""One shard's work without Kinesis, Java or a cloud: records in, effects carried out, checkpoints asked for.

Order is everything. An alert is stored, sent and marked as soon as its record was scored; anomalies are stored at the
end of a batch; rows, dead letters, device states and the detectors' state are written together per flush, and the
checkpoint follows at once. Whatever fails for good raises before the checkpoint, and the process must end: the same
records come again, and every effect of theirs is idempotent.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from plantwatch.incident import Alert
from plantwatch.machine import WatchCounts
from plantwatch.pipeline import Effects, Pipeline
from plantwatch.ports import ActiveRegion, Clock, DeadLetters, Lake, Notifier, ResultStore
from plantwatch.scoring import ScoredReading
from plantwatch.shard.checkpoint import END, SHARD_END, Position, Progress, covered
from plantwatch.shard.flush import FlushPolicy, Pending
from plantwatch.shard.patience import Patience
from plantwatch.telemetry import EpochMs

log = logging.getLogger(__name__)

# A standby remembers what it would have sent. When it is promoted it offers these to the result store, which knows what
# the other region sent before it died. A promotion follows an outage within minutes; what is older was the other's.
UNSENT_FOR_MS: Final = 15 * 60 * 1000
# One per turn of an incident: far more than people could handle, and 1 MB.
UNSENT_ALERTS_MAX: Final = 1_000


class ShardRecord(NamedTuple):
    """One record of the stream. `arrived_at` is when Kinesis took it."""

    position: Position
    arrived_at: EpochMs
    data: bytes


class LeaseLost(Exception):
    """Another worker holds the shard now; nothing of it is ours to write any more."""


class DetectorStates(Protocol):
    """Keeps the detectors' state beside the checkpoint that it belongs to."""

    def save(self, shard: str, covers: str, snapshot: bytes) -> None: ...

    def load(self, shard: str, covers: str) -> bytes | None:
        """The state that covers exactly this position, or None."""

    def newest(self, shard: str) -> tuple[str, bytes] | None:
        """The state that covers most, and what it covers; None where there is none. The next save leaves it there."""


class ShardFamily(Protocol):
    """Which shards became which (see `plantwatch.aws.shards`)."""

    def parents(self, shard_id: str) -> Sequence[str]:
        """The shard that was split, or those that were merged, to make this one; none where it was always there."""


class Tally(Protocol):
    """What was done so far, counted."""

    alerts_sent: int
    flushes: int

    def took(self, effects: Effects, *, age_ms: int) -> None:
        """One record, `age_ms` after the stream took it."""


class Reports(Protocol):
    """Tells the operator what was done to one shard. It never fails: no shard stops for its statistics."""

    @property
    def counts(self) -> Tally: ...

    def tell_if_due(self, now: EpochMs) -> None: ...

    def tell(self, now: EpochMs) -> None: ...


# Of a shard, since a time, with what its machines count.
MakeReports = Callable[[str, EpochMs, WatchCounts], Reports]


@dataclass(frozen=True)
class Ports:
    """What the worker needs of the world (see `plantwatch.ports`)."""

    results: ResultStore
    notifier: Notifier
    lake: Lake
    dead_letters: DeadLetters
    active_region: ActiveRegion
    family: ShardFamily
    states: DetectorStates
    reports: MakeReports
    clock: Clock


class ShardWorker:
    """Takes the records of one shard in order.

    `checkpoint` asks the daemon for a checkpoint; it raises LeaseLost where the shard is no longer ours. A reading is
    an anomaly from `anomaly_score_min` on, or where it opens or clears an incident.

    On standby nothing is told to anybody. The turns of incidents are remembered for `UNSENT_FOR_MS` and offered at the
    promotion; anomalies of the time before it are not made up for here, they are in the lake.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ports: Ports,
        *,
        flush_policy: FlushPolicy,
        anomaly_score_min: float,
        patience: Patience,
    ) -> None:
        self._pipeline = pipeline
        self._ports = ports
        self._flush_policy = flush_policy
        self._anomaly_score_min = anomaly_score_min
        self._patience = patience
        self._shard = ""
        self._progress = Progress()
        self._pending = Pending(flush_policy)
        self._unsent: deque[tuple[EpochMs, Alert]] = deque()
        self._reports = self._new_reports()

    def start(self, shard: str, checkpoint: Position | None) -> None:
        """Begin after `checkpoint` (None: at the beginning) with the state that belongs there, where there is one.

        A state is written after every effect of what it covers. So one that covers more than the checkpoint tells what
        another reader has done since (a Lambda, or a worker that died before it could checkpoint): it is gone on from.
        """
        self._shard = shard
        self._reports = self._new_reports()
        kept = self._patience.insist(self._ports.states.newest, shard)
        if kept is not None and _is_ahead(covered(kept[0]), checkpoint) and self._restore([kept[1]]):
            self._begin(covered(kept[0]), warm=True)
            return
        states = self._inherited() if checkpoint is None else self._kept((shard, str(checkpoint)))
        self._begin(checkpoint, warm=self._restore(states))

    def resume(self, shard: str) -> None:
        """Begin after what the newest state covers: for a reader that keeps no checkpoint of its own. The state of a
        shard that ended covers all of it. Whoever comes to a shard that has none begins with what its parents knew."""
        self._shard = shard
        self._reports = self._new_reports()
        kept = self._patience.insist(self._ports.states.newest, shard)
        if kept is not None:
            self._begin(covered(kept[0]), warm=self._restore([kept[1]]))
            return
        parents = self._patience.insist(self._ports.family.parents, shard)
        newest = [self._patience.insist(self._ports.states.newest, parent) for parent in parents]
        self._begin(None, warm=self._restore([state for _, state in filter(None, newest)]))

    def _begin(self, after: Position | None, *, warm: bool) -> None:
        self._progress = Progress.starting_at(after)
        at = after.text if after else "its beginning"
        if warm:
            log.info("%s continues warm after %s", self._shard, at)
        else:
            log.warning("%s starts cold at %s", self._shard, at)

    @property
    def written(self) -> Position | None:
        """The last record of which everything is durable."""
        return self._progress.written

    def _inherited(self) -> list[bytes]:
        """What the shards had learnt that became this one: their devices are here now."""
        parents = self._patience.insist(self._ports.family.parents, self._shard)
        return self._kept(*((parent, SHARD_END) for parent in parents))

    def _kept(self, *wanted: tuple[str, str]) -> list[bytes]:
        states = [self._patience.insist(self._ports.states.load, shard, covers) for shard, covers in wanted]
        return [state for state in states if state is not None]

    def _restore(self, snapshots: list[bytes]) -> bool:
        """Whether there is a state and it could be read."""
        if not snapshots:
            return False
        try:
            self._pipeline.restore(*snapshots)
        except ValueError as error:
            log.warning("%s: the state of its detectors is of no use: %s", self._shard, error)
            return False
        return True

    def _new_reports(self) -> Reports:
        return self._ports.reports(self._shard, self._ports.clock.now(), self._pipeline.machines.counts)

    def process(self, records: Iterable[ShardRecord], checkpoint: Callable[[Position], None]) -> None:
        """Take records. A call without any lets a window of time end, and a promoted standby speak."""
        self._settle_unsent()
        anomalies: list[ScoredReading] = []
        for record in records:
            if not self._progress.is_new(record.position):
                continue
            if self._pending.is_full or self._pending.ends_before(record.arrived_at):
                self._store(anomalies)
                self._flush(checkpoint)
            self._take(record, anomalies)
        self._store(anomalies)
        now = self._ports.clock.now()
        if self._pending.is_full or self._pending.is_over(now):
            self._flush(checkpoint)
        self._reports.tell_if_due(now)

    def finish(self, checkpoint: Callable[[Position], None]) -> None:
        """Write and checkpoint what there is: the worker is asked to stop."""
        self._flush(checkpoint)
        self.report()

    def end_shard(self, checkpoint: Callable[[Position], None]) -> None:
        """As `finish`, for a shard that was split or merged and has no more records; leaves its state to its heirs."""
        self.finish(checkpoint)
        self._patience.insist(self._ports.states.save, self._shard, SHARD_END, self._pipeline.snapshot())

    def report(self) -> None:
        """Tell what was done so far."""
        self._reports.tell(self._ports.clock.now())

    def _take(self, record: ShardRecord, anomalies: list[ScoredReading]) -> None:
        effects = self._pipeline.accept(record.data, arrived_at=record.arrived_at)
        self._reports.counts.took(effects, age_ms=self._ports.clock.now() - record.arrived_at)
        for alert in effects.alerts:
            self._alert(alert, record.arrived_at)
        anomalies += [scored for scored in effects.scored if self._is_anomaly(scored)]
        self._pending.add(effects, record.position, arrived_at=record.arrived_at, size=len(record.data))
        self._progress = self._progress.take(record.position)

    def _is_anomaly(self, scored: ScoredReading) -> bool:
        return scored.score >= self._anomaly_score_min or bool(scored.transitions)

    def _is_active(self) -> bool:
        return self._patience.insist(self._ports.active_region.is_active)

    def _alert(self, alert: Alert, arrived_at: EpochMs) -> None:
        self._unsent.append((arrived_at, alert))
        if self._is_active():
            self._send_unsent()
        elif len(self._unsent) > UNSENT_ALERTS_MAX:
            log.error("%s: more than %d alerts unsent; forgot the oldest", self._shard, UNSENT_ALERTS_MAX)
            self._unsent.popleft()

    def _send_unsent(self) -> None:
        """Store, notify, mark: after a crash between any two of them, the repeat does what is still to be done."""
        insist, results = self._patience.insist, self._ports.results
        while self._unsent:
            _, alert = self._unsent[0]
            to_send = insist(results.put_transition, alert)
            if to_send is not None:
                insist(self._ports.notifier.notify, to_send)
                self._reports.counts.alerts_sent += 1
                insist(results.mark_notified, to_send)
            self._unsent.popleft()

    def _settle_unsent(self) -> None:
        """What waits here was seen on standby: forget what the other region has had the time to send, and, once this
        region is active, send the rest."""
        now = self._ports.clock.now()
        while self._unsent and self._unsent[0][0] < now - UNSENT_FOR_MS:
            self._unsent.popleft()
        if self._unsent and self._is_active():
            self._send_unsent()

    def _store(self, anomalies: list[ScoredReading]) -> None:
        """Store the anomalies, if this is the active region, and forget them either way."""
        if anomalies and self._is_active():
            for scored in anomalies:
                self._patience.insist(self._ports.results.put_anomaly, scored)
        anomalies.clear()

    def _flush(self, checkpoint: Callable[[Position], None]) -> None:
        if self._progress.unwritten:
            self._write(self._pending)
            self._progress = self._progress.write()
            self._reports.counts.flushes += 1
            self._pending = Pending(self._flush_policy)
        if (due := self._progress.due) is not None:
            checkpoint(due)
            self._progress = self._progress.checkpoint()

    def _write(self, pending: Pending) -> None:
        ports, insist = self._ports, self._patience.insist
        stored_at = ports.clock.now()
        for readings in pending.readings.values():
            insist(ports.lake.append, readings.items, position=self._object_name(readings.first), stored_at=stored_at)
        for refused in pending.rejections.values():
            insist(ports.dead_letters.put, refused.items, position=self._object_name(refused.first))
        self._settle_unsent()
        if self._is_active():
            insist(ports.results.put_device_states, list(pending.latest.values()))
        covers = self._progress.taken
        assert covers is not None, "nothing was taken, so nothing is unwritten"
        insist(ports.states.save, self._shard, str(covers), self._pipeline.snapshot())

    def _object_name(self, first: Position) -> str:
        return f"{self._shard}-{first}"


def _is_ahead(done: Position, checkpoint: Position | None) -> bool:
    """Of an ended shard the daemon asks for the last checkpoint again; it must find the state of that."""
    return done != END and (checkpoint is None or done > checkpoint)


class Held(NamedTuple):
    """A shard's worker, and where its states are kept."""

    worker: ShardWorker
    states: DetectorStates
