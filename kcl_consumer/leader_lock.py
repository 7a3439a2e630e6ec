"""Removes the leader lock of a dead worker, so that its shards are read again in seconds instead of two minutes.

One worker of an application leads: it alone gives leases away. It holds a lock that expires 120 s after its last sign
of life, and when it is killed nobody gives leases away until then; not even the children of a split shard are read. A
living leader renews the lock every 30 s and reports its load every `worker_metrics_report_ms`. One that did neither for
`silent_s` is dead or cannot reach DynamoDB, and the lock is deleted on the condition that it has not changed.

The worst that a wrong guess does: the leader finds its lock gone and takes a new one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from plantwatch.aws.clients import Refused
from plantwatch.aws.leader_lock import Lock
from plantwatch.ports import DeliveryFailed

log = logging.getLogger(__name__)

# Two small consistent reads: one unit of capacity per second and worker.
LOOK_EVERY_S: Final = 2.0


class LeaderLock(Protocol):
    """The lock in the library's table (see `plantwatch.aws.leader_lock`)."""

    def read(self) -> Lock | None: ...

    def delete(self, lock: Lock) -> bool: ...


class Sighting(NamedTuple):
    """A state of the lock, and when it was first seen (any steady clock, seconds)."""

    lock: Lock
    since_s: float


def look(previous: Sighting | None, lock: Lock | None, *, now_s: float) -> Sighting | None:
    """What is known after one more look at the lock. Pure."""
    if lock is None:
        return None
    if previous is not None and previous.lock == lock:
        return previous
    return Sighting(lock, now_s)


def is_silent(sighting: Sighting | None, *, now_s: float, silent_s: float) -> bool:
    """Whether the holder has given no sign of life for `silent_s`."""
    return sighting is not None and now_s - sighting.since_s >= silent_s


def release_own(lock: LeaderLock, worker_id: str) -> bool:
    """Delete the lock if it is of `worker_id`, whose process is known to be dead; True where that was done."""
    held = lock.read()
    return held is not None and held.owner == worker_id and lock.delete(held)


def watch(lock: LeaderLock, *, silent_s: float, stop: threading.Event, monotonic: Callable[[], float]) -> None:
    """Look at the lock until `stop`, and delete it when its holder is silent. For a thread of its own."""
    sighting: Sighting | None = None
    while not stop.wait(LOOK_EVERY_S):
        try:
            sighting = look(sighting, lock.read(), now_s=monotonic())
            if sighting is not None and is_silent(sighting, now_s=monotonic(), silent_s=silent_s):
                deleted = lock.delete(sighting.lock)
                log.warning("leader %s silent for %.0f s: lock deleted: %s", sighting.lock.owner, silent_s, deleted)
                sighting = None
        except DeliveryFailed as error:
            log.warning("%s", error)
            sighting = None  # we may have missed signs of life
        except Refused as error:
            log.error("cannot watch the leader lock, a dead leader will cost two minutes: %s", error)
            return
