"""The consumer's core: order of effects, flushes, standby, and what a crash at any point leaves behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantwatch.incident import Alert, Phase
from plantwatch.ports import DeliveryFailed
from plantwatch.shard.checkpoint import SHARD_END, Position
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.worker import UNSENT_FOR_MS, ShardRecord
from plantwatch.telemetry import RejectionReason, isoformat
from tests.fakes import Crash, Fuse
from tests.unit.kcl_consumer.consumer_world import (
    SHARD,
    START,
    World,
    batch,
    readings,
    scored,
    shard_record,
    thing_record,
    transition,
)


def incident_record(sequence: int, phase: Phase, first_seen: int) -> ShardRecord:
    return shard_record(sequence, batch([scored(sequence, score=1.0, transitions=[transition(phase, first_seen)])]))


def test_nothing_is_checkpointed_before_the_window_ends_and_then_all_that_was_written() -> None:
    world = World()
    worker = world.start()
    worker.process(readings(0, 9), world.confirm)
    assert world.checkpoints == []
    worker.process(readings(10, 12), world.confirm)
    assert world.checkpoints == [Position(9)]
    assert len(world.lake.rows()) == 10


def test_an_empty_call_ends_a_window_in_which_nothing_more_arrives() -> None:
    world = World()
    worker = world.start()
    worker.process(readings(0, 3), world.confirm)
    world.clock.at = START + 12_000
    worker.process([], world.confirm)
    assert world.checkpoints == [Position(3)]
    worker.process([], world.confirm)
    assert world.checkpoints == [Position(3)], "nothing new, nothing asked"


def test_a_flush_ends_by_rows_and_by_bytes_too() -> None:
    by_rows, by_bytes = World(), World()
    by_rows.start(policy=FlushPolicy(rows_max=4)).process(readings(0, 9), by_rows.confirm)
    assert by_rows.checkpoints == [Position(3), Position(7)]
    size = len(readings(0, 0)[0].data)
    by_bytes.start(policy=FlushPolicy(bytes_max=size * 5 // 2)).process(readings(0, 9), by_bytes.confirm)
    assert by_bytes.checkpoints == [Position(2), Position(5), Position(8)]


def test_an_alert_is_stored_and_sent_at_once_and_only_once() -> None:
    world = World()
    worker = world.start()
    worker.process([incident_record(1, Phase.OPENED, START)], world.confirm)
    (alert,) = world.notifier.sent
    assert world.checkpoints == []
    assert (alert.device, alert.phase, alert.region) == ("pump-7", Phase.OPENED, "us-east-1")
    assert world.results.incidents[alert.incident_id].notified == {Phase.OPENED}

    again = world.start()
    again.process([incident_record(1, Phase.OPENED, START), incident_record(2, Phase.CLEARED, START)], world.confirm)
    assert [sent.phase for sent in world.notifier.sent] == [Phase.OPENED, Phase.CLEARED]


def test_anomalies_are_the_readings_from_the_limit_on_and_those_that_turn_an_incident() -> None:
    world = World()
    records = [
        shard_record(1, batch([scored(1, score=0.9989)])),
        shard_record(2, batch([scored(2, score=0.999)])),
        shard_record(3, batch([scored(3, score=0.2, transitions=[transition(Phase.OPENED, START)])])),
    ]
    world.start().process(records, world.confirm)
    assert sorted(item.reading.sequence for item in world.results.anomalies.values()) == [2, 3]


def test_what_was_done_is_told_once_a_minute_and_at_the_end() -> None:
    world = World()
    worker = world.start()
    world.clock.at = START + 30_000
    worker.process(
        [
            shard_record(1, thing_record("fan-1", START, speed=1.0)),
            shard_record(2, thing_record("fan-1", START, speed=1.0)),
            shard_record(3, b"not a record"),
            *readings(4, 6),
            incident_record(7, Phase.OPENED, START),
            shard_record(8, batch([scored(4), scored(8)])),
        ],
        world.confirm,
    )
    assert world.meter.reports == []
    world.clock.at = START + 60_000
    worker.process([], world.confirm)
    expected = {
        "shard": SHARD,
        "at": isoformat(START + 60_000),
        "records": 8,
        "scored": 1,
        "adopted": 5,
        "duplicates": 2,
        "declared_drops": 0,
        "rejected": {"malformed_record": 1},
        "alerts_sent": 1,
        "flushes": 1,
        "oldest_ms": 30_000 - 1_050,
        "evicted_machines": 0,
        "evicted_signals": 0,
        "late_readings": 0,
    }
    assert world.meter.reports == [expected]
    worker.process([], world.confirm)
    assert len(world.meter.reports) == 1, "the minute has just begun"
    worker.finish(world.confirm)
    at_the_end = {**expected, "oldest_ms": 0}
    assert world.meter.reports[1:] == [at_the_end], "totals, and the age of what was taken since"


def test_a_reading_of_another_bundle_is_scored_and_not_adopted() -> None:
    world = World()
    worker = world.start()
    worker.process([shard_record(1, batch([scored(1)], bundle="another"))], world.confirm)
    worker.finish(world.confirm)
    (counts,) = world.meter.reports
    assert (counts["scored"], counts["adopted"]) == (1, 0)


def test_a_bad_record_goes_to_dead_letters_and_its_neighbours_live() -> None:
    world = World()
    worker = world.start()
    worker.process([shard_record(1, b"\xff not ours"), *readings(2, 3)], world.confirm)
    worker.finish(world.confirm)
    assert [letter.reason for letter in world.dead_letters.all()] == [RejectionReason.MALFORMED_RECORD]
    assert len(world.lake.rows()) == 2
    assert world.checkpoints == [Position(3)]


def test_the_newest_reading_of_each_device_becomes_its_state() -> None:
    world = World()
    worker = world.start()
    late = shard_record(4, batch([scored(4, observed_at=START - 60_000)]))
    other = shard_record(5, batch([scored(5, device="fan-2")]))
    worker.process([*readings(1, 3), late, other], world.confirm)
    worker.finish(world.confirm)
    assert {device: item.reading.sequence for device, item in world.results.states.items()} == {"pump-7": 3, "fan-2": 5}


def test_the_standby_keeps_its_lake_and_its_state_and_tells_nobody() -> None:
    world = World()
    world.switch.active = False
    worker = world.start()
    worker.process([*readings(1, 3), incident_record(4, Phase.OPENED, START)], world.confirm)
    worker.finish(world.confirm)
    assert len(world.lake.rows()) == 4
    assert world.checkpoints == [Position(4)]
    assert world.states.load("shardId-000000000000", str(Position(4))) is not None
    assert (world.notifier.sent, world.results.incidents, world.results.anomalies, world.results.states) == (
        [],
        {},
        {},
        {},
    )


def test_a_promoted_standby_sends_what_nobody_has_sent() -> None:
    world = World()
    world.switch.active = False
    worker = world.start()
    worker.process(
        [
            incident_record(1, Phase.OPENED, START),
            incident_record(2, Phase.CLEARED, START),
            incident_record(3, Phase.OPENED, START + 3000),
        ],
        world.confirm,
    )
    # The other region had sent the first two; their marks came with the table's replication.
    sent_there = World(results=world.results)
    sent_there.start().process(
        [incident_record(1, Phase.OPENED, START), incident_record(2, Phase.CLEARED, START)], sent_there.confirm
    )
    world.switch.active = True
    worker.finish(world.confirm)
    assert [(alert.phase, alert.first_seen) for alert in world.notifier.sent] == [(Phase.OPENED, START + 3000)]


def test_a_promoted_standby_leaves_old_alerts_to_who_was_active_then() -> None:
    world = World()
    world.switch.active = False
    worker = world.start()
    worker.process([incident_record(1, Phase.OPENED, START)], world.confirm)
    world.clock.at = START + UNSENT_FOR_MS + 60_000
    worker.process([], world.confirm)
    world.switch.active = True
    worker.process([incident_record(2, Phase.OPENED, START + 2000)], world.confirm)
    assert [alert.first_seen for alert in world.notifier.sent] == [START + 2000]


def test_a_promoted_standby_need_not_wait_for_a_record_to_send_what_nobody_has_sent() -> None:
    world = World()
    world.switch.active = False
    worker = world.start()
    worker.process([incident_record(1, Phase.OPENED, START)], world.confirm)
    world.clock.at = START + 60_000
    worker.process([], world.confirm)
    assert (world.checkpoints, world.notifier.sent) == ([Position(1)], [])
    world.switch.active = True
    worker.process([], world.confirm)
    assert [alert.phase for alert in world.notifier.sent] == [Phase.OPENED]
    worker.process([], world.confirm)
    assert len(world.notifier.sent) == 1


def test_a_standby_promoted_after_a_silence_leaves_old_alerts_alone() -> None:
    world = World()
    world.switch.active = False
    worker = world.start()
    worker.process([incident_record(1, Phase.OPENED, START)], world.confirm)
    world.switch.active = True
    world.clock.at = START + UNSENT_FOR_MS + 60_000
    worker.process([], world.confirm)
    assert world.notifier.sent == []


def test_a_damaged_state_means_a_cold_start() -> None:
    world = World()
    worker = world.start()
    worker.process(readings(0, 12), world.confirm)
    world.states.kept[SHARD] = [(str(world.checkpoint), b"\0\0\0\4damaged")]
    again = world.start()
    again.process(readings(10, 12), world.confirm)
    again.finish(world.confirm)
    assert world.checkpoints[-1] == Position(12)


def test_where_nobody_can_tell_the_active_region_nothing_is_sent_and_nothing_checkpointed() -> None:
    world = World()
    world.switch.active = None
    worker = world.start()
    with pytest.raises(DeliveryFailed):
        worker.process([incident_record(1, Phase.OPENED, START)], world.confirm)
    assert (world.notifier.sent, world.checkpoints) == ([], [])


def test_a_batch_that_the_daemon_delivers_again_changes_nothing() -> None:
    world = World()
    worker = world.start()
    worker.process(readings(0, 5), world.confirm)
    worker.process(readings(0, 7), world.confirm)
    worker.finish(world.confirm)
    assert len(world.stored_keys()) == len(set(world.stored_keys())) == 8


def test_a_new_process_goes_on_with_the_detectors_state() -> None:
    """Scores of a thing's readings depend on all before them: a cold start would give others."""
    records = [shard_record(n, thing_record("fan-1", START + n * 1000, speed=float(n % 7))) for n in range(300)]
    whole, split = World(), World()
    worker = whole.start()
    worker.process(records, whole.confirm)
    worker.finish(whole.confirm)

    first = split.start()
    first.process(records[:200], split.confirm)
    split.start().process(split.undelivered(records[:250]), split.confirm)
    last = split.start()
    last.process(split.undelivered(records), split.confirm)
    last.finish(split.confirm)

    def scores(world: World) -> dict[str, tuple[float, bool]]:
        return {fields["key"]: (fields["score"], fields["warming_up"]) for fields in world.lake.rows()}

    assert scores(split) == scores(whole)


