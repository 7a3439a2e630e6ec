"""`plantwatch score FILE...`: score CSV files as they would have been scored live."""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from plantwatch.csvfile import InvalidFile
from plantwatch.detectors.catalogue import AUTO, CATALOGUE, factory
from plantwatch.score import MakeDetector, Scored, Unscorable, score_file
from plantwatch.settings import InvalidSettings, load

EXIT_BAD_INPUT = 2
OUT_DIR = Path("scores")

console = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class ScoreSettings:
    """What `--config FILE` may hold, as JSON. Options on the command line win over it."""

    detector: str = AUTO
    train_rows: int | None = None

    def __post_init__(self) -> None:
        problems = []
        try:
            factory(self.detector)
        except ValueError as error:
            problems.append(f"detector: {error}")
        if self.train_rows is not None and self.train_rows < 1:
            problems.append(f"train_rows: {self.train_rows} is not positive")
        if problems:
            raise InvalidSettings(problems)


def register(app: typer.Typer) -> None:
    """Add the command to `plantwatch`."""
    app.command("score")(score)


def score(
    files: Annotated[list[Path], typer.Argument(help="CSV files: a time column, then one column a signal.")],
    out_dir: Annotated[Path, typer.Option(help="Folder of the results, one file of the same name for each.")] = OUT_DIR,
    train_rows: Annotated[int | None, typer.Option(help="So many first rows are known to be normal.")] = None,
    detector: Annotated[str | None, typer.Option(help=f"One of: {', '.join(CATALOGUE)}; river:NAME.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with `detector`, `train_rows`.")] = None,
) -> None:
    """Score CSV files: for each row a score in [0, 1] and whether it is in alarm, from what came before it only.

    Writes `timestamp,score,anomaly`. Exit code 2, a line that says what is wrong and where, and no result for a file
    that cannot be scored; the others are scored all the same.
    """
    try:
        settings = _settings(config, {"detector": detector, "train_rows": train_rows})
        targets = _targets(files, out_dir)
        folders = _make_folders(targets)
    except InvalidSettings as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{error.filename}: {error.strerror or error}")
    try:
        all_scored = _score_all(files, targets, settings)
    finally:
        _remove_empty(folders)
    if not all_scored:
        raise typer.Exit(EXIT_BAD_INPUT)


def _refuse(problem: str) -> NoReturn:
    console.print(f"cannot score: {problem}", markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)


def _make_folders(targets: Sequence[Path]) -> list[Path]:
    """Said before an hour's work, not after. Returns those that were not there, the innermost first."""
    missing = {folder for target in targets for folder in target.parents if not folder.exists()}
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    return sorted(missing, key=lambda folder: len(folder.parts), reverse=True)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Where no file could be scored there is nothing left to find."""
    for folder in folders:
        with suppress(OSError):  # it holds results
            folder.rmdir()


def _settings(config: Path | None, options: dict[str, Any]) -> ScoreSettings:
    try:
        values = json.loads(config.read_text("utf-8")) if config else {}
    except ValueError as error:
        raise InvalidSettings([f"{config}: {error}"]) from None
    if not isinstance(values, dict):
        raise InvalidSettings([f"{config}: not a JSON object"])
    return load(ScoreSettings, values | {name: value for name, value in options.items() if value is not None})


def _targets(files: Sequence[Path], out_dir: Path) -> list[Path]:
    """Where each result goes. Files of the same name from several folders keep the folders that tell them apart."""
    if max(Counter(file.name for file in files).values()) == 1:
        targets = [out_dir / file.name for file in files]
    else:
        paths = [file.resolve() for file in files]
        if len(set(paths)) != len(paths):
            raise InvalidSettings(["a file is named twice"])
        common = Path(os.path.commonpath([path.parent for path in paths]))
        targets = [out_dir / path.relative_to(common) for path in paths]
    overwritten = {file.resolve() for file in files} & {target.resolve() for target in targets}
    if overwritten:
        raise InvalidSettings([f"{min(overwritten)}: the result would overwrite the input; use another --out-dir"])
    return targets


def _score_all(files: Sequence[Path], targets: Sequence[Path], settings: ScoreSettings) -> bool:
    """Whether all of them could be scored."""
    began, rows, refused = time.perf_counter(), 0, 0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("score", total=sum(file.stat().st_size for file in files if file.is_file()))
        done = 0
        for file, target in zip(files, targets, strict=True):
            progress.update(task, description=file.name, completed=done)
            result = _score_one(file, target, settings, functools.partial(_tell, progress, task, done))
            rows, refused = rows + (result.rows if result else 0), refused + (result is None)
            done += file.stat().st_size if file.is_file() else 0
    took_s = time.perf_counter() - began
    console.print(f"{len(files) - refused} of {len(files)} files, {rows:,} rows in {took_s:.1f} s", markup=False)
    return not refused


def _tell(progress: Progress, task: Any, done: int, read: int) -> None:
    progress.update(task, completed=done + read)


def _score_one(file: Path, target: Path, settings: ScoreSettings, report: Any) -> Scored | None:
    """None, having said why, where the file cannot be scored."""
    try:
        result = score_file(file, target, _maker(settings), settings.train_rows, report)
    except InvalidFile as error:
        console.print(str(error), markup=False)
    except Unscorable as error:
        console.print(f"{file}: {error}", markup=False)
    except OSError as error:
        console.print(f"{file}: {error.strerror or error}", markup=False)
    else:
        if result.first_repeated_line is not None:
            console.print(
                f"{file}: line {result.first_repeated_line}: {_times(result.repeated_times)} repeated; such rows are "
                "scored in the order of the file",
                markup=False,
            )
        return result
    return None


def _times(count: int) -> str:
    return "1 time is" if count == 1 else f"{count} times are"


def _maker(settings: ScoreSettings) -> MakeDetector:
    def make(signals: int) -> Any:
        try:
            return factory(settings.detector)(signals, settings.train_rows)
        except ValueError as error:
            raise Unscorable(f"{settings.detector}: {error}") from None
        except ModuleNotFoundError as error:
            raise Unscorable(f"{settings.detector} needs {error.name}: {_installed_by(error.name)}") from None

    return make


def _installed_by(module: str | None) -> str:
    return "install plantwatch[score]" if module in {"numpy", "safetensors"} else f"install {module}"
