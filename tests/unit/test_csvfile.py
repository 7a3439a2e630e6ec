"""Any CSV file is a series; a bad row has a number and a reason, and the rest is unharmed."""

from pathlib import Path

import pytest

from plantwatch.csvfile import BadRow, InvalidFile, Row, read_rows, signals_of
from plantwatch.telemetry import RejectionReason

NOW = 1_795_413_600_000


def rows_of(tmp_path: Path, text: str | bytes) -> list[Row | BadRow]:
    path = tmp_path / "series.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_rows(path, received_at=NOW))


def test_the_first_column_is_the_time_whatever_its_name(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path, "when,value\n2014-07-01 00:00:00,10844\n")
    assert row == Row(2, 1_404_172_800_000, {"value": 10844.0}, {}, ())


def test_labels_are_no_sensors_and_words_are_attributes(tmp_path: Path) -> None:
    text = "datetime;P;T;shift;anomaly;changepoint;Label\n2020-03-09 10:14:33;0,5;7.25;night;1.0;0.0;x\n"
    [row] = rows_of(tmp_path, text)
    assert isinstance(row, Row)
    assert row.signals == {"P": 0.5, "T": 7.25}
    assert row.attributes == {"shift": "night"}
    assert signals_of(tmp_path / "series.csv") == ("P", "T")


def test_an_empty_cell_is_a_missing_value(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "t,a,b\n1600000000,1,\n1600000001,2,3\n")
    assert isinstance(rows[0], Row)
    assert rows[0].signals == {"a": 1.0}
    assert rows[0].missing == ("b",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1600000001,x", RejectionReason.NOT_A_NUMBER),
        ("1600000001,1_0", RejectionReason.NOT_A_NUMBER),
        ("1600000001,nan", RejectionReason.NOT_FINITE),
        ("1600000001,-inf", RejectionReason.NOT_FINITE),
        ("1600000001,1e999", RejectionReason.NOT_FINITE),
        ("1600000001,1,2", RejectionReason.MALFORMED_ROW),
        ("1600000001", RejectionReason.MALFORMED_ROW),
        ("noon,1", RejectionReason.INVALID_TIMESTAMP),
        (",1", RejectionReason.INVALID_TIMESTAMP),
        ("5,1", RejectionReason.TIMESTAMP_OUT_OF_RANGE),
    ],
)
def test_a_bad_row_has_its_number_and_reason_and_the_rest_is_read(
    tmp_path: Path, line: str, reason: RejectionReason
) -> None:
    rows = rows_of(tmp_path, f"t,v\n1600000000,1\n{line}\n\n1600000002,3\n")
    assert [row.number for row in rows] == [2, 3, 5]
    assert isinstance(rows[1], BadRow)
    assert rows[1].reason is reason


def test_bytes_that_are_no_utf_8_cost_one_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, b"t,v,note\n1600000000,1,a\n1600000001,2,\xff\n1600000002,3,b\n")
    assert [type(row) for row in rows] == [Row, BadRow, Row]


@pytest.mark.parametrize(
    "text", ["", "t\n1600000000\n", "1600000000,1\n1600000001,2\n", "t,v,v\n1,2,3\n", "t,note\n1600000000,abc\n"]
)
def test_what_is_no_series_is_refused_before_the_first_row(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidFile):
        rows_of(tmp_path, text)


def test_an_attribute_that_no_region_would_take_is_a_bad_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, f"t,v,note\n1600000000,1,{'x' * 2000}\n1600000001,2,short\n")
    assert isinstance(rows[0], BadRow)
    assert rows[0].reason is RejectionReason.TOO_LARGE
    assert isinstance(rows[1], Row)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"absent\.csv: No such file"):
        list(read_rows(tmp_path / "absent.csv", received_at=NOW))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        ("zeit,Temperatur \u00b0C\n1600000000,1\n".encode("latin-1"), "save the file as UTF-8"),
        (b"t\n1600000000\n", "at least two columns"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_as_one_would_mend_it(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidFile, match=said):
        rows_of(tmp_path, content)


def test_a_word_in_a_column_of_numbers_is_a_bad_row_and_quoted(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "t,v\n1600000000,1\n1600000001,n/a\n1600000002,2\n")
    assert rows[1] == BadRow(3, RejectionReason.NOT_A_NUMBER, "v='n/a'")


def test_a_column_that_is_filled_late_is_no_sensor_unless_it_is_the_only_one(tmp_path: Path) -> None:
    early = "".join(f"{1_600_000_000 + at},{at},\n" for at in range(200))
    rows = rows_of(tmp_path, f"t,v,remarks\n{early}1600000200,1,oil changed\n")
    assert isinstance(rows[-1], Row)
    assert (rows[-1].signals, rows[-1].attributes) == ({"v": 1.0}, {"remarks": "oil changed"})
    assert isinstance(rows[0], Row)
    assert rows[0].missing == ()
    early = "".join(f"{1_600_000_000 + at},\n" for at in range(200))
    rows = rows_of(tmp_path, f"t,v\n{early}1600000200,1\n")
    assert isinstance(rows[-1], Row)
    assert rows[-1].signals == {"v": 1.0}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("1600000001;1;2", "its cells are separated by ; and not by , as the header's"),
        ("1600000001", "1 cell, but the header has 3"),
        ("1600000001,1", "2 cells, but the header has 3"),
        ("1600000001,NaN,2", "v='NaN': leave the cell empty if the value is missing"),
    ],
)
def test_a_bad_row_says_how_to_mend_it(tmp_path: Path, line: str, detail: str) -> None:
    [_, bad] = rows_of(tmp_path, f"t,v,w\n1600000000,1,2\n{line}\n")
    assert isinstance(bad, BadRow)
    assert bad.detail == detail
