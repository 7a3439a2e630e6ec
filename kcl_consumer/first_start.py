"""Spares a new application the library's random wait of up to 30 s on an empty lease table.

All workers of a new application find the table empty; so that they do not all list the shards, each waits for a random
time, looking every 3 s whether another one was quicker. We are the quicker one: as soon as the library has made its
table we write the leases that it would write. Only where that is certain, for a stream that was never resharded; else
the library does it in its own time.
"""

from __future__ import annotations

import logging
import threading
from typing import Final, Protocol

from plantwatch.aws.clients import Refused
from plantwatch.aws.shards import Shard
from plantwatch.ports import DeliveryFailed

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.5
# By then the library's own wait is over.
GIVE_UP_AFTER_S: Final = 60.0


class Leases(Protocol):
    """The library's lease table (see `plantwatch.aws.leases`)."""

    def is_empty(self) -> bool | None: ...

    def shards(self) -> list[Shard]: ...

    def add(self, shard: Shard) -> None: ...


def seed(leases: Leases, *, stop: threading.Event) -> bool:
    """Wait for the table, and fill it if it is empty; True where that was done. For a thread of its own."""
    for _ in range(round(GIVE_UP_AFTER_S / LOOK_EVERY_S)):
        try:
            empty = leases.is_empty()
            if empty is not None:
                return empty and _fill(leases)
        except DeliveryFailed as error:
            log.warning("%s", error)
        except Refused as error:
            log.error("cannot write the first leases, the library takes half a minute longer: %s", error)
            return False
        if stop.wait(LOOK_EVERY_S):
            return False
    return False


def _fill(leases: Leases) -> bool:
    shards = leases.shards()
    if any(shard.parents for shard in shards):
        return False
    for shard in shards:
        leases.add(shard)
    log.info("first start: wrote the leases of %d shards", len(shards))
    return True
