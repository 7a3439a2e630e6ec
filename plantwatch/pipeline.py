"""The one path of a reading, the same in every runtime: decode, check, score, decide, emit.

Nothing here touches a network, a disk or a clock: time comes with the record, and what shall happen comes out as data
(`Effects`). The runtime that called carries the effects out (store, notify, only then acknowledge), so that one path is
testable without a cloud, replayable, and equal at the edge, in the consumer and in a Lambda.

    gateway   Pipeline.watch(reading) ----> ScoredReading --> envelope --> both regions
    region    Pipeline.accept(record) --+-> a thing's reading:  decode, watch
                                        +-> a gateway's batch:  decode; scored already, unless by another bundle
                                        +-> a reading that had arrived before: counted, nothing else
                                        '-> Effects(scored, alerts, rejections, duplicates)
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from plantwatch import envelope
from plantwatch.envelope import Dropped
from plantwatch.incident import Alert, Transition, incident_id
from plantwatch.ledger import Arrivals
from plantwatch.machine import Machines
from plantwatch.record import Record, decode_record
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import (
    EpochMs,
    InvalidReading,
    Reading,
    Rejection,
    RejectionReason,
    Source,
    parse_reading,
    parse_topic,
)

# A shard carries at most 1,000 records/s: ten thousand devices at a reading each 10 s. Each costs 1 to 2 kB here.
DEVICES_MAX: Final = 10_000


@dataclass(slots=True)
class Effects:
    """What shall happen because of one or more records: readings to store, alerts to send, refusals to keep.

    `adopted` counts those of `scored` that their gateway had scored. `duplicates` counts readings that had arrived
    before (a sender repeats what was not acknowledged in time); they have no other effect. `declared_drops` counts
    readings that will not come: their gateway gave them up on purpose, and says so.
    """

    scored: list[ScoredReading] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    adopted: int = 0
    duplicates: int = 0
    declared_drops: int = 0

    def extend(self, other: Effects) -> None:
        self.scored += other.scored
        self.alerts += other.alerts
        self.rejections += other.rejections
        self.adopted += other.adopted
        self.duplicates += other.duplicates
        self.declared_drops += other.declared_drops


class Decoded(NamedTuple):
    """The first step's result: readings as a thing sent them, readings that a gateway has scored, and refusals."""

    raw: Sequence[Reading] = ()
    scored: Sequence[ScoredReading] = ()
    rejections: Sequence[Rejection] = ()
    dropped: Sequence[tuple[str, Dropped]] = ()
    """Declared by the gateway that is named first."""


