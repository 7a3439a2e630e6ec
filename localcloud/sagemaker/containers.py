"""`serve` and `train` as processes of this machine, in place of containers.

Each has a folder for its /opt/ml and a port of its own, listens on loopback only, and ends with us, however we end
(`ProcessTable`'s guard).
"""

from __future__ import annotations

import http.client
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from localcloud.processes import ProcessSpec, ProcessTable, free_ports
from localcloud.region import HOST, REPOSITORY

# Whatever stands before the image's name (account, registry) and behind it (tag, digest) is the user's.
IMAGE: Final = "plantwatch-sagemaker"
# SageMaker gives a container 8 minutes for its first /ping; ours answers within a second or not at all.
READY_S: Final = 30.0
# SageMaker: 30 s from SIGTERM to SIGKILL.
GRACE_S: Final = 30.0
_POLL_S: Final = 0.05


class ContainerFailed(Exception):
    """It ended, or did not answer; with the end of its log."""


class Reply(NamedTuple):
    """What a container answered. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Table(ProcessTable):
    """Knows how its own children ended."""

    def exit_code(self, name: str) -> int | None:
        """None while it runs. What is no longer known has been ended by us."""
        child = self._children.get(name)
        return -signal.SIGTERM if child is None else child.poll()

    def terminate(self, name: str) -> None:
        """SIGTERM, unless it has ended."""
        child = self._children.get(name)
        if child is not None:
            child.terminate()


class Containers:
    """The running containers of one service. Safe for several threads."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._table = _Table(folder / "processes", die_with_parent=True)
        # What a predecessor left, were it killed together with its guard.
        self._table.stop_all()
        self._lock = threading.Lock()
        self._ports: dict[str, int] = {}

    def folder(self, name: str) -> Path:
        """The container's /opt/ml, empty."""
        folder = self._folder / "containers" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def start(self, name: str, verb: str, root: Path, environment: Mapping[str, str]) -> None:
        """Run `verb` ("serve", "train") on what lies in `root`. OSError where it cannot be run."""
        with self._lock:
            [port] = free_ports(1)
            self._table.start(
                ProcessSpec(
                    name=name,
                    argv=(self._python, "-m", "models.serving", verb),
                    env={
                        "PYTHONPATH": str(REPOSITORY),
                        "PYTHONUNBUFFERED": "1",
                        **environment,
                        "PLANTWATCH_ML_ROOT": str(root),
                        "PLANTWATCH_HOST": HOST,
                        "SAGEMAKER_BIND_TO_PORT": str(port),
                    },
                    cwd=REPOSITORY,
                    ports=(port,),
                )
            )
            self._ports[name] = port

    def wait_ready(self, name: str) -> None:
        """Until /ping is answered with 200. ContainerFailed."""
        deadline = time.monotonic() + READY_S
        while not self._is_ready(name):
            if self.exit_code(name) is not None or time.monotonic() >= deadline:
                raise ContainerFailed(self.log_end(name))
            time.sleep(_POLL_S)

    def exit_code(self, name: str) -> int | None:
        with self._lock:
            return self._table.exit_code(name)

    def call(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
    ) -> Reply:
        """One request. OSError (TimeoutError among them) or HTTPException where no answer comes."""
        connection = http.client.HTTPConnection(HOST, self._ports[name], timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, content)

    def stop(self, name: str) -> None:
        """SIGTERM, and in the end SIGKILL; its folder goes too. Nothing to do where there is none."""
        with self._lock:
            self._table.terminate(name)
        # Others need the table while it finishes what it has in work.
        deadline = time.monotonic() + GRACE_S
        while self.exit_code(name) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        with self._lock:
            self._table.stop(name, 0.0)
            self._ports.pop(name, None)
        shutil.rmtree(self._folder / "containers" / name, ignore_errors=True)

    def stop_all(self) -> None:
        with self._lock:
            self._table.stop_all()
            self._table.close()

    def log_end(self, name: str) -> str:
        """The last line of its log: our entry points say there why they ended."""
        lines = self._table.log_tail(name).splitlines()
        return lines[-1] if lines else ""

    def log_path(self, name: str) -> Path:
        return self._table.log_path(name)

    def _is_ready(self, name: str) -> bool:
        try:
            return self.call(name, "GET", "/ping", timeout_s=2.0).status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def is_ours(image: str) -> bool:
    """Whether an image's URI names our own container."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return name == IMAGE
