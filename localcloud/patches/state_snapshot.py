"""The state is saved at a clean stop only: a killed region comes back as it was when it was last stopped.

Stock: PERSIST_STATE=1 saves in the shutdown handler.
AWS: what was acknowledged is durable.
Here: every LOCALCLOUD_SNAPSHOT_EVERY_S seconds in which something happened, a forked child writes the state down. The
fork is a consistent cut (it is taken on the server's loop, under DynamoDB's lock) and stalls the region for
milliseconds, where copying 50,000 records in the process would stall it for a second. A kill loses at most the time
since the last snapshot; S3 objects are on disk at once. A state that takes long to write is written less often.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence
from ministack.services import dynamodb, iot

NAMES = (
    "ministack.app:app",
    "ministack.app:save_all",
    "ministack.app:PERSIST_STATE",
    "ministack.app:_build_persistence_save_dict",
    "ministack.app:_load_persisted_state",
    "ministack.core.persistence:_json_default",
    "ministack.core.persistence:_state_format_version",
    "ministack.core.persistence:STATE_DIR",
    "ministack.services.dynamodb:_lock",
    "ministack.services.iot:broker_publish",
)

# A child that has not finished by then is stuck (a lock that another thread held when it was forked): try again later.
CHILD_TIMEOUT_S = 60.0
# Of one core, at most: a demo's state takes 0.05 s to write, 60,000 records 0.3 s.
CPU_SHARE_MAX = 0.05
_SUFFIX = ".snapshot"
_log = logging.getLogger("localcloud.snapshot")


class Snapshots:
    """Writes the state down from time to time, while there is something new to write."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self.something_happened = False
        self._child: int | None = None
        self._last_took_s = 0.0
        self._ended = False

    async def run(self) -> None:
        # Not by cancellation alone: wait_for may swallow one that comes together with its result.
        while not self._ended:
            await asyncio.sleep(max(self.every_s, self._last_took_s / CPU_SHARE_MAX))
            if self.something_happened and not self._ended:
                self.something_happened = False
                begin = time.monotonic()
                await self.take()
                self._last_took_s = time.monotonic() - begin

    async def take(self) -> None:
        with dynamodb._lock:
            pid = os.fork()
            if pid == 0:
                _write_and_exit()
        self._child = pid
        try:
            status = await asyncio.wait_for(asyncio.to_thread(_wait, pid), CHILD_TIMEOUT_S)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            status = -1
        self._child = None
        if status != 0 and not self._ended:
            self.something_happened = True
            _log.error("a snapshot failed (status %d); the next one is due in %g s", status, self.every_s)

    def abandon(self) -> None:
        """The state is about to be saved at a stop: nothing older may be written after it."""
        self._ended = True
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)


def apply() -> None:
    every_s = float(os.environ.get("LOCALCLOUD_SNAPSHOT_EVERY_S", "0"))
    if not app.PERSIST_STATE or every_s <= 0:
        return
    snapshots = Snapshots(every_s)
    _notice_requests(snapshots)
    _start_after_loading(snapshots)
    save_all = app.save_all

    def abandon_then_save(services: Any) -> None:
        snapshots.abandon()
        save_all(services)

    app.save_all = abandon_then_save


def _notice_requests(snapshots: Snapshots) -> None:
    serve, publish = app.app, iot.broker_publish

    async def serve_and_notice(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}:
            snapshots.something_happened = True
        await serve(scope, receive, send)

    async def publish_and_notice(*arguments: Any, **options: Any) -> None:
        snapshots.something_happened = True
        await publish(*arguments, **options)

    app.app, iot.broker_publish = serve_and_notice, publish_and_notice


def _start_after_loading(snapshots: Snapshots) -> None:
    load = app._load_persisted_state
    running: list[asyncio.Task[None]] = []

    def load_then_start() -> None:
        load()
        running.append(asyncio.get_running_loop().create_task(snapshots.run()))

    app._load_persisted_state = load_then_start


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _write_and_exit() -> None:
    """In the child. It never returns: nothing of the server may run here."""
    status = 1
    try:
        # The wake-up socket is shared with the parent, which would take our signals for its own.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.nice(10)
        gc.disable()
        write_state(Path(persistence.STATE_DIR))
        status = 0
    except Exception:  # noqa: BLE001 - the edge of a process
        _log.exception("snapshot")
    finally:
        os._exit(status)


def write_state(folder: Path) -> None:
    """All services' state, first beside and then in place of the last one."""
    # This memory is ours alone: nobody changes it, so no service needs to copy what it hands out.
    copy.deepcopy = _itself  # type: ignore[assignment]
    folder.mkdir(parents=True, exist_ok=True)
    written = [_write_service(folder, name, get()) for name, get in app._build_persistence_save_dict().items()]
    for path in filter(None, written):
        path.replace(path.with_suffix(""))


def _write_service(folder: Path, name: str, state: Any) -> Path | None:
    if state is None:
        return None
    document = {"__ministack_format__": persistence._state_format_version(name), "payload": state}
    path = folder / f"{name}.json{_SUFFIX}"
    path.write_text(json.dumps(document, default=persistence._json_default))
    return path


def _itself(value: Any, _memo: Any = None) -> Any:
    return value
