"""Bounded patience with a service that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from plantwatch.ports import DeliveryFailed

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

_DELAY_MIN_S: Final = 0.2
_DELAY_MAX_S: Final = 5.0


@dataclass(frozen=True)
class Patience:
    """Repeats what raised DeliveryFailed, with growing pauses, until `limit_s` have passed; then raises it.

    Waiting here is cheaper than a restart, which costs the daemon and all its shards half a minute; waiting for ever
    would hide an outage and hold the shard while another worker could have it.
    """

    limit_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def insist(self, effect: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = self.monotonic() + self.limit_s
        delay = _DELAY_MIN_S
        while True:
            try:
                return effect(*args, **kwargs)
            except DeliveryFailed as error:
                if self.monotonic() + delay > deadline:
                    raise
                log.warning("%s; once more in %.1f s", error, delay)
                self.sleep(delay)
                delay = min(2 * delay, _DELAY_MAX_S)