def test_the_children_of_a_split_and_of_a_merge_begin_with_what_was_learnt() -> None:
    """Each thing's scores are those of one shard that never ended, and what had arrived stays known."""

    def records(device: str, first: int, last: int) -> list[ShardRecord]:
        return [
            shard_record(n, thing_record(device, START + n * 1000, speed=float(n % 7))) for n in range(first, last + 1)
        ]

    def lived(shard: str, parents: tuple[str, ...], *parts: list[ShardRecord]) -> None:
        world.checkpoint, world.family.of[shard] = None, parents
        worker = world.start(shard=shard)
        worker.process(sorted((record for part in parts for record in part), key=lambda one: one.position), quiet)
        worker.end_shard(quiet)

    def quiet(_: Position) -> None:
        return

    world, whole = World(), World()
    devices = {"fan-1": 0, "fan-2": 1000}
    for device, offset in devices.items():
        worker = whole.start()
        worker.process(records(device, offset, offset + 299), quiet)
        worker.finish(quiet)

    lived("parent", (), records("fan-1", 0, 99), records("fan-2", 1000, 1099))
    lived("left", ("parent",), records("fan-1", 90, 199))  # the thing repeats what was not acknowledged in time
    lived("right", ("parent",), records("fan-2", 1090, 1199))
    lived("merged", ("left", "right"), records("fan-1", 190, 299), records("fan-2", 1190, 1299))

    def scores(of: World) -> list[tuple[str, str, float, bool]]:
        rows = of.lake.rows()
        return sorted((row["device"], row["key"], row["score"], row["warming_up"]) for row in rows)

    assert scores(world) == scores(whole)
    assert [counts["duplicates"] for counts in world.meter.reports] == [0, 10, 10, 20]


