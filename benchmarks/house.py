"""How long the two commands of the README take: in this checkout, and in a fresh clone with cold caches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.rows import Row, at_most, publish

REPOSITORY: Final = Path(__file__).resolve().parent.parent
INSTALLED_S: Final = 4 * 60
FRESH_S: Final = 8 * 60
TEST_S: Final = 15 * 60
NAMES: Final = ("make demo, installed", "make demo, fresh clone, cold caches", "make test")


def measure() -> list[Row]:
    with TemporaryDirectory(prefix="plantwatch-clone-") as folder:
        clone = Path(folder) / "plantwatch"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        cold = {"PIP_NO_CACHE_DIR": "1", "PIP_CACHE_DIR": str(Path(folder) / "cache")}
        fresh = _duration(clone, "demo", cold)
    return [
        at_most(NAMES[0], INSTALLED_S, _duration(REPOSITORY, "demo"), "s"),
        at_most(NAMES[1], FRESH_S, fresh, "s"),
        at_most(NAMES[2], TEST_S, _duration(REPOSITORY, "test"), "s"),
    ]


def unmeasured() -> list[Row]:
    return [at_most(name, goal, None, "s") for name, goal in zip(NAMES, (INSTALLED_S, FRESH_S, TEST_S), strict=True)]


def _duration(folder: Path, target: str, environment: dict[str, str] | None = None) -> float | None:
    """Seconds that `make TARGET` takes; None where it fails, which is said."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", target],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(f"make {target} in {folder} failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}\n")
        return None
    return time.monotonic() - started


if __name__ == "__main__":
    publish("house", measure())
