"""One process at a time works with the state folder.

A nucleus that restarts may launch a new component while the old one still tries to reach its predecessor. Two of them
on one spool would number the same readings twice. The kernel frees the lock of a process that ends, however it ends.
"""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO, Final

_POLL_S: Final = 0.05


class StateInUse(Exception):
    """Another process holds the state folder."""


class StateLock:
    """Taken when it returns from the constructor, until `release`. StateInUse where it is not free in time."""

    def __init__(self, folder: Path, timeout_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "lock").open("w")
        deadline = time.monotonic() + timeout_s
        while not _try(self._file):
            if time.monotonic() > deadline:
                self._file.close()
                raise StateInUse(f"{folder} is in use by another process")
            time.sleep(_POLL_S)

    def release(self) -> None:
        self._file.close()


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
