from __future__ import annotations

import json
import time
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base import exact_json, fast_json
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
        ('{"a":NaN}', Flaw("holds NaN, which is not a JSON number", "NaN")),
        ('{"a":-Infinity}', Flaw("holds -Infinity, which is not a JSON number", "-Infinity")),
        ('{"a":{"b":1,"b":2}}', Flaw("holds the key 'b' twice", (("b", 1), ("b", 2)))),
        (
            '{"a":1e9999999999999999999999}',
            Flaw(
                "holds the number '1e9999999999999999999999', whose exponent is out of all bounds",
                "1e9999999999999999999999",
            ),
        ),
        ('{"a":' + "9" * 5000 + "}", Flaw("holds an integer of 5000 digits", "9" * 5000)),
    ],
    ids=["NaN", "infinity", "key twice", "exponent without bounds", "huge integer"],
)
def test_what_has_no_exact_form_is_a_flaw_in_its_place(text: str, flaw: Flaw) -> None:
    value = exact_json.loads(text)

    assert value == {"a": flaw}
    with pytest.raises(NotJson, match=r"holds"):
        exact_json.dumps(value)
    assert json.loads(exact_json.dumps_with_flaws(value)) == {"a": {"flaw": flaw.reason, "text": flaw.text}}


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


# --- in time that is linear in the length ------------------------------------------------------------


def test_an_object_with_very_many_keys_and_one_of_them_twice_is_read_in_no_time() -> None:
    members = ",".join(f'"k{number}":0' for number in range(90_000))
    begun = time.process_time()

    found = exact_json.loads(f'{{{members},"k0":0}}')

    assert found.reason == "holds the key 'k0' twice"
    assert (found.text[:19], found.text[-10:]) == ('[["k0",0],["k1",0],', ',["k0",0]]')
    # It took over a minute when each name was counted for itself.
    assert time.process_time() - begun < 10


def test_keys_twice_within_keys_twice_are_written_in_no_more_than_their_length() -> None:
    text = '{"a":' * 200 + "1" + ',"a":0}' * 200

    written = exact_json.dumps_with_flaws(exact_json.loads(text))

    # Text within text would be quoted anew at each level, and be 2 ** 200 times as long.
    assert len(written) < 100 * len(text)


# --- what others wrote -------------------------------------------------------------------------------

DEEP = '[{"a":' * 50_000 + '"]["' + "}]" * 50_000


@pytest.mark.parametrize(
    ("part", "flaw"),
    [
        (DEEP.encode(), Flaw("is nested over 5 levels deep", DEEP.removeprefix('[{"a":[{"a":[')[:-5])),
        (b'"caf\xe9"', Flaw("holds bytes that are not UTF-8", "caf\\udce9")),
        (b'{"caf\xe9":1}', Flaw("holds a key with bytes that are not UTF-8", (("caf\udce9", 1),))),
        (b"1e-9999999999999999999", Flaw("holds the number", "1e-9999999999999999999")),
    ],
    ids=["nested", "no UTF-8", "key that is no UTF-8", "exponent without bounds"],
)
def test_one_bad_part_never_hides_the_parts_beside_it(part: bytes, flaw: Flaw) -> None:
    found = exact_json.loads_with_flaws(b'{"good":["]}",1],"bad":%b,"last":{"a":"[\\""}}' % part, deepest=5)

    assert {name: found[name] for name in ("good", "last")} == {"good": ["]}", 1], "last": {"a": '["'}}
    bad = found["bad"]
    while not isinstance(bad, Flaw):
        [bad] = bad if isinstance(bad, list) else bad.values()
    assert bad.reason.startswith(flaw.reason)
    assert bad.written == flaw.written


def test_names_that_nobody_reads_are_left_out_of_every_object() -> None:
    written = b'{"a":[{"a":1,"b":{"a":2}},{"b":3,"b":4}],"b":"not kept","a2":[]}'

    assert exact_json.loads_with_flaws(written, deepest=5, kept={"a"}) == {"a": [{"a": 1}, {}]}


