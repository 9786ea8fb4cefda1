"""What hubs have, acknowledged and planned, and since when they fail: by instants that a test gives."""

from __future__ import annotations

from datetime import datetime

import pytest

from app.base.checkpoints import Checkpoint, FeedState, Gap, HubRecord, LocationState
from app.base.instants import LATEST
from app.base.readings import Slice
from app.eventhub.deliveries import Delivery
from app.run.ledger import Ledger
from app.run.planning import Limits
from tests.unit.a_run import DAY, HOUR, MILL, MINUTE, NOON, QUAY, A, B, batch, reading

LIMITS = Limits(look_back=HOUR, slice_length=DAY, record_limit=999)
ONE, TWO = reading("one", NOON - 30 * MINUTE), reading("two", NOON + 10 * MINUTE)


def begun(*hubs: str, start: datetime = NOON - HOUR) -> Ledger:
    """Give a ledger in which hubs have their first checkpoint of Mill & Lane."""
    ledger = Ledger(FeedState(), LIMITS)
    for hub in hubs:
        ledger.begin(MILL, hub, start, NOON)
    return ledger


def record(ledger: Ledger, hub: str = A, name: str = MILL) -> HubRecord:
    return ledger.location(name).hubs[hub]


def position(ledger: Ledger, hub: str = A) -> datetime:
    return ledger.location(MILL).checkpoints[hub].delivered_until


# --- beginning --------------------------------------------------------------------------------------


def test_a_first_checkpoint_knows_nothing_before_its_start_and_says_when_it_began() -> None:
    ledger = begun(A)

    assert ledger.location(MILL) == LocationState(
        checkpoints={A: Checkpoint(NOON - HOUR, NOON - HOUR)},
        hubs={A: HubRecord(start=NOON - HOUR)},
        begun=NOON,
    )
    assert ledger.changed == {MILL}


@pytest.mark.parametrize("again", [NOON, NOON - 5 * HOUR], ids=["later", "earlier"])
def test_a_hub_that_begins_anew_keeps_the_earliest_start_and_when_its_location_began(again: datetime) -> None:
    ledger = begun(A)

    ledger.begin(MILL, A, again, NOON + DAY)

    assert record(ledger).start == min(again, NOON - HOUR)
    assert position(ledger) == again
    assert ledger.location(MILL).begun == NOON


# --- planned and acknowledged -----------------------------------------------------------------------


def test_what_is_planned_is_where_the_next_slice_begins_and_is_not_what_is_saved() -> None:
    ledger = begun(A, B)
    before = ledger.location(MILL)

    ledger.planned(MILL, A, {NOON - HOUR: frozenset([ONE.id])}, Slice(NOON - HOUR, NOON), NOON, NOON)

    first, second = ledger.groups(MILL, [A, B])
    assert (first.hubs, first.cursor, first.checkpoint.knows(ONE.id)) == ((A,), NOON, True)
    assert (second.hubs, second.cursor) == ((B,), NOON - HOUR)
    assert ledger.state().locations[MILL] == before


def test_hubs_for_which_the_same_is_planned_stay_one_group() -> None:
    ledger = begun(A, B)
    for hub in (A, B):
        ledger.planned(MILL, hub, {}, Slice(NOON - HOUR, NOON), NOON, None)

    assert [group.hubs for group in ledger.groups(MILL, [A, B])] == [(A, B)]


def test_a_slice_that_comes_back_to_its_hub_counts_only_up_to_what_was_shown_before_the_run() -> None:
    state = FeedState({MILL: LocationState(newest=NOON - 2 * HOUR, checkpoints={A: Checkpoint(NOON, NOON)})})
    ledger = Ledger(state, LIMITS)
    first = ledger.newest_at_most(MILL, [A])

    ledger.planned(MILL, A, {}, Slice(NOON, NOON + HOUR), NOON + HOUR, None)
    ledger.saw(MILL, [TWO], NOON + HOUR)

    assert (first, ledger.newest_at_most(MILL, [A])) == (LATEST, NOON - 2 * HOUR)


def test_a_batch_brings_ids_and_counts_and_only_what_closes_its_slice_moves_the_position() -> None:
    ledger = begun(A, B)

    ledger.delivered(A, Delivery(MILL, batch(ONE), {NOON - HOUR: frozenset([ONE.id])}), NOON)
    after_the_batch = position(ledger)
    ledger.delivered(
        A, Delivery(MILL, None, {}, closes=NOON, newest=ONE.time, duplicates=3), NOON + 2 * MINUTE
    )

    assert (after_the_batch, position(ledger), position(ledger, B)) == (NOON - HOUR, NOON, NOON - HOUR)
    assert record(ledger) == HubRecord(
        events=1, readings=1, duplicates=3, last_success=NOON + 2 * MINUTE, start=NOON - HOUR
    )
    assert ledger.location(MILL).checkpoints[A].knows(ONE.id)
    assert ledger.location(MILL).checkpoints[A].newest == ONE.time
    assert record(ledger, B) == HubRecord(start=NOON - HOUR)


