"""The telemetry contract: the cookbook's payloads are accepted, everything else is refused with one closed reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.telemetry import (
    DETAIL_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    SIGNALS_MAX,
    InvalidReading,
    RejectionReason,
    Source,
    parse_reading,
    parse_timestamp,
    parse_topic,
    telemetry_topic,
)

NOW = 1_795_413_600_000  # 2026-11-23T06:00:00Z
PUMP = Source("acme", "pump-7")


def reason_of(payload: bytes) -> RejectionReason:
    with pytest.raises(InvalidReading) as caught:
        parse_reading(payload, PUMP, received_at=NOW)
    return caught.value.reason


def test_a_cookbook_payload_becomes_a_reading() -> None:
    payload = b'{"ts":"1795413500","temperature":83.2,"vibration":0.19,"tenant":"t1","running":true,"flow":null}'
    reading = parse_reading(payload, PUMP, received_at=NOW)
    assert reading.tenant == "acme"
    assert reading.device == "pump-7"
    assert reading.observed_at == 1_795_413_500_000
    assert reading.received_at == NOW
    assert reading.signals == {"temperature": 83.2, "vibration": 0.19}
    assert reading.attributes == {"tenant": "t1", "running": "true"}
    assert reading.missing == ("flow",)


def test_the_same_payload_has_the_same_key_and_another_one_has_not() -> None:
    first = parse_reading(b'{"ts":1795413500,"t":1}', PUMP, received_at=NOW)
    again = parse_reading(b'{"ts":1795413500,"t":1}', PUMP, received_at=NOW + 5000)
    other = parse_reading(b'{"ts":1795413500,"t":2}', PUMP, received_at=NOW)
    assert first.key == again.key
    assert first.key != other.key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795413500", 1_795_413_500_000),
        ("1795413500.25", 1_795_413_500_250),
        ("1795413500250", 1_795_413_500_250),
        ('"1795413500"', 1_795_413_500_000),
        ('"1795413500250"', 1_795_413_500_250),
        ('"2026-11-23T05:58:20.250Z"', 1_795_413_500_250),
        ('"2026-11-23T06:58:20.250+01:00"', 1_795_413_500_250),
        ('"2020-03-09 10:14:33"', 1_583_748_873_000),
    ],
)
def test_a_timestamp_is_seconds_milliseconds_or_iso_8601(text: str, expected: int) -> None:
    reading = parse_reading(b'{"ts":%s,"t":1}' % text.encode(), PUMP, received_at=NOW)
    assert reading.observed_at == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", RejectionReason.MALFORMED_JSON),
        (b'{"ts":1,', RejectionReason.MALFORMED_JSON),
        (b"[" * 100_000, RejectionReason.MALFORMED_JSON),
        (b'{"ts":1795413500,"t":' + b"9" * 5000 + b"}", RejectionReason.MALFORMED_JSON),
        (b'{"ts":1795413500,"t":"\xff"}', RejectionReason.WRONG_ENCODING),
        ('{"ts":1795413500,"t":1}'.encode("utf-16"), RejectionReason.WRONG_ENCODING),
        (b'{"ts":1795413500,"t":1,"note":"\\ud800"}', RejectionReason.WRONG_ENCODING),
        (b"[1]", RejectionReason.NOT_AN_OBJECT),
        (b"3", RejectionReason.NOT_AN_OBJECT),
        (b'{"ts":1795413500,"t":NaN}', RejectionReason.NOT_FINITE),
        (b'{"ts":1795413500,"t":-Infinity}', RejectionReason.NOT_FINITE),
        (b'{"ts":1795413500,"t":1e999}', RejectionReason.NOT_FINITE),
        (b'{"ts":1795413500,"t":' + b"9" * 400 + b"}", RejectionReason.NOT_FINITE),
        (b'{"ts":1795413500,"t":"83.2"}', RejectionReason.NO_SIGNALS),
        (b'{"ts":1795413500}', RejectionReason.NO_SIGNALS),
        (b'{"ts":1795413500,"t":1,"t":2}', RejectionReason.DUPLICATE_KEY),
        (b'{"ts":1795413500,"t":{"x":1}}', RejectionReason.UNSUPPORTED_VALUE),
        (b'{"ts":1795413500,"t":[1]}', RejectionReason.UNSUPPORTED_VALUE),
        (b'{"ts":1795413500,"":1}', RejectionReason.INVALID_NAME),
        (b'{"ts":1795413500,"a\\nb":1}', RejectionReason.INVALID_NAME),
        (b'{"t":1}', RejectionReason.MISSING_TIMESTAMP),
        (b'{"ts":null,"t":1}', RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":true,"t":1}', RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":"yesterday","t":1}', RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":"nan","t":1}', RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":0,"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":-1795413500,"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":99999999999999,"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":' + b"9" * 400 + b',"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":-' + b"9" * 4000 + b',"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":"' + b"9" * 4000 + b'","t":1}', RejectionReason.INVALID_TIMESTAMP),
        (b'{"ts":1e300,"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":1795413500,"\\ud800":[1]}', RejectionReason.UNSUPPORTED_VALUE),
        (b'{"ts":1795413500,"\\ud800":1e999}', RejectionReason.INVALID_NAME),
        (b'{"ts":1795513500,"t":1}', RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        (b'{"ts":1795413500,"t":"' + b"x" * PAYLOAD_BYTES_MAX + b'"}', RejectionReason.TOO_LARGE),
        (b'{"ts":1795413500,"n":1,"t":"' + b"x" * 2000 + b'"}', RejectionReason.TOO_LARGE),
        (
            json.dumps({"ts": 1795413500, **{f"s{i}": i for i in range(SIGNALS_MAX + 1)}}).encode(),
            RejectionReason.TOO_MANY_SIGNALS,
        ),
    ],
)
def test_what_is_not_a_reading_is_refused_with_its_reason(payload: bytes, reason: RejectionReason) -> None:
    assert reason_of(payload) is reason


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_but_invalid_reading(payload: bytes) -> None:
    try:
        reading = parse_reading(payload, PUMP, received_at=NOW)
    except InvalidReading as error:
        assert error.reason in RejectionReason
    else:
        assert reading.signals or reading.missing


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["ts", "temperature", "vibration", "note", ""]), json_values, max_size=5))
def test_no_json_object_whatever_raises_anything_but_invalid_reading(fields: dict[str, object]) -> None:
    try:
        reading = parse_reading(json.dumps(fields).encode(), PUMP, received_at=NOW)
    except InvalidReading as error:
        assert error.reason in RejectionReason
    else:
        assert all(abs(value) < float("inf") for value in reading.signals.values())


@given(st.integers(min_value=631_152_000_000, max_value=NOW))
def test_milliseconds_pass_through_unchanged(at: int) -> None:
    assert parse_timestamp(at, received_at=NOW) == at
    assert parse_timestamp(str(at), received_at=NOW) == at


@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers())
def test_a_refusal_can_be_stored_whatever_it_quotes(name: str, number: int) -> None:
    for fields in ({"ts": 1795413500, name: [1]}, {"ts": number, name: 1}, {"ts": name, "t": 1}):
        try:
            parse_reading(json.dumps(fields).encode(), PUMP, received_at=NOW)
        except InvalidReading as error:
            assert len(error.detail.encode("utf-8")) <= 4 * 10 * DETAIL_CHARS_MAX


def test_a_receiver_that_has_not_set_its_clock_does_not_judge_others() -> None:
    assert parse_timestamp(NOW, received_at=5_000) == NOW
    with pytest.raises(InvalidReading):
        parse_timestamp(3, received_at=5_000)


def test_the_topic_says_who_published() -> None:
    assert parse_topic(telemetry_topic("acme", "pump-7")) == PUMP


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "tenants/acme/devices/pump-7",
        "tenants/acme/devices/pump-7/telemetry/x",
        "tenants/acme/devices/pump-7/state",
        "tenant/acme/devices/pump-7/telemetry",
        "a/b/c/d/e",
    ],
)
def test_any_other_topic_is_unknown(topic: str) -> None:
    with pytest.raises(InvalidReading) as caught:
        parse_topic(topic)
    assert caught.value.reason is RejectionReason.UNKNOWN_TOPIC


@pytest.mark.parametrize("device", ["", "..", "a b", "x" * 129, "-a", "a#"])
def test_a_device_name_that_could_mislead_a_key_or_a_path_is_refused(device: str) -> None:
    with pytest.raises(InvalidReading) as caught:
        parse_topic(f"tenants/acme/devices/{device}/telemetry")
    assert caught.value.reason is RejectionReason.INVALID_NAME
