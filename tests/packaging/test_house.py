"""The two commands of the README: what they ask for by name, and what the wheel carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def prerequisites(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("make") or "make", "prerequisites", *arguments],
        cwd=REPOSITORY,
        # As a user calls it, also where `make test` called us.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def folder_with(tmp_path: Path, *programs: str) -> str:
    for name in programs:
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    return str(tmp_path)


def test_a_missing_java_runtime_is_asked_for_by_name(tmp_path: Path) -> None:
    done = prerequisites(folder_with(tmp_path, "sh"), f"PYTHON={sys.executable}")
    assert done.returncode != 0
    assert "JRE" in done.stderr
    assert "default-jre-headless" in done.stderr


def test_a_missing_python_is_asked_for_by_name(tmp_path: Path) -> None:
    done = prerequisites(folder_with(tmp_path, "sh"), "PYTHON=python-that-is-not-there")
    assert done.returncode != 0
    assert "Python >= 3.11" in done.stderr


def test_with_both_there_is_nothing_to_say() -> None:
    done = prerequisites(os.environ["PATH"], f"PYTHON={sys.executable}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_wheel_carries_the_package_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(REPOSITORY)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"plantwatch"}
    assert "plantwatch/pipeline.py" in names
    assert any(name.endswith("LICENSE") for name in names)


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))], ids=str)
def test_every_link_between_our_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_locks_name_hashes_and_no_addresses() -> None:
    locks = sorted((REPOSITORY / "locks").glob("*.lock"))
    assert len(locks) >= 6
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, lock.name
        requirements = [line for line in text.splitlines() if "==" in line]
        assert requirements, lock.name
        assert text.count("--hash=sha256:") >= len(requirements), lock.name
