"""The gateway's clock. It may be wrong, or not yet set after a boot: nothing that must be right depends on it."""

from __future__ import annotations

import time

from plantwatch.telemetry import EpochMs


def now_ms() -> EpochMs:
    return time.time_ns() // 1_000_000
