"""Long-living processes of the laptop edition: they survive the command that started them, and stop without a trace.

A ProcessTable is a folder: `run/NAME.json` says what was started, `logs/NAME.log` what it printed. Any later command
that opens the same folder can ask for, or stop, what an earlier one started. Each process leads a session of its own;
whatever it starts in turn (a JVM, its children, also those in sessions of their own) carries a mark in its environment
and goes down with it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

from localcloud import procfs

# Enough to see a day of a noisy process; a log larger than this is put aside once (NAME.log.1) at the next start.
LOG_BYTES_MAX: Final = 20_000_000
LOG_TAIL_LINES: Final = 15
MARK: Final = "LOCALCLOUD_PROCESS"
# Beside the mark, in the environment of all that one ProcessTable object has started: which object it was.
STARTER: Final = "LOCALCLOUD_STARTER"
# What the guard reads when it shall go and stop nothing.
RELEASE: Final = b"release"
# A killed process is gone within milliseconds, unless the kernel holds it in uninterruptible sleep.
KILL_TIMEOUT_S: Final = 10.0
# Below Linux' and IANA's ranges of clients' ports (32768 and 49152 upwards).
_OWN_PORTS: Final = range(20_000, 32_000)
_POLL_S: Final = 0.02


class ProcessDied(Exception):
    """A process that should run has ended; the message holds the end of its log."""


class AlreadyRunning(Exception):
    """A process of this name is running."""


class PortTaken(Exception):
    """Someone else listens on a port that we need."""


@dataclass(frozen=True)
class ProcessSpec:
    """What to start. `env` is added to the caller's environment (without its AWS settings and proxies).

    `ports` are checked to be free and `folders` created before the start.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ports: Sequence[int] = ()
    folders: Sequence[Path] = ()


@dataclass(frozen=True)
class RunningProcess:
    """What `run/NAME.json` says. `started` (clock ticks since boot) tells a pid that was given again apart; `starter`
    is that of the ProcessTable object that has started it."""

    name: str
    pid: int
    started: int
    argv: list[str]
    started_at: float
    starter: str = ""


