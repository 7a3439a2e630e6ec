"""The real MultiLangDaemon, our supervisor and our children against an emulated region."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.processes import wait_until
from plantwatch.incident import Phase
from tests.kcl_support import (
    ConsumerCloud,
    batches,
    children,
    consumer_cloud,
    descendants,
    kill,
    reading,
    running_consumer,
)

pytestmark = pytest.mark.component

# From the start of the JVM to the first rows: measured 10 to 16 s on two busy cores.
STARTED_WITHIN_S = 60.0
RESTARTED_WITHIN_S = 60.0


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ConsumerCloud]:
    with consumer_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def supervisor(cloud: ConsumerCloud, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with running_consumer(cloud, tmp_path) as process:
        yield process


def test_kills_lose_nothing_and_alert_nobody_twice(cloud: ConsumerCloud, supervisor: subprocess.Popen[bytes]) -> None:
    def stored(count: int, within_s: float) -> None:
        def enough() -> bool:
            assert supervisor.poll() is None, "the supervisor ended"
            return cloud.lake().unique >= count

        wait_until(enough, within_s, f"{count} readings in the lake")

    cloud.put([*batches([reading(0), reading(1, phase=Phase.OPENED), *map(reading, range(2, 200))]), b"not a record"])
    stored(200, STARTED_WITHIN_S)
    wait_until(lambda: sum(cloud.alerts().values()) == 1, 10.0, "the alert")

    cloud.put(list(batches([*map(reading, range(200, 300))])))
    (daemon,) = children(supervisor.pid)
    (child,) = children(daemon)
    kill(child)  # with records taken and not yet checkpointed
    cloud.put(list(batches([*map(reading, range(300, 400))])))
    stored(400, RESTARTED_WITHIN_S)

    cloud.put(list(batches([*map(reading, range(400, 500))])))
    (daemon,) = children(supervisor.pid)
    kill(daemon)
    cloud.put(list(batches([*map(reading, range(500, 599)), reading(599, phase=Phase.CLEARED)])))
    stored(600, RESTARTED_WITHIN_S)
    wait_until(lambda: sum(cloud.alerts().values()) >= 2, 10.0, "the clearing")

    before = cloud.checkpoints()
    cloud.put(list(batches([*map(reading, range(600, 650))])))
    stored(650, 20.0)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=45.0) == 0
    assert descendants(supervisor.pid) == []
    after = cloud.checkpoints()
    assert int(after["shardId-000000000000"]) > int(before["shardId-000000000000"])

    lake = cloud.lake()
    assert (lake.rows, lake.unique) == (650, 650), "every reading exactly once"
    assert sorted(cloud.alerts().values()) == [1, 1], "opened and cleared, each once"
    assert cloud.dead_letters() == ["malformed_record"]
