"""What the machines have learnt, kept across restarts of the component: a warm start instead of a warm-up.

A checkpoint is replaced as a whole or not at all. One that is damaged, or that another model bundle wrote, is ignored:
the machines then learn anew, and the log says so.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from plantwatch.machine import Machines

logger = logging.getLogger(__name__)


def save(path: Path, machines: Machines) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(machines.snapshot())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def restore(path: Path, machines: Machines) -> bool:
    """Whether `machines` now know what the checkpoint knew."""
    if not path.exists():
        return False
    try:
        machines.restore(path.read_bytes())
    except ValueError as error:
        logger.warning("checkpoint ignored: %s", error)
        return False
    return True
