"""A file that appears complete or not at all, whatever ends the process that writes it.

    with written_whole(target) as unfinished:
        unfinished.write_bytes(data)

Meanwhile the content lies beside the target, in `.NAME.PID.part`. A process that fails, or is ended by SIGTERM (which
`plantwatch.cli` turns into an orderly end), takes it away itself; what one left that was killed goes with the next
write of the same target. A lock, which the system takes back with the process, tells the abandoned from those in work.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Where to write what becomes `target` at the end, unless an exception comes first. OSError from the disk."""
    _remove_abandoned(target)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    lock = os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(lock)
        yield unfinished
        unfinished.replace(target)
    finally:
        os.close(lock)
        unfinished.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    for unfinished in target.parent.glob(f".{escape(target.name)}.*.part"):
        # Another process may be ahead of us, and what is another user's stays.
        with suppress(OSError):
            lock = os.open(unfinished, os.O_RDWR)
            try:
                if _lock(lock):
                    unfinished.unlink()
            finally:
                os.close(lock)


def _lock(descriptor: int) -> bool:
    """Whether nobody else has it. Where the file system knows no locks it is never had, and nothing is removed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
