"""Ctrl-C during `plantwatch up`: one line, a short end, and nothing is left running, however often it is pressed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localcloud import procfs
from localcloud.processes import MARK
from localcloud.region import REPOSITORY

pytestmark = [pytest.mark.component, pytest.mark.timeout(90)]

# Three seconds are the goal on a free machine; this one may be busy.
WITHIN_S = 15.0
# The command itself, on ports of its own.
_UP = """
import sys
from pathlib import Path
from localcloud import commands
from localcloud.cloud import Layout
from plantwatch.cli.main import main
commands.Layout = Layout.on_free_ports
main()
"""


def left_running(root: Path) -> list[list[str]]:
    beginning = f"{MARK}={root.resolve()}:"
    return [
        procfs.argv(process.pid)
        for process in procfs.every()
        if procfs.has_variable(process.pid, beginning, whole=False)
    ]


@pytest.mark.parametrize("said", ["starting two regions", "provisioning"])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_up_leaves_nothing_behind(tmp_path: Path, said: str, times: int) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", _UP, "up", "--root", str(tmp_path)], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert command.stderr is not None
    try:
        lines: list[str] = []
        while not lines or said not in lines[-1]:
            lines.append(command.stderr.readline())
            assert lines[-1], "".join(lines)
        started = time.monotonic()
        for _ in range(times):
            command.send_signal(signal.SIGINT)
        rest = command.stderr.read()
        assert command.wait(WITHIN_S) == 130
        assert time.monotonic() - started < WITHIN_S
    finally:
        command.kill()
        command.wait()
    assert rest.splitlines() == ["", "interrupted: stopping what was started"]
    assert left_running(tmp_path) == []
