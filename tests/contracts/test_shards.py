"""What the table store promises of shards: a lock and a record each, and one feed for its readers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from azure.data.tables import TableClient, TableServiceClient

from app.base.checkpoints import (
    Checkpoint,
    Discovery,
    Drift,
    FeedState,
    LocationState,
    Place,
    SeenKey,
    Takeover,
)
from app.base.errors import LockHeld, StateConflict, StateDamaged, StateError
from app.base.instants import format_time
from app.base.readings import JsonObject
from app.base.shards import WHOLE, Shard
from app.settings.schema import StateSettings
from app.state.azure_table import AzureTableStore
from app.state.json_file import JsonFileStore
from tests.contracts.conftest import TablePlace
from tests.contracts.test_state_store import AWKWARD_NAMES
from tests.environments.azurite import Relay, connection_string

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HUB = "alpha.example.test/counts"
FIRST, SECOND = HALVES = (Shard(0, 2), Shard(1, 2))
THIRDS = tuple(Shard(index, 3) for index in range(3))
OTHERS = [pytest.param(FIRST, WHOLE, id="whole"), pytest.param(FIRST, THIRDS[1], id="thirds")]
NAMES = {"Beacon House": FIRST, "Quay Two": SECOND}


def location(hours: int = 0) -> LocationState:
    until = NOON + timedelta(hours=hours)
    return LocationState(checkpoints={HUB: Checkpoint(until, NOON)})


def ran(minutes: int, **said: Any) -> JsonObject:
    """What a run says of itself that began so many minutes after noon."""
    started = NOON + minutes * MINUTE
    whole = {
        "run": f"run-{minutes}",
        "started": format_time(started),
        "ended": format_time(started + MINUTE),
        "ok": True,
        "error": None,
        "failing_since": None,
        "hubs_failing": [],
    }
    return whole | said


def discovered(*names: str, minutes: int = 0) -> Discovery:
    return Discovery(NOON + minutes * MINUTE, tuple(Place(name, "org", 1) for name in names), "asked")


@dataclass
class Shards:
    """A feed in Azurite's tables, seen from as many hosts as ask for it."""

    port: int
    name: str
    tables: TableServiceClient = field(init=False)

    def __post_init__(self) -> None:
        self.tables = TableServiceClient.from_connection_string(connection_string(self.port))

    def open(self) -> AzureTableStore:
        settings = StateSettings("table", "", table_connection_string=connection_string(self.port))
        return AzureTableStore.connect(settings)

    def load(self, shard: Shard = WHOLE) -> FeedState:
        return self.open().load(self.name, shard)

    def run(self, shard: Shard, change: Callable[[FeedState], FeedState]) -> FeedState:
        """Do what a run does: lock, load, save all that it has; give what it had loaded."""
        store = self.open()
        with store.lock(self.name, f"run of {shard}", shard):
            before = store.load(self.name, shard)
            after = change(before)
            store.save(self.name, after, after.locations.keys(), shard)
        return before

    def say(self, shard: Shard, **said: Any) -> FeedState:
        return self.run(shard, lambda state: replace(state, **said))

    def rows(self) -> list[tuple[str, str]]:
        rows = self.tables.get_table_client(self.name).list_entities()
        return sorted((row["PartitionKey"], row["RowKey"]) for row in rows)


@pytest.fixture
def feed(azurite_port: int, name: str) -> Shards:
    return Shards(azurite_port, name)


# --- rows -------------------------------------------------------------------------------------------


def test_a_run_without_shards_writes_the_rows_that_it_always_wrote(feed: Shards) -> None:
    store = feed.open()
    with store.lock(feed.name, "a run"):
        store.save(feed.name, FeedState({"Beacon House": location()}, last_run=ran(0)), ["Beacon House"])
        [lock] = feed.tables.get_table_client(feed.name).query_entities("PartitionKey eq 'lock'")
        during = feed.rows()

    assert during == [("feed", "feed"), ("location", "Beacon_20House"), ("lock", "lock")]
    assert set(lock) == {"PartitionKey", "RowKey", "nonce", "owner", "host", "pid", "since"}
    assert feed.rows() == during[:2]


def test_a_shard_has_a_lock_and_a_record_of_its_own_and_locations_are_as_they_were(feed: Shards) -> None:
    feed.say(WHOLE, locations={"Quay Two": location()})
    store = feed.open()
    with store.lock(feed.name, "a run", SECOND):
        state = store.load(feed.name, SECOND)
        store.save(feed.name, state, ["Quay Two"], SECOND)
        during = feed.rows()

    assert during == [
        ("feed", "2-of-2"),
        ("feed", "feed"),
        ("location", "Quay_20Two"),
        ("lock", "2-of-2"),
    ]


