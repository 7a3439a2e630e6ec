"""The gateway's batch: what is read equals what was written, and a bad reading harms none beside it."""

import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch import envelope
from plantwatch.incident import Cause, Fault, FirstSign, Kind, Phase, Severity, Transition
from plantwatch.scoring import READY_IN_S_MAX, ScoredReading, SensorFault, Suppression
from plantwatch.telemetry import InvalidReading, Reading, Rejection, RejectionReason, Source

NOW = 1_795_413_600_000
GATEWAY = Source("acme", "gateway-1")

names = st.sampled_from(["temperature", "vibration", "Volume Flow RateRMS", "p"])
values = st.floats(allow_nan=False, allow_infinity=False)
causes = st.builds(
    Cause,
    names,
    st.floats(0, 1),
    st.none() | values,
    st.none() | values,
    st.none() | values,
    st.none() | st.sampled_from(Fault),
)
transitions = st.builds(
    Transition,
    st.sampled_from(Kind),
    st.sampled_from(Phase),
    st.integers(10**12, NOW),
    st.sampled_from(Severity),
    st.floats(0, 1),
    st.lists(causes, max_size=3).map(tuple),
    st.none() | st.builds(FirstSign, names, st.integers(10**12, NOW)),
)


@st.composite
def scored_readings(draw: st.DrawFn) -> list[ScoredReading]:
    scored = []
    for sequence in range(1, draw(st.integers(1, 12)) + 1):
        signals = draw(st.dictionaries(names, values, max_size=3))
        missing = tuple(draw(st.sets(names, max_size=2)) - set(signals))
        if not signals and not missing:
            signals = {"p": 1.0}
        observed_at = draw(st.integers(10**12, NOW))
        reading = Reading(
            "acme",
            draw(st.sampled_from(["pump-1", "pump-2"])),
            observed_at,
            NOW - draw(st.integers(-1000, 10**9)),
            signals,
            draw(st.dictionaries(names, st.text(max_size=5), max_size=2)),
            missing,
            gateway="gateway-1",
            epoch=7,
            sequence=sequence * 3,
        )
        scored.append(
            ScoredReading(
                reading,
                round(draw(st.floats(0, 1)), 6),
                tuple(draw(st.dictionaries(names, st.floats(0, 1), max_size=2)).items()),
                tuple(draw(st.lists(st.builds(SensorFault, names, st.sampled_from(Fault)), max_size=2))),
                tuple(kind for kind in Kind if draw(st.booleans())),
                tuple(draw(st.lists(transitions, max_size=2))),
                draw(st.booleans()),
                "b" * 16,
                draw(st.none() | st.integers(0, READY_IN_S_MAX)),
                draw(st.sampled_from(["", "running", "cleaning"])),
                draw(st.none() | st.sampled_from(Suppression)),
            )
        )
    return scored


def by_identity(scored: list[ScoredReading]) -> list[ScoredReading]:
    return sorted(scored, key=lambda item: (item.reading.device, item.reading.sequence))


@given(scored_readings(), st.sampled_from([200, 1000, 5000]))
def test_what_is_decoded_equals_what_was_encoded(scored: list[ScoredReading], bytes_max: int) -> None:
    payloads = envelope.encode_batches(scored, epoch=7, bundle="b" * 16, bytes_max=bytes_max)
    batches = [envelope.decode(payload, GATEWAY, received_at=NOW) for payload in payloads]
    assert by_identity([item for batch in batches for item in batch.scored]) == by_identity(scored)
    assert not any(batch.rejected for batch in batches)


