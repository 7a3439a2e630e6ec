"""Score a CSV file: one row in, one verdict out, in order, in one pass and in bounded memory.

    layout = layout_of(source)
    rows = Rows(lines, layout)
    for time, values in rows:
        score, alarm = detector.step(values)

A file is scored as it would have been live: the verdict on a row rests on that row and those above it. Which columns
are signals is read beforehand from the header and the first 200 rows (`plantwatch.csvfile`), as an operator would have
configured it; nothing else looks ahead.

What cannot be scored is refused with the line that says why, rather than scored in part: a row that is no reading, or a
time that runs backwards. A repeated time is scored in the order of the file and counted: clocks that are set back an
hour write such files (four of NAB's 31 development files hold them).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from plantwatch.csvfile import LEAVE_EMPTY, Layout, layout_of, width_problem
from plantwatch.detectors.series import SeriesDetector
from plantwatch.files import written_whole

HEADER: Final = "timestamp,score,anomaly\n"
# About every tenth of a second a look at how far we are.
_ROWS_PER_REPORT: Final = 10_000
_BETWEEN_DATE_AND_TIME: Final = frozenset({"T", " ", ""})

MakeDetector = Callable[[int], SeriesDetector]
"""A detector for so many signals. ValueError, with the reason, where there is none."""


class Unscorable(ValueError):
    """The file cannot be scored; the message says what is wrong and where."""


class Scored(NamedTuple):
    """What a file held."""

    rows: int
    repeated_times: int
    first_repeated_line: int | None


class Rows:
    """The rows of a file as values, checked. Iterating raises Unscorable at the first row that is no reading."""

    def __init__(self, lines: Iterable[str], layout: Layout) -> None:
        self.read = 0
        self.repeated_times = 0
        self.first_repeated_line: int | None = None
        self._names = layout.header
        self._columns = [index for index, is_signal in enumerate(layout.numeric) if is_signal]
        self._separator = layout.separator
        self._decimal_comma = layout.separator == ";"
        self._underscore = False
        self._cells = csv.reader(self._watched(lines), delimiter=layout.separator)

    @property
    def signals(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[tuple[str, list[float | None]]]:
        """(the time as it is written, one value for each signal)."""
        try:
            next(self._cells)
            yield from self._checked()
        except csv.Error as error:
            raise self._unscorable(str(error)) from None

    def _watched(self, lines: Iterable[str]) -> Iterator[str]:
        """Python reads 1_0 as 10, which nobody else does. A look at the line costs less than one at each cell."""
        for line in lines:
            if "_" in line:
                self._underscore = True
            yield line

    def _checked(self) -> Iterator[tuple[str, list[float | None]]]:
        width, columns = len(self._names), self._columns
        previous: Any = None
        for cells in self._cells:
            if len(cells) != width:
                if not cells:
                    continue
                raise self._unscorable(width_problem(cells, width, self._separator))
            time = cells[0]
            moment = self._moment(time)
            if previous is not None:
                self._check_order(previous, moment, time)
            previous = moment
            try:
                values: list[float | None] = [float(cells[column]) for column in columns]
                if self._underscore or not math.isfinite(sum(values)):  # type: ignore[arg-type]
                    values = self._values(cells)
                    self._underscore = False
            except ValueError:
                values = self._values(cells)
            self.read += 1
            yield time, values

    def _moment(self, time: str) -> datetime | float:
        """Something to compare the times of a file by; which one it is depends on how they are written."""
        try:
            if time[4:5] == "-":
                # Any one character may stand between date and time, also one that would break our own output.
                if time[10:11] in _BETWEEN_DATE_AND_TIME:
                    return datetime.fromisoformat(time)
            elif "_" not in time and math.isfinite(number := float(time)):
                return number
        except ValueError:
            pass
        raise self._unscorable(f"{time[:40]!r} is no time")

    def _check_order(self, previous: Any, moment: Any, time: str) -> None:
        try:
            if previous < moment:
                return
            if previous > moment:
                raise self._unscorable(f"the time {time[:40]} is before that of the row above")
        except TypeError:
            raise self._unscorable(f"the time {time[:40]} is written in another way than that above") from None
        self.repeated_times += 1
        self.first_repeated_line = self.first_repeated_line or self._cells.line_num

    def _values(self, cells: Sequence[str]) -> list[float | None]:
        """The thorough way: empty cells, decimal commas, and which cell is wrong."""
        values: list[float | None] = []
        for column in self._columns:
            cell = cells[column].strip()
            try:
                if "_" in cell:
                    raise ValueError
                value = float(cell.replace(",", ".") if self._decimal_comma else cell) if cell else None
            except ValueError:
                raise self._unscorable(f"{self._names[column]} is {cell[:40]!r}, no number") from None
            if value is not None and not math.isfinite(value):
                advice = f": {LEAVE_EMPTY}" if math.isnan(value) else ""
                raise self._unscorable(f"{self._names[column]} is {cell[:40]!r}, not finite{advice}")
            values.append(value)
        return values

    def _unscorable(self, problem: str) -> Unscorable:
        return Unscorable(f"line {self._cells.line_num}: {problem}")


class Training:
    """Watches the rows that are known to be normal: enough of them, and with something to learn from."""

    def __init__(self, rows: int) -> None:
        self._left = self._rows = rows
        self._first: list[float | None] = []
        self._varies = False

    def see(self, values: Sequence[float | None]) -> None:
        self._first = self._first or list(values)
        self._varies = self._varies or any(
            value is not None and value != first for value, first in zip(values, self._first, strict=True)
        )
        self._left -= 1
        if not self._left and not self._varies:
            raise Unscorable(f"the {self._rows} training rows are constant: nothing can be learnt from them")

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def check_complete(self) -> None:
        if not self.is_over:
            raise Unscorable(f"{self._rows - self._left} rows, but {self._rows} training rows are asked for")


def score_file(
    source: Path, target: Path, make: MakeDetector, train_rows: int | None, report: Callable[[int], object]
) -> Scored:
    """Score `source` into `target`, which appears complete or not at all. `report` is told of bytes read meanwhile.

    Raises Unscorable or InvalidFile for what is wrong with the file, OSError for what is wrong with the disk.
    """
    layout = layout_of(source)
    with (
        written_whole(target) as unfinished,
        source.open("rb") as raw,
        unfinished.open("w", encoding="utf-8", newline="") as output,
    ):
        lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        rows = Rows(lines, layout)
        _write_verdicts(rows, make(rows.signals), train_rows, output, lambda: report(raw.tell()))
    return Scored(rows.read, rows.repeated_times, rows.first_repeated_line)


def _write_verdicts(
    rows: Rows, detector: SeriesDetector, train_rows: int | None, output: TextIO, report: Callable[[], object]
) -> None:
    training = Training(train_rows or 0)
    output.write(HEADER)
    step, write = detector.step, output.write
    for number, (time, values) in enumerate(rows, start=1):
        if not training.is_over:
            training.see(values)
        score, alarm = step(values)
        write(f"{time},{score:.9g},{alarm:d}\n")
        if not number % _ROWS_PER_REPORT:
            report()
    if not rows.read:
        raise Unscorable("no rows below the header")
    training.check_complete()
