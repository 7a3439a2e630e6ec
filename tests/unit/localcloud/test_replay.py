"""What can be replayed: a column whose name a message keeps for itself is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.replay import expect_sendable
from plantwatch.csvfile import InvalidFile


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