def test_an_hour_that_cannot_be_proved_is_marked_for_the_hub_that_got_it_alone() -> None:
    ledger = begun(A, B)

    ledger.delivered(A, Delivery(MILL, None, {}, odd=(NOON - HOUR,)), NOON)

    assert ledger.location(MILL).seals == {A: {NOON - HOUR: None}}


def test_what_a_location_s_hubs_have_or_are_about_to_get_is_known() -> None:
    ledger = begun(A, B)
    ledger.planned(MILL, A, {NOON - HOUR: frozenset([ONE.id])}, Slice(NOON - HOUR, NOON), NOON, None)
    ledger.delivered(B, Delivery(MILL, batch(TWO), {NOON: frozenset([TWO.id])}), NOON)

    known = ledger.known(MILL)

    assert all(any(checkpoint.knows(found) for checkpoint in known) for found in (ONE.id, TWO.id))
    assert ledger.known(QUAY) == []


# --- failing, since when ----------------------------------------------------------------------------


def test_a_hub_that_goes_on_failing_fails_since_the_first_time_with_the_last_error() -> None:
    ledger = begun(A)

    ledger.hub_failed(MILL, A, "down", NOON)
    ledger.hub_failed(MILL, A, "refused", NOON + HOUR)

    assert (record(ledger).error, record(ledger).since) == ("refused", NOON)
    assert ledger.is_failing(MILL, A)


def test_a_hub_that_took_something_since_fails_since_the_time_after_that() -> None:
    ledger = begun(A)
    ledger.hub_failed(MILL, A, "down", NOON)
    ledger.delivered(A, Delivery(MILL, batch(ONE), {}), NOON + HOUR)
    was_failing = ledger.is_failing(MILL, A)

    ledger.hub_failed(MILL, A, "down", NOON + 2 * HOUR)

    assert (was_failing, record(ledger).since) == (False, NOON + 2 * HOUR)


def test_a_query_that_goes_on_failing_fails_since_the_first_time_and_anew_after_it_was_well() -> None:
    ledger = begun(A)
    ledger.query_failed(MILL, "504", NOON)
    ledger.query_failed(MILL, "404", NOON + HOUR)
    lasting = ledger.location(MILL)

    ledger.query_recovered(MILL)
    well = ledger.location(MILL)
    ledger.query_failed(MILL, "404", NOON + 2 * HOUR)

    assert (lasting.error, lasting.since) == ("404", NOON)
    assert (well.error, well.since) == (None, None)
    assert ledger.location(MILL).since == NOON + 2 * HOUR


def test_a_hub_that_works_again_is_well_at_every_location_but_those_it_refuses_and_keeps_its_counts() -> None:
    ledger = begun(A)
    ledger.begin(QUAY, A, NOON - HOUR, NOON)
    ledger.delivered(A, Delivery(MILL, batch(ONE), {}), NOON - HOUR)
    for name in (MILL, QUAY):
        ledger.hub_failed(name, A, "down", NOON)

    ledger.hub_recovered(A, but=[QUAY])

    assert (ledger.is_failing(MILL, A), ledger.is_failing(QUAY, A)) == (False, True)
    assert record(ledger) == HubRecord(events=1, readings=1, last_success=NOON - HOUR, start=NOON - HOUR)
    assert record(ledger, name=QUAY).since == NOON


# --- what answers show ------------------------------------------------------------------------------


def test_the_newest_reading_is_never_an_older_one_nor_one_that_is_yet_to_come() -> None:
    ledger = begun(A)
    ledger.saw(MILL, [ONE], NOON)

    ledger.saw(MILL, [reading("older", NOON - HOUR), TWO, reading("timeless", None)], NOON)

    assert ledger.location(MILL).newest == ONE.time


def test_a_gap_is_kept_once_and_another_cause_of_the_same_stretch_beside_it() -> None:
    ledger = begun(A)
    window = Slice(NOON - HOUR, NOON)

    kept = [
        ledger.found_gap(MILL, gap)
        for gap in (
            Gap(window, "saturated", NOON),
            Gap(window, "saturated", NOON + HOUR),
            Gap(window, "missed", NOON),
        )
    ]

    assert kept == [True, False, True]
    assert [gap.cause for gap in ledger.location(MILL).gaps] == ["saturated", "missed"]


def test_only_what_changed_is_to_be_saved() -> None:
    state = FeedState({name: LocationState(last_listed=NOON) for name in (MILL, QUAY)})
    ledger = Ledger(state, LIMITS)

    ledger.listed(MILL, NOON)
    ledger.query_recovered(MILL)
    ledger.listed(QUAY, NOON + HOUR)

    assert ledger.changed == {QUAY}
