"""Builds the native core.

    python -m plantwatch.native.build                   for this machine, with its C compiler; does nothing where built
    python -m plantwatch.native.build --for-artefacts   for x86_64 and aarch64 with the pinned ziglang, reproducibly

The first never fails: without a compiler, or where it fails, the pure Python version does the same work slowly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plantwatch.native import library

MACHINES: Final = ("x86_64", "aarch64")
# The oldest glibc of a Linux that still gets repairs (RHEL 7's successors have newer ones) and of Greengrass's hosts.
_GLIBC: Final = "2.17"
_COMPILERS: Final = ("cc", "gcc", "clang")


def command(compiler: Sequence[str], target: Path) -> list[str]:
    """Sources are named relative to their folder, so that no path of this machine gets into the library."""
    sources = sorted(source.name for source in library.SOURCES.glob("*.c"))
    flags = (library.SOURCES / "flags").read_text().split()
    return [*compiler, *flags, f'-DPW_DIGEST="{library.digest()}"', "-o", str(target.resolve()), *sources, "-lm"]


def build(compiler: Sequence[str], target: Path) -> None:
    """The library appears complete or not at all; others of its machine, built from other sources, disappear.

    Raises subprocess.CalledProcessError, with what the compiler said, or OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        subprocess.run(command(compiler, unfinished), cwd=library.SOURCES, check=True, capture_output=True, text=True)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    for stale in target.parent.glob(f"{target.name.rpartition('-')[0]}-*.so"):
        if stale != target:
            stale.unlink()


def build_here() -> str:
    """For this machine, unless it is there already; says what came of it."""
    target = library.path_of(os.uname().machine)
    if target.is_file():
        return f"native core: {target.name} is up to date"
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return "native core: no C compiler here; the pure Python version gives the same scores, slower"
    try:
        build([compiler], target)
        library.load(target)
    except (OSError, subprocess.CalledProcessError, library.Unusable) as error:
        reason = getattr(error, "stderr", None) or str(error)
        return f"native core: not built; the pure Python version gives the same scores, slower ({reason.strip()})"
    return f"native core: built {target.name}"


def build_for_artefacts(folder: Path = library.BUILT) -> list[Path]:
    """For every kind of processor that a gateway or a worker may have."""
    built = []
    for machine in MACHINES:
        target = library.path_of(machine, folder)
        build([sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{_GLIBC}"], target)
        built.append(target)
    return built


if __name__ == "__main__":
    if "--for-artefacts" in sys.argv[1:]:
        for path in build_for_artefacts():
            print(path)
    else:
        print(build_here())
