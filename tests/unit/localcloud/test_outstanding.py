"""What a source keeps until it is acknowledged: a simulation over a bus that loses messages."""

from __future__ import annotations

import json
import random

import pytest

from edge_component.numbering import Numbering, Taking
from localcloud.simulator.memory_queue import MemoryQueue
from localcloud.simulator.outstanding import Outstanding
from plantwatch.telemetry import InvalidReading, RejectionReason


@pytest.mark.parametrize("seed", range(20))
def test_over_a_lossy_bus_every_reading_is_taken_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    outstanding = Outstanding("driver")
    numbering = Numbering(last_taken=lambda _: 0, last_numbered=lambda _: 0)
    taken: dict[str, list[int]] = {"a": [], "b": []}
    for value in range(200):
        outstanding.add(chance.choice("ab"), {"ts": value, "n": value})
    rounds = 0
    while len(outstanding):
        rounds += 1
        assert rounds < 1000, f"seed {seed} never ends"
        for device, payload in outstanding.messages():
            if chance.random() < 0.4:
                continue
            for item in json.loads(payload):
                if numbering.take(item["source"], device, item["seq"]) is Taking.NEXT:
                    taken[device].append(item["n"])
            if chance.random() < 0.6:
                outstanding.acknowledge(device, numbering.last_taken("driver", device))
        outstanding.rewind()
    assert sorted(taken["a"] + taken["b"]) == list(range(200))
    assert all(values == sorted(values) for values in taken.values())


def test_messages_stay_below_what_the_nucleus_carries() -> None:
    outstanding = Outstanding("driver")
    for value in range(500):
        outstanding.add("pump", {"ts": value, "temperature": 61.234 + value})
    sizes = [len(payload) for _, payload in outstanding.messages()]
    assert len(sizes) > 1
    assert max(sizes) <= 6_600
    assert outstanding.all_sent


def test_a_memory_queue_keeps_a_row_until_the_slowest_leg_has_sent_it() -> None:
    queue = MemoryQueue(["primary", "dr"], rows_max=2)
    assert queue.add(b"1", 0)
    assert queue.add(b"2", 0)
    assert not queue.add(b"3", 0), "bounded"
    rows = [queue.take("primary", 10), queue.take("primary", 10)]
    assert queue.take("primary", 10) is None
    queue.acknowledge("primary", [row for row in rows if row])
    assert (queue.depth("primary").rows, queue.depth("dr").rows) == (0, 2)
    first = queue.take("dr", 10)
    assert first
    assert first.payload == b"1"
    queue.acknowledge("dr", [first])
    assert queue.add(b"3", 0)
    assert not queue.wait_empty(0)


def test_a_reading_that_the_bus_would_never_take_is_refused_and_takes_no_number() -> None:
    outstanding = Outstanding("driver")
    outstanding.add("pump-1", {"ts": 1, "note": "x" * 6_000})
    with pytest.raises(InvalidReading, match="the local bus takes 6500") as refused:
        outstanding.add("pump-1", {"ts": 2, "note": "x" * 6_500})
    assert refused.value.reason is RejectionReason.TOO_LARGE
    outstanding.add("pump-1", {"ts": 3})
    sent = [item for _, payload in outstanding.messages() for item in json.loads(payload)]
    assert [(item["ts"], item["seq"]) for item in sent] == [(1, 1), (3, 2)]
    assert len(outstanding) == 2
