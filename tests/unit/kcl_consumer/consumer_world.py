"""Readings, records and a whole world of ports for tests of the consumer's core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from kcl_consumer.meter import Reports
from plantwatch import envelope
from plantwatch.incident import Cause, Kind, Phase, Severity, Transition
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.record import Record, encode_record
from plantwatch.scoring import ScoredReading
from plantwatch.shard.checkpoint import Position
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import Ports, ShardRecord, ShardWorker
from plantwatch.telemetry import EpochMs, Reading, telemetry_topic
from tests.fakes import (
    Fuse,
    MemoryDeadLetters,
    MemoryFamily,
    MemoryLake,
    MemoryMeter,
    MemoryNotifier,
    MemoryResults,
    MemoryStates,
    SteadyClock,
    Switch,
)

START: EpochMs = 1_795_000_000_000
SHARD = "shardId-000000000000"
BUNDLE = Machines().bundle
GATEWAY = "gateway-1"


def transition(phase: Phase, first_seen: EpochMs, kind: Kind = Kind.PROCESS_ANOMALY) -> Transition:
    causes = (Cause("vibration", 0.8, 4.82, 1.1, 2.3), Cause("temperature", 0.2, 71.2, 55.0, 64.0))
    return Transition(kind, phase, first_seen, Severity.HIGH, 0.9998, causes)


def scored(
    sequence: int,
    *,
    device: str = "pump-7",
    score: float = 0.1,
    transitions: Sequence[Transition] = (),
    observed_at: EpochMs | None = None,
) -> ScoredReading:
    """A reading that the gateway has scored, one second after its predecessor."""
    at = START + sequence * 1000 if observed_at is None else observed_at
    reading = Reading("acme", device, at, at + 5, {"vibration": 2.0}, gateway=GATEWAY, epoch=1, sequence=sequence)
    return ScoredReading(reading, score, transitions=tuple(transitions), bundle=BUNDLE)


def batch(items: Sequence[ScoredReading], *, bundle: str = BUNDLE) -> bytes:
    """The gateway's batch as a record of the stream."""
    payload = envelope.encode(items, epoch=1, bundle=bundle)
    return encode_record(Record(telemetry_topic("acme", GATEWAY), items[-1].reading.observed_at + 20, payload))


def thing_record(device: str, at: EpochMs, **signals: float) -> bytes:
    payload = json.dumps({"ts": at, **signals}).encode()
    return encode_record(Record(telemetry_topic("acme", device), at + 10, payload))


def shard_record(sequence: int, data: bytes, *, arrived_at: EpochMs | None = None) -> ShardRecord:
    return ShardRecord(Position(sequence), START + sequence * 1000 + 50 if arrived_at is None else arrived_at, data)


def readings(first: int, last: int, **kwargs: float) -> list[ShardRecord]:
    """One record per reading, `first` to `last` (included), a second apart."""
    return [shard_record(n, batch([scored(n, **kwargs)])) for n in range(first, last + 1)]  # type: ignore[arg-type]


@dataclass
class World:
    """What survives a worker: all that it wrote, and the checkpoint that the daemon keeps."""

    results: MemoryResults = field(default_factory=MemoryResults)
    notifier: MemoryNotifier = field(default_factory=MemoryNotifier)
    lake: MemoryLake = field(default_factory=MemoryLake)
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    states: MemoryStates = field(default_factory=MemoryStates)
    family: MemoryFamily = field(default_factory=MemoryFamily)
    meter: MemoryMeter = field(default_factory=MemoryMeter)
    switch: Switch = field(default_factory=Switch)
    clock: SteadyClock = field(default_factory=lambda: SteadyClock(START))
    checkpoint: Position | None = None
    checkpoints: list[Position] = field(default_factory=list)

    def confirm(self, position: Position) -> None:
        """The daemon takes a checkpoint: from now on it delivers only what comes after."""
        assert self.checkpoint is None or position > self.checkpoint
        self.checkpoint = position
        self.checkpoints.append(position)

    def start(
        self,
        *,
        policy: FlushPolicy | None = None,
        fuse: Fuse | None = None,
        patience_s: float = 0.0,
        shard: str = SHARD,
    ) -> ShardWorker:
        """A new process takes the shard over."""
        guard = (fuse or Fuse()).guard
        ports = Ports(
            guard(self.results),
            guard(self.notifier),
            guard(self.lake),
            guard(self.dead_letters),
            self.switch,
            self.family,
            guard(self.states),
            lambda shard, since, watch: Reports(self.meter, shard, since=since, watch=watch),
            self.clock,
        )
        worker = ShardWorker(
            Pipeline(Machines(), tenant="acme", region="us-east-1", gateways=[GATEWAY]),
            ports,
            flush_policy=policy or FlushPolicy(interval_ms=10_000),
            anomaly_score_min=0.999,
            patience=Patience(patience_s, sleep=lambda _: None),
        )
        worker.start(shard, self.checkpoint)
        return worker

    def undelivered(self, records: Sequence[ShardRecord]) -> list[ShardRecord]:
        """What the daemon delivers to a new process."""
        return [record for record in records if self.checkpoint is None or record.position > self.checkpoint]

    def stored_keys(self) -> list[tuple[str, str]]:
        return [(fields["device"], fields["key"]) for fields in self.lake.rows()]
