"""From local messages to what the spool keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_component.intake import Count, Intake, contents
from edge_component.numbering import Numbering
from edge_component.sources.local_topics import LocalMessage
from edge_component.spool import Addition, Spool
from plantwatch import envelope
from plantwatch.envelope import Batch
from plantwatch.incident import Phase
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.record import Record, encode_record
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Rejection, RejectionReason, Source

AT = 1_763_877_600_000


def intake(taken: dict[tuple[str, str], int] | None = None, *, batch_bytes_max: int = 5_000) -> Intake:
    pipeline = Pipeline(Machines(), tenant="acme")
    return Intake(
        pipeline,
        Numbering(last_taken=lambda key: (taken or {}).get(key, 0), last_numbered=lambda _: 0),
        gateway="gateway-1",
        epoch=3,
        batch_bytes_max=batch_bytes_max,
    )


def message(payload: Any, device: str = "pump-1", at: int = AT) -> LocalMessage:
    data = payload if isinstance(payload, bytes | dict) else json.dumps(payload).encode()
    return LocalMessage(f"plantwatch/telemetry/{device}", data, at)


def fields(value: float, **more: Any) -> dict[str, Any]:
    return {"ts": AT + value, "flow": value, **more}


def numbered(sequence: int) -> dict[str, Any]:
    return fields(float(sequence), source="driver", seq=sequence)


def batches(addition: Addition, *, at: int = AT + 10**6) -> list[Batch]:
    return [envelope.decode(item.payload, Source("acme", "gateway-1"), received_at=at) for item in addition.messages]


def readings(addition: Addition) -> list[ScoredReading]:
    return [item for batch in batches(addition) for item in batch.scored]


def forwarded(addition: Addition) -> list[Rejection]:
    return [item for batch in batches(addition) for item in batch.rejected]


def kept_by(folder: Path, addition: Addition) -> None:
    """Nothing that a driver can send may be more than the database takes."""
    spool = Spool(folder / "spool.db", legs=["dr"], bytes_max=10**6, rejected_rows_max=10, contents=lambda _: [])
    spool.append(addition)
    spool.close()


def test_readings_are_numbered_per_device_from_one_in_this_epoch() -> None:
    subject = intake()
    subject.accept([message(fields(1)), message(fields(2), "pump-2"), message(fields(3))])
    addition = subject.seal()
    keys = {(item.reading.device, item.reading.key, item.reading.signals["flow"]) for item in readings(addition)}
    assert keys == {
        ("pump-1", "gateway-1.000003.000000000001", 1.0),
        ("pump-2", "gateway-1.000003.000000000001", 2.0),
        ("pump-1", "gateway-1.000003.000000000002", 3.0),
    }
    assert addition.numbered == {"pump-1": 2, "pump-2": 1}
    assert len(subject) == 0


def test_the_cookbooks_payload_comes_through_with_attributes_and_the_edges_receive_time() -> None:
    subject = intake()
    subject.accept(
        [message(b'{"ts": 1763877600, "temperature": 83.2, "vibration": 0.19, "operator": "mk"}', at=AT + 7)]
    )
    ((reading, *_),) = readings(subject.seal())
    assert (reading.observed_at, reading.received_at) == (AT, AT + 7)
    assert reading.signals == {"temperature": 83.2, "vibration": 0.19}
    assert reading.attributes == {"operator": "mk"}
    assert reading.gateway == "gateway-1"


def test_an_array_holds_many_readings_and_a_bad_one_harms_no_other() -> None:
    subject = intake()
    payload = b'[{"ts":1763877600,"a":1},{"ts":1763877601,"a":NaN},[],{"a":1,"a":2,"ts":3},{"ts":1763877602,"a":2}]'
    subject.accept([message(payload)])
    addition = subject.seal()
    assert [item.reading.signals["a"] for item in readings(addition)] == [1.0, 2.0]
    assert [item.reason for item in addition.rejections] == [
        RejectionReason.NOT_FINITE, RejectionReason.NOT_AN_OBJECT, RejectionReason.DUPLICATE_KEY,
    ]  # fmt: skip
    assert subject.counts == {Count.ACCEPTED: 2, Count.REJECTED: 3}


@pytest.mark.parametrize(
    ("payload", "device", "reason"),
    [
        (b"{", "pump-1", RejectionReason.MALFORMED_JSON),
        (b"[" * 100_000, "pump-1", RejectionReason.MALFORMED_JSON),
        (b"\xff\xfe", "pump-1", RejectionReason.WRONG_ENCODING),
        (b"[" + b" " * 200_000 + b"]", "pump-1", RejectionReason.TOO_LARGE),
        (b"3", "pump-1", RejectionReason.NOT_AN_OBJECT),
        (b'{"ts":1763877600,"a":1}', "bad name", RejectionReason.INVALID_NAME),
        ({"ts": AT, "a": float("inf")}, "pump-1", RejectionReason.NOT_FINITE),
        ({"ts": AT, "a": [1]}, "pump-1", RejectionReason.UNSUPPORTED_VALUE),
        (b'{"ts":1763877600,"a":1,"source":"a b","seq":1}', "pump-1", RejectionReason.INVALID_NAME),
        (b'{"ts":1763877600,"a":1,"source":"","seq":1}', "pump-1", RejectionReason.INVALID_NAME),
        (b'{"ts":1763877600,"a":1,"source":"' + b"s" * 129 + b'","seq":1}', "pump-1", RejectionReason.INVALID_NAME),
        (b'{"ts":1763877600,"a":1,"source":"\\ud800","seq":1}', "pump-1", RejectionReason.INVALID_NAME),
        (b'{"ts":1763877600,"a":1,"b":"\\ud800"}', "pump-1", RejectionReason.WRONG_ENCODING),
        (b'{"ts":1763877600,"\\ud800":1}', "pump-1", RejectionReason.INVALID_NAME),
        (b'{"ts":"\\ud800","a":1}', "pump-1", RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":1763877600,"a":1}', "pump-\ud800", RejectionReason.INVALID_NAME),
    ],
)
def test_what_is_no_reading_is_kept_and_forwarded_with_its_reason(
    tmp_path: Path, payload: Any, device: str, reason: RejectionReason
) -> None:
    subject = intake()
    subject.accept([message(payload, device)])
    addition = subject.seal()
    kept_by(tmp_path, addition)
    assert [item.reason for item in addition.rejections] == [reason]
    assert [item.reason for item in forwarded(addition)] == [reason]
    assert not readings(addition)


def test_a_repeated_reading_is_taken_once_and_acknowledged_again() -> None:
    subject = intake()
    subject.accept([message([numbered(1), numbered(2), numbered(2), numbered(1)])])
    addition = subject.seal()
    assert [item.reading.signals["flow"] for item in readings(addition)] == [1.0, 2.0]
    assert subject.acknowledgements() == {}, "nothing is safe yet"
    subject.sealed_is_safe(addition)
    assert subject.acknowledgements() == {"driver": {"pump-1": 2}}
    subject.accept([message(numbered(2))])
    assert subject.acknowledgements() == {"driver": {"pump-1": 2}}
    assert subject.counts[Count.REPEATED] == 3


def test_devices_that_come_and_go_leave_nothing_in_memory_once_they_are_on_disk() -> None:
    numbering = Numbering(last_taken=lambda _: 0, last_numbered=lambda _: 0, sources_max=10, devices_max=10)
    subject = Intake(
        Pipeline(Machines(), tenant="acme"), numbering, gateway="gateway-1", epoch=3, batch_bytes_max=5_000
    )
    for batch in range(5):
        subject.accept([message(numbered(1), f"pump-{batch}-{index}") for index in range(50)])
        subject.sealed_is_safe(subject.seal())
        assert len(numbering) <= 2 * (10 + 50)


def test_a_reading_after_a_hole_is_left_to_its_source() -> None:
    subject = intake({("driver", "pump-1"): 4})
    subject.accept([message([numbered(6), numbered(5), numbered(6)])])
    addition = subject.seal()
    assert [item.reading.signals["flow"] for item in readings(addition)] == [5.0, 6.0]
    assert addition.taken == {("driver", "pump-1"): 6}
    assert subject.counts[Count.TOO_EARLY] == 1


def test_a_refused_reading_is_acknowledged_too_or_its_source_would_send_it_for_ever() -> None:
    subject = intake()
    subject.accept([message([{"source": "driver", "seq": 1, "flow": 1.0}, numbered(2)])])
    addition = subject.seal()
    assert [item.reason for item in addition.rejections] == [RejectionReason.MISSING_TIMESTAMP]
    subject.sealed_is_safe(addition)
    assert subject.acknowledgements() == {"driver": {"pump-1": 2}}


def test_a_sensor_may_have_a_signal_called_seq() -> None:
    subject = intake()
    subject.accept([message(fields(1, seq=77))])
    ((reading, *_),) = readings(subject.seal())
    assert reading.signals == {"flow": 1.0, "seq": 77.0}


def test_many_readings_become_messages_of_bounded_size_that_lose_none() -> None:
    subject = intake(batch_bytes_max=2_000)
    for sequence in range(1, 1_001):
        subject.accept([message(numbered(sequence) | {"noise": sequence * 0.7311}, f"pump-{sequence % 7}")])
        if sequence % 7 == 0:
            assert len(subject) <= 1_000
    addition = subject.seal()
    accepted = subject.counts[Count.ACCEPTED]
    assert accepted > 0
    assert max(len(item.payload) for item in addition.messages) <= 2_000
    assert len({(item.reading.device, item.reading.key) for item in readings(addition)}) == accepted


def test_an_alert_marks_its_message() -> None:
    subject = intake()
    stuck = [
        {"ts": AT + 200 * index, "flow": 5.0 + (index % 11) * 0.01 if index < 900 else 5.0} for index in range(1_200)
    ]
    for start in range(0, len(stuck), 100):
        subject.accept([message(stuck[start : start + 100], at=AT + 10**6)])
        if subject.has_alerts:
            break
    addition = subject.seal()
    opened = [item for item in readings(addition) if any(t.phase is Phase.OPENED for t in item.transitions)]
    assert opened
    assert any(item.urgent for item in addition.messages)


def test_contents_names_each_reading_of_a_message() -> None:
    subject = intake()
    subject.accept([message(fields(1)), message(fields(2), "pump-2")])
    (only,) = subject.seal().messages
    assert set(contents(only.payload, tenant="acme", gateway="gateway-1")) == {
        ("pump-1", 3, 1),
        ("pump-2", 3, 1),
    }


def test_a_list_that_the_nucleus_hands_out_as_json_is_read_too() -> None:
    subject = intake()
    listed: Any = [fields(1), None, fields(2)]
    subject.accept([LocalMessage("plantwatch/telemetry/pump-1", listed, AT), message(b"null")])
    addition = subject.seal()
    assert [item.reading.signals["flow"] for item in readings(addition)] == [1.0, 2.0]
    assert [item.reason for item in addition.rejections] == [RejectionReason.NOT_AN_OBJECT] * 2


def test_a_refusal_keeps_the_object_as_it_came() -> None:
    subject = intake()
    subject.accept([message([numbered(1) | {"bad": []}]), message(b'{"ts":1763877600,"a":1,"a":2}')])
    refused = subject.seal().rejections
    assert [json.loads(item.payload) for item in refused] == [
        numbered(1) | {"bad": []},
        [[["ts", 1763877600], ["a", 1], ["a", 2]]],
    ]


def test_no_depth_of_nesting_is_more_than_the_worker_takes() -> None:
    subject = intake()
    for depth in range(900, 1_100):  # around the interpreter's limit, where reading still works and writing does not
        subject.accept([message(b'[{"ts":1763877600,"a":' + b"[" * depth + b"]" * depth + b"}]")])
    reasons = {item.reason for item in subject.seal().rejections}
    assert reasons <= {RejectionReason.UNSUPPORTED_VALUE, RejectionReason.MALFORMED_JSON}
    assert subject.counts[Count.REJECTED] == 200


def test_a_refused_reading_reaches_the_regions_dead_letters_with_the_edges_reason_and_topic() -> None:
    subject = intake()
    subject.accept([message(b"not json", "pump-7"), message(fields(1))])
    addition = subject.seal()
    region = Pipeline(Machines(), tenant="acme", gateways=["gateway-1"])
    records = [
        encode_record(Record("tenants/acme/devices/gateway-1/telemetry", AT, item.payload))
        for item in addition.messages
    ]
    effects = [region.accept(record, arrived_at=AT) for record in records]
    (refused,) = [refused for effect in effects for refused in effect.rejections]
    assert (refused.reason, refused.topic) == (RejectionReason.MALFORMED_JSON, "plantwatch/telemetry/pump-7")
    assert refused.payload == b"not json"
    assert sum(len(effect.scored) for effect in effects) == 1


def test_a_broken_driver_is_told_to_the_cloud_by_examples_and_counted_here() -> None:
    subject = intake()
    for _ in range(300):
        subject.accept([message(b"not json")])
    addition = subject.seal()
    assert len(addition.rejections) == 300
    assert len(forwarded(addition)) == 50
    assert subject.counts == {Count.REJECTED: 300, Count.REJECTED_HERE_ONLY: 250}
    assert not subject.seal().messages, "each is told once"


def test_a_gateway_whose_clock_is_not_set_yet_takes_the_sensors_word() -> None:
    booted = 40_000  # forty seconds into 1970
    subject = intake()
    subject.accept([message([numbered(1), numbered(2)], at=booted)])
    addition = subject.seal()
    assert not addition.rejections
    assert addition.taken == {("driver", "pump-1"): 2}
    (batch,) = batches(addition, at=AT + 9_000)
    assert [item.reading.observed_at for item in batch.scored] == [AT + 1, AT + 2]
    assert [item.reading.received_at for item in batch.scored] == [AT + 9_000] * 2, "the broker's clock is set"
    assert [item.bundle for item in batch.scored] == [batch.bundle] * 2, "scored here"
    (stored,) = addition.messages
    assert len(list(contents(stored.payload, tenant="acme", gateway="gateway-1"))) == 2
