"""Ids by the hour, and packed ones, which are a set like any other."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.instants import LATEST, hour_of
from app.base.packed_ids import PackedIds, joined, packed, unpacked
from app.base.readings import ids_by_hour

raw = st.binary(min_size=12, max_size=12).map(lambda found: base64.urlsafe_b64encode(found).decode())
# Drawn from few, so that sets have ids in common.
few = st.sets(st.sampled_from([letter * 16 for letter in "ABCDE-_"]) | raw, min_size=1, max_size=6)


@given(few, few)
def test_packed_ids_are_the_set_that_they_were_made_of(one: set[str], other: set[str]) -> None:
    ids = packed(one)

    assert isinstance(ids, PackedIds)
    assert (list(ids), len(ids), unpacked(ids)) == (sorted(one), len(one), frozenset(one))
    assert [found in ids for found in sorted(other)] == [found in one for found in sorted(other)]
    assert (ids == one, ids == packed(other), one == packed(other)) == (True, one == other, one == other)
    assert (ids & other, ids - packed(other), other - ids) == (one & other, one - other, other - one)
    assert (ids <= other, bool(ids)) == (one <= other, True)


@given(few, few)
def test_packed_ids_are_joined_and_packed_again(one: set[str], other: set[str]) -> None:
    both = joined(packed(one), frozenset(other))

    assert (both, isinstance(both, PackedIds)) == (one | other, True)


@pytest.mark.parametrize(
    "ids",
    [["short"], ["A" * 16, "B" * 17], ["A" * 16, '"' * 16], ["\ud800" * 16], []],
    ids=["short", "one longer", "other characters", "half characters", "none"],
)
def test_what_has_not_the_length_or_characters_of_an_id_stays_a_set_of_its_own(ids: list[str]) -> None:
    assert (packed(ids), type(packed(ids))) == (frozenset(ids), frozenset)


@given(st.lists(st.tuples(st.integers(0, 3 * 7_200), few.map(min)), max_size=9), st.booleans())
def test_ids_are_gathered_by_the_hours_of_their_instants(found: list[tuple[int, str]], sort: bool) -> None:
    # In half seconds before the end of all time, a few hours long.
    pairs = [(LATEST - timedelta(seconds=before / 2), reading_id) for before, reading_id in found]

    ids = ids_by_hour(sorted(pairs) if sort else pairs)

    hours: dict[datetime, set[str]] = {}
    for instant, reading_id in pairs:
        hours.setdefault(hour_of(instant), set()).add(reading_id)
    assert ids == hours
