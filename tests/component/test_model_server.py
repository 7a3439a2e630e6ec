"""`serve` as SageMaker runs it: a process of its own, asked over HTTP, ended by SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.processes import free_ports, wait_until
from plantwatch.bundle.container import save
from tests.bundle_support import bundle

pytest.importorskip("waitress", reason="the model server's own library is not installed (extra: serving)")
pytestmark = pytest.mark.component

REPOSITORY = Path(__file__).resolve().parents[2]
WITHIN_S = 20.0


class Server:
    """One run of `serve` on a free port, its model and its log below `root`."""

    def __init__(self, root: Path, **environment: str) -> None:
        [self.port] = free_ports(1)
        self.log = root / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "models.serving", "serve"],
                cwd=REPOSITORY,
                env={
                    **os.environ,
                    "PLANTWATCH_ML_ROOT": str(root),
                    "SAGEMAKER_BIND_TO_PORT": str(self.port),
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> Server:
        wait_until(self._answers, WITHIN_S, "the server answers /ping")
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/ping")[0] == 200
        except OSError:
            return False

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "text/csv") -> tuple[int, str]:
        connection = self.connect()
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    save(bundle(), tmp_path / "model" / "pumps.bundle")
    return tmp_path


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    started = Server(model)
    try:
        yield started.wait_ready()
    finally:
        started.process.kill()
        started.process.wait()


def test_it_scores_and_leaves_at_sigterm_with_code_0(server: Server) -> None:
    status, answer = server.ask("POST", "/invocations", b"10,5\n40,5\n")
    calm, strange = (item["score"] for item in json.loads(answer)["scores"])
    assert (status, calm) == (200, 0.0)
    assert strange > 0.99
    assert server.stop() == 0
    assert server.log.read_text().endswith("stopped\n")


def test_the_documented_request_gets_the_documented_answer(server: Server) -> None:
    text = (REPOSITORY / "docs" / "sagemaker.md").read_text()
    found = re.search(r"curl \S+(/\S+) -H 'Content-Type: (\S+)' --data-binary \$'(.*)'\n +(.*)\n", text)
    assert found is not None
    path, kind, body, answer = found.groups()
    assert server.ask("POST", path, body.replace("\\n", "\n").encode(), kind) == (200, answer)


def test_a_body_beyond_the_limit_is_refused_and_the_server_stays(server: Server) -> None:
    assert server.ask("POST", "/invocations", b"1" * (6 * 2**20 + 1)) == (
        413, "6291457 bytes; at most 6291456 are taken\n",
    )  # fmt: skip
    assert server.ask("POST", "/invocations", b"10,5")[0] == 200


def test_what_has_been_taken_is_answered_after_sigterm(server: Server) -> None:
    # Longer than the signal takes to arrive, and more than there are threads: some wait for one.
    body = b"10.5,5.5\n" * 100_000
    sent: list[http.client.HTTPConnection] = []
    answers: list[int] = []
    # Held open, so that a request that is answered before the last one is taken still counts.
    connections = [server.connect() for _ in range(6)]

    def ask(connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/invocations", body, {"Content-Type": "text/csv"})
        sent.append(connection)
        answers.append(connection.getresponse().status)

    for connection in connections:
        connection.connect()
    asked = [threading.Thread(target=ask, args=[connection]) for connection in connections]
    for thread in asked:
        thread.start()
    wait_until(lambda: len(sent) == 6, WITHIN_S, "six requests sent")
    wait_until(lambda: _taken(server.port) >= 6, WITHIN_S, "six requests taken")
    assert server.stop() == 0
    for thread in asked:
        thread.join(WITHIN_S)
    assert answers == [200] * 6


def test_a_client_that_never_finishes_its_request_keeps_nobody_waiting(server: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for connection in slow:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 100\r\n\r\n1")
    assert server.ask("POST", "/invocations", b"10,5")[0] == 200
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    for connection in slow:
        connection.close()


def test_nobody_listens_without_a_bundle_that_holds(model: Path) -> None:
    damaged = (model / "model" / "pumps.bundle").read_bytes()[:-1]
    (model / "model" / "pumps.bundle").write_bytes(damaged)
    server = Server(model)
    assert server.process.wait(WITHIN_S) == 1
    assert "cannot serve: invalid_bundle: pumps.bundle: " in server.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_started_as_root_answers_as_nobody(model: Path) -> None:
    server = Server(model, PLANTWATCH_RUN_AS="65534")
    try:
        server.wait_ready()
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        ids = {line.split()[0]: set(line.split()[1:]) for line in status.splitlines() if line[:4] in {"Uid:", "Gid:"}}
        assert ids == {"Uid:": {"65534"}, "Gid:": {"65534"}}
        assert server.ask("POST", "/invocations", b"10,5")[0] == 200
    finally:
        server.stop()


def test_a_taken_port_is_named(server: Server, model: Path) -> None:
    second = Server(model, SAGEMAKER_BIND_TO_PORT=str(server.port))
    assert second.process.wait(WITHIN_S) == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in second.log.read_text()


def _taken(port: int) -> int:
    """Connections whose request has been read by the server to its last byte (from /proc/net/tcp)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(
        local.endswith(f":{port:04X}") and state == "01" and queues.endswith(":00000000")
        for _, local, _, state, queues, *_ in fields
    )
