"""What every benchmark target prints and writes: rows with goal, figure and verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

FOLDER: Final = Path(__file__).resolve().parent.parent / "build" / "bench"


class Row(NamedTuple):
    """One figure: what was measured (None: it could not be), what was wanted, and what it was measured beside."""

    name: str
    goal: float
    figure: float | None
    unit: str
    compared_with: str
    more_is_better: bool

    @property
    def met(self) -> bool:
        if self.figure is None:
            return False
        return self.figure >= self.goal if self.more_is_better else self.figure <= self.goal

    def as_json(self) -> dict[str, Any]:
        fields = self._asdict()
        del fields["more_is_better"]
        return {**fields, "figure": None if self.figure is None else round(self.figure, 2), "met": self.met}


def at_most(name: str, goal: float, figure: float | None, unit: str, compared_with: str = "") -> Row:
    """A row whose figure should not be above its goal; None is a figure that could not be measured."""
    return Row(name, goal, figure, unit, compared_with, more_is_better=False)


def at_least(name: str, goal: float, figure: float | None, unit: str, compared_with: str = "") -> Row:
    """A row whose figure should not be below its goal."""
    return Row(name, goal, figure, unit, compared_with, more_is_better=True)


def gather(parts: Sequence[tuple[Callable[[], list[Row]], list[Row]]]) -> list[Row]:
    """The rows of each part. A part that fails says why, and its rows (the second of the pair) are not met."""
    rows: list[Row] = []
    for measure, unmeasured in parts:
        try:
            rows += measure()
        except Exception as error:  # noqa: BLE001 - one broken part must not hide the others' figures
            sys.stderr.write(f"not measured: {type(error).__name__}: {error}\n")
            rows += unmeasured
    return rows


def publish(name: str, rows: Sequence[Row]) -> None:
    """Print the table and write build/bench/NAME.json."""
    table = Table("figure", "goal", "measured", "compared with", "verdict", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        measured = "not measured" if row.figure is None else f"{row.figure:,.4g} {row.unit}"
        goal = f"{'>=' if row.more_is_better else '<='} {row.goal:,g} {row.unit}"
        table.add_row(row.name, goal, measured, row.compared_with, "[green]met" if row.met else "[red]missed")
    console = Console(highlight=False, width=160)
    console.print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps([row.as_json() for row in rows], indent=1))
    console.print(f"written: {file}")
