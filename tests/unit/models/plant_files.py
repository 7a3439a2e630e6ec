"""Recordings for the workshop's tests: machines that are well, with stretches in which something else happens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from models.intervals import Interval
from plantwatch.telemetry import isoformat

BEGINS = 1_772_600_000_000
INTERVAL_MS = 60_000
ROWS = 1_800


def at(row: int) -> int:
    return BEGINS + row * INTERVAL_MS


def rows(first: int, last: int) -> Interval:
    return Interval(at(first), at(last))


def machine(
    folder: Path,
    name: str,
    *,
    shifts: Sequence[tuple[int, int]] = (),
    labelled: Sequence[tuple[int, int]] | None = (),
    count: int = ROWS,
    shift: float = 9.0,
) -> Path:
    """A file of two signals; within `shifts` the first is off by `shift`; `labelled` is the column `anomaly`."""
    chance = random.Random(name)
    lines = ["time,flow,level" + ("" if labelled is None else ",anomaly")]
    for row in range(count):
        off = shift if any(first <= row <= last for first, last in shifts) else 0.0
        line = f"{isoformat(at(row))},{chance.gauss(20, 1) + off:.3f},{chance.gauss(5, 0.2):.3f}"
        if labelled is not None:
            line += f",{int(any(first <= row <= last for first, last in labelled))}"
        lines.append(line)
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n")
    return file
