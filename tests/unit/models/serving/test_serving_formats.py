"""What goes over the wire between SageMaker and our container."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.serving import formats
from models.serving.formats import CSV, JSON, JSON_LINES, InvalidRequest, UnsupportedType
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading

NOW = 1_763_877_600_000
PUMP = {"tenant": "acme", "device": "pump-1", "ts": NOW // 1000, "signals": {"flow": 1.5}}


def parsed(body: Any, content_type: str = JSON) -> list[formats.Instance]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(formats.parse(data, content_type, now=NOW))


def reading(**changes: Any) -> list[formats.Instance]:
    return parsed({"instances": [{**PUMP, **changes}]})


def test_a_csv_line_is_an_instance_with_or_without_a_last_line_break() -> None:
    assert parsed(b"1.5,16\n2,-3e2\n", CSV) == [(1.5, 16.0), (2.0, -300.0)]
    assert parsed(b"1.5,16\r\n2,-3e2", "Text/CSV; label_size=0") == [(1.5, 16.0), (2.0, -300.0)]


def test_both_shapes_of_the_built_in_algorithms_are_the_same_instance() -> None:
    shapes = [{"features": [1.5, 16]}, {"data": {"features": {"values": [1.5, 16]}}}]
    assert parsed({"instances": shapes}) == [(1.5, 16.0), (1.5, 16.0)]
    lines = "\n".join(json.dumps(shape) for shape in shapes).encode()
    assert parsed(lines, JSON_LINES) == [(1.5, 16.0), (1.5, 16.0)]


def test_a_reading_carries_names_and_its_own_time() -> None:
    [instance] = reading(
        signals={"flow": 1.5, "Volume Flow RateRMS": None}, attributes={"operator": "mk", "auto": True}
    )
    assert instance == Reading(
        "acme", "pump-1", NOW, NOW, {"flow": 1.5}, {"operator": "mk", "auto": "true"}, ("Volume Flow RateRMS",)
    )
    assert reading(received_at=NOW + 5) == [instance._replace(received_at=NOW + 5, attributes={}, missing=())]


@pytest.mark.parametrize(
    ("body", "content_type", "complaint"),
    [
        (b"", CSV, "no instance"),
        (b"\n\n", CSV, "no instance"),
        (b"1,2\n\n3,4\n", CSV, "line 2: is empty"),
        (b"flow,pressure\n1,2\n", CSV, "line 1: 'flow' is no number"),
        (b"1,nan\n", CSV, "line 1: 'nan' is not finite"),
        (b"1,\n", CSV, "line 1: '' is no number"),
        (b"1,\xff\n", CSV, "line 1: is not UTF-8"),
        (b"\xff", JSON, "is not UTF-8"),
        (b'{"instances": [', JSON, "is no JSON"),
        (b"[" * 100_000, JSON, "is no JSON that can be read"),
        (b"1" * 5_000, JSON, "is no JSON that can be read"),
        (b"[1]", JSON, 'not {"instances"'),
        (b'{"instances": []}', JSON, "no instance"),
        (b'{"instances": [1]}', JSON, "instance 1: is a int, not an object"),
        (b'{"instances": [{"features": [1]}, {}]}', JSON, "instance 2: has neither features"),
        (b'{"instances": [{"features": ["1"]}]}', JSON, 'instance 1: "1" is no number'),
        (b'{"instances": [{"features": [true]}]}', JSON, "true is no number"),
        (b'{"instances": [{"features": [NaN]}]}', JSON, "NaN is not finite"),
        (b'{"instances": [{"features": [1' + b"0" * 400 + b"]}]}", JSON, "beyond a float"),
        (b'{"instances": [{"features": [1], "features": [2]}]}', JSON, "twice"),
        (b'{"instances": [{"data": {"features": {"keys": [1], "shape": [3], "values": [1]}}}]}', JSON, "sparse"),
        (b'{"features": [1]}\n{"features": 1}\n', JSON_LINES, "line 2: has neither features"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_in_one_line_that_says_where(body: bytes, content_type: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed(body, content_type)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ts": None}, "invalid_timestamp"),
        ({"ts": 0}, "timestamp_out_of_range"),
        ({"ts": NOW // 1000 + 200_000}, "timestamp_out_of_range"),
        ({"tenant": 5}, "tenant is no text"),
        ({"device": "../x"}, "invalid_name"),
        ({"signals": []}, "are objects"),
        ({"signals": {}}, "no_signals"),
        ({"signals": {"flow": "1"}}, "not a number or null"),
        ({"signals": {"flow": True}}, "not a number or null"),
        ({"signals": {"ts": 1}}, "'ts' is there twice"),
        ({"signals": {str(i): 1 for i in range(300)}}, "too_many_signals"),
        ({"attributes": {"flow": "x"}}, "'flow' is there twice"),
        ({"attributes": {"operator": 5}}, "is no text"),
        ({"received_at": "now"}, "received_at"),
        ({"value": 1}, "unknown key 'value'"),
    ],
)
def test_a_bad_reading_is_refused_in_one_line(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^instance 1: ") as refused:
        reading(**changes)
    assert complaint in str(refused.value)


def test_a_reading_without_device_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="instance 1: device is missing"):
        parsed({"instances": [{key: value for key, value in PUMP.items() if key != "device"}]})


@given(st.binary(max_size=200), st.sampled_from([CSV, JSON, JSON_LINES]))
def test_whatever_comes_is_parsed_or_refused(body: bytes, content_type: str) -> None:
    try:
        assert parsed(body, content_type)
    except InvalidRequest as refused:
        assert str(refused)


def test_other_content_types_are_not_spoken() -> None:
    with pytest.raises(UnsupportedType, match="application/x-recordio-protobuf"):
        parsed(b"", "application/x-recordio-protobuf")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*;q=0.5", JSON),
        ("text/csv", CSV),
        ("image/png, application/jsonlines", JSON_LINES),
    ],
)
def test_the_first_acceptable_type_is_the_answer_s(accept: str, kind: str) -> None:
    assert formats.answer_type(accept, default=JSON) == kind


def test_an_answer_that_nobody_can_read_is_not_given() -> None:
    with pytest.raises(UnsupportedType):
        formats.answer_type("application/x-recordio-protobuf", default=JSON)


def test_scores_look_as_the_built_in_algorithm_s() -> None:
    scores = [0.02, 0.25]
    assert formats.encode(scores, JSON) == b'{"scores": [{"score": 0.02}, {"score": 0.25}]}'
    assert formats.encode(scores, JSON_LINES) == b'{"score": 0.02}\n{"score": 0.25}\n'
    assert formats.encode(scores, CSV) == b"0.02\n0.25\n"


def test_a_reading_s_answer_says_what_its_score_rests_on() -> None:
    scored = ScoredReading(Reading("acme", "pump-1", NOW, NOW, {}), 0.25, (("flow", 1.0),), bundle="b1")
    answer = json.loads(formats.encode([scored], JSON_LINES))
    assert (answer["score"], answer["shares"], answer["bundle"]) == (0.25, {"flow": 1.0}, "b1")
    assert (answer["tenant"], answer["device"], answer["observed_at"]) == ("acme", "pump-1", NOW)