@pytest.mark.parametrize("of", [3, 8], ids=["listed with the others", "each by its key"])
def test_a_shard_loads_the_locations_that_it_holds_whatever_their_names(feed: Shards, of: int) -> None:
    shards = [Shard(index, of) for index in range(of)]
    names = [*AWKWARD_NAMES.values(), *(f"Building {number}" for number in range(20))]
    feed.say(WHOLE, locations={each: location(hours) for hours, each in enumerate(names)})

    loaded = [feed.load(shard).locations for shard in shards]

    assert [set(found) for found in loaded] == [
        {each for each in names if shard.holds(each)} for shard in shards
    ]
    assert {key: found for each in loaded for key, found in each.items()} == feed.load().locations


def test_one_of_many_shards_goes_on_from_its_record_and_asks_for_no_row_of_another(
    relay: Relay, name: str
) -> None:
    feed, shard = Shards(relay.port, name), Shard(0, 8)
    TablePlace(feed.port).put_earlier_state(name, {"last_fetch_timestamp": "2026-03-01T10:15:00.000Z"})
    first = feed.load(shard)
    names = [f"Building {number}" for number in range(40)]
    feed.say(WHOLE, locations={each: location() for each in names}, last_run=ran(1))
    feed.say(shard, last_run=ran(2))
    before = len(relay.requests)

    found = feed.load(shard)

    asked = [path for _, path in relay.requests[before:] if "RowKey=" in path and "location" in path]
    assert first.takeover is not None
    assert found.last_run == ran(2)
    assert len(asked) == len(found.locations) == sum(shard.holds(each) for each in names)


def test_a_shard_that_is_damaged_elsewhere_is_not_read_as_empty(feed: Shards) -> None:
    feed.say(FIRST, last_run=ran(0))
    row = {"PartitionKey": "feed", "RowKey": "1-of-2", "doc0": b"{"}
    feed.tables.get_table_client(feed.name).upsert_entity(row)

    with pytest.raises(StateDamaged, match=r"row feed/1-of-2"):
        feed.load()


def test_another_run_s_change_of_a_location_of_a_shard_is_a_conflict(feed: Shards) -> None:
    feed.say(WHOLE, locations={each: location() for each in NAMES})
    store = feed.open()
    state = store.load(feed.name, SECOND)
    feed.run(WHOLE, lambda _: FeedState({"Quay Two": location(1)}))

    with pytest.raises(StateConflict, match="Quay Two"):
        store.save(feed.name, state, ["Quay Two"], SECOND)


def test_files_are_not_shared_out(tmp_path: Any, name: str) -> None:
    store = JsonFileStore(tmp_path / "state")
    for ask in (
        lambda: store.load(name, SECOND),
        lambda: store.save(name, FeedState(), (), SECOND),
        lambda: store.lock(name, "a run", SECOND).__enter__(),
    ):
        with pytest.raises(StateError, match=r"shard 2/2 of a feed needs the table store.*STATE_STORE=table"):
            ask()

    assert not (tmp_path / "state").exists()


# --- locks ------------------------------------------------------------------------------------------


def test_shards_of_one_number_run_beside_one_another_each_once(feed: Shards) -> None:
    with ExitStack() as held:
        locks = [held.enter_context(feed.open().lock(feed.name, "a run", shard)) for shard in THIRDS]
        with pytest.raises(LockHeld, match=r"run-two|a run on .*, shard 2/3, since"):
            held.enter_context(feed.open().lock(feed.name, "run-two", THIRDS[1]))

        assert [lock.held() for lock in locks] == [True, True, True]
    assert feed.rows() == []


@pytest.mark.parametrize(("one", "other"), [*OTHERS, *((e.values[1], e.values[0]) for e in OTHERS)])
def test_runs_that_divide_a_feed_otherwise_exclude_each_other(feed: Shards, one: Shard, other: Shard) -> None:
    with feed.open().lock(feed.name, "run-one", one) as lock:
        with pytest.raises(LockHeld, match=r"another run works on this feed \(run-one on"):
            feed.open().lock(feed.name, "run-two", other).__enter__()

        assert lock.held()
        assert len(feed.rows()) == 1
    with feed.open().lock(feed.name, "run-two", other) as lock:
        assert lock.held()