def plain(count: int, seed: int = 1) -> list[ScoredReading]:
    rng = random.Random(seed)
    return [
        ScoredReading(
            Reading(
                "acme", f"pump-{i % 6}", NOW - 200 * (count - i // 6), NOW - 200 * (count - i // 6) + 5,
                {"temperature": round(70 + rng.gauss(0, 0.4), 2), "vibration": round(1.5 + rng.gauss(0, 0.05), 3),
                 "pressure": round(5 + rng.gauss(0, 0.02), 3), "current": round(12 + rng.gauss(0, 0.2), 2)},
                gateway="gateway-1", epoch=7, sequence=i // 6 + 1,
            ),
            round(rng.random(), 6),
            bundle="b" * 16,
        )
        for i in range(count)
    ]  # fmt: skip


def test_batches_stay_below_their_limit_and_are_well_filled() -> None:
    payloads = envelope.encode_batches(plain(3000), epoch=7, bundle="b" * 16)
    assert all(len(payload) <= envelope.BATCH_BYTES_MAX for payload in payloads)
    assert sum(map(len, payloads)) / len(payloads) > 0.7 * envelope.BATCH_BYTES_MAX


def test_a_batch_is_less_than_two_fifths_of_one_message_per_reading() -> None:
    scored = plain(600)
    separate = sum(len(json.dumps({"ts": s.reading.observed_at, **s.reading.signals})) for s in scored)
    batched = sum(map(len, envelope.encode_batches(scored, epoch=7, bundle="b" * 16)))
    assert batched <= 0.4 * separate


def tampered(change: dict[str, Any], count: int = 3) -> bytes:
    """A batch of one series of one signal, with columns replaced."""
    columns: dict[str, Any] = {
        "device": "pump-1", "names": ["t"], "sequences": [1], "observed": [NOW, *[200] * (count - 1)],
        "received": [5] * count, "values": [[1.5] * count], "scores": [0.5] * count, "flags": [], "extras": {},
    }  # fmt: skip
    columns.update(change)
    header = {"epoch": 7, "bundle": "b", "series": [list(columns.values())]}
    return b"PW\x01" + zlib.compress(json.dumps(header).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": [[1.5, float("nan"), 1.6]]}, RejectionReason.NOT_FINITE),
        ({"values": [[1.5, float("inf"), 1.6]]}, RejectionReason.NOT_FINITE),
        ({"values": [[1.5, "1.6", 1.6]]}, RejectionReason.NOT_A_NUMBER),
        ({"values": [[1.5, True, 1.6]]}, RejectionReason.NOT_A_NUMBER),
        ({"scores": [0.5, 1.5, 0.5]}, RejectionReason.MALFORMED_BATCH),
        ({"observed": [NOW, -NOW + 5, NOW - 5]}, RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        ({"extras": {"1": {"faults": [["t", "haunted"]]}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"suppression": "mood"}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"state": 7}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"transitions": [], "signs": [["t", NOW]]}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"attributes": {"a": 3}}}}, RejectionReason.UNSUPPORTED_VALUE),
        ({"extras": {"1": {"attributes": {"a": "\ud800"}}}}, RejectionReason.WRONG_ENCODING),
        ({"observed": [NOW, 1_732_341_600 - NOW, NOW - 1_732_341_600]}, RejectionReason.TIMESTAMP_OUT_OF_RANGE),
        ({"extras": {"1": []}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"ready_in_s": -1}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"ready_in_s": 1.5}}}, RejectionReason.MALFORMED_BATCH),
        ({"extras": {"1": {"ready_in_s": 10**30}}}, RejectionReason.MALFORMED_BATCH),
    ],
)
def test_a_bad_reading_is_refused_and_its_neighbours_are_unharmed(
    change: dict[str, Any], reason: RejectionReason
) -> None:
    batch = envelope.decode(tampered(change), GATEWAY, received_at=NOW)
    assert [item.reading.sequence for item in batch.scored] == [1, 3]
    [refused] = batch.rejected
    assert refused.reason is reason
    assert json.loads(refused.payload)["sequence"] == 2


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"PW", RejectionReason.UNKNOWN_VERSION),
        (b"PW\x02" + zlib.compress(b"{}"), RejectionReason.UNKNOWN_VERSION),
        (b"PW\x01", RejectionReason.MALFORMED_BATCH),
        (b"PW\x01garbage", RejectionReason.MALFORMED_BATCH),
        (tampered({})[:-9], RejectionReason.MALFORMED_BATCH),
        (b"PW\x01" + zlib.compress(b"[]"), RejectionReason.MALFORMED_BATCH),
        (b"PW\x01" + zlib.compress(b"{}"), RejectionReason.MALFORMED_BATCH),
        (b"PW\x01" + zlib.compress(b" " * 2_000_000), RejectionReason.TOO_LARGE),
        (tampered({"device": "../x"}), RejectionReason.INVALID_NAME),
        (tampered({"names": []}), RejectionReason.TOO_MANY_SIGNALS),
        (tampered({"received": [1]}), RejectionReason.MALFORMED_BATCH),
        (tampered({"sequences": ["1"]}), RejectionReason.MALFORMED_BATCH),
        (tampered({"observed": [0.5, 1, 1]}), RejectionReason.MALFORMED_BATCH),
        (tampered({"extras": []}), RejectionReason.MALFORMED_BATCH),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(payload: bytes, reason: RejectionReason) -> None:
    with pytest.raises(InvalidReading) as caught:
        envelope.decode(payload, GATEWAY, received_at=NOW)
    assert caught.value.reason is reason


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_but_invalid_reading(noise: bytes) -> None:
    for payload in (b"PW\x01" + noise, b"PW\x01" + zlib.compress(noise)):
        with pytest.raises(InvalidReading):
            envelope.decode(payload, GATEWAY, received_at=NOW)


