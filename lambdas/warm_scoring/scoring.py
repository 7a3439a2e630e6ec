"""One invocation's batch through the shard's worker; what was not written is reported, and comes again.

The state in the object store says how far the shard was taken, whoever took it: this function, another container of
it, or the consumer. It is read with each batch, and what this process remembers counts only where both agree.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from plantwatch.shard.checkpoint import Position, covered
from plantwatch.shard.worker import Held, ShardRecord, ShardWorker

log = logging.getLogger(__name__)

# Records between two looks at the clock: some 10 ms of work.
STEP: Final = 100


class WarmScoring:
    """Keeps one worker for each shard that this container has met.

    `make` makes a worker that knows nothing. Taking ends `stop_before_ms` before the function's own limit.
    """

    def __init__(self, make: Callable[[], Held], *, stop_before_ms: float) -> None:
        self._make = make
        self._stop_before_ms = stop_before_ms
        self._held: dict[str, Held] = {}

    def take(self, shard: str, records: Sequence[ShardRecord], remaining_ms: Callable[[], float]) -> Position | None:
        """Take records of one shard in order. The first that is not durably done, or None where all are."""
        worker: ShardWorker | None = None
        try:
            worker = self._worker(shard)
            waiting = iter(records)
            while remaining_ms() > self._stop_before_ms and (step := list(islice(waiting, STEP))):
                worker.process(step, _no_checkpoint)
            worker.finish(_no_checkpoint)
        except Exception:
            log.exception("%s: what was not written comes again", shard)
            self._held.pop(shard, None)
        written = worker.written if worker is not None else None
        return next((each.position for each in records if written is None or each.position > written), None)

    def _worker(self, shard: str) -> ShardWorker:
        held = self._held.get(shard)
        if held is not None:
            kept = held.states.newest(shard)
            if kept is not None and covered(kept[0]) == held.worker.written:
                return held.worker
        held = self._held[shard] = self._make()
        held.worker.resume(shard)
        return held.worker


def records_of(event: Mapping[str, Any]) -> tuple[str, list[ShardRecord]]:
    """The shard and the records of one batch, which is of one shard. KeyError or ValueError for another event."""
    items = event["Records"]
    return items[0]["eventID"].partition(":")[0], [_record(item["kinesis"]) for item in items]


def failures(first: Position | None) -> dict[str, list[dict[str, str]]]:
    """The answer to the mapping: the first that failed; it sends that one and all after it again."""
    return {"batchItemFailures": [{"itemIdentifier": first.text}] if first is not None else []}


def _record(fields: Mapping[str, Any]) -> ShardRecord:
    sequence = fields["sequenceNumber"]
    arrived_at = round(fields["approximateArrivalTimestamp"] * 1000)
    return ShardRecord(Position(int(sequence), 0, sequence), arrived_at, base64.b64decode(fields["data"]))


def _no_checkpoint(_: Position) -> None:
    """The mapping's checkpoint is the answer to the invocation."""
