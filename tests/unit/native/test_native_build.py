"""How the core is built and found: only a library of these very sources is used, and none is ever needed."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plantwatch import native
from plantwatch.detectors.novelty import Novelty, NoveltyParameters
from plantwatch.machine import Machines
from plantwatch.native import build, library
from plantwatch.native.library import Unusable
from plantwatch.telemetry import Reading

HERE = os.uname().machine
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    native.use(True)
    look_again()


def look_again() -> None:
    """Forget whether the library could be used."""
    for known in (native._library, native._novelty_core, native._series_core):
        known.cache_clear()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    target = library.path_of(HERE, tmp_path)
    build.build([COMPILER or "cc"], target)
    return target


@needs_compiler
def test_where_there_is_a_compiler_setup_has_built_the_core() -> None:
    assert native.in_use()


@needs_compiler
def test_a_library_of_these_sources_is_loaded(built: Path) -> None:
    assert library.load(built).pw_digest() == library.digest().encode()


def test_without_a_library_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="not built for this machine"):
        library.load(library.path_of(HERE, tmp_path))


@needs_compiler
def test_a_library_of_other_sources_is_refused_by_its_name(built: Path) -> None:
    stale = built.rename(built.with_name(f"core-{HERE}-0123456789abcdef.so"))
    with pytest.raises(Unusable, match="built from other sources"):
        library.load(built)
    assert stale.exists()


@needs_compiler
def test_a_library_of_other_sources_under_our_name_is_refused(built: Path) -> None:
    built.write_bytes(built.read_bytes().replace(library.digest().encode(), b"0123456789abcdef"))
    with pytest.raises(Unusable, match="than its name says"):
        library.load(built)


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    target = library.path_of(HERE, tmp_path)
    target.write_text("no library")
    with pytest.raises(Unusable, match="cannot be loaded"):
        library.load(target)


@needs_compiler
def test_another_libm_than_python_s_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    almost = (lambda x: math.log(x) * (1.0 + 2e-16), *library._ELEMENTARY[1:])
    monkeypatch.setattr(library, "_ELEMENTARY", almost)
    with pytest.raises(Unusable, match="differ from Python's"):
        library.load(built)


@needs_compiler
def test_a_build_removes_what_older_sources_left(built: Path) -> None:
    stale = built.with_name(f"core-{HERE}-0123456789abcdef.so")
    stale.write_bytes(b"old")
    build.build([COMPILER or "cc"], built)
    assert [path.name for path in built.parent.iterdir()] == [built.name]


@needs_compiler
def test_the_sources_give_a_compiler_nothing_to_warn_of(tmp_path: Path) -> None:
    command = build.command([COMPILER or "cc", "-Wall", "-Wextra", "-Werror"], tmp_path / "core.so")
    done = subprocess.run(command, cwd=library.SOURCES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_compiler
def test_a_library_is_checked_without_running_it(built: Path) -> None:
    data = built.read_bytes()
    other = next(machine for machine in build.MACHINES if machine != HERE)
    with pytest.raises(ValueError, match=f"not for {other}"):
        build.check_artefact(data, other)
    with pytest.raises(ValueError, match="pw_novelty_step"):
        build.check_artefact(data.replace(b"\0pw_novelty_step\0", b"\0pw_novelty_stop\0"), HERE)
    with pytest.raises(ValueError, match=r"glibc \(2, 99\)"):
        build.check_artefact(data + b"\0GLIBC_2.99\0", HERE)
    with pytest.raises(ValueError, match="no 64-bit"):
        build.check_artefact(b"#!/bin/sh", HERE)


@pytest.mark.parametrize("machine", [machine for machine in build.MACHINES if machine != HERE])
def test_what_was_built_for_another_machine_is_sound(machine: str) -> None:
    path = library.path_of(machine)
    if not path.is_file():
        pytest.skip(f"not built for {machine}: make native")
    build.check_artefact(path.read_bytes(), machine)


def test_without_a_compiler_the_build_says_what_that_means(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "path_of", lambda machine: tmp_path / f"core-{machine}-x.so")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "the pure Python version gives the same scores" in build.build_here()


def test_a_compiler_that_fails_is_told_of_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "path_of", lambda machine: tmp_path / f"core-{machine}-x.so")
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    assert "not built" in build.build_here()
    assert list(tmp_path.iterdir()) == []


def test_without_the_core_machines_watch_all_the_same_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise Unusable("it is not built for this machine")

    monkeypatch.setattr(library, "load", missing)
    look_again()
    with caplog.at_level(logging.WARNING, logger="plantwatch.native"):
        machines = Machines()
        for at in range(100):
            machines.watch(Reading("acme", f"pump-{at % 3}", at, at, {"t": 1.0 + at % 7}))
    lines = [record.getMessage() for record in caplog.records if record.name == "plantwatch.native"]
    assert lines == ["the pure Python detectors are used, not the native core: it is not built for this machine"]


def test_the_pure_version_can_be_asked_for() -> None:
    native.use(False)
    assert not native.in_use()
    assert isinstance(native.novelty(NoveltyParameters()), Novelty)
    assert native.panel() is None


def test_a_live_runtime_loads_no_detector_of_series() -> None:
    script = (
        "import sys, edge_component.main, kcl_consumer.bootstrap; print([m for m in sys.modules if 'twofold' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