class Pipeline:
    """Decode, check, score, decide, emit, for the machines of one tenant (or of one gateway).

    What it remembers is in memory only and can be saved (`snapshot`): the machines' detectors and alert states, and
    which readings have arrived. `gateways` are the names (or patterns of names) of devices that may publish batches for
    other devices; a batch from any other device is refused, or one stolen certificate could speak for a whole plant.
    """

    def __init__(
        self,
        machines: Machines,
        *,
        tenant: str,
        region: str = "",
        gateways: Iterable[str] = (),
    ) -> None:
        self.machines = machines
        self.tenant = tenant
        self.region = region
        self.gateways = tuple(gateways)
        self.arrivals: dict[str, Arrivals] = {}

    def watch(self, reading: Reading) -> ScoredReading:
        """Check, score, decide: one reading of one machine, in the order of its arrival (`plantwatch.machine.device`
        has these steps)."""
        return self.machines.watch(reading)

    def accept(self, data: bytes, *, arrived_at: EpochMs) -> Effects:
        """One record of the stream. Never raises for what a sender can send.

        What a gateway has scored with our bundle is adopted. With another bundle (a roll-out that has not reached every
        gateway) it is scored here, by machines that may know nothing yet and warm up first.
        """
        decoded = decode(data, tenant=self.tenant, gateways=self.gateways, arrived_at=arrived_at)
        effects = Effects(rejections=list(decoded.rejections))
        for reading in decoded.raw:
            if self._is_new(reading, effects):
                self._emit(self.watch(reading), effects)
        for scored in decoded.scored:
            if self._is_new(scored.reading, effects):
                adopted = scored.bundle == self.machines.bundle
                effects.adopted += adopted
                self._emit(scored if adopted else self.watch(scored.reading), effects)
        for gateway, gone in decoded.dropped:
            effects.declared_drops += self._arrivals(gone.device).declare(gateway, gone.epoch, gone.first, gone.last)
        return effects

    def snapshot(self) -> bytes:
        """Everything that the next record's effects depend on: the machines, and which readings have arrived."""
        arrivals = {device: arrivals.state() for device, arrivals in self.arrivals.items()}
        head = zlib.compress(json.dumps(arrivals, separators=(",", ":")).encode())
        return len(head).to_bytes(4, "big") + head + self.machines.snapshot()

    def restore(self, *snapshots: bytes) -> None:
        """Go on from a snapshot, or from those of several shards that became one. ValueError where one is damaged or
        was made with another bundle; then nothing has changed."""
        restored: dict[str, Arrivals] = {}
        machines = []
        for arrivals, rest in map(_split_snapshot, snapshots):
            machines.append(rest)
            for device, known in arrivals.items():
                mine = restored.setdefault(device, known)
                if mine is not known:
                    mine.join(known)
        self.machines.restore(*machines)
        self.arrivals = restored

    def _arrivals(self, device: str) -> Arrivals:
        arrivals = self.arrivals.pop(device, None) or Arrivals()
        self.arrivals[device] = arrivals  # the newest is last, so the first has been silent longest
        if len(self.arrivals) > DEVICES_MAX:
            del self.arrivals[next(iter(self.arrivals))]
        return arrivals

    def _is_new(self, reading: Reading, effects: Effects) -> bool:
        new = self._arrivals(reading.device).note(reading)
        effects.duplicates += not new
        return new

    def _emit(self, scored: ScoredReading, effects: Effects) -> None:
        effects.scored.append(scored)
        effects.alerts += [self._alert(scored.reading, transition) for transition in scored.transitions]

    def _alert(self, reading: Reading, transition: Transition) -> Alert:
        return Alert(
            incident_id=incident_id(reading.tenant, reading.device, transition.kind, transition.first_seen),
            tenant=reading.tenant,
            device=reading.device,
            kind=transition.kind,
            phase=transition.phase,
            severity=transition.severity,
            score=transition.score,
            first_seen=transition.first_seen,
            observed_at=reading.observed_at,
            causes=transition.causes,
            region=self.region,
            first_sign=transition.first_sign,
        )


def _split_snapshot(snapshot: bytes) -> tuple[dict[str, Arrivals], bytes]:
    """What has arrived, by device, and the machines' part."""
    size = int.from_bytes(snapshot[:4], "big")
    try:
        arrivals = json.loads(zlib.decompress(snapshot[4 : 4 + size]))
        restored = {device: Arrivals.from_state(state) for device, state in arrivals.items()}
    except (zlib.error, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"damaged snapshot: {type(error).__name__}") from None
    return restored, snapshot[4 + size :]


def decode(data: bytes, *, tenant: str, gateways: Iterable[str], arrived_at: EpochMs) -> Decoded:
    """What one record of `tenant`'s stream holds. Everything that is no reading is among the rejections."""
    try:
        record = decode_record(data)
    except InvalidReading as error:
        return Decoded(rejections=[Rejection(error.reason, error.detail, "", arrived_at, data)])
    try:
        source = parse_topic(record.topic)
        if source.tenant != tenant:
            raise InvalidReading(RejectionReason.WRONG_TENANT, source.tenant)
        if envelope.is_batch(record.payload):
            return _decode_batch(record, source, gateways)
        return Decoded(raw=[parse_reading(record.payload, source, received_at=record.received_at)])
    except InvalidReading as error:
        return Decoded(rejections=[_rejection(error, record, record.payload)])


def _decode_batch(record: Record, source: Source, gateways: Iterable[str]) -> Decoded:
    if not any(fnmatchcase(source.device, pattern) for pattern in gateways):
        raise InvalidReading(RejectionReason.NOT_A_GATEWAY, source.device)
    batch = envelope.decode(record.payload, source, received_at=record.received_at)
    return Decoded(
        scored=batch.scored,
        rejections=[
            refused._replace(topic=refused.topic or record.topic, received_at=record.received_at)
            for refused in batch.rejected
        ],
        dropped=[(source.device, gone) for gone in batch.dropped],
    )


def _rejection(error: InvalidReading, record: Record, payload: bytes) -> Rejection:
    return Rejection(error.reason, error.detail, record.topic, record.received_at, payload)
