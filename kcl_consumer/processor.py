"""The child process of the daemon, one per shard: translates its messages to the worker, and nothing else.

The library reports a batch as done even if we raised, and the next checkpoint would move past it. So whatever escapes
the worker ends this process at once, before any checkpoint; the daemon ends with it, and the supervisor restarts both.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, TextIO

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor as v3

from kcl_consumer.bootstrap import build_worker
from kcl_consumer.settings import from_environment
from plantwatch.ports import DeliveryFailed
from plantwatch.settings import InvalidSettings
from plantwatch.shard.checkpoint import Position, parse_position
from plantwatch.shard.patience import Patience
from plantwatch.shard.worker import LeaseLost, ShardRecord, ShardWorker

log = logging.getLogger(__name__)

# With the process, which is one per shard: the lines of all shards come to one log.
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s"
EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2
# The daemon's names of the two answers that mean "no longer yours" and of those worth asking again.
_LEASE_LOST: Final = "ShutdownException"
_TRANSIENT: Final = frozenset(
    {"ThrottlingException", "KinesisClientLibDependencyException", "KinesisClientLibRetryableException"}
)


class RecordProcessor(v3.RecordProcessorBase):
    """The daemon's callbacks of one shard. `end` ends the process; it does not return."""

    def __init__(self, worker: ShardWorker, patience: Patience, *, end: Callable[[int], NoReturn]) -> None:
        self._worker = worker
        self._patience = patience
        self._end = end
        self._lost = False

    def initialize(self, initialize_input: Any) -> None:
        checkpoint = parse_position(initialize_input.sequence_number, initialize_input.sub_sequence_number)
        self._run(lambda: self._worker.start(initialize_input.shard_id, checkpoint))

    def process_records(self, process_records_input: Any) -> None:
        checkpointer = process_records_input.checkpointer
        self._run(
            lambda: self._worker.process(map(shard_record, process_records_input.records), self._asking(checkpointer))
        )

    def lease_lost(self, _: Any) -> None:
        self._lost = True
        self._worker.report()

    def shard_ended(self, shard_ended_input: Any) -> None:
        """Without this checkpoint the shard's children would never be read."""
        checkpointer = shard_ended_input.checkpointer
        self._run(lambda: self._worker.end_shard(self._asking(checkpointer)))
        self._run(lambda: self._ask(checkpointer, None))

    def shutdown_requested(self, shutdown_requested_input: Any) -> None:
        checkpointer = shutdown_requested_input.checkpointer
        self._run(lambda: self._worker.finish(self._asking(checkpointer)))

    def _run(self, step: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            step()
        except LeaseLost:
            log.warning("another worker holds the shard now; what was not checkpointed is its to do")
            self._lost = True
        except BaseException:
            log.critical("ending before any checkpoint", exc_info=True)
            self._end(EXIT_FAILED)

    def _asking(self, checkpointer: Any) -> Callable[[Position], None]:
        return lambda position: self._ask(checkpointer, position)

    def _ask(self, checkpointer: Any, position: Position | None) -> None:
        """Checkpoint at `position` (None: the shard's end). Raises LeaseLost, DeliveryFailed or CheckpointError."""
        arguments = () if position is None else (position.text, position.sub_sequence)
        self._patience.insist(_checkpoint, checkpointer, arguments)


def _checkpoint(checkpointer: Any, arguments: tuple[Any, ...]) -> None:
    try:
        checkpointer.checkpoint(*arguments)
    except kcl.CheckpointError as error:
        if error.value == _LEASE_LOST:
            raise LeaseLost from error
        if error.value in _TRANSIENT:
            raise DeliveryFailed(f"could not checkpoint: {error.value}") from error
        raise


def shard_record(record: Any) -> ShardRecord:
    """The daemon's record as ours. It has taken aggregated records apart already, numbering them by sub-sequence."""
    position = Position(int(record.sequence_number), record.sub_sequence_number or 0, record.sequence_number)
    return ShardRecord(position, record.timestamp_millis, record.binary_data)


def protocol_stdout() -> TextIO:
    """The pipe to the daemon for us alone: a stray print would break its protocol, so fd 1 becomes stderr."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return pipe


def end_process(code: int) -> NoReturn:
    """At once, without clean-up handlers that might write or wait."""
    logging.shutdown()
    os._exit(code)


def main() -> None:
    pipe = protocol_stdout()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LOG_FORMAT)
    logging.Formatter.converter = time.gmtime
    # It tells with every client where it found its endpoint.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        settings = from_environment(os.environ)
    except InvalidSettings as error:
        for problem in error.problems:
            log.critical("setting %s", problem)
        end_process(EXIT_MISCONFIGURED)
    patience = Patience(settings.patience_s)
    processor = RecordProcessor(build_worker(settings, patience), patience, end=end_process)
    kcl.KCLProcess(processor, input_file=sys.stdin, output_file=pipe, error_file=sys.stderr).run()


if __name__ == "__main__":
    main()
