"""What the workshop's commands share: where they write, how they refuse, how they read bundles and configurations."""

from __future__ import annotations

import errno
import getpass
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.status import Status
from rich.table import Table
from rich.text import Text

from models.history import InvalidHistory, Series, csv_series
from models.labels import InvalidLabel, Label, in_force, read_labels
from models.lake_history import lake_series, period_of
from models.registry import RegistryRefused
from models.stores import InvalidPlace, store_at
from plantwatch.bundle.container import load as load_bundle
from plantwatch.bundle.model import Bundle, InvalidBundle
from plantwatch.calendars import windows_at
from plantwatch.cli.config import read_config
from plantwatch.files import written_whole
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.ports import DeliveryFailed
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import OBSERVED_AT_MIN, EpochMs, InvalidReading, Reading, checked_name, isoformat

EXIT_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
# About every second a look at how far we are.
_READINGS_PER_REPORT: Final = 10_000
# Wider than any row: eight cells of at most 1,024 characters.
_WIDE: Final = 10_000

CALENDAR: Final = typer.Option("--calendar", "--maintenance", help="Maintenance: an .ics file, or windows as JSON.")

console = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)


@contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Bad input is one line and exit code 2; a service out of reach is one line and exit code 1."""
    try:
        yield
    except (
        InvalidHistory, InvalidLabel, InvalidBundle, InvalidSettings, InvalidPlace, RegistryRefused,
    ) as error:  # fmt: skip
        raise refused(doing, str(error)) from None
    except OSError as error:
        raise refused(doing, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")) from None
    except DeliveryFailed as error:
        console.print(f"cannot {doing}: {error}", markup=False)
        raise typer.Exit(EXIT_FAILED) from None


def refused(doing: str, problem: str) -> typer.Exit:
    """Say why in one line; the exit to raise."""
    console.print(f"cannot {doing}: {' '.join(problem.split())}", markup=False)
    return typer.Exit(EXIT_BAD_INPUT)


@contextmanager
def recordings(
    files: Sequence[Path], lake: str | None, tenant: str, since: str | None, until: str | None
) -> Iterator[tuple[Series, ...]]:
    """The machines of CSV files, or those of a lake in some time, for as long as they are needed.

    Meanwhile a terminal shows how far they have been read.
    """
    period = period_of(since, until)
    _check_source(files, lake, tenant, since or until)
    with console.status("reading") as status, TemporaryDirectory(prefix="plantwatch-lake-") as folder:
        if lake is None:
            series = csv_series(files, tenant=tenant)
        else:
            series = lake_series(store_at(lake), Path(folder), tenant=tenant, period=period)
        yield tuple(replace(one, read=partial(_told, one, status)) for one in series)


def _check_source(files: Sequence[Path], lake: str | None, tenant: str, time: str | None) -> None:
    if bool(files) == bool(lake):
        raise InvalidSettings(["name CSV files, or a lake with --from-lake"])
    if lake is None and time is not None:
        raise InvalidSettings(["--since and --until are for a lake; cut the files instead"])
    try:
        checked_name(tenant)
    except InvalidReading as error:
        raise InvalidSettings([f"tenant: {error}"]) from None


def _told(series: Series, status: Status) -> Iterator[Reading]:
    for number, reading in enumerate(series.read(), start=1):
        if not number % _READINGS_PER_REPORT:
            status.update(Text(f"{series.device}: {number:,} readings"))
        yield reading


def bundle_from(bundle: Path | None, config: Path | None) -> Bundle:
    """The bundle of a file; or one that only has the configuration of a file, or the standard one."""
    if bundle is not None and config is not None:
        raise InvalidSettings(["--bundle and --config: a bundle has its own configuration, give one of them"])
    if bundle is not None:
        return bundle_at(bundle)
    return Bundle("standard" if config is None else "configured", config=read_config(config))


def bundle_at(path: Path) -> Bundle:
    """InvalidBundle names the file."""
    try:
        return load_bundle(path)
    except InvalidBundle as error:
        raise InvalidBundle(error.reason, f"{path}: {error.detail}") from None


def labels_from(path: Path | None) -> tuple[Label, ...]:
    return () if path is None else in_force(read_labels(path))


def unused(label: Label) -> str:
    """Of a label that had nothing to say here."""
    if label.stretch is None:
        return f"label without effect: incident {label.incident} of {label.device} did not occur"
    since, until = (isoformat(end)[:16] for end in label.stretch)
    return f"label without effect: {label.device} was not watched from {since} to {until}"


def windows_from(path: Path | None, series: Sequence[Series]) -> tuple[MaintenanceWindow, ...]:
    """The maintenance windows of a file; of a calendar those of three years from the machines' first reading on."""
    if path is None:
        return ()
    firsts = (next(iter(one.read()), None) for one in series)
    begin = min((reading.observed_at for reading in firsts if reading is not None), default=OBSERVED_AT_MIN)
    return windows_at(path, begin=begin).windows


def check_target(path: Path) -> None:
    """Say before an hour's work, not after, that a file cannot be written there; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def write_json(path: Path, content: Any) -> None:
    """A report as a file, which appears complete or not at all."""
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


class Rows:
    """A table for the terminal. Cells are text as it is: what people and files say is no markup."""

    def __init__(self, *columns: str) -> None:
        self._table = Table(box=None, padding=(0, 2, 0, 0))
        for column in columns:
            self._table.add_column(Text(column), no_wrap=True)

    def add(self, *cells: object) -> None:
        self._table.add_row(*(Text(str(cell)) for cell in cells))

    def show(self) -> None:
        """As wide as it has to be: a terminal breaks the line, a file or a pipe keeps it whole."""
        wide = Console(highlight=False, width=_WIDE)
        wide.print(self._table, width=Measurement.get(wide, wide.options, self._table).maximum)


def user() -> str:
    """Who runs the command, unless they say otherwise."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def now() -> EpochMs:
    return time.time_ns() // 1_000_000
