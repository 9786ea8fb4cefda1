"""Shards: which locations are whose, for good, and how people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.shards import MOST_SHARDS, WHOLE, Shard


@pytest.mark.parametrize(
    ("location", "of_2", "of_3", "of_8", "of_256"),
    [
        ("Beacon House", 0, 1, 2, 202),
        ("Tour Égée", 0, 2, 4, 4),
        ("北館", 0, 0, 0, 136),
        ("\ud800odd", 0, 0, 0, 16),
        ("", 0, 1, 4, 20),
    ],
    ids=["plain", "accents", "another script", "a lone surrogate", "empty"],
)
def test_a_location_is_in_the_same_shard_in_every_version(
    location: str, of_2: int, of_3: int, of_8: int, of_256: int
) -> None:
    for of, index in [(2, of_2), (3, of_3), (8, of_8), (256, of_256)]:
        assert Shard(index, of).holds(location)


@given(st.text(st.characters()), st.integers(1, MOST_SHARDS))
def test_a_location_is_in_exactly_one_shard(location: str, of: int) -> None:
    assert sum(Shard(index, of).holds(location) for index in range(of)) == 1


def test_shards_get_about_as_many_locations_each() -> None:
    names = [f"Building {number}" for number in range(8_000)]

    held = [sum(Shard(index, 8).holds(name) for name in names) for index in range(8)]

    assert min(held) > 850
    assert max(held) < 1_150


@given(st.integers(1, MOST_SHARDS), st.data())
def test_a_shard_is_read_back_as_it_is_written(of: int, data: st.DataObject) -> None:
    shard = Shard(data.draw(st.integers(0, of - 1)), of)

    assert Shard.parse(str(shard)) == shard


def test_people_count_shards_from_one() -> None:
    assert Shard.parse("2/8") == Shard(1, 8)
    assert Shard.parse(" 8/8 ") == Shard(7, 8)
    assert str(Shard(1, 8)) == "2/8"
    assert Shard(1, 8).number == 2


def test_one_of_one_is_the_whole_feed() -> None:
    assert Shard.parse("1/1") == WHOLE
    assert WHOLE.is_whole
    assert WHOLE.holds("any location")
    assert not Shard(0, 2).is_whole


@pytest.mark.parametrize(
    "text",
    ["", "2", "0/8", "9/8", "1/0", "-1/8", "2/8/1", "2 / 8", "a/b", "1/257", "1/99999", "²/8", "٢/٨"],
)
def test_what_is_no_shard_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a shard.*; write 1/N to N/N, N at most 256: 2/8"):
        Shard.parse(text)


@pytest.mark.parametrize(("index", "of"), [(-1, 2), (2, 2), (0, 0), (0, -1), (0, MOST_SHARDS + 1)])
def test_a_shard_outside_its_number_is_refused(index: int, of: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard(index, of)
