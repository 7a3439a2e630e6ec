"""What /proc tells about running processes: who is whose child, how old, how large, which port is whose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
_LISTEN: Final = "0A"


class Process(NamedTuple):
    """One running process. `started` (clock ticks since boot) tells a pid that was given again apart."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    state: str


def read(pid: int) -> Process | None:
    """The process, or None where there is none (a zombie counts as gone: it only waits for its parent)."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command's name is in brackets and may itself hold brackets and blanks.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0])


def every() -> list[Process]:
    found = (read(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def descendants(processes: Sequence[Process], roots: set[int]) -> set[int]:
    """The pids of `roots` and of everything below them."""
    found = set(roots)
    while True:
        more = {process.pid for process in processes if process.parent in found} - found
        if not more:
            return found
        found |= more


def still_running(processes: Sequence[Process]) -> list[Process]:
    """Those that have not ended since they were read."""
    now = ((process, read(process.pid)) for process in processes)
    return [process for process, seen in now if seen is not None and seen.started == process.started]


def argv(pid: int) -> list[str]:
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").split("\0")[:-1]


def has_variable(pid: int, assignment: str, *, whole: bool = True) -> bool:
    """Whether the process was started with NAME=value in its environment, or, unless `whole`, with a value that begins
    like this. False where we may not look."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    ends = b"\0" if whole else b""
    return b"\0" + assignment.encode() + ends in b"\0" + raw


def rss_mb(pid: int) -> float:
    """Resident memory in MB; 0.0 for a process that is gone."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024


def listener(port: int) -> int | None:
    """The pid that listens on TCP `port`, where we may see it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not inodes:
        return None
    return next((process.pid for process in every() if inodes & _socket_inodes(process.pid)), None)


def _listening_inodes(table: str, port: int) -> list[str]:
    try:
        lines = (PROC / "net" / table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = (line.split() for line in lines)
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    try:
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            target = descriptor.readlink().name
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return inodes
    return inodes
