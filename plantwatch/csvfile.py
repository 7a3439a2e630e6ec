"""Readings from any CSV file: the first column is the time, the other numeric columns are signals.

Separators `,` and `;` are recognised (with `;` a decimal comma too). Columns of labels (`label`, `anomaly`,
`changepoint`) are left out: they are the answer, not a sensor. Columns that hold words are attributes, and so are those
that are empty in the first 200 rows of more, unless there is no other column. An empty cell is a missing value. A row
that is no reading is reported with its line number and reason; the others are unharmed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from plantwatch.telemetry import (
    SIGNALS_MAX,
    EpochMs,
    InvalidReading,
    RejectionReason,
    attribute_text,
    finite,
    parse_timestamp,
    signal_name,
)

LABELS: Final = frozenset({"label", "anomaly", "changepoint"})
SEPARATORS: Final = ",;"
# Enough rows to tell a column of words from a sensor that starts with a few bad cells.
_SAMPLE_ROWS: Final = 200
# A row of 256 signals of 20 characters is 5 kB; a longer line is no CSV file.
_LINE_CHARS_MAX: Final = 131_072


LEAVE_EMPTY: Final = "leave the cell empty if the value is missing"


class Row(NamedTuple):
    """One row as a reading's content; `number` is the line in the file, the first one being 1."""

    number: int
    observed_at: EpochMs
    signals: dict[str, float]
    attributes: dict[str, str]
    missing: tuple[str, ...]


class BadRow(NamedTuple):
    """A row that is no reading, and why."""

    number: int
    reason: RejectionReason
    detail: str


class Layout(NamedTuple):
    """How a file is written: its separator, its columns (the first is the time), and which of them are signals."""

    separator: str
    header: list[str]
    numeric: list[bool]


class InvalidFile(ValueError):
    """The file as a whole is no series: missing, empty, without a header or without a numeric column."""


def read_rows(path: Path, *, received_at: EpochMs) -> Iterator[Row | BadRow]:
    """The rows of `path` in the order of the file. Raises InvalidFile before the first row."""
    separator, header, numeric = layout_of(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=separator)
        next(lines)
        while True:
            try:
                cells = next(lines, None)
                if cells is None:
                    return
                if cells:
                    yield _row(lines.line_num, cells, header, numeric, separator, received_at)
            except InvalidReading as error:
                yield BadRow(lines.line_num, error.reason, error.detail)
            except csv.Error as error:
                yield BadRow(lines.line_num, RejectionReason.MALFORMED_ROW, str(error))


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of all columns that become part of a reading, in the file's order, without the time's."""
    _, header, _ = layout_of(path)
    return tuple(name for name in header[1:] if name.lower() not in LABELS)


def signals_of(path: Path) -> tuple[str, ...]:
    """The names of the signals that `path` holds."""
    _, header, numeric = layout_of(path)
    return tuple(name for name, is_numeric in zip(header, numeric, strict=True) if is_numeric)


def layout_of(path: Path) -> Layout:
    """What the header and the first rows say about a file. Raises InvalidFile where it is no series."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = file.readline(_LINE_CHARS_MAX)
            separator = max(SEPARATORS, key=first.count)
            header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
            sample = [
                cells for cells, _ in zip(csv.reader(file, delimiter=separator), range(_SAMPLE_ROWS), strict=False)
            ]
    except OSError as error:
        raise InvalidFile(f"{path}: {error.strerror}") from None
    except csv.Error as error:
        raise InvalidFile(f"{path}: {error}") from None
    _check_header(path, header, separator)
    # A column that nobody has filled yet is more often one for remarks than a sensor; it is one where nothing else is.
    # In a file that ends before it is filled it holds missing values, whatever it is.
    ends = len(sample) < _SAMPLE_ROWS
    numeric = [_is_signal(name, index, sample, separator, unfilled=ends) for index, name in enumerate(header)]
    if not any(numeric):
        numeric = [_is_signal(name, index, sample, separator, unfilled=True) for index, name in enumerate(header)]
    if not any(numeric):
        raise InvalidFile(f"{path}: no numeric column beside the time")
    if sum(numeric) > SIGNALS_MAX:
        raise InvalidFile(f"{path}: {sum(numeric)} numeric columns, at most {SIGNALS_MAX} are allowed")
    return Layout(separator, header, numeric)


def _check_header(path: Path, header: Sequence[str], separator: str) -> None:
    if not any(header):
        raise InvalidFile(f"{path}: the file is empty, or its first line is")
    if "\ufffd" in "".join(header):
        raise InvalidFile(f"{path}: the first row is not UTF-8 (Latin-1?): save the file as UTF-8")
    if len(header) < 2:
        raise InvalidFile(f"{path}: at least two columns are needed, a time and a signal, separated by , or ;")
    if any(_number(name, separator) is not None for name in header[1:]):
        raise InvalidFile(f"{path}: the first row has to name the columns")
    if len(set(header)) != len(header):
        raise InvalidFile(f"{path}: two columns have the same name")
    try:
        for name in header[1:]:
            signal_name(name)
    except InvalidReading as error:
        raise InvalidFile(f"{path}: {error}") from None


def _is_signal(name: str, index: int, sample: Sequence[Sequence[str]], separator: str, *, unfilled: bool) -> bool:
    """`unfilled` is the answer for a column that is empty in all of the sample."""
    if index == 0 or name.lower() in LABELS:
        return False
    cells = [cells[index].strip() for cells in sample if index < len(cells)]
    filled = [cell for cell in cells if cell]
    numbers = sum(_number(cell, separator) is not None for cell in filled)
    return 2 * numbers > len(filled) if filled else unfilled


def _row(
    number: int, cells: list[str], header: list[str], numeric: list[bool], separator: str, received_at: EpochMs
) -> Row:
    if len(cells) != len(header):
        raise InvalidReading(RejectionReason.MALFORMED_ROW, width_problem(cells, len(header), separator))
    if "\ufffd" in "".join(cells):
        raise InvalidReading(RejectionReason.WRONG_ENCODING, "not UTF-8")
    row = Row(number, parse_timestamp(cells[0], received_at=received_at), {}, {}, ())
    missing = []
    for name, cell, is_signal in zip(header[1:], cells[1:], numeric[1:], strict=True):
        cell = cell.strip()
        if is_signal and cell:
            value = _number(cell, separator)
            if value is None:
                raise InvalidReading(RejectionReason.NOT_A_NUMBER, f"{name}={cell[:40]!r}")
            if math.isnan(value):
                raise InvalidReading(RejectionReason.NOT_FINITE, f"{name}={cell[:40]!r}: {LEAVE_EMPTY}")
            row.signals[name] = finite(name, value)
        elif is_signal:
            missing.append(name)
        elif cell and name.lower() not in LABELS:
            row.attributes[name] = attribute_text(cell)
    return row._replace(missing=tuple(missing))


def width_problem(cells: Sequence[str], width: int, separator: str) -> str:
    """What is wrong with a row that has not as many cells as the header has columns."""
    if len(cells) == 1:
        others = [other for other in SEPARATORS if other != separator and cells[0].count(other) == width - 1]
        if others:
            return f"its cells are separated by {others[0]} and not by {separator} as the header's"
    return f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, but the header has {width}"


def _number(cell: str, separator: str) -> float | None:
    # Python reads 1_0 as 10, which nobody else does: such a cell is a name or a damaged number.
    if "_" in cell:
        return None
    try:
        return float(cell.replace(",", ".") if separator == ";" else cell)
    except ValueError:
        return None
