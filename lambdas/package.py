"""One zip for a function: our sources, and the locked wheels of its platform; the same bytes whenever it is made.

    python -m lambdas.package warm_scoring --machine x86_64 --out build/lambdas

boto3 is not in it: Lambda's runtime brings one, and 14 MB of it would be most of the zip.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
LOCK: Final = REPOSITORY / "locks" / "lambdas.lock"
MACHINES: Final = ("x86_64", "aarch64")
# What a console upload may weigh is 50 MB; a cold start fetches every one of them.
ZIP_BYTES_MAX: Final = 15_000_000
# The earliest time that a zip can tell.
_MADE_AT: Final = (1980, 1, 1, 0, 0, 0)
_OF_THE_RUNTIME: Final = frozenset({"boto3", "botocore", "s3transfer", "python_dateutil", "dateutil", "six", "urllib3"})
_WITHOUT: Final = frozenset({"__pycache__", "cli"})
_KINDS: Final = frozenset({".py", ".so", ".json", ".typed"})


def package(function: str, machine: str, out: Path) -> Path:
    """Writes `out`/FUNCTION-MACHINE.zip. ValueError for a function that is none, or too large a zip."""
    if not (REPOSITORY / "lambdas" / function / "handler.py").is_file():
        raise ValueError(f"there is no function {function!r}")
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{function}-{machine}.zip"
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        _install(wheels, machine)
        files = sorted({**dict(_wheel_files(wheels)), **dict(_own_files(function, machine))}.items())
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name, path in files:
                entry = zipfile.ZipInfo(name, _MADE_AT)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                packed.writestr(entry, path.read_bytes())
    if (size := target.stat().st_size) > ZIP_BYTES_MAX:
        raise ValueError(f"{target} has {size} bytes, over {ZIP_BYTES_MAX}")
    return target


def _install(folder: Path, machine: str) -> None:
    """Wheels only, each by its hash: nothing is compiled, and nothing comes that the lock does not name."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--no-compile", "--target", str(folder)]
    command += ["--implementation", "cp", "--python-version", "3.11", "--platform", f"manylinux2014_{machine}"]
    subprocess.run([*command, "-r", str(LOCK)], check=True)


def _wheel_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        top = parts[0].partition("-")[0].removesuffix(".py")
        wanted = top not in _OF_THE_RUNTIME and not parts[0].endswith(".dist-info") and parts[0] != "bin"
        if path.is_file() and wanted and "__pycache__" not in parts:
            yield "/".join(parts), path


def _own_files(function: str, machine: str) -> Iterator[tuple[str, Path]]:
    """The core with its library for this machine, and this function alone."""
    yield "lambdas/__init__.py", REPOSITORY / "lambdas" / "__init__.py"
    for top in (REPOSITORY / "plantwatch", REPOSITORY / "lambdas" / function):
        for path in top.rglob("*"):
            parts = path.relative_to(REPOSITORY).parts
            foreign = path.suffix == ".so" and not path.name.startswith(f"core-{machine}-")
            source = path.suffix in _KINDS or "core" in parts  # the library is checked against its sources
            if path.is_file() and source and not foreign and not _WITHOUT & set(parts):
                yield "/".join(parts), path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lambdas.package", description="Pack a function.")
    parser.add_argument("function")
    parser.add_argument("--machine", choices=MACHINES, default="x86_64")
    parser.add_argument("--out", type=Path, default=Path("build/lambdas"))
    options = parser.parse_args(arguments)
    try:
        target = package(options.function, options.machine, options.out)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"not packed: {error}\n")
        return 1
    sys.stdout.write(f"{target}: {target.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
