"""From local messages to what the spool keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_component.intake import Count, Intake, contents
from edge_component.numbering import Numbering
from edge_component.sources.local_topics import LocalMessage
from edge_component.spool import Addition
from plantwatch import envelope
from plantwatch.incident import Phase
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import RejectionReason, Source

AT = 1_732_341_600_000


def intake(taken: dict[tuple[str, str], int] | None = None, *, batch_bytes_max: int = 5_000) -> Intake:
    pipeline = Pipeline(Machines(), tenant="acme")
    return Intake(pipeline, Numbering(taken or {}), gateway="gateway-1", epoch=3, batch_bytes_max=batch_bytes_max)


def message(payload: Any, device: str = "pump-1", at: int = AT) -> LocalMessage:
    data = payload if isinstance(payload, bytes | dict) else json.dumps(payload).encode()
    return LocalMessage(f"plantwatch/telemetry/{device}", data, at)


def fields(value: float, **more: Any) -> dict[str, Any]:
    return {"ts": AT + value, "flow": value, **more}


def numbered(sequence: int) -> dict[str, Any]:
    return fields(float(sequence), source="driver", seq=sequence)


def readings(addition: Addition) -> list[ScoredReading]:
    batches = [
        envelope.decode(item.payload, Source("acme", "gateway-1"), received_at=AT + 10**6) for item in addition.messages
    ]
    assert not any(batch.rejected for batch in batches)
    return [item for batch in batches for item in batch.scored]


def test_readings_are_numbered_per_device_from_one_in_this_epoch() -> None:
    subject = intake()
    subject.accept([message(fields(1)), message(fields(2), "pump-2"), message(fields(3))])
    addition = subject.seal()
    keys = {(item.reading.device, item.reading.key, item.reading.signals["flow"]) for item in readings(addition)}
    assert keys == {
        ("pump-1", "000003.000000000001", 1.0),
        ("pump-2", "000003.000000000001", 2.0),
        ("pump-1", "000003.000000000002", 3.0),
    }
    assert addition.numbered == {"pump-1": 2, "pump-2": 1}
    assert len(subject) == 0


def test_the_cookbooks_payload_comes_through_with_attributes_and_the_edges_receive_time() -> None:
    subject = intake()
    subject.accept(
        [message(b'{"ts": 1732341600, "temperature": 83.2, "vibration": 0.19, "operator": "mk"}', at=AT + 7)]
    )
    ((reading, *_),) = readings(subject.seal())
    assert (reading.observed_at, reading.received_at) == (AT, AT + 7)
    assert reading.signals == {"temperature": 83.2, "vibration": 0.19}
    assert reading.attributes == {"operator": "mk"}
    assert reading.gateway == "gateway-1"


def test_an_array_holds_many_readings_and_a_bad_one_harms_no_other() -> None:
    subject = intake()
    payload = b'[{"ts":1732341600,"a":1},{"ts":1732341601,"a":NaN},[],{"a":1,"a":2,"ts":3},{"ts":1732341602,"a":2}]'
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
        (b'{"ts":1732341600,"a":1}', "bad name", RejectionReason.INVALID_NAME),
        ({"ts": AT, "a": float("inf")}, "pump-1", RejectionReason.NOT_FINITE),
        ({"ts": AT, "a": [1]}, "pump-1", RejectionReason.UNSUPPORTED_VALUE),
    ],
)
def test_what_is_no_reading_is_kept_with_its_reason(payload: Any, device: str, reason: RejectionReason) -> None:
    subject = intake()
    subject.accept([message(payload, device)])
    addition = subject.seal()
    assert [item.reason for item in addition.rejections] == [reason]
    assert not addition.messages


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
    assert any(item.has_alerts for item in addition.messages)


def test_contents_names_each_reading_of_a_message() -> None:
    subject = intake()
    subject.accept([message(fields(1)), message(fields(2), "pump-2")])
    (only,) = subject.seal().messages
    assert set(contents(only.payload, tenant="acme", gateway="gateway-1", at=AT + 10**6)) == {
        ("pump-1", 3, 1),
        ("pump-2", 3, 1),
    }
