"""The worker: the only thread that scores and writes. Drains the inbox, commits batches, acknowledges, reports."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

from edge_component import checkpoint
from edge_component.inbox import Inbox
from edge_component.intake import Count, Intake
from edge_component.settings import ACKS_TOPIC, EdgeSettings
from edge_component.spool import Spool
from plantwatch.machine import Machines

logger = logging.getLogger(__name__)

# Devices in one acknowledgement: 100 names of 40 characters stay below the nucleus's limit.
_ACKS_PER_MESSAGE: Final = 100
# After an alert the checkpoint shall know that the incident is open; but a storm of alerts must not wear the flash.
_CHECKPOINT_AFTER_ALERT_S: Final = 1.0

CHECKPOINT_FILE: Final = "machines.checkpoint"

PublishLocal = Callable[[str, bytes], None]


class Timer:
    """Something that is done every `interval_s`, the first time after one interval."""

    def __init__(self, interval_s: float, now: float) -> None:
        self.interval_s = interval_s
        self.due = now + interval_s

    def elapsed(self, now: float) -> bool:
        if now < self.due:
            return False
        self.due = now + self.interval_s
        return True


class Worker(threading.Thread):
    """Runs until `stop`, then commits what has arrived and writes a checkpoint. `on_failed` is called where it
    cannot go on: the disk is full, the database damaged."""

    def __init__(
        self,
        settings: EdgeSettings,
        inbox: Inbox,
        intake: Intake,
        spool: Spool,
        machines: Machines,
        *,
        publish_local: PublishLocal,
        on_committed: Callable[[], None],
        report: Callable[[], None],
        on_failed: Callable[[], None],
    ) -> None:
        super().__init__(name="worker", daemon=True)
        self._settings = settings
        self._inbox = inbox
        self._intake = intake
        self._spool = spool
        self._machines = machines
        self._publish_local = publish_local
        self._on_committed = on_committed
        self._report = report
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._saved_after = 0
        self._linger_until = math.inf
        now = time.monotonic()
        self._acks = Timer(settings.ack_interval_s, now)
        self._status = Timer(settings.status_interval_s, now)
        self._checkpoint = Timer(settings.checkpoint_interval_s, now)

    def stop(self) -> None:
        """Returns when everything that had arrived is on disk; at once where it was never started."""
        self._stopping.set()
        self._inbox.wake()
        if self.ident is not None:
            self.join()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            # Once, not until it is empty: a busy plant would never let us stop.
            self._intake.accept(self._inbox.drain(0.0, self._inbox.bytes_max))
            self._commit()
            self._acknowledge()
            self._save_checkpoint()
        except Exception:
            logger.exception("the worker cannot go on")
            self._on_failed()

    def _turn(self) -> None:
        self._intake.accept(self._inbox.drain(self._patience(time.monotonic())))
        now = time.monotonic()
        if self._must_commit(now):
            self._commit()
        if self._acks.elapsed(now):
            self._acknowledge()
        if self._checkpoint.elapsed(now):
            self._save_checkpoint()
        if self._status.elapsed(now):
            self._spool.keep_cursors()
            self._report()

    def _patience(self, now: float) -> float:
        """Seconds until something has to be done, should no message come."""
        return min(self._linger_until, self._acks.due, self._status.due, self._checkpoint.due) - now

    def _must_commit(self, now: float) -> bool:
        waiting = len(self._intake)
        if not waiting:
            return False
        if self._linger_until == math.inf:
            self._linger_until = now + self._settings.linger_s
        # While more is coming in than we can take, larger commits cost less for each reading.
        enough = self._settings.commit_readings_min if self._inbox.is_empty else self._settings.commit_readings_max
        full = waiting >= enough
        return full or now >= self._linger_until or self._intake.has_alerts

    def _commit(self) -> None:
        if not len(self._intake):
            return
        alerted = self._intake.has_alerts
        addition = self._intake.seal()
        self._spool.append(addition)
        self._intake.sealed_is_safe(addition)
        self._linger_until = math.inf
        self._on_committed()
        if alerted:
            # Before the next crash can be: or an incident that is open already would open, and alert, once more.
            self._checkpoint.due = min(self._checkpoint.due, time.monotonic() + _CHECKPOINT_AFTER_ALERT_S)

    def _acknowledge(self) -> None:
        for source, devices in self._intake.acknowledgements().items():
            items = iter(devices.items())
            while chunk := dict(islice(items, _ACKS_PER_MESSAGE)):
                self._publish_local(ACKS_TOPIC, json.dumps({"source": source, "acks": chunk}).encode())

    def _save_checkpoint(self) -> None:
        """If anything was learnt since the last one: flash wears out."""
        accepted = self._intake.counts[Count.ACCEPTED]
        if accepted == self._saved_after:
            return
        self._saved_after = accepted
        checkpoint.save(self._settings.state_dir / CHECKPOINT_FILE, self._machines)
