"""What can be replayed: a column whose name a message keeps for itself is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.processes import ProcessDied
from localcloud.replay import columns_text, expect_sendable, patiently
from plantwatch.csvfile import InvalidFile
from plantwatch.ports import DeliveryFailed


def file_with(tmp_path: Path, *columns: str, cell: str = "1") -> Path:
    file = tmp_path / "series.csv"
    file.write_text(f"time,{','.join(columns)}\n1600000000,{','.join(cell for _ in columns)}\n")
    return file


@pytest.mark.parametrize("name", ["ts", "source", "seq", "row"])
def test_a_reserved_column_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidFile, match=f"named '{name}'"):
        expect_sendable(file_with(tmp_path, "pressure", name))


def test_more_words_than_a_reading_may_carry_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "series.csv"
    words = ",".join(f"w{index}" for index in range(64))
    file.write_text(f"time,pressure,{words}\n1600000000,1,{','.join(['word'] * 64)}\n")
    with pytest.raises(InvalidFile, match="64 columns hold words"):
        expect_sendable(file)


def test_any_other_file_can_be_sent(tmp_path: Path) -> None:
    expect_sendable(file_with(tmp_path, "pressure", "Row", "sequence"))


@pytest.mark.parametrize(
    ("rows", "said"), [("", "no rows below the header"), ("yesterday,5\n", r"no row is a reading; row 2: invalid_time")]
)
def test_a_file_without_a_reading_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    file = tmp_path / "series.csv"
    file.write_text(f"time,pressure\n{rows}")
    with pytest.raises(InvalidFile, match=said):
        expect_sendable(file)


def test_what_the_columns_were_taken_for_is_said(tmp_path: Path) -> None:
    file = tmp_path / "series.csv"
    file.write_text("time,pressure,shift,anomaly\n1600000000,1,night,0\n")
    assert columns_text(file) == "signals: pressure; attributes: shift"
    assert columns_text(file_with(tmp_path, "flow")) == "signals: flow"


def full(_timeout_s: float) -> None:
    raise DeliveryFailed("the queue is full")


def test_a_dead_process_is_named_instead_of_a_full_queue() -> None:
    def check_alive() -> None:
        raise ProcessDied("gateway has ended")

    with pytest.raises(ProcessDied, match="gateway"):
        patiently(check_alive, full)


def test_whoever_lives_and_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcloud.replay._SEND_S_MAX", 0.0)
    with pytest.raises(DeliveryFailed, match="full"):
        patiently(lambda: None, full)
