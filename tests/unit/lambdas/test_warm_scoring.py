"""Warm scoring behind an event source mapping: what fails comes again, what is done is never done twice."""

from __future__ import annotations

from typing import Any

import pytest

from plantwatch.incident import Phase
from plantwatch.ports import DeliveryFailed
from plantwatch.record import Record, encode_record
from plantwatch.shard.checkpoint import SHARD_END, Position
from plantwatch.shard.worker import ShardRecord
from plantwatch.telemetry import telemetry_topic
from tests.fakes import Crash, Fuse
from tests.lambda_support import SHARD, MemoryWorld, kinesis_item
from tests.unit.kcl_consumer.consumer_world import GATEWAY, START, batch, scored, thing_record, transition


def item(sequence: int, data: bytes | None = None, shard: str = SHARD) -> dict[str, Any]:
    """One reading of a fan, or other data."""
    at = START + sequence * 1000
    return kinesis_item(sequence, data or thing_record("fan-1", at, speed=float(sequence % 7)), at, shard)


def items(first: int, last: int) -> list[dict[str, Any]]:
    return [item(number) for number in range(first, last + 1)]


def shard_records(first: int, last: int) -> list[ShardRecord]:
    return [
        ShardRecord(
            Position(n, 0, str(n)), START + n * 1000, thing_record("fan-1", START + n * 1000, speed=float(n % 7))
        )
        for n in range(first, last + 1)
    ]


def incident(sequence: int, phase: Phase) -> dict[str, Any]:
    return item(sequence, batch([scored(sequence, score=1.0, transitions=[transition(phase, START)])]))


def scores(world: MemoryWorld) -> list[tuple[str, float, bool]]:
    return sorted((row["key"], row["score"], row["warming_up"]) for row in world.lake.rows())


def undisturbed(last: int) -> list[tuple[str, float, bool]]:
    world = MemoryWorld()
    assert world.invoke(items(0, last)) == []
    return scores(world)


def message(topic: str, payload: bytes) -> bytes:
    return encode_record(Record(topic, START, payload))


TOPIC = telemetry_topic("acme", "fan-1")
POISON = {
    "no record": b"\xff not ours",
    "deep nesting": b"[" * 100_000,
    "no json": message(TOPIC, b"{"),
    "no object": message(TOPIC, b"[1]"),
    "no time": message(TOPIC, b'{"speed": 1}'),
    "no number": message(TOPIC, b'{"ts": 1795000000000, "speed": NaN}'),
    "no text": message(TOPIC, b"\xff\xfe"),
    "another tenant": message(telemetry_topic("umbrella", "fan-1"), b'{"ts": 1795000000000, "speed": 1}'),
    "no gateway": message(TOPIC, b"PWB" + b"\x00" * 20),
    "damaged batch": message(telemetry_topic("acme", GATEWAY), b"\x00\x01\x02"),
}


@pytest.mark.parametrize("kind", POISON)
def test_poison_becomes_a_dead_letter_and_its_neighbours_live(kind: str) -> None:
    world = MemoryWorld(gateways=(GATEWAY,))
    assert world.invoke([item(1), item(2, POISON[kind]), item(3)]) == []
    assert len(world.dead_letters.all()) == 1
    assert len(world.lake.rows()) == 2


@pytest.mark.parametrize("port", ["results", "notifier", "lake", "dead_letters", "states"])
def test_a_service_that_fails_makes_the_batch_come_again_and_nothing_twice(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MemoryWorld(gateways=(GATEWAY,))
    event = [item(1), incident(2, Phase.OPENED), item(3, b"poison"), incident(4, Phase.CLEARED)]

    def failing(*_: Any, **__: Any) -> None:
        raise DeliveryFailed("throttled")

    method = {"results": "put_transition", "notifier": "notify", "lake": "append", "dead_letters": "put"}
    with monkeypatch.context() as patch:
        patch.setattr(getattr(world, port), method.get(port, "save"), failing)
        assert world.invoke(event) == ["1"]
    assert world.invoke(event) == []
    assert [alert.phase for alert in world.notifier.sent] == [Phase.OPENED, Phase.CLEARED]
    assert (len(world.lake.rows()), len(world.dead_letters.all())) == (3, 1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 14))
def test_a_container_killed_at_any_call_leaves_nothing_lost_and_nothing_twice(call: int, after: bool) -> None:
    """What a time-out does: the container is gone in the middle, and the mapping sends the batch again."""
    world = MemoryWorld(gateways=(GATEWAY,))
    event = [item(1), incident(2, Phase.OPENED), item(3, b"poison"), incident(4, Phase.CLEARED)]
    world.fuse = Fuse(call, after=after)
    world.recycle()
    try:
        world.invoke(event)
    except Crash:
        world.fuse = Fuse()
        world.recycle()
        assert world.invoke(event) == []
    assert len({alert.alert_id for alert in world.notifier.sent}) == 2, "a repeat has the same name"
    assert (len(world.lake.rows()), len(world.dead_letters.all())) == (3, 1)
    assert world.results.open == {}


def test_a_function_that_runs_out_of_time_writes_what_it_took_and_reports_the_rest() -> None:
    world = MemoryWorld()
    left = iter([600_000.0, 600_000.0, 1_000.0])
    shard, records = SHARD, shard_records(0, 299)
    first = world._scoring.take(shard, records, lambda: next(left))
    assert first == Position(200)
    assert len(world.lake.rows()) == 200
    assert world.invoke(items(200, 299)) == []
    assert scores(world) == undisturbed(299)


def test_another_container_goes_on_where_the_last_one_ended() -> None:
    world = MemoryWorld()
    assert world.invoke(items(0, 99)) == []
    old = world._scoring
    world.recycle()
    assert world.invoke(items(100, 199)) == []
    world._scoring = old  # which does not know what the other one did since
    assert world.invoke(items(200, 299)) == []
    assert world.invoke(items(250, 299)) == [], "a batch that comes again is done"
    assert scores(world) == undisturbed(299)


def test_from_consumer_to_function_and_back_every_reading_is_scored_once_and_warm() -> None:
    world = MemoryWorld()
    checkpoints: list[Position] = []
    consumer = world.worker()
    consumer.start(SHARD, None)
    consumer.process(shard_records(0, 99), checkpoints.append)
    consumer.finish(checkpoints.append)
    assert world.invoke(items(0, 199)) == [], "the mapping begins at the stream's beginning"
    back = world.worker()
    back.start(SHARD, checkpoints[-1])  # the lease table knows nothing of what the function did
    back.process(shard_records(100, 299), checkpoints.append)
    back.finish(checkpoints.append)
    assert scores(world) == undisturbed(299)
    assert checkpoints[-1] == Position(299)


def test_a_shard_that_the_consumer_ended_is_passed_over_and_its_child_is_warm() -> None:
    world = MemoryWorld()
    consumer = world.worker()
    consumer.start(SHARD, None)
    consumer.process(shard_records(0, 199), lambda _: None)
    consumer.end_shard(lambda _: None)
    assert world.states.newest(SHARD) is not None
    assert world.states.kept[SHARD][-1][0] == SHARD_END
    world.family.of["child"] = (SHARD,)
    assert world.invoke(items(0, 199)) == []
    assert world.invoke([item(number, shard="child") for number in range(200, 300)]) == []
    assert scores(world) == undisturbed(299)
