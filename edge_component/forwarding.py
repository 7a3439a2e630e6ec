"""Which refused readings are told to the cloud too. Pure: time is an argument.

All of them are kept on the gateway; the cloud's dead letters shall show that a driver is broken, and how.
"""

from __future__ import annotations

import math
from typing import Final

from plantwatch.telemetry import EpochMs, Rejection

# A broken driver makes the same mistake with every reading, so examples will do; but the mistakes of a whole plant's
# drivers after an update fit into the burst. Together at most 5 kB/s: one message a second, IoT Core's metering step.
PER_SECOND: Final = 10.0
BURST: Final = 50.0
# What one of these ten may hold; a longer payload counts as several (and is cut before it is sent).
_BYTES: Final = 500
_COST_MAX: Final = 10


class Forwarding:
    """A token bucket.

    >>> from plantwatch.telemetry import RejectionReason
    >>> forwarding = Forwarding()
    >>> refused = Rejection(RejectionReason.NO_SIGNALS, "", "plantwatch/telemetry/pump-1", 0, b"{}")
    >>> sum(forwarding.admits(refused) for _ in range(1_000))
    50
    """

    def __init__(self) -> None:
        self._tokens = BURST
        self._at: EpochMs = 0

    def admits(self, refused: Rejection) -> bool:
        """Whether this one may go too; its `received_at` is the time."""
        # A clock that is set back gives nothing, one that is set forward a full bucket.
        passed_s = max(0, refused.received_at - self._at) / 1000
        self._at = refused.received_at
        self._tokens = min(BURST, self._tokens + passed_s * PER_SECOND)
        cost = min(_COST_MAX, math.ceil(len(refused.payload) / _BYTES) or 1)
        if cost > self._tokens:
            return False
        self._tokens -= cost
        return True
