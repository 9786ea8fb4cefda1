"""The lease of a run on a feed, by two clocks that a test moves, on a table that answers as it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.data.tables import TableEntity

from app.state.table_lease import ClockReading, HostClocks, TableRunLock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Clocks:
    """Seconds since a lease was taken, as the monotonic and as the wall clock count them."""

    def __init__(self) -> None:
        self.monotonic_s = 0.0
        self.wall_s = 0.0

    def move(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    def read(self) -> HostClocks:
        return HostClocks(lambda: self.monotonic_s, lambda: NOON + timedelta(seconds=self.wall_s))


class Precondition(HttpResponseError):
    """What the service says to a write on a condition that does not hold."""

    def __init__(self) -> None:
        super().__init__("412")
        self.status_code = 412


class Row:
    """The one row of a table; a write takes `takes_s`, and is answered with the next of `answers`, if any."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self.takes_s = 0.0
        self.answers: list[Exception] = []
        self.nonce = "ours"
        self.etag = 0

    def update_entity(self, row: dict[str, Any], **_: Any) -> dict[str, str]:
        self._clocks.move(self.takes_s)
        if self.answers:
            raise self.answers.pop(0)
        self.nonce, self.etag = row["nonce"], self.etag + 1
        return {"etag": str(self.etag)}

    def get_entity(self, *_: str, **__: Any) -> TableEntity:
        found = TableEntity(nonce=self.nonce)
        found._metadata = {"etag": str(self.etag), "timestamp": None}
        return found


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def row(clocks: Clocks) -> Row:
    return Row(clocks)


@pytest.fixture
def lease(clocks: Clocks, row: Row) -> TableRunLock:
    began = ClockReading(0.0, NOON)
    ours = {"PartitionKey": "lock", "RowKey": "lock", "nonce": "ours"}
    return TableRunLock(row, ours, "0", began, clocks.read())  # type: ignore[arg-type]  # a stand-in


def test_a_lease_is_held_until_five_seconds_before_its_end(lease: TableRunLock, clocks: Clocks) -> None:
    clocks.move(54.9)
    before = lease.held()
    clocks.move(0.1)

    assert (before, lease.held()) == (True, False)


@pytest.mark.parametrize("clock", ["monotonic_s", "wall_s"])
def test_whichever_clock_says_more_counts(lease: TableRunLock, clocks: Clocks, clock: str) -> None:
    setattr(clocks, clock, 55.0)

    assert not lease.held()


def test_a_renewed_lease_counts_from_when_the_renewal_began_not_from_its_answer(
    lease: TableRunLock, clocks: Clocks, row: Row
) -> None:
    clocks.move(20)
    row.takes_s = 14

    renewed = lease.renew()
    clocks.move(54.9 - 14)
    before = lease.held()
    clocks.move(0.1)

    assert (renewed, before, lease.held()) == (True, True, False)


def test_a_renewal_that_fails_does_not_prolong_a_lease(lease: TableRunLock, clocks: Clocks, row: Row) -> None:
    row.answers = [ServiceResponseError("no answer")]
    clocks.move(50)

    assert (lease.renew(), lease.held()) == (False, True)
    clocks.move(5)
    assert not lease.held()


def test_a_renewal_that_finds_another_s_row_has_lost_the_lease_at_once(lease: TableRunLock, row: Row) -> None:
    row.answers, row.nonce = [Precondition()], "another's"

    assert (lease.renew(), lease.held()) == (False, False)


def test_a_renewal_that_was_stored_without_an_answer_is_ours_and_is_made_again(
    lease: TableRunLock, clocks: Clocks, row: Row
) -> None:
    row.answers, row.etag = [Precondition()], 7
    clocks.move(20)

    first = lease.renew()
    held = lease.held()

    assert (first, held, lease.renew()) == (False, True, True)
    clocks.move(54)
    assert lease.held()