class _TakingTogether(TableClient):
    """A client by which two leases are taken together: each goes on when both are written."""

    taken: threading.Barrier

    def create_entity(self, *args: Any, **options: Any) -> Any:
        answer = super().create_entity(*args, **options)
        self.taken.wait(20)
        return answer


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_of_runs_that_divide_a_feed_otherwise_and_begin_together_not_both_go_on(
    feed: Shards, one: Shard, other: Shard
) -> None:
    feed.say(WHOLE)
    _TakingTogether.taken = threading.Barrier(2)
    open_table = partial(_TakingTogether.from_connection_string, connection_string(feed.port))

    def goes_on(shard: Shard) -> bool:
        try:
            with AzureTableStore(open_table).lock(feed.name, f"run of {shard}", shard) as lock:
                return lock.held()
        except LockHeld:
            return False

    with ThreadPoolExecutor(2) as hosts:
        went_on = list(hosts.map(goes_on, (one, other)))

    assert sum(went_on) < 2
    assert feed.rows() == [("feed", "feed")]


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_who_slept_through_the_end_of_a_lease_cannot_renew_it_beside_another_division(
    relay: Relay, name: str, one: Shard, other: Shard
) -> None:
    feed = Shards(relay.port, name)
    with feed.open().lock(name, "run-one", one) as slept:
        relay.clock_ahead = timedelta(seconds=70)
        with feed.open().lock(name, "run-two", other) as second:
            renewed = slept.renew()

            assert (renewed, slept.held(), second.held()) == (False, False, True)


def test_who_lost_a_lease_leaves_that_of_the_next_run_alone(relay: Relay, name: str) -> None:
    feed = Shards(relay.port, name)
    with ExitStack() as later:
        with feed.open().lock(name, "run-one", FIRST) as slept:
            relay.clock_ahead = timedelta(seconds=70)
            second = later.enter_context(feed.open().lock(name, "run-two", FIRST))
            assert (slept.renew(), slept.held()) == (False, False)

        assert (second.renew(), second.held()) == (True, True)


def test_a_lease_that_ran_out_of_a_shard_beside_stays(relay: Relay, name: str) -> None:
    feed = Shards(relay.port, name)
    with feed.open().lock(name, "run-one", FIRST) as slept:
        relay.clock_ahead = timedelta(seconds=70)
        with feed.open().lock(name, "run-two", SECOND) as second:
            assert (slept.renew(), slept.held(), second.held()) == (True, True, True)


def test_a_lease_that_is_renewed_while_it_is_judged_lives(relay: Relay, name: str) -> None:
    feed = Shards(relay.port, name)

    class Renewing(TableClient):
        def delete_entity(self, *args: Any, **options: Any) -> None:
            woke.renew()
            super().delete_entity(*args, **options)

    with feed.open().lock(name, "run-one", FIRST) as woke:
        relay.clock_ahead = timedelta(seconds=70)
        open_table = partial(Renewing.from_connection_string, connection_string(relay.port))
        with pytest.raises(LockHeld, match="run-one"):
            AzureTableStore(open_table).lock(name, "run-two", WHOLE).__enter__()

        assert woke.held()


def test_a_lock_that_was_refused_is_given_back(feed: Shards) -> None:
    with feed.open().lock(feed.name, "run-one", FIRST), pytest.raises(LockHeld):
        feed.open().lock(feed.name, "run-two").__enter__()

    assert feed.rows() == []


# --- one feed for readers -----------------------------------------------------------------------------


def test_what_shards_say_is_read_as_one_feed(feed: Shards) -> None:
    feed.run(
        FIRST,
        lambda _: FeedState(
            {"Beacon House": location(2)},
            discovery=discovered("Beacon House", "Quay Two"),
            last_run=ran(
                2, hubs_failing=["b"], ok=False, error="b: refused", failing_since=format_time(NOON)
            ),
            drift=(Drift("silent", "Beacon House", "silent", NOON), Drift("keys appeared", None, "x", NOON)),
            keys={"in": SeenKey(NOON, vanished=True)},
        ),
    )
    feed.run(
        SECOND,
        lambda _: FeedState(
            {"Quay Two": location(1)},
            discovery=discovered("Beacon House", "Quay Two", minutes=1),
            last_run=ran(1, hubs_failing=["a"]),
            drift=(Drift("keys appeared", None, "x", NOON),),
            keys={"in": SeenKey(NOON + timedelta(hours=1)), "out": SeenKey(NOON)},
        ),
    )

    found = feed.load()

    assert {each: state.checkpoints for each, state in found.locations.items()} == {
        "Beacon House": location(2).checkpoints,
        "Quay Two": location(1).checkpoints,
    }
    assert found.discovery == discovered("Beacon House", "Quay Two", minutes=1)
    assert found.last_run == {
        **ran(1),
        "run": "run-2",
        "ended": format_time(NOON + 3 * MINUTE),
        "ok": False,
        "error": "b: refused",
        "failing_since": format_time(NOON),
        "hubs_failing": ["a", "b"],
    }
    assert [drift.kind for drift in found.drift] == ["silent", "keys appeared"]
    assert found.keys == {"in": SeenKey(NOON + timedelta(hours=1)), "out": SeenKey(NOON)}


def test_the_shards_whose_newest_run_is_newest_count(feed: Shards) -> None:
    feed.say(FIRST, last_run=ran(1))
    feed.say(SECOND, last_run=ran(2))
    feed.say(THIRDS[0], last_run=ran(3, ok=False, error="down"))

    first = feed.load().last_run
    feed.say(FIRST, last_run=ran(4))
    again = feed.load().last_run

    assert first == ran(3, ok=False, error="down")
    assert again is not None
    assert (again["started"], again["ok"]) == (ran(2)["started"], True)


