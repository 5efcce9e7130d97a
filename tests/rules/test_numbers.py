"""Exact numbers: text to millionths and back, and what is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.units import SCALE, NotANumber, format_number, parse_number


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_a_number_survives_being_written_and_read(scaled: int) -> None:
    assert parse_number(format_number(scaled)) == scaled


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=6))
def test_a_number_means_what_decimal_arithmetic_says(value: Decimal) -> None:
    assert parse_number(format(value, "f")) == value * SCALE


@pytest.mark.parametrize(
    "text", ["", " ", "1,5", "1e3", "1E-7", "NaN", "inf", "-inf", "0x10", "1_000", "1.", ".5", "--1", "1.1.1", "٣", "1 000",
             "0.0000001", "1" * 13, "½", "1.2345678"]
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotANumber):
        parse_number(text)


def test_zeros_behind_the_sixth_place_are_nothing() -> None:
    assert parse_number("1.10000000") == 1_100_000
    assert parse_number("-0") == 0
    assert parse_number("007.50") == 7_500_000