@pytest.mark.parametrize("delay", [10**15, -(10**15), -NOW])
def test_a_gateway_whose_clock_is_wrong_loses_nothing(delay: int) -> None:
    batch = envelope.decode(tampered({"received": [5, delay, 5]}), GATEWAY, received_at=NOW)
    assert batch.rejected == []
    assert [item.reading.received_at - NOW for item in batch.scored] == [5, 0, 405]


def refused(payload: bytes, detail: str = "d") -> Rejection:
    return Rejection(RejectionReason.NOT_FINITE, detail, "plantwatch/telemetry/pump-1", NOW - 5, payload)


def test_what_the_gateway_has_refused_arrives_with_its_reason_topic_and_bytes() -> None:
    rejections = [refused(bytes([number]) * 50, f"d{number}") for number in range(50)]
    messages = envelope.encode_rejections(rejections, epoch=7, bundle="b")
    found = [item for message in messages for item in envelope.decode(message, GATEWAY, received_at=NOW).rejected]
    assert found == [item._replace(received_at=NOW) for item in rejections]


def test_a_long_refused_payload_is_cut_and_says_so() -> None:
    noise = random.Random(1).randbytes(100_000)
    messages = envelope.encode_rejections([refused(noise)] * 3, epoch=7, bundle="b")
    assert all(len(message) <= envelope.BATCH_BYTES_MAX for message in messages)
    [first, *_] = envelope.decode(messages[0], GATEWAY, received_at=NOW).rejected
    assert first.payload == noise[: len(first.payload)]
    assert first.detail == "d (the first 2500 of 100000 bytes)"


@pytest.mark.parametrize(
    "item", [None, [], ["not_finite", "d", "t"], ["haunted", "d", "t", ""], ["not_finite", 1, 2, "!"]]
)
def test_a_forwarded_refusal_in_no_known_form_refuses_the_batch(item: object) -> None:
    header = {"epoch": 7, "bundle": "b", "series": [], "rejected": [item]}
    with pytest.raises(InvalidReading) as caught:
        envelope.decode(b"PW\x01" + zlib.compress(json.dumps(header).encode()), GATEWAY, received_at=NOW)
    assert caught.value.reason is RejectionReason.MALFORMED_BATCH


scrap = st.none() | st.integers(-2, 2) | st.text(max_size=2) | st.floats() | st.lists(st.integers(-1, 3), max_size=3)


@given(
    st.dictionaries(st.sampled_from(["device", "names", "sequences", "observed", "values", "scores", "extras"]), scrap)
)
def test_no_columns_whatever_raise_anything_but_invalid_reading(change: dict[str, Any]) -> None:
    try:
        batch = envelope.decode(tampered(change), GATEWAY, received_at=NOW)
    except InvalidReading as error:
        assert error.reason in RejectionReason
    else:
        assert len(batch.scored) + len(batch.rejected) <= 3


def test_an_older_gateway_s_transition_has_no_first_sign_and_a_newer_one_s_can_be_read_by_an_older_region() -> None:
    first = Transition(Kind.PROCESS_ANOMALY, Phase.OPENED, NOW, Severity.LOW, 0.9, (), FirstSign("t", NOW))
    scored = plain(1)[0]._replace(transitions=(first,))
    payload = envelope.encode([scored], epoch=7, bundle="b")
    (series,) = json.loads(zlib.decompress(payload[3:]))["series"]
    extra = series[8]["0"]
    assert [len(turn) for turn in extra["transitions"]] == [6]
    older = tampered({"extras": {"0": {"transitions": extra["transitions"]}}})
    (turn,) = envelope.decode(older, GATEWAY, received_at=NOW).scored[0].transitions
    assert turn == first._replace(first_sign=None)


def test_a_state_that_lasts_is_written_once() -> None:
    scored = [item._replace(state="cleaning") for item in plain(60)]
    payload = envelope.encode(scored, epoch=7, bundle="b" * 16)
    assert zlib.decompress(payload[3:]).count(b"cleaning") == len({item.reading.device for item in scored})
    assert by_identity(envelope.decode(payload, GATEWAY, received_at=NOW).scored) == by_identity(scored)
