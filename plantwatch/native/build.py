"""Builds the native core.

    python -m plantwatch.native.build                   for this machine, with its C compiler; does nothing where built
    python -m plantwatch.native.build --for-artefacts   for x86_64 and aarch64 with the pinned ziglang, reproducibly

The first never fails: without a compiler, or where it fails, the pure Python version does the same work slowly.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plantwatch.files import written_whole
from plantwatch.native import library

# By the name of `uname -m`, the number that an ELF file for it bears at _ELF_MACHINE_AT (System V ABI supplements).
MACHINES: Final = {"x86_64": 62, "aarch64": 183}
_ELF_MACHINE_AT: Final = 18
# Amazon Linux 2 and Greengrass's other hosts have a newer one.
_GLIBC: Final = (2, 17)
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
    with written_whole(target) as unfinished:
        subprocess.run(command(compiler, unfinished), cwd=library.SOURCES, check=True, capture_output=True, text=True)
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
        system = f"{machine}-linux-gnu.{'.'.join(map(str, _GLIBC))}"
        build([sys.executable, "-m", "ziglang", "cc", "-target", system], target)
        check_artefact(target.read_bytes(), machine)
        built.append(target)
    return built


def check_artefact(library_bytes: bytes, machine: str) -> None:
    """What can be told of a library without running it. ValueError says what is wrong with it."""
    if library_bytes[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit little-endian ELF file")
    number = int.from_bytes(library_bytes[_ELF_MACHINE_AT : _ELF_MACHINE_AT + 2], "little")
    if number != MACHINES[machine]:
        raise ValueError(f"built for ELF machine {number}, not for {machine} ({MACHINES[machine]})")
    sources = b"".join(source.read_bytes() for source in library.SOURCES.glob("*.c"))
    exported = set(re.findall(rb"^PW_EXPORT .*?(pw_\w+)\(", sources, re.MULTILINE))
    missing = exported - set(library_bytes.split(b"\0"))
    if missing:
        raise ValueError(f"it lacks {sorted(missing)}")
    versions = {tuple(map(int, found)) for found in re.findall(rb"GLIBC_(\d+)\.(\d+)", library_bytes)}
    if max(versions) > _GLIBC:
        raise ValueError(f"it needs glibc {max(versions)}; the oldest host has {_GLIBC}")


if __name__ == "__main__":
    if "--for-artefacts" in sys.argv[1:]:
        for path in build_for_artefacts():
            print(path)
    else:
        print(build_here())
