"""`plantwatch score`: what it writes, what it refuses, and that it never looks ahead."""

from __future__ import annotations

import csv
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from plantwatch.cli.main import application
from plantwatch.detectors.patient import PatientNovelty
from plantwatch.score import score_file

RUNNER = CliRunner()


def run(*arguments: object) -> Result:
    # A wide terminal, so that no message is broken into lines.
    return RUNNER.invoke(application(), ["score", *map(str, arguments)], env={"COLUMNS": "400"})


def output(path: Path) -> list[list[str]]:
    with path.open(newline="") as lines:
        return list(csv.reader(lines))


def one_signal(rows: int, seed: int = 1) -> list[str]:
    """A noisy cycle with a fault in its last fifth."""
    chance = random.Random(seed)
    return [
        f"2024-01-{1 + turn // 1440:02d} {turn // 60 % 24:02d}:{turn % 60:02d}:00,"
        f"{turn % 24 + chance.gauss(0, 0.5) + (60 if turn > 0.8 * rows else 0):.3f}"
        for turn in range(rows)
    ]


def several_signals(rows: int, separator: str = ",", comma: str = ".") -> list[str]:
    chance = random.Random(2)
    return [
        separator.join(
            (
                str(1_700_000_000 + turn),
                *(f"{chance.gauss(9, 1) + (9 if turn > 0.8 * rows else 0):.4f}".replace(".", comma) for _ in range(3)),
                str(int(turn > 0.8 * rows)),
            )
        )
        for turn in range(rows)
    ]


