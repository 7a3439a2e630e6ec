"""`plantwatch why FILE.csv --at TIME`: why there was no alert at this reading, or why there was one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console

from plantwatch.bundle.container import load as load_bundle
from plantwatch.bundle.model import InvalidBundle
from plantwatch.calendars import MONTHS_MAX, windows_at
from plantwatch.cli.config import read_config
from plantwatch.csvfile import InvalidFile
from plantwatch.hindsight import why_at
from plantwatch.machine import Machines
from plantwatch.maintenance import Maintenance
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import (
    OBSERVED_AT_MAX,
    OBSERVED_AT_MIN,
    EpochMs,
    InvalidReading,
    RejectionReason,
    isoformat,
    parse_timestamp,
)
from plantwatch.why import Because, WhyNot

EXIT_BAD_INPUT: Final = 2
# Of a calendar, the time around the reading: what is far from it suppresses nothing.
_MONTH_MS: Final = 30 * 86_400_000

_TIMES: Final = {
    RejectionReason.INVALID_TIMESTAMP: "no time; write 2026-03-06T12:30Z or epoch seconds",
    RejectionReason.TIMESTAMP_OUT_OF_RANGE: "not between 1990 and 2100",
}

console = Console(stderr=True, highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command to `plantwatch`."""
    app.command("why")(why)


def why(
    file: Annotated[Path, typer.Argument(help="One machine's CSV file: a time column, then one column a signal.")],
    at: Annotated[str, typer.Option(help="Which reading: ISO 8601 or epoch, as in the file.")],
    bundle: Annotated[Path | None, typer.Option(help="Judge by this model bundle.")] = None,
    config: Annotated[Path | None, typer.Option(help="Judge by this JSON file of parameters, states included.")] = None,
    calendar: Annotated[Path | None, typer.Option(help="Maintenance: an .ics file, or windows as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer for programs.")] = False,
) -> None:
    """Say why a reading of a recorded file raised no alert: which threshold it missed, by how much, what suppressed it.

    The file is watched from its beginning, as it would have been live. Exit code 2 and one line for bad input.
    """
    try:
        moment = parse_timestamp(at, received_at=OBSERVED_AT_MAX)
        begin = max(OBSERVED_AT_MIN, moment - MONTHS_MAX // 2 * _MONTH_MS)
        maintenance = windows_at(calendar, begin=begin) if calendar else Maintenance()
        machines = _machines(bundle, config, maintenance)
        with console.status("watching the file") as status:
            answer = why_at(file, moment, machines, lambda rows: status.update(f"watching the file: {rows:,} rows"))
    except OSError as error:
        _refuse(f"{error.filename or file}: {error.strerror or error}")
    except InvalidReading as error:
        _refuse(f"--at {at[:40]!r}: {_TIMES.get(error.reason, str(error.reason))}")
    except (InvalidFile, InvalidSettings, InvalidBundle) as error:
        _refuse(str(error))
    typer.echo(json.dumps(_fields(answer, moment)) if as_json else _text(answer, moment))


def _machines(bundle: Path | None, config: Path | None, maintenance: Maintenance) -> Machines:
    if bundle is not None and config is not None:
        raise InvalidSettings(["--bundle and --config: a bundle has its own configuration, give one of them"])
    if bundle is not None:
        try:
            return Machines.of(load_bundle(bundle), maintenance=maintenance)
        except InvalidBundle as error:
            raise InvalidSettings([f"{bundle}: {error}"]) from None
    return Machines(read_config(config), maintenance=maintenance)


def _refuse(problem: str) -> NoReturn:
    console.print(f"cannot say why: {' '.join(problem.split())}", markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)


def _text(answer: WhyNot, asked_at: EpochMs) -> str:
    """The decisive reason in the first line, or below the one which says that nothing was read at that very time."""
    decisive, *others = answer.because
    head = f"{answer.device} at {isoformat(answer.observed_at)}, score {answer.score:g}: {answer.sentence}"
    lines = [
        f"{head}{_missed(decisive)}",
        *(f"  {because.reason:13} {because.sentence}{_missed(because)}" for because in others),
    ]
    if answer.observed_at != asked_at:
        lines.insert(0, f"no reading at {isoformat(asked_at)}; this is the last one before it:")
    return "\n".join(lines)


def _missed(because: Because) -> str:
    return "" if because.missed_by is None or because.missed_by <= 0 else f" (missed by {because.missed_by:.3g})"


def _fields(answer: WhyNot, asked_at: EpochMs) -> dict[str, Any]:
    return {
        "asked_at": isoformat(asked_at),
        "device": answer.device,
        "observed_at": isoformat(answer.observed_at),
        "score": answer.score,
        "alert": answer.alert,
        "sentence": answer.sentence,
        "because": [{**because._asdict(), "missed_by": because.missed_by} for because in answer.because],
    }
