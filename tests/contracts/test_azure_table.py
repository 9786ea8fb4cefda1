"""What the table store alone promises: races, lost answers, leases, limits, and who is refused."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest
from azure.core.pipeline import Pipeline
from azure.data.tables import TableClient, TableServiceClient

from app.base.checkpoints import Checkpoint, Discovery, FeedState, LocationState, Place
from app.base.errors import LockHeld, StateConflict, StateDamaged, StateError, StateTooLarge
from app.base.readings import QuarantinedReading
from app.settings.schema import StateSettings
from app.state.azure_table import AzureTableStore
from app.state.table_rows import row_key
from tests.environments.azurite import Fault, Relay, connection_string, free_port

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUB = "alpha.example.test/counts"


def ids(count: int) -> frozenset[str]:
    digests = (hashlib.sha256(str(number).encode()).digest()[:12] for number in range(count))
    return frozenset(base64.urlsafe_b64encode(digest).decode() for digest in digests)


def location(hours: int = 0, *, count: int = 0) -> LocationState:
    until = NOON + hours * HOUR
    return LocationState(checkpoints={HUB: Checkpoint(until, NOON, {NOON: ids(count)} if count else {})})


def connected(port: int, **options: str) -> AzureTableStore:
    connection = connection_string(port, **options)  # type: ignore[arg-type]  # the port of queues is none of them
    return AzureTableStore.connect(StateSettings("table", "", table_connection_string=connection))


@pytest.fixture
def open_store(azurite_port: int) -> Callable[[], AzureTableStore]:
    return lambda: connected(azurite_port)


@pytest.fixture
def tables(azurite_port: int) -> TableServiceClient:
    return TableServiceClient.from_connection_string(connection_string(azurite_port))


# --- races ------------------------------------------------------------------------------------------


def test_locations_are_saved_side_by_side_however_threads_take_turns(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    building = Pipeline.__init__.__code__

    def take_turns(frame: FrameType, event: str, arg: object) -> Any:
        return give_way if frame.f_code is building else None

    def give_way(frame: FrameType, event: str, arg: object) -> Any:
        threading.Event().wait(0.0005)
        return give_way

    # More than one transaction takes.
    store, names = open_store(), [f"location {number}" for number in range(301)]
    store.save(name, FeedState({each: location() for each in names}), names)
    before = threading.gettrace()
    threading.settrace(take_turns)
    try:
        for hours in range(1, 4):
            state = FeedState({each: location(hours) for each in names})
            store.save(name, state, names)
    finally:
        threading.settrace(before)

    assert open_store().load(name) == state


def test_locations_are_written_in_transactions_of_a_hundred_one_write_each(relay: Relay, name: str) -> None:
    store, names = connected(relay.port), [f"location {number:03}" for number in range(201)]
    store.save(name, FeedState({each: location() for each in names}), names)
    state = FeedState({each: location(1) for each in names})
    before = len(relay.requests)

    store.save(name, state, names)

    asked = Counter((method, path.rpartition("/")[2][:6]) for method, path in relay.requests[before:])
    # The location that is left over, and the row of the feed, are written by themselves.
    assert asked == {("POST", "$batch"): 2, ("PUT", name[:6]): 2}
    assert connected(relay.port).load(name) == state


def test_a_transaction_is_never_larger_than_the_service_takes(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    store, names = open_store(), [f"location {number}" for number in range(9)]
    state = FeedState({each: location(count=60_000) for each in names})

    store.save(name, state, names)

    assert open_store().load(name) == state


@pytest.mark.parametrize("is_new", [True, False], ids=["of new rows", "of rows that were there"])
@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.CUT, Fault.BUSY])
def test_a_transaction_that_may_have_been_stored_is_made_good_row_by_row(
    relay: Relay, name: str, fault: Fault, is_new: bool
) -> None:
    store = connected(relay.port)
    if not is_new:
        store.save(name, FeedState({"A": location(), "B": location()}), ["A", "B"])
    relay.order(fault, "POST", "$batch", times=3)
    state = FeedState({"A": location(1), "B": location(2)})

    store.save(name, state, ["A", "B"])
    store.save(name, state, ["A", "B"])

    assert fault in relay.fired
    assert connected(relay.port).load(name) == state


def test_a_location_that_another_run_changed_conflicts_and_the_others_are_saved(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    first, second = open_store(), open_store()
    first.save(name, FeedState({"A": location(), "B": location()}), ["A", "B"])
    second.load(name)
    first.save(name, FeedState({"A": location(1), "B": location()}), ["A"])

    with pytest.raises(StateConflict) as conflict:
        second.save(name, FeedState({"A": location(2), "B": location(2)}, last_run={"r": 2}), ["A", "B"])

    assert conflict.value.locations == ("A",)
    assert open_store().load(name) == FeedState({"A": location(1), "B": location(2)}, last_run={"r": 2})


def test_a_conflict_lasts_until_the_state_is_loaded_again(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    first, second = open_store(), open_store()
    first.save(name, FeedState({"A": location()}), ["A"])
    for _ in range(2):
        with pytest.raises(StateConflict):
            second.save(name, FeedState({"A": location(2)}), ["A"])

    second.load(name)
    second.save(name, FeedState({"A": location(2)}), ["A"])

    assert open_store().load(name) == FeedState({"A": location(2)})


@pytest.mark.parametrize("remover_saves", [{}, {"A": location(3)}], ids=["removed", "removed and made anew"])
def test_a_location_that_another_run_removed_conflicts(
    open_store: Callable[[], AzureTableStore], name: str, remover_saves: dict[str, LocationState]
) -> None:
    first, second = open_store(), open_store()
    first.save(name, FeedState({"A": location()}), ["A"])
    second.load(name)
    first.save(name, FeedState(), ["A"])
    first.save(name, FeedState(remover_saves), remover_saves)

    with pytest.raises(StateConflict):
        second.save(name, FeedState({"A": location(2)}), ["A"])

    assert open_store().load(name) == FeedState(remover_saves)


def test_a_removal_does_not_undo_anothers_change(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    first, second = open_store(), open_store()
    first.save(name, FeedState({"A": location()}), ["A"])
    second.load(name)
    first.save(name, FeedState({"A": location(1)}), ["A"])

    with pytest.raises(StateConflict):
        second.save(name, FeedState(), ["A"])

    assert open_store().load(name) == FeedState({"A": location(1)})


# --- answers that are lost, and a service that refuses ----------------------------------------------


@pytest.mark.parametrize(
    ("method", "times"),
    [("POST", 1), ("PUT", 1), ("PUT", 2)],
    ids=["a new row", "a row changed", "a row changed, its repeat too"],
)
def test_a_write_whose_answer_was_lost_counts_as_done(
    relay: Relay, name: str, method: str, times: int
) -> None:
    store = connected(relay.port)
    store.save(name, FeedState({"A": location()}), ["A"])
    state = FeedState({"A": location(1), "B": location(1)})
    relay.order(Fault.LOST_ANSWER, method, name, times=times)

    for changed in ("A", "B", "A", "B"):
        store.save(name, state, [changed])

    assert (relay.fired, connected(relay.port).load(name)) == ([Fault.LOST_ANSWER] * times, state)


def test_a_write_that_failed_but_was_stored_is_known_as_ours_by_the_next(relay: Relay, name: str) -> None:
    store = connected(relay.port)
    store.save(name, FeedState({"A": location()}), ["A"])
    relay.order(Fault.LOST_ANSWER, "PUT", name, times=1)
    relay.order(Fault.CUT, "PUT", name, times=20)
    relay.order(Fault.CUT, "GET", name, times=20)
    with pytest.raises(StateError, match="not reached"):
        store.save(name, FeedState({"A": location(1)}), ["A"])
    fired = set(relay.fired)
    relay.forget_orders()

    store.save(name, FeedState({"A": location(2)}), ["A"])

    assert fired == {Fault.LOST_ANSWER, Fault.CUT}
    assert connected(relay.port).load(name) == FeedState({"A": location(2)})


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.BUSY])
def test_passing_trouble_is_sat_out(relay: Relay, name: str, fault: Fault) -> None:
    store = connected(relay.port)
    store.save(name, FeedState({"A": location()}), ["A"])
    for method in ("PUT", "POST", "GET"):
        relay.order(fault, method)

    store.save(name, FeedState({"A": location(1), "B": location(1)}), ["A", "B"])

    assert store.load(name) == FeedState({"A": location(1), "B": location(1)})
    assert relay.fired == [fault] * 3


def test_a_service_that_stays_busy_is_named_and_the_old_state_is_whole(relay: Relay, name: str) -> None:
    store = connected(relay.port)
    store.save(name, FeedState({"A": location()}), ["A"])
    relay.order(Fault.BUSY, "PUT", name, times=20)

    with pytest.raises(StateError, match=r"throttled or unavailable \(503"):
        store.save(name, FeedState({"A": location(1)}), ["A"])
    relay.forget_orders()

    assert connected(relay.port).load(name) == FeedState({"A": location()})


@pytest.mark.parametrize("keeps", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", Fault)
def test_a_save_that_fails_at_any_request_leaves_each_location_as_it_was_or_as_it_was_to_be(
    relay: Relay, name: str, fault: Fault, keeps: bool
) -> None:
    open_table = partial(TableClient.from_connection_string, connection_string(relay.port), retry_total=0)
    failed = 0
    for nth in itertools.count(1):
        store = AzureTableStore(open_table)
        old = store.load(name)
        new = FeedState({"A": location(nth), "B": location(nth), "C": location(nth)}, last_run={"n": nth})
        before = len(relay.fired)
        relay.order_from(fault, nth, keeps=keeps)
        try:
            store.save(name, new, ["A", "B", "C"])
        except StateError:
            failed += 1
        relay.forget_orders()
        found = connected(relay.port).load(name)
        store.save(name, new, ["A", "B", "C"])

        assert all(
            found.locations.get(each) in (old.locations.get(each), new.locations[each]) for each in "ABC"
        )
        assert connected(relay.port).load(name) == new
        if len(relay.fired) == before:
            break

    assert nth >= 3
    # What fails once is mostly tried again.
    assert failed >= (2 if keeps else 0)


@pytest.mark.parametrize("fault", Fault)
def test_a_lock_that_fails_at_any_request_is_free_once_its_lease_is_over(
    relay: Relay, name: str, fault: Fault
) -> None:
    open_table = partial(TableClient.from_connection_string, connection_string(relay.port), retry_total=0)
    for nth in itertools.count(1):
        before = len(relay.fired)
        relay.order_from(fault, nth, keeps=True)
        held = None
        with suppress(StateError), AzureTableStore(open_table).lock(name, "run-one") as lock:
            held = lock.held()
        relay.forget_orders()
        relay.clock_ahead = timedelta(seconds=66)
        with connected(relay.port).lock(name, "run-two") as lock:
            assert lock.held()
        relay.clock_ahead = timedelta(0)
        if len(relay.fired) == before:
            break
        assert held is None or (held and nth > 1)

    assert nth >= 2


def test_a_service_that_cannot_be_reached_is_named_without_the_key(name: str) -> None:
    port = free_port()

    with pytest.raises(StateError, match=f"127.0.0.1:{port}.*not reached") as refused:
        connected(port).load(name)

    assert "Eby8" not in str(refused.value)


def test_a_wrong_key_is_refused_with_advice(azurite_port: int, name: str) -> None:
    wrong = base64.b64encode(b"obviously wrong").decode()

    with pytest.raises(StateError, match=r"access refused.*AzureWebJobsStorage") as refused:
        connected(azurite_port, key=wrong).probe()

    assert wrong not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        StateSettings("table", "", table_connection_string="no connection string"),
        StateSettings("table", "", table_endpoint="http://acct.table.example.test"),
        StateSettings("table", ""),
    ],
    ids=["not one", "managed identity without TLS", "nothing"],
)
def test_settings_that_name_no_service_are_refused_before_anything_is_asked(
    settings: StateSettings,
) -> None:
    with pytest.raises(StateError, match="AzureWebJobsStorage names no table service"):
        AzureTableStore.connect(settings)


def test_a_key_that_was_cut_short_is_refused_without_showing_it(name: str) -> None:
    with pytest.raises(StateError, match="check the AccountKey") as refused:
        connected(free_port(), key="hunter2hunter2=").load(name)

    assert "hunter2" not in str(refused.value)


# --- the lease --------------------------------------------------------------------------------------


@dataclass
class Hands:
    """Both clocks of a host, moved by hand."""

    monotonic: float = 1000.0
    wall: datetime = NOON

    def store(self, port: int) -> AzureTableStore:
        open_table = partial(TableClient.from_connection_string, connection_string(port), retry_total=0)
        return AzureTableStore(open_table, monotonic=lambda: self.monotonic, now=lambda: self.wall)

    def move(self, seconds: float, *, suspended: bool = False, set_back: bool = False) -> None:
        self.monotonic += 0 if suspended else seconds
        self.wall += timedelta(seconds=-3600 if set_back else seconds)


@pytest.mark.parametrize(
    ("seconds", "how", "expected"),
    [
        pytest.param(54, {}, True, id="a renewal is due"),
        pytest.param(55, {}, False, id="none came"),
        pytest.param(55, {"suspended": True}, False, id="the host was suspended"),
        pytest.param(54, {"set_back": True}, True, id="the clock was set back, in time"),
        pytest.param(55, {"set_back": True}, False, id="the clock was set back, too late"),
    ],
)
def test_a_lease_is_doubted_before_it_ends(
    azurite_port: int, name: str, seconds: float, how: dict[str, bool], expected: bool
) -> None:
    hands = Hands()
    with hands.store(azurite_port).lock(name, "run-one") as lock:
        hands.move(seconds, **how)

        assert lock.held() is expected


def test_a_renewed_lease_is_held_again(azurite_port: int, name: str) -> None:
    hands = Hands()
    with hands.store(azurite_port).lock(name, "run-one") as lock:
        hands.move(56)
        doubted = lock.held()
        renewed = lock.renew()

        assert (doubted, renewed, lock.held()) == (False, True, True)


def test_a_lease_that_ran_out_by_the_services_clock_is_taken_over(relay: Relay, name: str) -> None:
    with Hands().store(relay.port).lock(name, "run-one") as first:
        relay.clock_ahead = timedelta(seconds=70)
        with Hands().store(relay.port).lock(name, "run-two") as second:
            renewed = first.renew()

            assert (renewed, first.held(), second.held()) == (False, False, True)


def test_a_lease_is_anothers_until_the_service_says_otherwise(relay: Relay, name: str) -> None:
    with Hands().store(relay.port).lock(name, "run-one"):
        relay.clock_ahead = timedelta(seconds=55)
        ahead = Hands(wall=NOON + timedelta(days=365))

        with pytest.raises(LockHeld, match="run-one"), ahead.store(relay.port).lock(name, "run-two"):
            pytest.fail("two runs at once")


def test_a_run_that_lost_its_lease_does_not_release_the_others(relay: Relay, name: str) -> None:
    with Hands().store(relay.port).lock(name, "run-one"):
        relay.clock_ahead = timedelta(seconds=70)
        second = Hands().store(relay.port).lock(name, "run-two")
        second.__enter__()
    relay.clock_ahead = timedelta(0)

    with pytest.raises(LockHeld, match="run-two"), Hands().store(relay.port).lock(name, "run-three"):
        pytest.fail("two runs at once")
    second.__exit__(None, None, None)


def test_a_run_whose_taking_of_the_lease_was_not_answered_holds_it(relay: Relay, name: str) -> None:
    with connected(relay.port).lock(name, "run-zero"):
        pass
    relay.order(Fault.LOST_ANSWER, "POST", name)

    with connected(relay.port).lock(name, "run-one") as lock:
        assert (relay.fired, lock.held()) == ([Fault.LOST_ANSWER], True)


def test_a_renewal_whose_answer_was_lost_is_made_again(relay: Relay, name: str) -> None:
    hands = Hands()
    with hands.store(relay.port).lock(name, "run-one") as lock:
        relay.order(Fault.LOST_ANSWER, "PUT", name)
        hands.move(56)

        renewed = [lock.renew(), lock.renew(), lock.renew()]

        assert (renewed, lock.held(), relay.fired) == ([False, False, True], True, [Fault.LOST_ANSWER])


def test_a_service_that_is_gone_for_a_while_does_not_lose_the_lease(relay: Relay, name: str) -> None:
    hands = Hands()
    with hands.store(relay.port).lock(name, "run-one") as lock:
        relay.order(Fault.BUSY, "PUT", name)
        relay.order(Fault.CUT, "PUT", name)
        hands.move(20)
        failed = [lock.renew(), lock.renew()]
        covered = lock.held()

        assert (failed, covered, lock.renew()) == ([False, False], True, True)


def test_a_released_lease_leaves_no_row(
    open_store: Callable[[], AzureTableStore], tables: TableServiceClient, name: str
) -> None:
    with open_store().lock(name, "run-one"):
        during = [row["owner"] for row in tables.get_table_client(name).list_entities()]

    assert (during, list(tables.get_table_client(name).list_entities())) == (["run-one"], [])


def test_a_release_after_a_lost_answer_leaves_no_row(
    relay: Relay, tables: TableServiceClient, name: str
) -> None:
    with Hands().store(relay.port).lock(name, "run-one") as lock:
        relay.order(Fault.LOST_ANSWER, "PUT", name)
        lock.renew()

    assert list(tables.get_table_client(name).list_entities()) == []


# --- limits and damage ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count", [70_000, 90_000], ids=["refused by the service", "refused before it is sent"]
)
def test_a_location_that_does_not_fit_is_refused_and_the_others_are_saved(
    open_store: Callable[[], AzureTableStore], name: str, count: int
) -> None:
    # Azurite counts a row by its base64, so it refuses what the real service would still take.
    store = open_store()
    store.save(name, FeedState({"A": location()}), ["A"])
    state = FeedState({"A": location(1, count=count), "B": location(1)})

    with pytest.raises(StateTooLarge, match="look-back") as refused:
        store.save(name, state, ["A", "B"])

    assert refused.value.locations == ("A",)
    assert open_store().load(name) == FeedState({"A": location(), "B": location(1)})


def test_what_conflicts_and_what_does_not_fit_are_both_named(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    first, second = open_store(), open_store()
    first.save(name, FeedState({"A": location(), "B": location()}), ["A", "B"])
    second.load(name)
    first.save(name, FeedState({"A": location(1), "B": location()}), ["A"])

    with pytest.raises(StateConflict, match="look-back") as refused:
        second.save(name, FeedState({"A": location(2), "B": location(2, count=90_000)}), ["A", "B"])

    assert refused.value.locations == ("A", "B")
    assert open_store().load(name) == FeedState({"A": location(1), "B": location()})


@pytest.mark.parametrize("count", [2_000, 3_000], ids=["refused by the service", "refused before it is sent"])
def test_what_is_said_of_the_feed_and_does_not_fit_names_no_location(
    open_store: Callable[[], AzureTableStore], name: str, count: int
) -> None:
    run = {"run": "r1", "hubs_failing": [f"{number} {'x' * 400}" for number in range(count)]}

    with pytest.raises(StateTooLarge, match="remove hubs that are no longer used") as refused:
        open_store().save(name, FeedState(last_run=run), [])

    assert refused.value.locations == ()


def test_a_name_of_63_characters_has_its_tables_beside_it(open_store: Callable[[], AzureTableStore]) -> None:
    longest = f"a{uuid4().hex}".ljust(63, "z")
    store = open_store()

    store.keep_report(longest, {"started": "2026-03-02T12:00:00.000Z", "until": None})
    store.save(longest, FeedState({"A": location()}), ["A"])
    aside = store.set_aside(longest)

    assert [report["until"] for report in store.history(longest, NOON - HOUR * 10_000)] == [None]
    assert len(aside) == 1
    assert open_store().load(longest) == FeedState()


def test_a_location_of_sixty_thousand_ids_fits(open_store: Callable[[], AzureTableStore], name: str) -> None:
    state = FeedState({"A": location(count=60_000)})

    open_store().save(name, state, ["A"])

    assert open_store().load(name) == state


@pytest.mark.parametrize(
    "change",
    [
        {"doc0": b""},
        {"doc0": b'{"version": 1, "na'},
        {"doc0": b"[]"},
        {"doc0": b'{"version": 2, "name": "A"}'},
        {"doc0": b'{"name": "A"}'},
        {"doc0": "a text"},
        {"ids0": b""},
        {"ids0": b"x" * 11},
        {"ids1": b"x" * 12},
    ],
    ids=[
        "emptied",
        "cut short",
        "of another kind",
        "of a newer version",
        "of no version",
        "a text",
        "ids gone",
        "ids cut",
        "ids too many",
    ],
)
def test_a_damaged_row_is_refused_and_named(
    open_store: Callable[[], AzureTableStore],
    tables: TableServiceClient,
    name: str,
    change: dict[str, Any],
) -> None:
    open_store().save(name, FeedState({"A": location(count=2)}), ["A"])
    tables.get_table_client(name).update_entity({"PartitionKey": "location", "RowKey": "A"} | change)

    with pytest.raises(StateDamaged, match=f"{name}.*row location/A.*START_FROM"):
        open_store().load(name)


def test_a_row_under_anothers_key_is_refused(
    open_store: Callable[[], AzureTableStore], tables: TableServiceClient, name: str
) -> None:
    open_store().save(name, FeedState({"A": location()}), ["A"])
    table = tables.get_table_client(name)
    table.create_entity(dict(table.get_entity("location", "A")) | {"RowKey": "B"})

    with pytest.raises(StateDamaged, match="under another's key"):
        open_store().load(name)


def test_a_damaged_row_of_the_feed_is_refused(
    open_store: Callable[[], AzureTableStore], tables: TableServiceClient, name: str
) -> None:
    open_store().save(name, FeedState({"A": location()}), ["A"])
    tables.get_table_client(name).update_entity(
        {"PartitionKey": "feed", "RowKey": "feed", "doc0": b'{"version": 9}'}
    )

    with pytest.raises(StateDamaged, match="newer"):
        open_store().load(name)


def test_the_totals_of_a_feed_can_be_read_as_columns(
    open_store: Callable[[], AzureTableStore], tables: TableServiceClient, name: str
) -> None:
    open_store().save(name, FeedState({"A": location()}), ["A"])

    row = tables.get_table_client(name).get_entity("feed", "feed")

    assert (row["last_fetch_timestamp"], row["total_events_sent"][0]) == ("2026-03-02T12:00:00.000Z", 0)


def test_times_of_the_earlier_forwarder_may_be_dates(
    open_store: Callable[[], AzureTableStore], tables: TableServiceClient, name: str
) -> None:
    row = {
        "PartitionKey": "forwarder",
        "RowKey": "state",
        "last_fetch_timestamp": NOON,
        "total_events_sent": 3,
    }
    tables.create_table(name).create_entity(row)

    takeover = open_store().load(name).takeover

    assert takeover is not None
    assert (takeover.position, takeover.events) == (NOON, 3)


def test_a_probe_leaves_no_row(open_store: Callable[[], AzureTableStore], tables: TableServiceClient) -> None:
    open_store().probe()

    assert list(tables.get_table_client("forwardercheck").list_entities()) == []


def test_a_quarantined_reading_names_its_table_and_not_the_key(
    open_store: Callable[[], AzureTableStore], name: str
) -> None:
    item = QuarantinedReading("people_counter", "A", [HUB], "ab/c?#", "no time", NOON, b"{}")

    found = open_store().quarantine(name, item)

    assert f"table {name}quarantine at 127.0.0.1" in found
    assert "Eby8" not in found


# --- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("Beacon-House-3", "Beacon-House-3"),
        ("Beacon House_3", "Beacon_20House_5F3"),
        ("a/b\\c#d?e", "a_2Fb_5Cc_23d_3Fe"),
        ("é", "_C3_A9"),
        ("e\u0301", "e_CC_81"),
        ("\ud800", "_ED_A0_80"),
        ("", ""),
    ],
    ids=["plain", "space and underscore", "what keys cannot hold", "composed", "decomposed", "half", "empty"],
)
def test_a_name_is_escaped_so_that_it_can_be_read(location: str, expected: str) -> None:
    assert row_key(location) == expected


def test_a_name_too_long_for_a_key_ends_in_its_hash() -> None:
    key = row_key("é" * 300)

    assert (len(key), key.startswith("_C3_A9_C3"), key == row_key("é" * 301)) == (266, True, False)


# --- what discovery found ---------------------------------------------------------------------------

FOUND = Discovery(NOON, (Place("A", "com.example.NORTH", 3),), "asked with")


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.CUT, Fault.BUSY])
@pytest.mark.parametrize("method", ["POST", "PUT"], ids=["a new row", "a row that is there"])
def test_discovery_is_kept_whatever_becomes_of_an_answer(
    relay: Relay, name: str, method: str, fault: Fault
) -> None:
    state = FeedState(last_run={"run": "r1", "started": "2026-03-02T12:00:00.000Z"})
    if method == "PUT":
        connected(relay.port).save(name, state, [])
    relay.order(fault, method, name, times=4)

    connected(relay.port).keep_discovery(name, FOUND)

    assert set(relay.fired) == {fault}
    expected = FeedState() if method == "POST" else state
    assert connected(relay.port).load(name) == replace(expected, discovery=FOUND)


def test_what_a_run_says_of_the_feed_meanwhile_is_not_undone(azurite_port: int, name: str) -> None:
    """A run writes the feed's row between the reading of it and the writing."""
    at = connected(azurite_port)
    at.save(name, FeedState(last_run={"run": "r1"}), [])
    planner = AzureTableStore(partial(_WritesFirst, azurite_port, name))

    planner.keep_discovery(name, FOUND)

    assert at.load(name) == FeedState(last_run={"run": "r2"}, discovery=FOUND)


class _WritesFirst(TableClient):
    """A table that another run has just written when a row of it is written for the first time."""

    def __init__(self, port: int, name: str, table: str) -> None:
        made = TableClient.from_connection_string(connection_string(port), table)
        self.__dict__.update(made.__dict__)
        self._before: Callable[[], None] = partial(
            connected(port).save, name, FeedState(last_run={"run": "r2"}), []
        )

    def update_entity(self, *args: Any, **options: Any) -> Any:
        before, self._before = self._before, lambda: None
        before()
        return super().update_entity(*args, **options)
