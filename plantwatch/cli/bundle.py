"""`plantwatch bundle make|inspect|verify|diff`: model bundles as files."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from plantwatch.bundle.container import load, save
from plantwatch.bundle.difference import diff
from plantwatch.bundle.learn import PASSES, Untrainable, learn
from plantwatch.bundle.model import Bundle, InvalidBundle
from plantwatch.cli.config import read_config
from plantwatch.csvfile import InvalidFile
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import EpochMs

EXIT_DIFFERENT: Final = 1
EXIT_BAD_INPUT: Final = 2
# A long list of source files says little more than its beginning.
_SOURCES_SHOWN: Final = 8

console = Console(stderr=True, highlight=False, soft_wrap=True)
bundles = typer.Typer(no_args_is_help=True, help="Model bundles: all that decides how readings are judged.")


def register(app: typer.Typer) -> None:
    """Add the noun to `plantwatch`."""
    app.add_typer(bundles, name="bundle")


@bundles.command()
def make(
    files: Annotated[list[Path], typer.Argument(help="CSV files, one a machine: a time column, one column a signal.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's file.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; without it, that of its file.")] = None,
    machine_type: Annotated[str, typer.Option(help="What kind of machine it is for.")] = "",
    config: Annotated[Path | None, typer.Option(help="JSON file with parameters; without it, the defaults.")] = None,
) -> None:
    """Learn a bundle from recordings of machines that are well."""
    try:
        parameters = read_config(config)
        _check_output(output, files)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("learn", total=None)
            bundle = learn(
                files,
                name=name or output.stem,
                machine_type=machine_type,
                config=parameters,
                now=time.time_ns() // 1_000_000,
                report=lambda rows: progress.advance(task, rows / PASSES),
            )
        save(bundle, output)
    except OSError as error:
        _refuse(f"{output}: {error.strerror or error}")
    except InvalidBundle as error:
        _refuse(f"{output}: {error}")
    except (Untrainable, InvalidFile, ValueError) as error:
        _refuse(str(error))
    typer.echo(f"{output}: {_summary(bundle)}")


@bundles.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A bundle's file.")],
    as_json: Annotated[bool, typer.Option("--json", help="The manifest, for programs.")] = False,
) -> None:
    """Show what a bundle judges by and what it was learnt from."""
    bundle = _load(file)
    if as_json:
        from plantwatch.bundle.manifest import to_manifest

        typer.echo(json.dumps({"digest": bundle.digest, **to_manifest(bundle)}, indent=2))
        return
    lines = _lines(bundle)
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        typer.echo(f"{label:<{width}}  {value}")


@bundles.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A bundle's file.")],
    digest: Annotated[str | None, typer.Option(help="The digest that it must have.")] = None,
) -> None:
    """Say whether a bundle can be used: exit code 0, or 2 and one line that names the reason."""
    bundle = _load(file)
    if digest is not None and digest != bundle.digest:
        _refuse(f"{file}: digest: it is {bundle.digest}, not {digest}")
    typer.echo(f"{file}: {_summary(bundle)}")


@bundles.command("diff")
def compare(
    before: Annotated[Path, typer.Argument(help="A bundle's file.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """What differs between two bundles, by name. Exit code 0 where nothing does, 1 where something does."""
    differences = diff(_load(before), _load(after))
    for difference in differences:
        typer.echo(f"{difference.name}: {_shown(difference.before)} -> {_shown(difference.after)}")
    if differences:
        raise typer.Exit(EXIT_DIFFERENT)


def _check_output(output: Path, files: Sequence[Path]) -> None:
    """Said before an hour's work, not after."""
    if not output.parent.is_dir():
        raise InvalidSettings([f"{output}: there is no folder {output.parent}"])
    if output.is_dir() or output.resolve() in {file.resolve() for file in files}:
        raise InvalidSettings([f"{output}: the bundle would overwrite a recording or a folder"])


def _load(path: Path) -> Bundle:
    try:
        return load(path)
    except InvalidBundle as error:
        _refuse(f"{path}: {error}")
    except OSError as error:
        _refuse(f"{path}: {error.strerror or error}")


def _refuse(problem: str) -> NoReturn:
    console.print(problem, markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)


def _summary(bundle: Bundle) -> str:
    learnt = f"priors for {len(bundle.priors)} signals" if bundle.priors else "no priors"
    if bundle.training:
        learnt += f" from {bundle.training.rows:,} rows of {bundle.training.machines} machines"
    return f"{bundle.name}, digest {bundle.digest}, {learnt}"


def _lines(bundle: Bundle) -> list[tuple[str, str]]:
    lines = [
        ("name", bundle.name),
        ("machine type", bundle.machine_type or "any"),
        ("digest", bundle.digest),
        ("created", _day(bundle.created_at)),
    ]
    if training := bundle.training:
        more = len(training.sources) - _SOURCES_SHOWN
        shown = ", ".join(training.sources[:_SOURCES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        lines += [
            ("learnt from", f"{training.rows:,} rows of {training.machines} machines, sha256 {training.sha256}"),
            ("", f"{_day(training.first)} to {_day(training.last)}: {shown}"),
        ]
    if calibration := bundle.calibration:
        scores = ", ".join(f"{share:.1%} up to {score:g}" for share, score in calibration.scores)
        lines.append(("scores there", scores))
        lines.append(("alerts there", f"{calibration.alerts} in {calibration.machine_days:.2f} machine-days"))
    if bundle.expected_alerts_per_day is not None:
        lines.append(("to be expected", _expected(bundle, bundle.expected_alerts_per_day)))
    for signal, prior in bundle.priors.items():
        low, high = prior.band()
        novel = max(prior.raw.count, prior.slow.count) / prior.weight if prior.weight else 0.0
        known = f"{prior.readings:,} readings of {prior.machines} machines, new to a newcomer: {novel:.2%}"
        lines.append((f"prior {signal}", f"{low:.6g} to {high:.6g}; {known}"))
    return lines


def _expected(bundle: Bundle, alerts_per_day: float) -> str:
    seen = bundle.calibration
    if alerts_per_day == 0.0 and seen is not None and seen.machine_days > 0.0:
        return f"none in {seen.machine_days:.1f} machine-days: {seen.none_text}"
    return f"{alerts_per_day:.3g} alerts a day and machine"


def _day(at: EpochMs) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
