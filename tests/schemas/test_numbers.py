"""One rule says which text is a number."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shared_schemas.numbers import advice_on, is_not_finite, parse_number

RULE = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0), ("-0.25", -0.25), ("+5", 5.0), (".5", 0.5), ("5.", 5.0), ("007", 7.0), ("1e3", 1000.0),
        ("1E-3", 0.001), ("-0", 0.0), (" 250.5", 250.5), ("250.5 ", 250.5), ("\t7\n", 7.0), ("\u00a07\u2003", 7.0),
        ("1e999", math.inf), ("9" * 400, math.inf), ("0.1" + "0" * 400, 0.1),
    ],
)  # fmt: skip
def test_digits_with_a_sign_a_point_and_an_exponent_are_a_number(text: str, value: float) -> None:
    assert parse_number(text) == value
    assert advice_on(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "+", "e5", "1e", "1.2.3", "--5", "5 5", "1_000", "1__0", "0x1F", "0b1", "1e5_0", "12:30",
        "2024-01-01", "٣", "५", "5\u0663", "1d5", "1j", "True", "None", "NA", "null", "?", "-", "ten", "5kg", "1/2",
        "½", "²", "1,5", "1,000", "1 000", "1'000", "5%", "$5", "(5)", "5-", "\u22125",
        "nan", "NaN", "inf", "-Infinity", "+inf", "INF", " nan ",
    ],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", ["nan", "NaN", "+nan", "inf", "-Infinity", " INF "])
def test_what_is_not_finite_is_distinguished_from_words(text: str) -> None:
    assert is_not_finite(text)
    assert not is_not_finite("nano")


@pytest.mark.parametrize(
    "text",
    [
        "1,5", "-1,5", " 1,5 ", "1,000", "1,234,567.89", "1.234,56", "1.234.567", "1 000", "1\u00a0000", "1\u202f000,5",
        "1'000", "1\u2019000", "1_000", "5%", "5.5 %", "$5", "5 €", "-$5", "(5)", "5-", "\u22125", "٣", "1\uff12",
    ],
)  # fmt: skip
def test_what_a_person_takes_for_a_number_comes_with_advice(text: str) -> None:
    assert parse_number(text) is None
    assert advice_on(text)


@pytest.mark.parametrize(
    "text", ["", "ten", "a,b", "1.2.3", "2024-01-01", "4_512_1", "nan", "A1", "12:30", "-", "5", "x5%"]
)
def test_a_text_that_looks_like_no_number_comes_without(text: str) -> None:
    assert advice_on(text) is None


@given(
    st.one_of(st.text("0123456789+-.eE_ \t\u00a0٣\uff15naif,", max_size=12), st.floats().map(str), st.text(max_size=6))
)
@example("0\x1f")
@example("\x1c\u00a05")
@example("\x1d 7x")
def test_the_rule_is_the_one_of_its_description(text: str) -> None:
    value = parse_number(text)

    assert (value is not None) == (RULE.fullmatch(text) is not None)
    assert value is None or value == float(text.strip())
