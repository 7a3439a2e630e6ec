"""The example of docs/models.md, command by command as it is written there, on the data that ships with the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.region import REPOSITORY

README, PAGE = REPOSITORY / "README.md", REPOSITORY / "docs" / "models.md"


def commands(page: Path) -> list[str]:
    """The lines of its code blocks that call `plantwatch`, without the folder that it is installed in."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in (line.removeprefix(".venv/bin/") for line in lines) if line.startswith("plantwatch ")]


def run(command: str, folder: Path) -> str:
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "plantwatch.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which every command of the page has run, in order, and what they said."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    return folder, [run(command, folder) for command in commands(PAGE)]


def test_every_command_of_the_page_runs(workshop: tuple[Path, list[str]]) -> None:
    folder, said = workshop
    assert len(said) == 10
    assert {path.name for path in (folder / "build" / "models").iterdir()} == {
        "pump.bundle", "pump-2.bundle", "pump-3.json", "labels.jsonl", "shadow.json", "registry",
    }  # fmt: skip


def test_the_first_bundle_finds_the_bearing_and_takes_the_hot_afternoon_for_a_fault(
    workshop: tuple[Path, list[str]],
) -> None:
    report = json.loads((workshop[0] / "build/models/pump-3.json").read_text())
    assert [(one["judged"], one["signals"][0]) for one in report["incidents"]] == [
        ("false", "temperature"),
        ("true", "vibration"),
    ]


def test_after_the_label_only_the_bearing_is_left(workshop: tuple[Path, list[str]]) -> None:
    report = json.loads((workshop[0] / "build/models/shadow.json").read_text())
    assert [one["judged"] for one in report["incidents"]] == ["true"]
    change = report["against"]
    assert (len(change["both"]), len(change["only_old"]), len(change["only_new"])) == (1, 1, 0)
    assert report["scores"]["event"] == {"recall": 1.0, "precision": 1.0, "f1": 1.0}


def test_the_new_version_is_in_production_and_its_history_says_why(workshop: tuple[Path, list[str]]) -> None:
    listed = workshop[1][-1]
    assert "production" in listed
    assert "no alert on hot afternoons" in listed


def test_the_readme_shows_no_command_that_the_page_does_not_run() -> None:
    """But for those of the laptop edition and of scoring, which other tests run."""
    shown = [line for line in commands(README) if line.split()[1] in {"train", "backtest", "labels", "models"}]
    assert set(shown) <= set(commands(PAGE))


def test_the_examples_recordings_are_what_their_script_makes(tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_bytes((REPOSITORY / "examples" / "make.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)
    for file in sorted((REPOSITORY / "examples").glob("*.csv")):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()
