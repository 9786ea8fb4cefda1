"""What judges readers notices each thing that they must not do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from app.base.errors import BadResponse
from tests.canaries import HUB_KEY
from tests.fuzz import campaign, growth
from tests.fuzz.generators import Object, Raw, written
from tests.fuzz.growth import Pump, grows_with_its_input, keeps_within_its_input
from tests.fuzz.oracle import Broken, holds, outcome, registry_of_its_own
from tests.fuzz.target import Target


def _raises(error: Exception) -> Callable[[], None]:
    def read() -> None:
        raise error

    return read


def test_a_documented_error_is_an_outcome() -> None:
    found = outcome(_raises(BadResponse("no JSON; try again")), BadResponse)

    assert isinstance(found.error, BadResponse)


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), OverflowError(), KeyError("a")], ids=repr)
def test_any_other_error_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)):
        outcome(_raises(error), BadResponse)


def test_a_secret_in_an_error_is_noticed() -> None:
    # Others of this process may have registered it.
    with registry_of_its_own(()), pytest.raises(Broken, match="in 'it was"):
        outcome(_raises(BadResponse(f"it was {HUB_KEY}; hide it")), BadResponse)


def test_a_good_part_that_does_not_come_out_is_noticed() -> None:
    with pytest.raises(Broken, match=r"rows: \['b'\]"):
        holds(["a", "b"], ["a", "c"], "rows")


def test_what_reads_each_byte_once_for_every_byte_grows_too_fast() -> None:
    quadratic, linear = (
        _check(lambda case, power=power: _compute(12e-6 * (len(case) / 1024) ** power))  # type: ignore[misc]
        for power in (2, 1)
    )

    assert grows_with_its_input(quadratic, Pump(b"ax", 1, 2)) is not None
    assert grows_with_its_input(linear, Pump(b"ax", 1, 2)) is None


def test_memory_of_each_byte_for_every_byte_grows_too_fast() -> None:
    quadratic = lambda case: [bytes(len(case)) for _ in range(len(case) // 128)]  # noqa: E731

    assert keeps_within_its_input(_check(quadratic), Pump(b"ax", 1, 2)) is not None
    assert keeps_within_its_input(_check(lambda case: [bytes(8) for _ in case]), Pump(b"ax", 1, 2)) is None


def test_a_campaign_keeps_the_smallest_case_of_each_kind_of_finding(tmp_path: Any) -> None:
    def check(case: bytes) -> None:
        if b"a" in case:
            raise KeyError("a")
        if len(case) > 3:
            raise Broken("too long")

    target = Target("sample", "samples", st.text("abc").map(str.encode), check)

    # Hypothesis looks through all modules that are loaded before its first case.
    tally = campaign.fuzz(target, 1.5, 1, tmp_path / "case")

    assert sorted(tally.findings.values()) == [b"a", b"bbbb"]


def test_a_document_is_written_odd_as_it_is() -> None:
    value = Object([("a", Raw("1e9")), ("a", ["\ud800", {"b": None}])])

    assert written(value) == b'{"a":1e9,"a":["\\ud800",{"b":null}]}'


def test_a_piece_is_chosen_within_its_case() -> None:
    draw = random.Random(1)

    pumps = [growth.pump_of(b"abcdef", draw) for _ in range(50)]

    assert all(pump is not None and 0 <= pump.start < pump.end <= 6 for pump in pumps)
    assert growth.pump_of(b"", draw) is None


def _compute(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def _check(work: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def check(case: bytes) -> None:
        work(case)

    return check
