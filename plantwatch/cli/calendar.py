"""`plantwatch calendar FILE.ics`: a maintenance calendar as the list of windows that runtimes load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from plantwatch.calendars import MONTHS_MAX, InvalidCalendar, read_calendar
from plantwatch.maintenance import EVERY_DEVICE, windows_text
from plantwatch.telemetry import OBSERVED_AT_MAX, EpochMs, InvalidReading, isoformat, parse_timestamp

EXIT_BAD_INPUT: Final = 2

console = Console(stderr=True, highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command to `plantwatch`."""
    app.command("calendar")(calendar)


def calendar(
    file: Annotated[Path, typer.Argument(help="A calendar (.ics) of maintenance.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the windows here, as JSON.")] = None,
    months: Annotated[int, typer.Option(min=1, max=MONTHS_MAX, help="For so many months.")] = 12,
    begin: Annotated[str | None, typer.Option("--from", help="From this time on; without it, from now on.")] = None,
    zone: Annotated[str, typer.Option(help="The zone of times without one, e.g. Europe/Berlin.")] = "UTC",
    devices: Annotated[str, typer.Option(help="The devices that it is for, as a pattern: pump-*")] = EVERY_DEVICE,
) -> None:
    """Read a maintenance calendar into a plain list of windows. Without -o, show it.

    Exit code 2 and one line for a calendar that cannot be followed.
    """
    try:
        windows = read_calendar(file.read_bytes(), begin=_begin(begin), months=months, zone=zone, devices=devices)
        if output is not None:
            output.write_text(windows_text(windows), "utf-8")
    except InvalidReading as error:
        _refuse(f"--from {(begin or '')[:40]!r}: {error.reason}")
    except (InvalidCalendar, ValueError) as error:
        _refuse(f"{file}: {error}")
    except OSError as error:
        _refuse(f"{error.filename or file}: {error.strerror or error}")
    if output is None:
        for window in windows:
            typer.echo(f"{isoformat(window.begins_at)} to {isoformat(window.ends_at)}  {window.devices}  {window.name}")
    console.print(_counted(len(windows), begin), markup=False)


def _counted(count: int, begin: str | None) -> str:
    if count == 0:
        return f"no windows from {begin or 'now'} on: what the calendar holds is over, or further ahead than --months"
    return f"{count} window{'' if count == 1 else 's'}"


def _begin(begin: str | None) -> EpochMs:
    if begin is None:
        return time.time_ns() // 1_000_000
    return parse_timestamp(begin, received_at=OBSERVED_AT_MAX)


def _refuse(problem: str) -> NoReturn:
    console.print(" ".join(problem.split()), markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)
