"""A shard is split, and merged again, while records flow, with the real daemon."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from kcl_consumer.meter import PREFIX
from localcloud.processes import wait_until
from tests.kcl_support import ConsumerCloud, batches, consumer_cloud, reading, running_consumer

pytestmark = pytest.mark.component

WITHIN_S = 60.0
# One for each half of the hash keys.
GATEWAYS: Final = ("gateway-1", "gateway-4")
SPLIT_AT: Final = str(1 << 127)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ConsumerCloud]:
    with consumer_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def supervisor(cloud: ConsumerCloud, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with running_consumer(cloud, tmp_path) as process:
        yield process


def send(cloud: ConsumerCloud, first: int, last: int) -> None:
    """Readings `first` to `last` of a machine behind each gateway."""
    for gateway in GATEWAYS:
        readings = [reading(n, device=f"pump-of-{gateway}", gateway=gateway) for n in range(first, last + 1)]
        cloud.put(list(batches(readings)), sender=gateway)


def open_shards(cloud: ConsumerCloud) -> list[str]:
    shards = cloud.running.client("kinesis").list_shards(StreamName=cloud.names.stream)["Shards"]
    return [shard["ShardId"] for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


def test_a_split_and_a_merge_lose_nothing_and_store_nothing_twice(
    cloud: ConsumerCloud, supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    def stored(count: int) -> None:
        def enough() -> bool:
            assert supervisor.poll() is None, "the supervisor ended"
            return cloud.lake().unique >= count

        wait_until(enough, WITHIN_S, f"{count} readings in the lake")

    kinesis, stream = cloud.running.client("kinesis"), cloud.names.stream
    send(cloud, 1, 100)
    stored(200)
    send(cloud, 101, 200)
    (parent,) = open_shards(cloud)
    kinesis.split_shard(StreamName=stream, ShardToSplit=parent, NewStartingHashKey=SPLIT_AT)
    send(cloud, 181, 300)  # the senders repeat what was not acknowledged in time: the children get what the parent had
    stored(600)

    send(cloud, 301, 400)
    left, right = open_shards(cloud)
    kinesis.merge_shards(StreamName=stream, ShardToMerge=left, AdjacentShardToMerge=right)
    send(cloud, 381, 500)
    stored(1000)

    lake = cloud.lake()
    assert (lake.rows, lake.unique) == (1000, 1000), "every reading exactly once"
    log = (tmp_path / "consumer.log").read_text()
    told = [json.loads(line.partition(f" {PREFIX} ")[2]) for line in log.splitlines() if PREFIX in line]
    # One line of each shard that has ended, and each line once.
    assert sorted((counts["shard"], counts["duplicates"]) for counts in told) == [(parent, 0), (left, 20), (right, 20)]
    assert log.count("starts cold") == 1, "the first shard only"
    (last,) = open_shards(cloud)
    assert set(cloud.checkpoints()) >= {parent, left, right, last}
