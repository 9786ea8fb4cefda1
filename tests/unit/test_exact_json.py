from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base import exact_json
from app.base.exact_json import Flaw, NotJson

TEXTS = st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_was_written_is_read_again(value: Any) -> None:
    assert exact_json.loads(exact_json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a":12345678901234567890}',
        '{"a":0.10}',
        '{"a":1.0}',
        '["\\ud800"]',
        '{"a":"É😀"}',
        "[true,false,null]",
    ],
    ids=["integer", "trailing zero", "whole decimal", "lone surrogate", "accents", "constants"],
)
def test_texts_come_out_as_they_went_in(text: str) -> None:
    assert exact_json.dumps(exact_json.loads(text)).decode() == text


def test_numbers_that_no_float_holds_survive() -> None:
    assert exact_json.loads('{"a":1e400,"b":0.1234567890123456789}') == {
        "a": Decimal("1e400"),
        "b": Decimal("0.1234567890123456789"),
    }


def test_a_byte_order_mark_is_skipped() -> None:
    assert exact_json.loads(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ('{"a":NaN}', Flaw("holds NaN, which is no JSON number", "NaN")),
        ('{"a":-Infinity}', Flaw("holds -Infinity, which is no JSON number", "-Infinity")),
        ('{"a":{"b":1,"b":2}}', Flaw("holds the key 'b' twice", '[["b",1],["b",2]]')),
        ('{"a":' + "9" * 5000 + "}", Flaw("holds an integer of 5000 digits", "9" * 5000)),
    ],
    ids=["NaN", "infinity", "key twice", "huge integer"],
)
def test_what_has_no_exact_form_is_a_flaw_in_its_place(text: str, flaw: Flaw) -> None:
    value = exact_json.loads(text)

    assert value == {"a": flaw}
    with pytest.raises(NotJson, match=r"holds"):
        exact_json.dumps(value)
    assert flaw.reason in exact_json.dumps_with_flaws(value).decode()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"a":1', b'{"a":1} x', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "HTML", "cut", "more behind", "no UTF-8", "nested"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        exact_json.loads(body)


def test_sorted_keys_make_one_text_of_equal_values() -> None:
    left, right = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}

    assert exact_json.dumps(left, sort_keys=True) == exact_json.dumps(right, sort_keys=True)
