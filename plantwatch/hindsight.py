"""One machine's recorded file, watched from its beginning up to one reading, and why that reading raised no alert.

The file is read as `plantwatch.csvfile` reads it and watched as it would have been live, so the answer is that of the
machine that knew only what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from plantwatch.csvfile import BadRow, InvalidFile, Row, read_rows
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.telemetry import OBSERVED_AT_MAX, EpochMs, Reading, isoformat
from plantwatch.why import Standing, WhyNot, standing, why_not

_TENANT: Final = "file"
_ROWS_PER_REPORT: Final = 10_000

Report = Callable[[int], object]
"""Told now and then how many rows have been read."""


def why_at(path: Path, at: EpochMs, machines: Machines, report: Report = lambda _: None) -> WhyNot:
    """The answer for the reading at `at`: of several, or of none at this very time, the last one up to it.

    Raises InvalidFile, which says where, for a file or a row that is no reading, and for a time that the file does not
    reach.
    """
    device = path.stem
    asked: Reading | None = None
    opened: dict[Kind, EpochMs] = {}
    for count, reading in enumerate(_readings(path, device), 1):
        if count % _ROWS_PER_REPORT == 0:
            report(count)
        if reading.observed_at > at and asked is not None:
            return _answer(machines, asked, opened)
        if reading.observed_at > at:
            raise InvalidFile(f"{path}: begins at {isoformat(reading.observed_at)}, after {isoformat(at)}")
        if asked is not None:
            scored = machines.watch(asked)
            opened |= {turn.kind: asked.observed_at for turn in scored.transitions if turn.phase is Phase.OPENED}
        asked = reading
    if asked is None:
        raise InvalidFile(f"{path}: no rows")
    if asked.observed_at != at:
        raise InvalidFile(f"{path}: ends at {isoformat(asked.observed_at)}, before {isoformat(at)}")
    return _answer(machines, asked, opened)


def _readings(path: Path, device: str) -> Iterator[Reading]:
    for row in read_rows(path, received_at=OBSERVED_AT_MAX):
        if isinstance(row, BadRow):
            detail = f": {row.detail}" if row.detail else ""
            raise InvalidFile(f"{path}: line {row.number}: {row.reason}{detail}")
        yield _reading(row, device)


def _reading(row: Row, device: str) -> Reading:
    # A file has no time of receipt: what it holds is taken to have come when it was observed.
    return Reading(_TENANT, device, row.observed_at, row.observed_at, row.signals, row.attributes, row.missing)


def _answer(machines: Machines, reading: Reading, opened: Mapping[Kind, EpochMs]) -> WhyNot:
    before = replace(_standing(machines, reading.device), opened=opened)
    scored = machines.watch(reading)
    machine = machines.find(reading.tenant, reading.device)
    schedule = machine.schedule if machine else None
    window = schedule.at(reading.observed_at) if schedule else None
    return why_not(scored, before, _standing(machines, reading.device), machines.config, window)


def _standing(machines: Machines, device: str) -> Standing:
    machine = machines.find(_TENANT, device)
    return Standing() if machine is None else standing(machine)
