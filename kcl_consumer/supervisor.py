"""Keeps one MultiLangDaemon running: starts it, restarts it when it dies, ends it gracefully.

    supervisor (this process) -- java MultiLangDaemon --+-- kcl_consumer.processor (shard 0)
                                                        '-- kcl_consumer.processor (shard 1)

The death of one child ends the daemon with all its shards: that is the library's way, and ours of failing before a
checkpoint. So a restart is ordinary and has to be quick.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import amazon_kclpy

from kcl_consumer import first_start, leader_lock
from kcl_consumer.first_start import Leases
from kcl_consumer.leader_lock import LeaderLock
from kcl_consumer.properties import jvm_flags, render_properties
from kcl_consumer.settings import ConsumerSettings
from plantwatch.aws.clients import Refused
from plantwatch.ports import DeliveryFailed

log = logging.getLogger(__name__)

DAEMON_CLASS: Final = "software.amazon.kinesis.multilang.MultiLangDaemon"
RESTART_DELAY_MIN_S: Final = 1.0
# A daemon that ran so long was healthy: the next failure is a new one.
HEALTHY_AFTER_S: Final = 60.0
# When a child dies the daemon wants to hand its shards over and waits its whole grace for the dead one (KCL 3.1.3: the
# thread that it waits for is the one that asked it to exit). The other shards need this long to write and checkpoint.
DYING_GRACE_S: Final = 3.0
_DYING: Final = b"Process terminated, will initiate shutdown"
# What a daemon may need beyond its own grace to stop its threads and release the lock.
STOP_MARGIN_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


class MissingJava(Exception):
    """The operator's fault: no Java runtime under the configured name."""


class Supervisor:
    """Runs the daemon until `stop`. Call `run` on the main thread."""

    def __init__(
        self, settings: ConsumerSettings, environment: Mapping[str, str], lock: LeaderLock, leases: Leases
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._lock = lock
        self._leases = leases
        self._stopping = threading.Event()
        self._daemon: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until `stop` was called and the daemon has ended. Raises MissingJava."""
        command = daemon_command(self._settings, self._environment)
        helpers = [
            threading.Thread(target=helper, name=helper.__name__) for helper in (self._watch_lock, self._seed_leases)
        ]
        for helper in helpers:
            helper.start()
        delay = RESTART_DELAY_MIN_S
        while not self._stopping.is_set():
            self._release_lock()
            started = time.monotonic()
            self._run_daemon(command)
            if time.monotonic() - started >= HEALTHY_AFTER_S:
                delay = RESTART_DELAY_MIN_S
            if not self._stopping.wait(delay):
                delay = min(2 * delay, self._settings.restart_delay_max_s)
        for helper in helpers:
            helper.join()

    def stop(self) -> None:
        """Ask the daemon to hand over its shards and end. Safe in a signal handler."""
        self._stopping.set()
        daemon = self._daemon
        if daemon is not None and daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)

    def _run_daemon(self, command: list[str]) -> None:
        self._daemon = subprocess.Popen(
            command,
            env=daemon_environment(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us: we ask the daemon to stop, which asks its children.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        log.info("daemon started, pid %d", self._daemon.pid)
        if self._stopping.is_set():
            self.stop()  # asked between the loop's check and the start
        dying = threading.Event()
        reader = threading.Thread(target=_forward_log, args=(self._daemon.stdout, dying), name="daemon-log")
        reader.start()
        code = self._wait(self._daemon, dying)
        reader.join()
        if not self._stopping.is_set():
            log.error("daemon ended with %d; restarting", code)

    def _wait(self, daemon: subprocess.Popen[bytes], dying: threading.Event) -> int:
        while not self._stopping.is_set() and not dying.is_set():
            with suppress(subprocess.TimeoutExpired):
                return daemon.wait(timeout=_LOOK_EVERY_S)
        asked = self._stopping.is_set()
        grace_s = self._settings.shutdown_grace_ms / 1000 + STOP_MARGIN_S if asked else DYING_GRACE_S
        try:
            return daemon.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            log.error("daemon did not end within %.0f s; killing it", grace_s)
            daemon.kill()
            return daemon.wait()

    def _release_lock(self) -> None:
        """Our own daemon is dead here: a lock in its name keeps everybody waiting for nothing."""
        try:
            if leader_lock.release_own(self._lock, self._settings.worker_id):
                log.info("released the leader lock of our own dead daemon")
        except (DeliveryFailed, Refused) as error:
            log.warning("%s", error)

    def _seed_leases(self) -> None:
        first_start.seed(self._leases, stop=self._stopping)

    def _watch_lock(self) -> None:
        leader_lock.watch(
            self._lock, silent_s=self._settings.leader_silent_s, stop=self._stopping, monotonic=time.monotonic
        )


def daemon_command(settings: ConsumerSettings, environment: Mapping[str, str]) -> list[str]:
    """Writes the properties file and returns the command that reads it."""
    java = shutil.which(settings.java)
    if java is None:
        raise MissingJava(f"no Java runtime as {settings.java!r}: the Kinesis Client Library runs on a JRE >= 11")
    settings.work_folder.mkdir(parents=True, exist_ok=True)
    file = settings.work_folder.absolute() / "daemon.properties"
    python = Path(sys.executable).name
    file.write_text(render_properties(settings, python=python, environment=environment), encoding="utf-8")
    jars = Path(amazon_kclpy.__file__).parent / "jars" / "*"
    flags = jvm_flags(settings, environment)
    log_configuration = Path(__file__).with_name("logback.xml")
    return [
        *(java, *flags, "-cp", str(jars), DAEMON_CLASS),
        *("--properties-file", str(file), "--log-configuration", str(log_configuration)),
    ]


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours, with our interpreter first in PATH: the daemon starts its children by that name."""
    path = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), environment.get("PATH"))))
    return {**environment, "PATH": path}


def _forward_log(lines: IO[bytes] | None, dying: threading.Event) -> None:
    """The daemon's log to our own, until it ends; says so when the daemon is about to."""
    assert lines is not None
    for line in lines:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        if _DYING in line:
            dying.set()


def _end_with_parent() -> None:
    """In the daemon, before it starts: should we be killed, the kernel tells it to stop (Linux; no other has this)."""
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