def written(path: Path, header: str, rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_one_signal_needs_no_option(tmp_path: Path, out: Path) -> None:
    rows = one_signal(3000)
    file = written(tmp_path / "a.csv", "timestamp,value", rows)
    result = run(file, "--out-dir", out)
    assert result.exit_code == 0, result.output
    header, *verdicts = output(out / "a.csv")
    assert header == ["timestamp", "score", "anomaly"]
    assert [row[0] for row in verdicts] == [row.split(",")[0] for row in rows]
    assert all(0.0 <= float(row[1]) <= 1.0 for row in verdicts)
    anomalies = [int(row[2]) for row in verdicts]
    assert set(anomalies) == {0, 1}
    # Young, a detector of novelty takes many a reading for new; grown up it should not.
    assert sum(anomalies[1500:2400]) <= 2
    assert any(anomalies[2400:2410])


def test_several_signals_need_no_option(tmp_path: Path, out: Path) -> None:
    file = written(tmp_path / "a.csv", "when,x,y,z,label", several_signals(1000))
    assert run(file, "--out-dir", out).exit_code == 0
    anomalies = [row[2] for row in output(out / "a.csv")[1:]]
    assert set(anomalies[:800]) == {"0"}
    assert set(anomalies[840:]) == {"1"}


def test_labels_and_words_are_no_signals(tmp_path: Path, out: Path) -> None:
    bare = one_signal(1500)
    labelled = [f"{row},{turn % 2},{turn % 3},{turn % 5},on" for turn, row in enumerate(bare)]
    first = written(tmp_path / "1" / "a.csv", "time,value", bare)
    second = written(tmp_path / "2" / "a.csv", "time,value,anomaly,changepoint,Label,state", labelled)
    assert run(first, "--out-dir", out / "1").exit_code == 0
    assert run(second, "--out-dir", out / "2").exit_code == 0
    assert (out / "1" / "a.csv").read_text() == (out / "2" / "a.csv").read_text()


def test_semicolons_and_decimal_commas_are_read_alike(tmp_path: Path, out: Path) -> None:
    header = ("when", "x", "y", "z", "label")
    first = written(tmp_path / "1" / "a.csv", ",".join(header), several_signals(600))
    second = written(tmp_path / "2" / "a.csv", ";".join(header), several_signals(600, ";", ","))
    assert run(first, second, "--out-dir", out).exit_code == 0
    assert (out / "1" / "a.csv").read_text() == (out / "2" / "a.csv").read_text()


@pytest.mark.parametrize("kept", [1, 150, 151, 400, 640, 641, 799])
@pytest.mark.parametrize("signals", ["one", "several"])
def test_the_first_rows_rest_on_the_first_rows_only(tmp_path: Path, out: Path, kept: int, signals: str) -> None:
    header, rows = ("t,v", one_signal(800)) if signals == "one" else ("t,x,y,z,label", several_signals(800))
    whole = written(tmp_path / "whole.csv", header, rows)
    start = written(tmp_path / "start.csv", header, rows[:kept])
    assert run(whole, start, "--out-dir", out).exit_code == 0
    assert output(out / "start.csv") == output(out / "whole.csv")[: kept + 1]


def test_an_empty_cell_is_a_missing_value(tmp_path: Path, out: Path) -> None:
    rows = one_signal(500)
    rows[300] = rows[300].split(",")[0] + ","
    file = written(tmp_path / "a.csv", "t,v", rows)
    assert run(file, "--out-dir", out).exit_code == 0
    assert len(output(out / "a.csv")) == 501


def test_an_underscore_among_words_is_none_among_numbers(tmp_path: Path, out: Path) -> None:
    rows = one_signal(300)
    plain = written(tmp_path / "a.csv", "t,v,note", [f"{row},all well" for row in rows])
    named = written(tmp_path / "b.csv", "t,v,note", [f"{row},all_well" for row in rows])
    assert run(plain, named, "--out-dir", out).exit_code == 0
    assert output(out / "a.csv") == output(out / "b.csv")


def test_a_column_for_remarks_that_is_filled_late_harms_nothing(tmp_path: Path, out: Path) -> None:
    rows = [f"{row}," for row in one_signal(300)]
    rows[250] += "oil changed"
    file = written(tmp_path / "a.csv", "t,v,remarks", rows)
    result = run(file, "--out-dir", out)
    assert result.exit_code == 0, result.output
    assert len(output(out / "a.csv")) == 301


def test_a_repeated_time_is_scored_in_the_order_of_the_file_and_said(tmp_path: Path, out: Path) -> None:
    """Clocks that are set back for the winter write such files; NAB has four of them among 31."""
    rows = one_signal(50)
    file = written(tmp_path / "a.csv", "t,v", [*rows[:20], rows[19], *rows[20:]])
    result = run(file, "--out-dir", out)
    assert result.exit_code == 0
    assert "line 22: 1 time is repeated" in result.output
    assert len(output(out / "a.csv")) == 52


BROKEN = {
    "empty": ("", "the file is empty"),
    "only a header": ("t,v\n", "no rows below the header"),
    "no numeric column": ("t,state\n2024-01-01,on\n2024-01-02,off\n", "no numeric column"),
    "a word among numbers": ("t,v\n2024-01-01,1\n2024-01-02,2\n2024-01-03,broken\n", "line 4: v is 'broken'"),
    "not finite": ("t,v\n2024-01-01,1\n2024-01-02,inf\n", "line 3: v is 'inf', not finite"),
    "a cell too many": ("t,v\n2024-01-01,1\n2024-01-02,2,3\n", "line 3: 3 cells, but the header has 2"),
    "another separator": ("t,v\n2024-01-01,1\n2024-01-02;2\n", "line 3: its cells are separated by ; and not by ,"),
    "a cell too few": ("t,v\n2024-01-01,1\n2024-01-02\n", "line 3: 1 cell, but the header has 2"),
    "what only Python reads as a number": ("t,v\n1,1\n2,1_0\n3,1\n", "line 3: v is '1_0', no number"),
    "what only Python reads as a time": ("t,v\n1,1\n1_0,2\n", "line 3: '1_0' is no time"),
    "NaN": ("t,v\n2024-01-01,1\n2024-01-02,NaN\n", "line 3: v is 'NaN', not finite: leave the cell empty if the value"),
    "no time": ("t,v\n2024-01-01,1\nyesterday,2\n", "line 3: 'yesterday' is no time"),
    "a time that would break the output": (
        't,v\n"2024-01-01,10:00:00",1\n',
        "line 2: '2024-01-01,10:00:00' is no time",
    ),
    "times of two kinds": (
        "t,v\n2024-01-01,1\n1704153600,2\n",
        "line 3: the time 1704153600 is written in another way",
    ),
    "time runs backwards": ("t,v\n2024-01-02,1\n2024-01-01,2\n", "line 3: the time 2024-01-01 is before"),
}


@pytest.mark.parametrize(("content", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_bad_input_is_one_line_with_what_and_where(tmp_path: Path, out: Path, content: str, complaint: str) -> None:
    good = written(tmp_path / "good.csv", "t,v", one_signal(50))
    bad = tmp_path / "bad.csv"
    bad.write_text(content)
    result = run(bad, good, "--out-dir", out)
    assert result.exit_code == 2
    about_bad = [line for line in result.output.splitlines() if str(bad) in line]
    assert len(about_bad) == 1
    assert complaint in about_bad[0]
    assert [path.name for path in out.iterdir()] == ["good.csv"]


def test_where_nothing_can_be_scored_no_folder_is_made(tmp_path: Path, out: Path) -> None:
    assert run(tmp_path / "none.csv", "--out-dir", out / "of" / "today").exit_code == 2
    assert not out.exists()


def test_a_configuration_or_folder_that_cannot_be_is_named(tmp_path: Path, out: Path) -> None:
    good = written(tmp_path / "good.csv", "t,v", one_signal(50))
    result = run(good, "--out-dir", out, "--config", tmp_path / "nope.json")
    assert (result.exit_code, result.output) == (
        2,
        f"cannot score: {tmp_path / 'nope.json'}: No such file or directory\n",
    )
    result = run(good, "--out-dir", good)
    assert (result.exit_code, result.output) == (2, f"cannot score: {good}: File exists\n")


def test_a_missing_file_and_a_folder_are_bad_input(tmp_path: Path, out: Path) -> None:
    result = run(tmp_path / "none.csv", "--out-dir", out)
    assert (result.exit_code, "none.csv: No such file" in result.output) == (2, True)
    result = run(tmp_path, "--out-dir", out)
    assert (result.exit_code, "Is a directory" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("rows", "train_rows", "complaint"),
    [
        (100, 150, "100 rows, but 150 training rows are asked for"),
        (100, 10, "10 training rows are too few"),
    ],
)
def test_training_rows_that_teach_nothing_are_refused(
    tmp_path: Path, out: Path, rows: int, train_rows: int, complaint: str
) -> None:
    file = written(tmp_path / "a.csv", "t,x,y,z,label", several_signals(rows))
    result = run(file, "--out-dir", out, "--train-rows", train_rows)
    assert result.exit_code == 2
    assert complaint in result.output
    assert not out.exists()


def test_constant_training_rows_are_refused(tmp_path: Path, out: Path) -> None:
    file = written(tmp_path / "a.csv", "t,v", [f"{turn},5.0" for turn in range(200)])
    result = run(file, "--out-dir", out, "--train-rows", 100)
    assert result.exit_code == 2
    assert "the 100 training rows are constant" in result.output
    assert run(file, "--out-dir", out).exit_code == 0


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "t,v", one_signal(50))
    before = file.read_text()
    result = run(file, "--out-dir", tmp_path)
    assert result.exit_code == 2
    assert "would overwrite the input" in result.output
    assert file.read_text() == before


def test_an_earlier_result_survives_an_input_that_is_broken_now(tmp_path: Path, out: Path) -> None:
    file = written(tmp_path / "a.csv", "t,v", one_signal(50))
    assert run(file, "--out-dir", out).exit_code == 0
    before = (out / "a.csv").read_text()
    written(file, "t,v", [*one_signal(50), "2030-01-01,broken"])
    assert run(file, "--out-dir", out).exit_code == 2
    assert (out / "a.csv").read_text() == before


def test_a_configuration_file_names_detector_and_training_rows(tmp_path: Path, out: Path) -> None:
    file = written(tmp_path / "a.csv", "t,x,y,z,label", several_signals(300))
    config = tmp_path / "config.json"
    config.write_text('{"detector": "joint", "train_rows": 200}')
    assert run(file, "--out-dir", out / "config", "--config", config).exit_code == 0
    assert run(file, "--out-dir", out / "options", "--detector", "joint", "--train-rows", 200).exit_code == 0
    assert (out / "config" / "a.csv").read_text() == (out / "options" / "a.csv").read_text()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"detector": "magic", "train_rows": 0}', "there is no 'magic'"),
        ('{"train_rows": 0}', "0 is not positive"),
        ('{"threshold": 3}', "threshold: no such setting"),
        ("[]", "not a JSON object"),
        ("{", "config.json: "),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, out: Path, content: str, complaint: str) -> None:
    file = written(tmp_path / "a.csv", "t,v", one_signal(50))
    config = tmp_path / "config.json"
    config.write_text(content)
    result = run(file, "--out-dir", out, "--config", config)
    assert result.exit_code == 2
    assert complaint in result.output
    assert not out.exists()


def test_memory_does_not_grow_with_the_file(tmp_path: Path, out: Path) -> None:
    """A hundred thousand rows take no more memory than a detector and a few buffers."""
    file = written(tmp_path / "a.csv", "t,v", [f"{turn},{turn % 97}" for turn in range(100_000)])
    out.mkdir()
    seen: list[int] = []
    tracemalloc.start()
    try:
        score_file(file, out / "a.csv", lambda _: PatientNovelty(), None, seen.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000
    assert seen == sorted(seen)
    assert len(seen) == 10
