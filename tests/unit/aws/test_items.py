"""Numbers and texts of the results table."""

from __future__ import annotations

from decimal import Decimal

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.aws.items import number, text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_is_stored_without_loss_and_none_is_refused(value: float) -> None:
    stored = TypeDeserializer().deserialize(TypeSerializer().serialize(number(value)))
    back = float(stored)
    assert back == value or (back != back and value != value)


@pytest.mark.parametrize(("value", "stored"), [(0.1, Decimal("0.1")), (-0.0, Decimal(0)), (1e-200, "1e-200")])
def test_numbers_are_numbers_where_dynamodb_has_them(value: float, stored: Decimal | str) -> None:
    assert number(value) == stored


@given(st.text(st.characters(codec=None)))
def test_every_text_becomes_unicode(value: str) -> None:
    assert text(value).encode("utf-8").decode() == text(value)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert text("a\ud800b") == "a?b"