class ProcessTable:
    """The processes of one folder, which is made with the first of them. Not for use from two threads at once.

    With `die_with_parent` nothing that this object starts outlives the calling process, however it ends: a guard
    process waits for its end (see `localcloud.guard`). What others have started in the same folder is theirs.
    """

    def __init__(self, root: Path, *, die_with_parent: bool = False) -> None:
        self.root = root.resolve()
        self.run_dir = self.root / "run"
        self.log_dir = self.root / "logs"
        self.starter = uuid.uuid4().hex
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = self._start_guard() if die_with_parent else None

    def start(self, spec: ProcessSpec) -> RunningProcess:
        """Start it in a session of its own. AlreadyRunning, PortTaken, or OSError where it cannot be executed."""
        if self.alive(spec.name):
            raise AlreadyRunning(f"{spec.name} is already running (see {self.run_dir / spec.name}.json)")
        for port in spec.ports:
            ensure_port_free(port)
        for folder in (self.run_dir, self.log_dir, *spec.folders):
            folder.mkdir(parents=True, exist_ok=True)
        with self._open_log(spec.name) as log:
            child = subprocess.Popen(
                list(spec.argv),
                env={
                    **inherited_environment(),
                    **spec.env,
                    MARK: self._mark(spec.name),
                    STARTER: self.starter,
                },
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[spec.name] = child
        seen = procfs.read(child.pid)
        since = seen.started if seen else 0
        running = RunningProcess(spec.name, child.pid, since, list(spec.argv), time.time(), self.starter)
        _write_json(self._record_path(spec.name), asdict(running))
        return running

    def alive(self, name: str) -> bool:
        running = self._record(name)
        return running is not None and self._is_alive(running)

    def names(self) -> list[str]:
        """Everything that was started and not stopped, alive or dead, in the order of its start."""
        return [running.name for running in self._records()]

    def status(self) -> dict[str, bool]:
        """Name -> whether it is alive, in the order of the start."""
        return {running.name: self._is_alive(running) for running in self._records()}

    def pid(self, name: str) -> int:
        """KeyError where nothing of this name was started."""
        running = self._record(name)
        if running is None:
            raise KeyError(name)
        return running.pid

    def stop(self, name: str, grace_s: float = 10.0) -> None:
        """SIGTERM; after `grace_s` SIGKILL; returns when neither it nor anything that it started is left."""
        running = self._record(name)
        if running is None:
            return
        # Found before the signal: children of a process that has ended are no longer its children.
        members = self._members(running)
        if self._is_alive(running):
            _signal(running.pid, signal.SIGTERM)
            _poll(lambda: not self._is_alive(running), grace_s)
        self._end(running, members)

    def kill(self, name: str) -> None:
        """SIGKILL to all of it at once: the power cut of a drill."""
        running = self._record(name)
        if running is not None:
            self._end(running, [])

    def _end(self, running: RunningProcess, members: Sequence[procfs.Process]) -> None:
        _kill_all(lambda: procfs.still_running(members) + self._members(running))
        child = self._children.pop(running.name, None)
        if child is not None:
            child.wait()
        self._record_path(running.name).unlink(missing_ok=True)

    def stop_all(self, grace_s: float = 10.0) -> None:
        """Stop everything, the youngest first: what was started last uses what was started before it."""
        for name in reversed(self.names()):
            self.stop(name, grace_s)

    def stop_at_once(self, grace_s: float = 2.0, *, started_by: str | None = None) -> None:
        """Stop everything at the same time, for whoever has no patience; also what was just being started, and is in
        no record yet. With `started_by` only what the object of this `starter` has started."""
        records = [running for running in self._records() if started_by in (None, running.starter)]
        members = [process for running in records for process in self._members(running)]
        for running in records:
            if self._is_alive(running):
                _signal(running.pid, signal.SIGTERM)
        _poll(lambda: not any(map(self._is_alive, records)), grace_s)
        _kill_all(lambda: procfs.still_running(members) + self._marked(started_by))
        for running in records:
            self._end(running, [])

    def close(self) -> None:
        """Let the guard go. Called after `stop_all`; without it the guard goes when this process ends."""
        self._dismiss(b"")

    def release(self) -> None:
        """From now on everything may outlive this process: the guard goes and stops nothing."""
        self._dismiss(RELEASE)

    def _dismiss(self, word: bytes) -> None:
        if self._guard is not None:
            self._guard.communicate(word)
            self._guard = None

    def check_alive(self) -> None:
        """ProcessDied, with the end of its log, for the first one that has ended without being stopped."""
        for running in self._records():
            if not self._is_alive(running):
                raise ProcessDied(f"{running.name} has ended\n{self.log_tail(running.name)}")

    def log_path(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"

    def log_tail(self, name: str, lines: int = LOG_TAIL_LINES) -> str:
        try:
            text = self.log_path(name).read_text(errors="replace")
        except OSError:
            return f"(no log {self.log_path(name)})"
        return "\n".join([f"--- {self.log_path(name)}", *text.splitlines()[-lines:]])

    def rss_mb(self, name: str) -> dict[str, float]:
        """Resident memory in MB of the process and of each of its descendants, by a short description."""
        running = self._record(name)
        sizes: dict[str, float] = {}
        for process in self._members(running) if running else []:
            description = base = describe(procfs.argv(process.pid))
            count = 1
            while description in sizes:
                count += 1
                description = f"{base} #{count}"
            sizes[description] = round(procfs.rss_mb(process.pid), 1)
        return sizes

    def _mark(self, name: str) -> str:
        return f"{self.root}:{name}"

    def _record_path(self, name: str) -> Path:
        return self.run_dir / f"{name}.json"

    def _record(self, name: str) -> RunningProcess | None:
        try:
            return RunningProcess(**json.loads(self._record_path(name).read_text()))
        except FileNotFoundError:
            return None

    def _records(self) -> list[RunningProcess]:
        names = (path.stem for path in self.run_dir.glob("*.json"))
        found = (self._record(name) for name in names)
        return sorted((running for running in found if running is not None), key=lambda running: running.started_at)

    def _is_alive(self, running: RunningProcess) -> bool:
        seen = procfs.read(running.pid)
        return seen is not None and seen.started == running.started

    def _members(self, running: RunningProcess) -> list[procfs.Process]:
        """The process, everything below it, its session, and whatever carries its mark; the eldest first."""
        processes = procfs.every()
        mark = f"{MARK}={self._mark(running.name)}"
        own = {running.pid} if self._is_alive(running) else set()
        below = procfs.descendants(processes, own)
        return sorted(
            (
                process
                for process in processes
                if process.pid in below
                or (own and process.session == running.pid)
                or procfs.has_variable(process.pid, mark)
            ),
            key=lambda process: (process.started, process.pid),
        )

    def _marked(self, started_by: str | None) -> list[procfs.Process]:
        """Whatever carries the mark of any process of this table, or only of those that `started_by` has started."""
        beginning = f"{MARK}={self._mark('')}" if started_by is None else f"{STARTER}={started_by}"
        return [process for process in procfs.every() if procfs.has_variable(process.pid, beginning, whole=False)]

    def _open_log(self, name: str) -> IO[bytes]:
        path = self.log_path(name)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _start_guard(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "localcloud.guard", str(self.root), self.starter],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def inherited_environment() -> dict[str, str]:
    """Ours, without the user's AWS settings and proxies: no process of the laptop edition may reach a real account,
    and what it does reach is on this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }


def ensure_port_free(port: int, host: str = "127.0.0.1") -> None:
    """PortTaken, naming the port and (where /proc tells) who holds it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(f"port {port} on {host} is taken{_by_whom(port)}: {error.strerror}") from None


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now; for clouds that run beside the user's own.

    None of them is one that the kernel gives to clients: while a region is down, those who try to reach it again and
    again would sooner or later be given its port themselves, and even connect to themselves (RFC 9293, 3.5).
    """
    found: list[int] = []
    for port in random.sample(_OWN_PORTS, len(_OWN_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} free ports in {_OWN_PORTS}")


def _by_whom(port: int) -> str:
    pid = procfs.listener(port)
    return f" by pid {pid} ({describe(procfs.argv(pid))})" if pid is not None else ""


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """TimeoutError naming `what` when the condition has not come true in time."""
    if not _poll(condition, timeout_s):
        raise TimeoutError(f"{what}: not within {timeout_s:g} s")


def describe(argv: Sequence[str]) -> str:
    """A command line in a few words: `python -m localcloud.replicator`, `java MultiLangDaemon`."""
    if not argv:
        return "?"
    program = Path(argv[0]).name
    if "-m" in argv[:-1]:
        return f"{program} -m {argv[argv.index('-m') + 1]}"
    words = list(_without_options(argv[1:]))
    last_dotted = words[0].rpartition("/")[2] if words else ""
    return f"{program} {last_dotted.rpartition('.')[2] if program == 'java' else last_dotted}".strip()


def _without_options(words: Sequence[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = word in {"-cp", "-classpath", "--class-path"}
            continue
        yield word


def _kill_all(remaining: Callable[[], Sequence[procfs.Process]]) -> None:
    """SIGKILL until nothing is left: a process may start another one while it is being killed."""

    def none_left() -> bool:
        left = remaining()
        for process in left:
            _signal(process.pid, signal.SIGKILL)
        return not left

    if not _poll(none_left, KILL_TIMEOUT_S):
        raise TimeoutError(f"processes that SIGKILL did not end: {[process.pid for process in remaining()]}")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _poll(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _write_json(path: Path, value: object) -> None:
    """Whole or not at all: a later command may read it while we write."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1))
    part.replace(path)
