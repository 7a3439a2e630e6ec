"""Files that appear complete or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from plantwatch.bundle.container import load, save
from plantwatch.bundle.model import Bundle
from plantwatch.files import written_whole

_WRITER = """
import sys, time
from pathlib import Path
from plantwatch.files import written_whole
with written_whole(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""
# As the command `plantwatch` begins.
_COMMAND = "from plantwatch.cli.main import main; main()"


def _begun(target: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def _fail_after_half(unfinished: Path) -> None:
    unfinished.write_text("half")
    raise LookupError


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.csv") as unfinished:
        unfinished.write_text("all")
        assert not (tmp_path / "a.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "all"


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(LookupError), written_whole(tmp_path / "a.csv") as unfinished:
        _fail_after_half(unfinished)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "before"


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    target = tmp_path / "pump[1].bundle"
    process = _begun(target)
    _end(process)
    left = f".{target.name}.{process.pid}.part"
    assert [path.name for path in tmp_path.iterdir()] == [left]
    (tmp_path / ".other.bundle.1.part").write_text("of another target")
    save(Bundle("pump"), target)
    assert {path.name for path in tmp_path.iterdir()} == {target.name, ".other.bundle.1.part"}
    assert load(target).name == "pump"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    process = _begun(target)
    try:
        with written_whole(target) as unfinished:
            unfinished.write_text("ours")
        assert {path.name for path in tmp_path.iterdir()} == {"a.csv", f".a.csv.{process.pid}.part"}
    finally:
        _end(process)


def test_a_command_that_is_ended_takes_its_unfinished_files_away(tmp_path: Path) -> None:
    source, out = tmp_path / "big.csv", tmp_path / "out"
    source.write_text("time,flow\n" + "".join(f"{at},{at * 7 % 13}\n" for at in range(1_500_000)))
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "score", str(source), "--out-dir", str(out)], stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and not list(out.glob(".*.part")):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
        assert process.poll() is None, "it was over before it could be ended"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["big.csv"]
