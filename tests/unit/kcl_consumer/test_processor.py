"""The daemon's messages through the library's own KCLProcess, with files for pipes: no Java, milliseconds."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, NoReturn

import pytest
from amazon_kclpy import kcl

from kcl_consumer.processor import EXIT_FAILED, RecordProcessor
from plantwatch.incident import Phase
from plantwatch.shard.checkpoint import Position
from plantwatch.shard.patience import Patience
from tests.unit.kcl_consumer.consumer_world import SHARD, START, World, batch, readings, scored, transition

Message = dict[str, Any]


class Ended(BaseException):
    """Stands for the end of the process."""


def end(code: int) -> NoReturn:
    raise Ended(code)


def initialize(sequence: str | None = None) -> Message:
    return {"action": "initialize", "shardId": SHARD, "sequenceNumber": sequence, "subSequenceNumber": 0}


def records(*items: tuple[int, bytes]) -> Message:
    return {
        "action": "processRecords",
        "millisBehindLatest": 0,
        "records": [
            {
                "action": "record",
                "data": base64.b64encode(data).decode(),
                "partitionKey": "p",
                "sequenceNumber": f"{sequence:06d}",
                "subSequenceNumber": 0,
                "approximateArrivalTimestamp": START + sequence * 1000,
            }
            for sequence, data in items
        ],
    }


def confirmed(error: str | None = None) -> Message:
    """The daemon's answer to a checkpoint."""
    return {"action": "checkpoint", "sequenceNumber": "", "subSequenceNumber": 0, "error": error}


def run(world: World, *messages: Message) -> list[Message]:
    """What the process answers to these messages."""
    output = io.StringIO()
    patience = Patience(limit_s=1.0, sleep=lambda _: None)
    processor = RecordProcessor(world.start(), patience, end=end)
    lines = io.StringIO("".join(json.dumps(message) + "\n" for message in messages))
    try:
        kcl.KCLProcess(processor, input_file=lines, output_file=output, error_file=io.StringIO()).run()
    finally:
        answers = [json.loads(line) for line in output.getvalue().splitlines() if line]
        world.checkpoints += [
            Position(int(answer["sequenceNumber"]), answer["subSequenceNumber"])
            for answer in answers
            if answer["action"] == "checkpoint" and answer["sequenceNumber"] is not None
        ]
    return answers


READINGS = [(record.position.sequence, record.data) for record in readings(0, 4)]


def test_records_become_rows_and_the_stop_becomes_a_checkpoint() -> None:
    world = World()
    answers = run(world, initialize(), records(*READINGS), {"action": "shutdownRequested"}, confirmed())
    assert [answer["action"] for answer in answers] == ["status", "status", "checkpoint", "status"]
    assert world.checkpoints == [Position(4)]
    assert len(world.lake.rows()) == 5


def test_the_end_of_a_shard_is_checkpointed_or_its_children_would_never_be_read() -> None:
    world = World()
    answers = run(world, initialize(), records(*READINGS), {"action": "shardEnded"}, confirmed(), confirmed())
    asked = [answer["sequenceNumber"] for answer in answers if answer["action"] == "checkpoint"]
    assert asked == ["000004", None], "the number as the stream wrote it"
    assert len(world.lake.rows()) == 5


def test_a_lost_lease_is_neither_written_nor_checkpointed() -> None:
    world = World()
    answers = run(world, initialize(), records(*READINGS), {"action": "leaseLost"}, {"action": "shutdownRequested"})
    assert {answer["action"] for answer in answers} == {"status"}
    assert world.lake.rows() == []
    assert [counts["adopted"] for counts in world.meter.reports] == [5]


def test_a_refused_checkpoint_means_that_the_lease_is_lost() -> None:
    world = World()
    answers = run(
        world,
        initialize(),
        records(*READINGS),
        {"action": "shutdownRequested"},
        confirmed("ShutdownException"),
        records((9, READINGS[0][1])),
    )
    assert [answer["action"] for answer in answers] == ["status", "status", "checkpoint", "status", "status"]


def test_a_throttled_checkpoint_is_asked_again() -> None:
    world = World()
    run(
        world,
        initialize(),
        records(*READINGS),
        {"action": "shutdownRequested"},
        confirmed("ThrottlingException"),
        confirmed(),
    )
    assert world.checkpoints == [Position(4), Position(4)]


@pytest.mark.parametrize("error", ["InvalidStateException", "IllegalArgumentException"])
def test_a_checkpoint_that_fails_for_good_ends_the_process(error: str) -> None:
    with pytest.raises(Ended) as ended:
        run(World(), initialize(), records(*READINGS), {"action": "shutdownRequested"}, confirmed(error))
    assert ended.value.args == (EXIT_FAILED,)


def test_a_failed_delivery_ends_the_process_before_any_checkpoint() -> None:
    """The library would report the batch as done, and the next checkpoint would move past it."""
    world = World()
    world.switch.active = None
    opened = batch([scored(1, score=1.0, transitions=[transition(Phase.OPENED, START)])])
    with pytest.raises(Ended) as ended:
        run(world, initialize(), records((1, opened)), {"action": "shutdownRequested"}, confirmed())
    assert ended.value.args == (EXIT_FAILED,)
    assert world.checkpoints == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"payload": "e30=", "topic": 5, "received_at": 1}',
        b"\xf3\x89\x9a\xc2KPL",
        b"9" * 5000,
    ],
)
def test_no_record_whatever_ends_the_process(data: bytes) -> None:
    world = World()
    run(world, initialize(), records((1, data), READINGS[2]), {"action": "shutdownRequested"}, confirmed())
    assert len(world.dead_letters.all()) == 1
    assert len(world.lake.rows()) == 1


def test_a_shard_goes_on_after_its_checkpoint() -> None:
    world = World(checkpoint=Position(2))
    run(world, initialize("2"), records(*READINGS[3:]), {"action": "shutdownRequested"}, confirmed())
    assert [fields["sequence"] for fields in world.lake.rows()] == [3, 4]
