"""Processes that outlive the command that started them, and stop without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud import processes, procfs
from localcloud.processes import AlreadyRunning, PortTaken, ProcessDied, ProcessSpec, ProcessTable, wait_until
from localcloud.region import HOST, REPOSITORY

pytestmark = pytest.mark.component

WITHIN_S = 10.0

# A parent that ignores SIGTERM, a child, and a grandchild in a session of its own whose parent has already ended.
_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep)
subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"])
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    opened = ProcessTable(tmp_path)
    yield opened
    opened.stop_all(grace_s=0.0)


def python(name: str, code: str, **env: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), env)


def sleeper(name: str) -> ProcessSpec:
    return python(name, "import time; time.sleep(600)")


def printed(table: ProcessTable, name: str, text: str) -> None:
    wait_until(lambda: text in table.log_path(name).read_text(), WITHIN_S, f"{name} prints {text!r}")


def marked(table: ProcessTable) -> list[int]:
    """Every process that something in the table has started, whosever child it is now."""
    prefix = f"{processes.MARK}={table.root}:".encode()
    found = []
    for process in procfs.every():
        try:
            environment = (procfs.PROC / str(process.pid) / "environ").read_bytes()
        except OSError:
            continue
        if prefix in environment:
            found.append(process.pid)
    return found


def test_a_later_command_finds_and_stops_what_an_earlier_one_started(table: ProcessTable) -> None:
    running = table.start(sleeper("worker"))
    later = ProcessTable(table.root)

    assert later.alive("worker")
    assert later.status() == {"worker": True}
    assert later.pid("worker") == running.pid
    later.stop("worker")
    assert not later.alive("worker")
    assert later.status() == {}


def test_a_stopped_process_leaves_no_descendant_in_whatever_session(table: ProcessTable) -> None:
    table.start(python("family", _FAMILY))
    printed(table, "family", "ready")
    assert len(marked(table)) == 3

    table.stop("family", grace_s=0.1)

    assert marked(table) == []


def test_a_process_may_end_in_its_own_way_first(table: ProcessTable) -> None:
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('goodbye'))); print('up', flush=True)"
    table.start(python("polite", f"{code}; time.sleep(600)"))
    printed(table, "polite", "up")
    table.stop("polite", grace_s=WITHIN_S)

    assert "goodbye" in table.log_tail("polite")


def test_what_was_started_last_is_stopped_first(table: ProcessTable) -> None:
    for name in ("first", "second"):
        code = f"import signal, sys, time, pathlib; f = pathlib.Path({str(table.root / 'order')!r})"
        end = f"signal.signal(15, lambda *_: (f.open('a').write('{name} '), sys.exit()))"
        table.start(python(name, f"{code}; {end}; print('up', flush=True); time.sleep(600)"))
        printed(table, name, "up")
    table.stop_all()

    assert (table.root / "order").read_text() == "second first "


def test_a_process_that_died_is_reported_with_the_end_of_its_log(table: ProcessTable) -> None:
    table.start(python("broken", "raise SystemExit('no such stream')"))
    wait_until(lambda: not table.alive("broken"), WITHIN_S, "it ends")

    with pytest.raises(ProcessDied, match=r"(?s)broken has ended.*no such stream"):
        table.check_alive()


def test_a_pid_that_was_given_to_another_process_is_not_ours(table: ProcessTable) -> None:
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        table.start(sleeper("worker"))
        record = table.run_dir / "worker.json"
        stale = json.loads(record.read_text())
        table.stop("worker")
        seen = procfs.read(innocent.pid)
        assert seen is not None
        record.write_text(json.dumps({**stale, "pid": innocent.pid, "started": seen.started - 1}))

        assert not table.alive("worker")
        table.stop("worker")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_name_runs_once(table: ProcessTable) -> None:
    table.start(sleeper("worker"))

    with pytest.raises(AlreadyRunning, match="worker"):
        table.start(sleeper("worker"))


def test_a_taken_port_is_named_with_its_holder(table: ProcessTable) -> None:
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        spec = ProcessSpec("server", (sys.executable, "-c", ""), ports=(port,))

        with pytest.raises(PortTaken, match=rf"port {port} .* by pid {os.getpid()}"):
            table.start(spec)
    assert table.names() == []


def test_no_process_sees_the_users_own_aws_settings_or_proxy(
    table: ProcessTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    code = "import os; print(sorted(n for n in os.environ if n.startswith('AWS_') or 'proxy' in n), 'end', flush=True)"
    table.start(python("worker", code, AWS_REGION="us-east-1"))
    printed(table, "worker", "end")

    assert "['AWS_REGION'] end" in table.log_tail("worker")


def test_a_log_that_has_grown_too_large_is_put_aside_at_the_next_start(
    table: ProcessTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES_MAX", 100)
    table.log_dir.mkdir()
    table.log_path("worker").write_text("x" * 101)
    table.start(python("worker", "print('new', flush=True)"))
    printed(table, "worker", "new")

    assert table.log_path("worker").read_text() == "new\n"
    assert (table.log_dir / "worker.log.1").read_text() == "x" * 101


def test_memory_is_told_apart_for_each_descendant(table: ProcessTable) -> None:
    table.start(python("family", _FAMILY))
    printed(table, "family", "ready")
    sizes = table.rss_mb("family")

    assert len(sizes) == 3
    assert all(1 < size < 100 for size in sizes.values())


def test_a_killed_command_leaves_nothing_running(tmp_path: Path) -> None:
    family = [sys.executable, "-c", _FAMILY]
    command = (
        "import sys, time; from pathlib import Path; from localcloud.processes import ProcessSpec, ProcessTable\n"
        f"table = ProcessTable(Path({str(tmp_path)!r}), die_with_parent=True)\n"
        f"table.start(ProcessSpec('family', {family!r}))\n"
        "time.sleep(600)\n"
    )
    table = ProcessTable(tmp_path)
    parent = subprocess.Popen([sys.executable, "-c", command], cwd=REPOSITORY)
    try:
        wait_until(lambda: table.alive("family"), WITHIN_S, "the command starts its process")
        printed(table, "family", "ready")
        parent.send_signal(signal.SIGKILL)
        parent.wait()

        wait_until(lambda: not marked(table), WITHIN_S, "nothing is left")
        wait_until(lambda: table.names() == [], WITHIN_S, "nothing is listed")
    finally:
        parent.kill()
        parent.wait()
        table.stop_all(grace_s=0.0)


def test_what_was_released_outlives_its_command(tmp_path: Path) -> None:
    command = (
        "import sys; from pathlib import Path; from localcloud.processes import ProcessSpec, ProcessTable\n"
        f"table = ProcessTable(Path({str(tmp_path)!r}), die_with_parent=True)\n"
        "table.start(ProcessSpec('worker', (sys.executable, '-c', 'import time; time.sleep(600)')))\n"
        "table.release()\n"
    )
    subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY, check=True, timeout=WITHIN_S)
    table = ProcessTable(tmp_path)
    try:
        assert table.alive("worker")
    finally:
        table.stop_all(grace_s=0.0)


def test_all_are_stopped_at_the_same_time_each_in_its_own_way(table: ProcessTable) -> None:
    code = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), print('goodbye'), sys.exit()))"
    names = [f"polite-{number}" for number in range(6)]
    for name in names:
        table.start(python(name, f"{code}; print('up', flush=True); time.sleep(600)"))
    table.start(python("family", _FAMILY))
    for name in names:
        printed(table, name, "up")
    printed(table, "family", "ready")
    started = time.monotonic()
    table.stop_at_once(grace_s=2.0)

    assert time.monotonic() - started < 6 * 0.5 + 2.0
    assert marked(table) == []
    assert table.names() == []
    assert all("goodbye" in table.log_tail(name) for name in names)


def test_what_was_just_being_started_is_stopped_too(table: ProcessTable) -> None:
    table.start(sleeper("worker"))
    (table.run_dir / "worker.json").unlink()  # as if the interruption had come before it was written
    table.stop_at_once(grace_s=0.0)

    assert marked(table) == []


def test_what_another_command_has_started_goes_on_running(table: ProcessTable) -> None:
    table.start(sleeper("theirs"))
    later = ProcessTable(table.root)
    later.start(sleeper("ours"))
    later.stop_at_once(grace_s=0.0, started_by=later.starter)

    assert table.status() == {"theirs": True}


def test_a_killed_command_leaves_to_others_what_is_theirs(table: ProcessTable) -> None:
    table.start(sleeper("theirs"))
    command = (
        "import sys, time; from pathlib import Path; from localcloud.processes import ProcessSpec, ProcessTable\n"
        f"table = ProcessTable(Path({str(table.root)!r}), die_with_parent=True)\n"
        "table.start(ProcessSpec('ours', (sys.executable, '-c', 'import time; time.sleep(600)')))\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", command], cwd=REPOSITORY)
    try:
        wait_until(lambda: table.alive("ours"), WITHIN_S, "the command starts its process")
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: table.names() == ["theirs"], WITHIN_S, "only what is theirs is left")
    assert table.alive("theirs")


def test_asking_makes_no_folder(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path / "nothing")
    table.stop_all()

    assert table.status() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["/usr/bin/python3", "-u", "-m", "localcloud.replicator", "--status", "x"],
            "python3 -m localcloud.replicator",
        ),
        (["/usr/bin/java", "-Xmx64m", "-cp", "a.jar", "software.amazon.MultiLangDaemon"], "java MultiLangDaemon"),
        (["python", "/srv/consumer.py", "x"], "python consumer.py"),
        ([], "?"),
    ],
)
def test_a_command_line_is_described_in_a_few_words(argv: list[str], words: str) -> None:
    assert processes.describe(argv) == words
