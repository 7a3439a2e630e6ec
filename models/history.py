"""Recorded readings of machines, machine by machine, as often as somebody wants to go through them.

A CSV file is one machine, named by the file; its column `label` or `anomaly`, where there is one, says when the machine
misbehaved. A lake holds many machines: `models.lake_history`. Nothing is kept in memory but the present reading.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.intervals import Interval
from plantwatch.csvfile import BadRow, InvalidFile, layout_of, read_rows
from plantwatch.telemetry import EpochMs, InvalidReading, Reading, checked_name, isoformat, parse_timestamp

DAY_MS: Final = 24 * 3600 * 1000
# Columns that say when a machine misbehaved; `changepoint` says only when something changed.
_TRUTH: Final = ("anomaly", "label")


class InvalidHistory(ValueError):
    """The recorded data cannot be used; the message says what is wrong and where."""


@dataclass(frozen=True)
class Series:
    """One machine's readings in the order of time. `read` begins anew each time that it is called.

    `faults` are the stretches in which the machine is known to have misbehaved; None where nobody has looked.
    """

    tenant: str
    device: str
    source: str
    read: Callable[[], Iterator[Reading]]
    faults: tuple[Interval, ...] | None = None


def csv_series(files: Sequence[Path], *, tenant: str) -> tuple[Series, ...]:
    """The machines of some CSV files. InvalidHistory for a file that cannot be one."""
    series = tuple(_one(file, tenant) for file in files)
    devices = [one.device for one in series]
    for device in devices:
        if devices.count(device) > 1:
            raise InvalidHistory(f"two files are named {device!r}: each names one machine")
    return series


def _one(file: Path, tenant: str) -> Series:
    try:
        device = checked_name(file.stem.replace(" ", "_"))
        faults = _faults(file)
    except InvalidReading as error:
        raise InvalidHistory(f"{file}: a file's name is its machine's name: {error}") from None
    except InvalidFile as error:
        raise InvalidHistory(str(error)) from None
    return Series(tenant, device, file.name, lambda: _readings(file, tenant, device), faults)


def _readings(file: Path, tenant: str, device: str) -> Iterator[Reading]:
    newest: EpochMs = 0
    try:
        for row in read_rows(file, received_at=0):
            if isinstance(row, BadRow):
                raise InvalidHistory(f"{file}: line {row.number}: {row.reason}: {row.detail}")
            at = row.observed_at
            if at < newest:
                raise InvalidHistory(
                    f"{file}: line {row.number}: the time {isoformat(at)} is before that of the row above"
                )
            newest = at
            yield Reading(tenant, device, at, at, row.signals, row.attributes, row.missing)
    except InvalidFile as error:
        raise InvalidHistory(str(error)) from None
    except OSError as error:
        raise InvalidHistory(f"{file}: {error.strerror}") from None


def _faults(file: Path) -> tuple[Interval, ...] | None:
    """The labelled stretches, None without a column of labels. Malformed rows are left to `_readings`."""
    layout = layout_of(file)
    names = [name.lower() for name in layout.header]
    column = next((names.index(name) for name in _TRUTH if name in names), None)
    if column is None:
        return None
    stretches: list[Interval] = []
    inside = False
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        lines = csv.reader(text, delimiter=layout.separator)
        next(lines)
        for cells in lines:
            if len(cells) != len(names):
                continue
            labelled = _is_fault(cells[column], f"{file}: line {lines.line_num}: {layout.header[column]}")
            if labelled:
                at = _moment(cells[0], f"{file}: line {lines.line_num}")
                stretches[-1:] = [Interval(stretches[-1].first, at)] if inside else [*stretches[-1:], Interval(at, at)]
            inside = labelled
    return tuple(stretches)


def _is_fault(cell: str, where: str) -> bool:
    try:
        value = float(cell.replace(",", ".")) if cell.strip() else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidHistory(f"{where} is {cell[:40]!r}, not 0 or 1")
    return value > 0


def _moment(cell: str, where: str) -> EpochMs:
    try:
        return parse_timestamp(cell, received_at=0)
    except InvalidReading as error:
        raise InvalidHistory(f"{where}: {error}") from None