def test_a_parents_damaged_state_means_a_cold_start() -> None:
    world = World()
    world.family.of["child"] = (SHARD, "expired")
    world.states.kept[SHARD] = [(SHARD_END, b"damaged")]
    worker = world.start(shard="child")
    worker.process(readings(0, 12), world.confirm)
    assert world.checkpoints == [Position(9)]


def test_a_state_of_another_checkpoint_is_not_used() -> None:
    world = World()
    worker = world.start()
    worker.process(readings(0, 12), world.confirm)
    assert world.states.load("shardId-000000000000", str(Position(9))) is not None
    assert world.states.load("shardId-000000000000", str(Position(8))) is None


def test_a_zombie_that_writes_late_destroys_nothing() -> None:
    """A worker loses its shard without knowing it, and writes after its successor."""
    world = World()
    zombie = world.start()
    zombie.process(readings(0, 4), world.confirm)
    successor = world.start()
    successor.process(readings(0, 12), world.confirm)
    successor.finish(world.confirm)
    zombie.finish(lambda _: None)
    assert len(world.stored_keys()) == len(set(world.stored_keys())) == 13


RECORDS = [
    *readings(0, 4),
    incident_record(5, Phase.OPENED, START + 5000),
    shard_record(6, b"not a record"),
    *readings(7, 11, score=1.0),
    shard_record(12, batch([scored(12, observed_at=START - 90_000_000), scored(13)])),  # two observed days
    incident_record(14, Phase.CLEARED, START + 5000),
    *readings(15, 33),
]
WHOLE_ALERTS = [Phase.OPENED, Phase.CLEARED]


