"""From local messages to what the spool shall keep. No I/O; time is an argument.

Readings are numbered and scored as they come, gathered, and sealed into messages for the cloud; only when the spool has
kept a sealed batch may its readings be acknowledged to their sources.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Final

from edge_component import fitting
from edge_component.forwarding import Forwarding
from edge_component.numbering import Numbering, Taking
from edge_component.sources import local_topics
from edge_component.sources.local_topics import LocalMessage, LocalReading
from edge_component.spool import Addition, Message
from edge_component.spool_file import Range
from plantwatch import envelope
from plantwatch.pipeline import Pipeline
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, InvalidReading, Reading, Rejection, Source

logger = logging.getLogger(__name__)

# Where the estimate begins: four signals take about 17 B a reading.
_READINGS_PER_MESSAGE: Final = 250
# Neighbouring chunks differ by a few percent; a chunk that does not fit is encoded again, in parts.
_FILL: Final = 0.92
_END_OF_TIME: Final[EpochMs] = 253_402_300_799_000  # the year 9999

Acknowledgements = dict[str, dict[str, int]]
"""source -> device -> its last reading that is safe on disk."""


class Count(StrEnum):
    """What the intake counts; a closed set, for the status."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPEATED = "repeated"
    TOO_EARLY = "too_early"
    REJECTED_HERE_ONLY = "rejected_here_only"
    """Refusals of which the cloud was not told: there were too many."""
    ALERTS = "alerts"


class Intake:
    """One gateway's readings between the local bus and the spool. `epoch` is the spool's."""

    def __init__(
        self, pipeline: Pipeline, numbering: Numbering, *, gateway: str, epoch: int, batch_bytes_max: int
    ) -> None:
        self.counts: Counter[Count] = Counter()
        # An incident opened or cleared with a reading that waits.
        self.has_alerts = False
        self._pipeline = pipeline
        self._numbering = numbering
        self._gateway = gateway
        self._epoch = epoch
        self._batch_bytes_max = batch_bytes_max
        self._readings_per_message = _READINGS_PER_MESSAGE
        self._scored: list[ScoredReading] = []
        self._rejections: list[Rejection] = []
        self._forwarding = Forwarding()
        self._forwarded: list[Rejection] = []
        self._taken: dict[tuple[str, str], int] = {}
        self._acknowledge: dict[tuple[str, str], int] = {}
        self._on_safe: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """Readings and refusals that wait for `seal`."""
        return len(self._scored) + len(self._rejections)

    def accept(self, messages: Iterable[LocalMessage]) -> None:
        """Local messages in the order of their arrival. They are taken device by device, which keeps a machine's state
        in the processor's cache, and changes no device's own order."""
        for message in sorted(messages, key=attrgetter("topic")):
            for item in local_topics.read(message, self._pipeline.tenant):
                if not item.source or self._is_next(item):
                    self._keep(item.outcome, message.topic)
            if message.on_safe:
                self._on_safe.append(message.on_safe)
        if not len(self):  # what came was on disk already: no commit will tell
            self._tell_safe()

    def seal(self) -> Addition:
        """All that waits, for the spool. Call `sealed_is_safe` with it when the spool has it."""
        addition = Addition(
            messages=[*self._messages(), *self._refusals()],
            numbered={item.reading.device: item.reading.sequence for item in self._scored},
            taken=self._taken,
            rejections=self._rejections,
        )
        self._scored, self._rejections, self._forwarded, self._taken = [], [], [], {}
        self.has_alerts = False
        return addition

    def _messages(self) -> Iterator[Message]:
        """Chunks of about a message's size: to encode all at once and then split would do the work twice. Sorted, so
        that a message holds long runs of few devices, which compress best; each device's order stays."""
        strange = {item.reading.device for item in self._scored if item.transitions or item.open_kinds}
        scored = sorted(self._scored, key=lambda item: item.reading.device)
        # All of a device that is strange, not its anomalies alone: within a commit its order then stays.
        yield from self._chunks([item for item in scored if item.reading.device in strange], urgent=True)
        yield from self._chunks([item for item in scored if item.reading.device not in strange], urgent=False)

    def _chunks(self, scored: list[ScoredReading], *, urgent: bool) -> Iterator[Message]:
        bundle = self._pipeline.machines.bundle
        start = 0
        while start < len(scored):
            chunk = scored[start : start + self._readings_per_message]
            start += len(chunk)
            parts = list(
                envelope.encode_parts(chunk, epoch=self._epoch, bundle=bundle, bytes_max=self._batch_bytes_max)
            )
            self._learn_size(len(chunk), sum(len(part.payload) for part in parts))
            yield from (Message(part.payload, urgent) for part in parts)

    def _refusals(self) -> Iterator[Message]:
        payloads = envelope.encode_rejections(
            self._forwarded, epoch=self._epoch, bundle=self._pipeline.machines.bundle, bytes_max=self._batch_bytes_max
        )
        yield from (Message(payload, urgent=False) for payload in payloads)

    def _learn_size(self, readings: int, size: int) -> None:
        fitting = _FILL * self._batch_bytes_max * readings / size
        # A short last chunk compresses badly and says little.
        if readings >= self._readings_per_message // 2:
            self._readings_per_message = max(1, round(fitting))

    def sealed_is_safe(self, addition: Addition) -> None:
        self._acknowledge.update(addition.taken)
        self._numbering.all_is_on_disk()
        self._tell_safe()

    def _tell_safe(self) -> None:
        waiting, self._on_safe = self._on_safe, []
        for on_safe in waiting:
            on_safe()

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

    def _keep(self, outcome: Reading | Rejection, topic: str) -> None:
        # Before it is numbered: a number without a reading would be missing in every ledger.
        kept = outcome if isinstance(outcome, Rejection) else fitting.checked(outcome, topic)
        if isinstance(kept, Rejection):
            self._refuse(kept)
            return
        sequence = self._numbering.next_sequence(kept.device)
        # The first seven fields are what the sensor said; positions, because `_replace` costs three times as much.
        scored = self._pipeline.watch(Reading(*kept[:7], self._gateway, self._epoch, sequence))
        self.counts[Count.ACCEPTED] += 1
        self._scored.append(fitting.shortened(scored))
        if scored.transitions:
            self.counts[Count.ALERTS] += len(scored.transitions)
            self.has_alerts = True

    def _refuse(self, refused: Rejection) -> None:
        self.counts[Count.REJECTED] += 1
        self._rejections.append(refused)
        if self._forwarding.admits(refused):
            self._forwarded.append(refused)
        else:
            self.counts[Count.REJECTED_HERE_ONLY] += 1


def contents(payload: bytes, *, tenant: str, gateway: str) -> Iterable[tuple[str, int, int]]:
    """(device, epoch, sequence) of each reading in a message that this gateway made, whatever its clock said then."""
    try:
        batch = envelope.decode(payload, Source(tenant, gateway), received_at=_END_OF_TIME)
    except InvalidReading as error:
        # Torn on disk. Nobody can say whose readings it held: the regions will miss them without a declaration.
        logger.error("a message of the queue cannot be read: %s", error)
        return []
    return [(item.reading.device, item.reading.epoch, item.reading.sequence) for item in batch.scored]


def declarations(ranges: Sequence[Range], *, epoch: int, bundle: str) -> list[bytes]:
    """Messages that tell the regions which readings were dropped here on purpose."""
    dropped = [envelope.Dropped(*item) for item in ranges]
    return envelope.encode_dropped(dropped, epoch=epoch, bundle=bundle)
