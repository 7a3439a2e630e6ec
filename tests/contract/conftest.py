"""One patched and one stock emulator, shared by the contract tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.processes import ProcessTable
from tests.region_support import RunningRegion


def _running(root: Path, *, stock: bool) -> Iterator[RunningRegion]:
    table = ProcessTable(root)
    running = RunningRegion(table, root / "state", stock=stock)
    try:
        running.start()
        yield running
    finally:
        table.stop_all()


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    yield from _running(tmp_path_factory.mktemp("patched"), stock=False)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    yield from _running(tmp_path_factory.mktemp("stock"), stock=True)


# The stock emulator must fail every question that a patch answers (strict: one that it answers is mended upstream, and
# the patch can go). Only AssertionError counts: a question that breaks for another reason has not been asked.
@pytest.fixture(
    params=[
        "patched",
        pytest.param("stock", marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason="defect of 1.5.33")),
    ]
)
def emulator(request: pytest.FixtureRequest) -> RunningRegion:
    running: RunningRegion = request.getfixturevalue(request.param)
    return running