@settings(max_examples=150)
@given(st.data())
def test_whatever_crashes_wherever_everything_is_stored_once_and_nothing_checkpointed_early(
    data: st.DataObject,
) -> None:
    world = World()
    sends: list[Alert] = []
    for _ in range(data.draw(st.integers(0, 4), label="crashes")):
        fuse = Fuse(data.draw(st.integers(1, 30), label="at call"), after=data.draw(st.booleans(), label="after"))
        _live(world, fuse, data)
    _live(world, Fuse(), data)

    keys = world.stored_keys()
    assert len(keys) == len(set(keys)) == 33, "every reading once"
    assert len(world.dead_letters.all()) == 1
    assert len(world.results.anomalies) == 7
    sends = world.notifier.sent
    assert [phase for phase in Phase if phase in {alert.phase for alert in sends}] == WHOLE_ALERTS
    assert len({alert.alert_id for alert in sends}) == 2, "a repeat has the same name"
    (incident,) = world.results.incidents.values()
    assert incident.cleared
    assert world.results.open == {}


def _live(world: World, fuse: Fuse, data: st.DataObject) -> None:
    """One life of a process, which may end by the fuse."""

    def confirm(position: Position) -> None:
        stored = set(world.stored_keys())
        for record in RECORDS:
            if record.position <= position and record.position != Position(6):
                number = record.position.sequence
                assert ("pump-7", scored(number).reading.key) in stored, "the checkpoint is ahead of the lake"
        world.confirm(position)

    try:
        worker = world.start(fuse=fuse, policy=FlushPolicy(interval_ms=10_000, rows_max=8))
        pending = world.undelivered(RECORDS)
        while pending:
            size = data.draw(st.integers(1, len(pending)), label="records of a call")
            worker.process(pending[:size], fuse.wrap(confirm))
            pending = pending[size:]
        worker.finish(fuse.wrap(confirm))
    except Crash:
        pass