def test_a_record_of_another_number_stays_until_each_new_shard_has_its_own(feed: Shards) -> None:
    feed.say(FIRST, last_run=ran(0))
    feed.say(SECOND, last_run=ran(0))
    rows = []
    for minutes, shard in enumerate(THIRDS, 1):
        feed.say(shard, last_run=ran(minutes))
        rows.append([key for _, key in feed.rows()])

    assert rows == [
        ["1-of-2", "1-of-3", "2-of-2"],
        ["1-of-2", "1-of-3", "2-of-2", "2-of-3"],
        ["1-of-3", "2-of-3", "3-of-3"],
    ]


def test_a_run_without_shards_after_shards_leaves_the_rows_of_one(feed: Shards) -> None:
    for shard in HALVES:
        feed.say(
            shard, last_run=ran(1), locations={each: location() for each in NAMES if NAMES[each] == shard}
        )

    before = feed.run(WHOLE, lambda state: replace(state, last_run=ran(5)))

    assert set(before.locations) == set(NAMES)
    assert feed.rows() == [("feed", "feed"), ("location", "Beacon_20House"), ("location", "Quay_20Two")]
    assert feed.load().last_run == ran(5)


def test_what_is_saved_without_a_lock_removes_no_record(feed: Shards) -> None:
    for shard in HALVES:
        feed.say(shard, last_run=ran(1))
    store = feed.open()

    store.save(feed.name, replace(store.load(feed.name), discovery=discovered("Quay Two", minutes=9)), ())

    assert [key for _, key in feed.rows()] == ["1-of-2", "2-of-2", "feed"]
    assert feed.load().last_run == ran(1)
    assert feed.load(FIRST).latest_discovery == discovered("Quay Two", minutes=9)


def test_a_location_of_a_shard_that_does_not_run_is_not_gone(feed: Shards) -> None:
    long_ago = replace(location(), last_listed=NOON - timedelta(days=9))
    feed.run(SECOND, lambda _: FeedState({"Quay Two": long_ago}, last_run=ran(0)))
    feed.say(FIRST, last_run=ran(1), discovery=discovered("Quay Two", minutes=1))

    found = feed.load()

    assert not found.is_gone(found.locations["Quay Two"])


# --- what a shard goes on from --------------------------------------------------------------------------


def test_a_new_shard_goes_on_from_what_the_others_say_of_its_locations(feed: Shards) -> None:
    drift = tuple(Drift("silent", each, f"{each}: silent", NOON) for each in NAMES)
    keys = {"in": SeenKey(NOON)}
    feed.say(
        WHOLE,
        last_run=ran(0, ok=False, error="down", failing_since=format_time(NOON), hubs_failing=["a"]),
        drift=(*drift, Drift("keys appeared", None, "x", NOON)),
        keys=keys,
        discovery=discovered(*NAMES),
    )

    found = feed.load(SECOND)

    assert found.last_run is not None
    assert (found.last_run["failing_since"], found.last_run["hubs_failing"]) == (format_time(NOON), ["a"])
    assert [each.location for each in found.drift] == ["Quay Two", None]
    assert (found.keys, found.discovery, found.latest_discovery) == (
        keys,
        discovered(*NAMES),
        discovered(*NAMES),
    )


def test_a_shard_goes_on_from_its_own_record_and_knows_the_newest_list(feed: Shards) -> None:
    feed.say(FIRST, last_run=ran(1), discovery=discovered("Quay Two"))
    feed.say(SECOND, last_run=ran(2, ok=False, error="down"), discovery=discovered(*NAMES, minutes=3))

    found = feed.load(FIRST)

    assert found.last_run == ran(1)
    assert found.discovery == discovered("Quay Two")
    assert found.latest_discovery == discovered(*NAMES, minutes=3)


def test_the_earlier_forwarder_s_position_is_taken_over_by_each_shard(feed: Shards) -> None:
    TablePlace(feed.port).put_earlier_state(feed.name, {"last_fetch_timestamp": "2026-03-01T10:15:00.000Z"})
    taken: list[Takeover | None] = []

    def take_over(state: FeedState) -> FeedState:
        taken.append(state.takeover)
        assert state.takeover is not None
        return replace(state, takeover=replace(state.takeover, at=NOON), last_run=ran(0))

    feed.run(FIRST, take_over)
    meanwhile = feed.load().takeover
    feed.run(SECOND, take_over)

    assert [found and found.at for found in taken] == [None, None]
    assert meanwhile is not None
    assert meanwhile.at is None
    done = feed.load().takeover
    assert done is not None
    assert done.at == NOON