def test_what_is_left_out_takes_no_memory() -> None:
    written = b'{"a":[%b]}' % b",".join(
        [b'{"a":1,"b":{"text":"%b","list":[{},{},{}]}}' % (b"x" * 40)] * 20_000
    )

    tracemalloc.start()
    found = exact_json.loads_with_flaws(written, deepest=5, kept={"a"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found["a"]) == 20_000
    # The text itself, and a small object for each; all of it would be nine times the text.
    assert peak < 5 * len(written)


def test_a_control_character_within_a_text_is_taken_as_it_stands() -> None:
    found = exact_json.loads_with_flaws(b'["a\tb"]', deepest=5)

    assert (found, exact_json.dumps(found)) == (["a\tb"], b'["a\\tb"]')


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b"[" * 99 + b"{" + b"]" * 100, b"[" * 9 + b'"' + b'\\"' * 1_000_000, b"\xff\xfe"],
    ids=["never closed", "closed otherwise", "a text without end", "no text"],
)
def test_what_is_no_json_is_refused_in_linear_time(body: bytes) -> None:
    begun = time.process_time()

    with pytest.raises(NotJson):
        exact_json.loads_with_flaws(body, deepest=5)

    assert time.process_time() - begun < 10


@given(VALUES)
def test_strict_json_that_is_not_too_deep_is_read_as_it_is(value: Any) -> None:
    assert exact_json.loads_with_flaws(exact_json.dumps(value), deepest=50) == value


# --- two libraries that say the same -----------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_text_says_the_same_however_its_names_and_colons_stand(value: Any) -> None:
    # White space before a colon is what the faster library is not asked to read.
    spread = json.dumps(json.loads(exact_json.dumps(value), parse_float=str), separators=(",", " : "))
    compact = json.dumps(json.loads(exact_json.dumps(value), parse_float=str), separators=(",", ":"))

    assert exact_json.loads(compact) == exact_json.loads(spread)


NESTED = st.recursive(
    st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def nesting(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(nesting, value.values() if isinstance(value, dict) else value), default=0)


@given(NESTED, st.integers(0, 3))
def test_the_faster_library_reads_what_is_nested_over_no_more_levels_than_are_asked_for(
    value: Any, deepest: int
) -> None:
    body = exact_json.dumps(value)

    if nesting(value) <= deepest + 1:
        assert fast_json.loads(body, deepest=deepest) == value
    else:
        with pytest.raises(fast_json.Unsure):
            fast_json.loads(body, deepest=deepest)


@given(PLAIN, st.booleans())
def test_what_is_written_is_what_the_standard_library_writes(value: Any, in_order: bool) -> None:
    plain = json.dumps(value, separators=(",", ":"), sort_keys=in_order, ensure_ascii=False)
    try:
        expected = plain.encode()
    except UnicodeEncodeError:
        expected = json.dumps(value, separators=(",", ":"), sort_keys=in_order).encode()
    in_ascii = json.dumps(value, separators=(",", ":"), sort_keys=True).replace("\x7f", "\\u007f")

    assert exact_json.dumps(value, sort_keys=in_order) == expected
    assert exact_json.dumps_with_flaws(value) == in_ascii.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" :1,"a":2}',
        '{"a" :1,"b":[{"a":1,"a":1}]}',
        '{"x":"\\":","a":1,"a":2}',
        '{"a":1, "b"\n:{"a":1,"a":1}}',
        '{"\\u0061":1,"a":2}',
    ],
)
def test_a_name_twice_is_found_wherever_it_hides(text: str) -> None:
    found = exact_json.loads_with_flaws(text.encode(), deepest=9)

    with pytest.raises(NotJson, match="holds the key 'a' twice"):
        exact_json.dumps(found)


@pytest.mark.parametrize("text", ["4" * 4300, "-" + "4" * 4300, "0.10", "1E+2", "-0.0", "1E-7", '"\u2028"'])
@pytest.mark.parametrize("body", ['{"a":%s}', '{"a" :%s}'], ids=["plain", "spread"])
def test_a_value_keeps_its_characters_whatever_reads_it(text: str, body: str) -> None:
    assert exact_json.dumps(exact_json.loads(body % text)).decode() == f'{{"a":{text}}}'
