"""The one path: decode, check, score, decide, emit; the same at the gateway and in the region."""

from __future__ import annotations

import json
import zlib

import pytest

from plantwatch import envelope
from plantwatch.incident import Phase, incident_id
from plantwatch.machine import Machines
from plantwatch.pipeline import Effects, Pipeline
from plantwatch.record import Record, decode_record, encode_record
from plantwatch.telemetry import Reading, RejectionReason, telemetry_topic

NOW = 1_795_413_600_000


def region() -> Pipeline:
    return Pipeline(Machines(), tenant="acme", region="us-east-1", gateways=["gateway-*"])


def record(payload: bytes, *, device: str = "pump-1", tenant: str = "acme", at: int = NOW) -> bytes:
    return encode_record(Record(telemetry_topic(tenant, device), at, payload))


def accept(pipeline: Pipeline, data: bytes) -> Effects:
    return pipeline.accept(data, arrived_at=NOW)


def thing_payloads(readings: int, *, broken_from: int | None = None) -> list[bytes]:
    """A pressure that swings in a pattern, and (from one reading on) is gone."""
    values = [5.0 + 0.01 * ((index * 7919) % 13) for index in range(readings)]
    if broken_from is not None:
        values[broken_from:] = [2.0 + 0.01 * ((index * 7919) % 13) for index in range(broken_from, readings)]
    times = range(NOW - 1000 * readings, NOW, 1000)
    return [json.dumps({"ts": at, "pressure": value}).encode() for at, value in zip(times, values, strict=True)]


def gateway_batch(readings: int, **options: int) -> bytes:
    """The same machine behind a gateway: scored there, with the same bundle."""
    gateway = Machines()
    scored = []
    for sequence, payload in enumerate(thing_payloads(readings, **options), start=1):
        fields = json.loads(payload)
        reading = Reading(
            "acme", "pump-1", fields["ts"], fields["ts"], {"pressure": fields["pressure"]},
            gateway="gateway-1", epoch=1, sequence=sequence,
        )  # fmt: skip
        scored.append(gateway.watch(reading))
    return envelope.encode(scored, epoch=1, bundle=gateway.bundle)


def test_a_fault_of_a_thing_becomes_one_alert_with_what_people_need() -> None:
    pipeline = region()
    effects = Effects()
    for payload in thing_payloads(800, broken_from=700):
        effects.extend(accept(pipeline, record(payload)))
    assert len(effects.scored) == 800
    [alert] = effects.alerts
    assert (alert.tenant, alert.device, alert.signals, alert.phase) == ("acme", "pump-1", ("pressure",), Phase.OPENED)
    assert alert.region == "us-east-1"
    assert alert.incident_id == incident_id("acme", "pump-1", alert.kind, alert.first_seen)
    assert NOW - 100_000 <= alert.first_seen <= alert.observed_at < NOW
    [cause] = alert.causes
    assert cause.observed is not None
    assert cause.expected_low is not None
    assert cause.observed < cause.expected_low


def test_a_gateway_and_a_region_judge_alike_to_the_last_bit() -> None:
    raw, batched = region(), region()
    from_thing = Effects()
    for payload in thing_payloads(800, broken_from=700):
        from_thing.extend(accept(raw, record(payload)))
    from_gateway = accept(batched, record(gateway_batch(800, broken_from=700), device="gateway-1"))
    assert [item.score for item in from_gateway.scored] == [item.score for item in from_thing.scored]
    assert [alert.alert_id for alert in from_gateway.alerts] == [alert.alert_id for alert in from_thing.alerts]


def test_what_another_bundle_has_scored_is_scored_again() -> None:
    batch = json.loads(zlib.decompress(gateway_batch(50)[3:]))
    batch["bundle"] = "another"
    effects = accept(region(), record(b"PW\x01" + zlib.compress(json.dumps(batch).encode()), device="gateway-1"))
    assert {item.bundle for item in effects.scored} == {Machines().bundle}


def test_what_arrives_again_is_counted_and_has_no_other_effect() -> None:
    pipeline = region()
    batch, payload = record(gateway_batch(20), device="gateway-1"), record(thing_payloads(1)[0], device="fan-1")
    first = [accept(pipeline, batch), accept(pipeline, payload)]
    again = [accept(pipeline, batch), accept(pipeline, payload)]
    assert [len(effects.scored) for effects in first] == [20, 1]
    assert [(len(effects.scored), effects.duplicates) for effects in again] == [(0, 20), (0, 1)]


def test_a_restored_pipeline_goes_on_as_if_nothing_had_happened() -> None:
    payloads = [record(payload) for payload in thing_payloads(800, broken_from=700)]
    whole, before = region(), region()
    expected = Effects()
    for data in payloads:
        expected.extend(accept(whole, data))
    found = Effects()
    for data in payloads[:705]:
        found.extend(accept(before, data))
    after = region()
    after.restore(before.snapshot())
    for data in payloads[700:]:
        found.extend(accept(after, data))
    assert found.scored == expected.scored
    assert found.alerts == expected.alerts
    assert found.duplicates == 5


@pytest.mark.parametrize("damage", [b"", b"\x00\x00\x00\x05abcde", b"\xff" * 40])
def test_a_damaged_snapshot_is_refused(damage: bytes) -> None:
    with pytest.raises(ValueError):
        region().restore(damage)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RejectionReason.MALFORMED_RECORD),
        (b"{}", RejectionReason.MALFORMED_RECORD),
        (b'{"payload": "!!", "topic": "", "received_at": 1}', RejectionReason.MALFORMED_RECORD),
        (b'{"payload": "", "topic": 3, "received_at": 1}', RejectionReason.MALFORMED_RECORD),
        (b"[" * 100_000, RejectionReason.MALFORMED_RECORD),
        (encode_record(Record("tenants/acme/devices/pump-1/state", NOW, b"{}")), RejectionReason.UNKNOWN_TOPIC),
        (record(b'{"ts": 1795413500, "t": 1}', tenant="other"), RejectionReason.WRONG_TENANT),
        (record(b'{"ts": 1795413500, "t": NaN}'), RejectionReason.NOT_FINITE),
        (record(b"PW\x09", device="gateway-1"), RejectionReason.UNKNOWN_VERSION),
        (record(gateway_batch(1), device="pump-1"), RejectionReason.NOT_A_GATEWAY),
    ],
)
def test_what_is_refused_is_kept_with_its_reason_and_bytes(data: bytes, reason: RejectionReason) -> None:
    effects = accept(region(), data)
    assert effects.scored == []
    [rejection] = effects.rejections
    assert rejection.reason is reason
    is_ours = reason is not RejectionReason.MALFORMED_RECORD
    assert rejection.payload == (decode_record(data).payload if is_ours else data)


def test_a_refused_reading_keeps_the_bytes_that_the_device_sent() -> None:
    [rejection] = accept(region(), record(b'{"ts": "never"}')).rejections
    assert (rejection.payload, rejection.topic) == (b'{"ts": "never"}', telemetry_topic("acme", "pump-1"))
