"""One command at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcloud.processes import AlreadyRunning


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within: no other command holds `folder`, else AlreadyRunning. The kernel lets it go however the holder ends."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another command is at work in {folder}: wait for its end") from None
        yield
    finally:
        os.close(held)
