"""The real child process between our pipes: a daemon that kills, stalls, repeats, refuses and dies."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kcl_consumer.meter import PREFIX
from localcloud.processes import wait_until
from localcloud.region import REPOSITORY
from plantwatch.incident import Phase
from tests.kcl_support import ConsumerCloud, batches, consumer_argv, consumer_cloud, reading, with_endpoint

pytestmark = pytest.mark.component

SHARD = "shardId-000000000000"
NOBODY_LISTENS = "http://127.0.0.1:9"
Numbered = tuple[int, bytes]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ConsumerCloud]:
    with consumer_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def environment(cloud: ConsumerCloud, tmp_path: Path) -> dict[str, str]:
    return cloud.environment(tmp_path, flush_interval_s=3600, patience_s=1)


class FakeDaemon:
    """Speaks the daemon's side of the protocol with one child, as KCL 3.1.3 does."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.checkpoint: str | None = None
        self.asked: list[str] = []
        self._environment = environment
        self._log = folder / "child.log"
        self.child = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                consumer_argv("kcl_consumer.processor"),
                env=self._environment,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def start(self) -> None:
        self.send(action="initialize", shardId=SHARD, sequenceNumber=self.checkpoint, subSequenceNumber=0)
        self.expect_status("initialize")

    def restart(self) -> None:
        """A new child, from the last checkpoint."""
        self.stop()
        self.child = self._spawn()
        self.start()

    def deliver(self, records: Sequence[Numbered], *, answer: str | None = None) -> None:
        self.send_records(records)
        self.expect_status("processRecords", answer=answer)

    def send_records(self, records: Sequence[Numbered]) -> None:
        now_ms = time.time_ns() // 1_000_000
        fields = [
            {
                "action": "record",
                "data": base64.b64encode(data).decode(),
                "partitionKey": "p",
                "sequenceNumber": str(sequence),
                "subSequenceNumber": 0,
                "approximateArrivalTimestamp": now_ms,
            }
            for sequence, data in records
        ]
        self.send(action="processRecords", millisBehindLatest=0, records=fields)

    def stop_gracefully(self, *, answer: str | None = None) -> None:
        self.send(action="shutdownRequested")
        self.expect_status("shutdownRequested", answer=answer)

    def send(self, **message: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message).encode() + b"\n")
        self.child.stdin.flush()

    def expect_status(self, action: str, *, answer: str | None = None) -> None:
        """Read until the child reports `action` as done; confirm its checkpoints, or refuse them with `answer`."""
        while (message := self._read())["action"] == "checkpoint":
            self.asked.append(message["sequenceNumber"])
            if answer is None:
                self.checkpoint = message["sequenceNumber"]
            self.send(action="checkpoint", sequenceNumber="", subSequenceNumber=0, error=answer)
        assert message == {"action": "status", "responseFor": action}

    def counts(self) -> dict[str, Any]:
        """The last that the child told of its work."""
        told = [line.partition(f" {PREFIX} ")[2] for line in self._log.read_text().splitlines()]
        counts: dict[str, Any] = json.loads([text for text in told if text][-1])
        return counts

    def _read(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if line.strip():
                message: dict[str, Any] = json.loads(line)  # anything else on stdout breaks the protocol
                return message
        raise AssertionError(f"the child ended with {self.child.wait()}:\n{self._log.read_text()}")

    def ended_with(self) -> int:
        return self.child.wait(timeout=30)

    def close_pipe(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def daemon(environment: dict[str, str], tmp_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(environment, tmp_path)
    yield fake
    fake.stop()


def numbered(first: int, last: int, *, opens: int | None = None) -> list[Numbered]:
    """Records of 10 readings each; record `opens` also opens an incident."""
    readings = [
        [reading(10 * n + m, phase=Phase.OPENED if n == opens and m == 0 else None) for m in range(10)]
        for n in range(first, last + 1)
    ]
    return [(first + index, next(batches(part))) for index, part in enumerate(readings)]


def test_a_killed_child_costs_nothing_and_alerts_nobody_twice(cloud: ConsumerCloud, daemon: FakeDaemon) -> None:
    daemon.start()
    daemon.deliver(numbered(1, 3, opens=2))
    assert daemon.asked == []
    daemon.send_records(numbered(4, 6))  # killed in the middle of these, or before, or after
    daemon.restart()
    daemon.deliver(numbered(1, 6, opens=2))
    daemon.deliver(numbered(4, 8), answer=None)  # the daemon delivers some again
    daemon.stop_gracefully()
    assert daemon.checkpoint == "8"
    daemon.restart()
    daemon.deliver([*numbered(9, 9), (10, numbered(8, 8)[0][1])])
    daemon.stop_gracefully()
    counts = daemon.counts()
    assert (counts["adopted"], counts["duplicates"], counts["flushes"]) == (10, 10, 1)
    lake = cloud.lake()
    assert (lake.rows, lake.unique) == (90, 90)
    wait_until(lambda: list(cloud.alerts().values()) == [1], 10.0, "one alert")


def test_a_window_ends_while_nothing_arrives(environment: dict[str, str], cloud: ConsumerCloud, tmp_path: Path) -> None:
    fake = FakeDaemon({**environment, "PLANTWATCH_FLUSH_INTERVAL_S": "0.2"}, tmp_path)
    try:
        fake.start()
        fake.deliver(numbered(1, 2))

        def checkpointed() -> bool:
            fake.deliver([])
            return fake.checkpoint == "2"

        wait_until(checkpointed, 10.0, "a checkpoint after an empty call")
        assert cloud.lake().unique == 20
    finally:
        fake.stop()


def test_who_lost_the_lease_stops_writing(cloud: ConsumerCloud, daemon: FakeDaemon) -> None:
    daemon.start()
    daemon.deliver(numbered(1, 2))
    daemon.stop_gracefully(answer="ShutdownException")
    daemon.deliver(numbered(3, 4))
    daemon.stop_gracefully()
    assert daemon.asked == ["2"]
    assert cloud.lake().unique == 20, "its rows are written again, under the same names, by who has the lease now"


def test_an_unreachable_cloud_ends_the_child_before_any_checkpoint(environment: dict[str, str], tmp_path: Path) -> None:
    # What a start asks for answers: the shard's parents and its state. What a flush writes to does not.
    start = {f"AWS_ENDPOINT_URL_{service}": environment["AWS_ENDPOINT_URL"] for service in ("KINESIS", "S3")}
    fake = FakeDaemon({**with_endpoint(environment, NOBODY_LISTENS), **start}, tmp_path)
    try:
        fake.start()
        fake.deliver(numbered(1, 1))
        fake.send(action="shutdownRequested")
        assert fake.ended_with() == 1
        assert fake.checkpoint is None
        assert fake.asked == []
    finally:
        fake.stop()


def test_a_child_ends_with_its_daemon(daemon: FakeDaemon) -> None:
    daemon.start()
    daemon.close_pipe()
    assert daemon.ended_with() == 0


def test_wrong_settings_end_the_child_with_all_their_names(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = {**environment, "PLANTWATCH_FLUSH_ROWS_MAX": "many", "PLANTWATCH_FAILOVER_MS": "-"}
    ended = subprocess.run(
        consumer_argv("kcl_consumer.processor"), env=wrong, cwd=REPOSITORY, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "PLANTWATCH_FLUSH_ROWS_MAX" in ended.stderr
    assert "PLANTWATCH_FAILOVER_MS" in ended.stderr
    assert ended.stdout == ""
