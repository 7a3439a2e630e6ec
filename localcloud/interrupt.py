"""Ctrl-C: heard once, answered by one line, and followed by a short tidy end that a second one cannot break off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

# A tidy end takes three seconds. Whoever still asks after these is not ignored: something hangs.
TIDY_END_S: Final = 6.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDERR: Final = 2


@contextmanager
def heard_once(line: str) -> Iterator[None]:
    """Within: the first Ctrl-C (or SIGTERM, or the terminal's end) says `line` and raises KeyboardInterrupt; those that
    follow within TIDY_END_S change nothing. For the main thread."""
    heard_at = -TIDY_END_S

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard_at
        if time.monotonic() - heard_at < TIDY_END_S:
            return
        heard_at = time.monotonic()
        # Not by way of a stream: the signal may have come in the middle of its writing something. No terminal, no line.
        with suppress(OSError):
            os.write(_STDERR, f"\ninterrupted: {line}\n".encode())
        raise KeyboardInterrupt

    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
