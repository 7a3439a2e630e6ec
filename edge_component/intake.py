"""From local messages to what the spool shall keep. No I/O; time is an argument.

Readings are numbered and scored as they come, gathered, and sealed into messages for the cloud; only when the spool has
kept a sealed batch may its readings be acknowledged to their sources.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum

from edge_component.nucleus import Payload
from edge_component.numbering import Numbering, Taking
from edge_component.sources import local_topics
from edge_component.sources.local_topics import LocalReading
from edge_component.spool import Addition, Message
from plantwatch import envelope
from plantwatch.pipeline import Pipeline
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading, Rejection, Source

Acknowledgements = dict[str, dict[str, int]]
"""source -> device -> its last reading that is safe on disk."""


class Count(StrEnum):
    """What the intake counts; a closed set, for the status."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPEATED = "repeated"
    TOO_EARLY = "too_early"
    ALERTS = "alerts"


class Intake:
    """One gateway's readings between the local bus and the spool. `epoch` is the spool's."""

    def __init__(
        self, pipeline: Pipeline, numbering: Numbering, *, gateway: str, epoch: int, batch_bytes_max: int
    ) -> None:
        self.counts: Counter[Count] = Counter()
        self._pipeline = pipeline
        self._numbering = numbering
        self._gateway = gateway
        self._epoch = epoch
        self._batch_bytes_max = batch_bytes_max
        self._scored: list[ScoredReading] = []
        self._rejections: list[Rejection] = []
        self._taken: dict[tuple[str, str], int] = {}
        self._acknowledge: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        """Readings and refusals that wait for `seal`."""
        return len(self._scored) + len(self._rejections)

    @property
    def has_alerts(self) -> bool:
        """Whether an incident opened or cleared with a reading that waits."""
        return any(scored.transitions for scored in self._scored)

    def accept(self, topic: str, payload: Payload, *, at: EpochMs) -> None:
        """One local message that arrived at `at`."""
        for item in local_topics.read(topic, payload, tenant=self._pipeline.tenant, received_at=at):
            if not item.source or self._is_next(item):
                self._keep(item.outcome)

    def seal(self) -> Addition:
        """All that waits, for the spool. Call `sealed_is_safe` with it when the spool has it."""
        parts = envelope.encode_parts(
            self._scored, epoch=self._epoch, bundle=self._pipeline.machines.bundle, bytes_max=self._batch_bytes_max
        )
        addition = Addition(
            messages=[Message(part.payload, any(item.transitions for item in part.scored)) for part in parts],
            numbered={item.reading.device: item.reading.sequence for item in self._scored},
            taken=self._taken,
            rejections=self._rejections,
        )
        self._scored, self._rejections, self._taken = [], [], {}
        return addition

    def sealed_is_safe(self, addition: Addition) -> None:
        self._acknowledge.update(addition.taken)

    def acknowledgements(self) -> Acknowledgements:
        """What to tell the sources now; each thing once."""
        told: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for (source, device), sequence in self._acknowledge.items():
            told[source][device] = sequence
        self._acknowledge = {}
        return dict(told)

    def _is_next(self, item: LocalReading) -> bool:
        taking = self._numbering.take(item.source, item.device, item.sequence)
        key = item.source, item.device
        if taking is Taking.NEXT:
            self._taken[key] = item.sequence
            return True
        self.counts[Count.REPEATED if taking is Taking.REPEATED else Count.TOO_EARLY] += 1
        if key not in self._taken:  # else the next commit tells
            self._acknowledge[key] = self._numbering.last_taken(*key)
        return False

    def _keep(self, outcome: Reading | Rejection) -> None:
        if isinstance(outcome, Rejection):
            self.counts[Count.REJECTED] += 1
            self._rejections.append(outcome)
            return
        sequence = self._numbering.next_sequence(outcome.device)
        # The first seven fields are what the sensor said; positions, because `_replace` costs three times as much.
        scored = self._pipeline.watch(Reading(*outcome[:7], self._gateway, self._epoch, sequence))
        self.counts[Count.ACCEPTED] += 1
        self.counts[Count.ALERTS] += len(scored.transitions)
        self._scored.append(scored)


def contents(payload: bytes, *, tenant: str, gateway: str, at: EpochMs) -> Iterable[tuple[str, int, int]]:
    """(device, epoch, sequence) of each reading in a message that this gateway made."""
    batch = envelope.decode(payload, Source(tenant, gateway), received_at=at)
    return [(item.reading.device, item.reading.epoch, item.reading.sequence) for item in batch.scored]
