"""Stops what a ProcessTable has started when the process that opened it has ended, even by kill -9, unless released.

STARTER is that table's `starter`: what others have started in the same folder goes on running.

Its standard input is a pipe whose other end only that process holds: the kernel closes it, whatever happened.

    python -m localcloud.guard FOLDER STARTER
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from localcloud.processes import RELEASE, ProcessTable

# Whoever started them is gone and nobody waits for a tidy end; regions still want to write their state down.
GRACE_S = 3.0


def main() -> None:
    # A Ctrl-C is meant for the command that we guard.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.buffer.read() != RELEASE:
        ProcessTable(Path(sys.argv[1])).stop_at_once(GRACE_S, started_by=sys.argv[2])


if __name__ == "__main__":
    main()
