"""Which locations a run asks for, and where each hub begins at them, by a horizon that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.base.checkpoints import Checkpoint, Discovery, FeedState, HubRecord, LocationState, Place, Takeover
from app.base.errors import AuthError, NoPermission, SourceError, SourceUnavailable
from app.base.instants import MILLISECOND
from app.base.shards import Shard
from app.microshare.discovery import Found
from app.run.ledger import Ledger
from app.run.locations import FoundLocations, begin_checkpoints, find_locations
from app.run.planning import Limits
from app.settings.schema import FeedSettings
from tests.unit.a_run import DAY, FEED, HOUR, MILL, MINUTE, NOON, QUAY, A, B, draft, settings

NOTHING_YET = FeedState()
ASKED_WITH = "https://api.microshare.io ('com.example.NORTH',) ('cluster',)"


class Discovering:
    """A client of which nothing is asked but discovery."""

    def __init__(self, answer: Found | SourceError) -> None:
        self.answer = answer
        self.asked = 0

    def discover_locations(self, _: Sequence[str]) -> Found:
        self.asked += 1
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


def places(*names: str) -> tuple[Place, ...]:
    return tuple(Place(name, "com.example.NORTH", 1, frozenset([name])) for name in names)


def discovered(*names: str, ago: timedelta = 2 * HOUR, of: str = ASKED_WITH) -> Discovery:
    return Discovery(NOON - ago, places(*names), of)


def find(
    answer: Found | SourceError, state: FeedState = NOTHING_YET, feed: FeedSettings = FEED
) -> tuple[FoundLocations, int]:
    """Find a run's locations; give them, and how often discovery was asked for."""
    client = Discovering(answer)
    found = find_locations(client, state, settings(feed), feed, NOON)  # type: ignore[arg-type]  # see its class
    return found, client.asked


# --- names ------------------------------------------------------------------------------------------


def test_what_is_discovered_configured_or_was_lately_listed_is_asked_for() -> None:
    state = FeedState(
        {
            "lately": LocationState(last_listed=NOON - 48 * HOUR),
            "long ago": LocationState(last_listed=NOON - 48 * HOUR - MINUTE),
            "never": LocationState(),
        }
    )

    found, _ = find(Found(places(MILL)), state, replace(FEED, locations=("Shed",)))

    assert found.names == (MILL, "Shed", "lately")
    assert (found.is_new, found.discovery) == (True, Discovery(NOON, places(MILL), ASKED_WITH))


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (discovered(MILL, ago=59 * MINUTE), 0),
        (discovered(MILL, ago=HOUR), 1),
        (discovered(MILL, ago=-5 * MINUTE), 0),
        (discovered(MILL, ago=-6 * MINUTE), 1),
        (discovered(MILL, ago=MINUTE, of="another identity"), 1),
        (None, 1),
    ],
    ids=[
        "within the hour",
        "an hour ago",
        "by a clock a little ahead",
        "by a clock far ahead",
        "with other settings",
        "never",
    ],
)
def test_discovery_is_asked_for_once_an_hour(known: Discovery | None, asked: int) -> None:
    found, times = find(Found(places(MILL)), FeedState(discovery=known))

    assert (times, found.names) == (asked, (MILL,))


def test_a_feed_without_clusters_asks_for_no_discovery() -> None:
    found, asked = find(SourceUnavailable("no answer"), feed=replace(FEED, cluster_ids=(), locations=(MILL,)))

    assert (asked, found.names) == (0, (MILL,))


@pytest.mark.parametrize(
    ("error", "warnings", "failures"),
    [(SourceUnavailable("503"), 1, 0), (NoPermission("no rights"), 0, 1)],
    ids=["passing trouble is a warning", "missing rights are a failure"],
)
def test_where_discovery_fails_the_last_list_is_used_and_that_is_told(
    error: SourceError, warnings: int, failures: int
) -> None:
    found, _ = find(error, FeedState(discovery=discovered(MILL)))

    assert (found.names, found.is_new, found.drift) == ((MILL,), False, ())
    assert (len(found.warnings), len(found.failures)) == (warnings, failures)
    assert str(error) in "".join([*found.warnings, *(text for _, text in found.failures)])


@pytest.mark.parametrize(
    ("error", "state"),
    [(SourceUnavailable("503"), FeedState()), (AuthError("refused"), FeedState(discovery=discovered(MILL)))],
    ids=["no list", "a login that is refused"],
)
def test_where_there_is_nothing_to_ask_for_the_run_fails(error: SourceError, state: FeedState) -> None:
    with pytest.raises(type(error)):
        find(error, state)


def test_a_name_of_two_organisations_is_refused_in_every_run_unless_it_is_configured() -> None:
    two = Found(places(MILL), collisions=(QUAY,))
    first, _ = find(two)
    state = FeedState(
        {QUAY: LocationState(last_listed=NOON)},
        discovery=replace(first.discovery or discovered(), at=NOON - MINUTE),
    )

    second, asked = find(two, state)
    configured, _ = find(two, state, replace(FEED, locations=(QUAY,)))

    assert asked == 0
    for found in (first, second):
        assert (found.names, found.refused) == ((MILL,), frozenset([QUAY]))
        assert [name for name, _ in found.failures] == [QUAY]
    assert (configured.names, configured.failures) == ((MILL, QUAY), ())


def test_a_name_that_a_view_could_take_for_its_query_is_refused_in_every_run() -> None:
    hostile = 'Mill", "loc1": {"$ne": "x'
    first, _ = find(Found(places(MILL, hostile)))
    known = replace(first.discovery or discovered(), at=NOON - MINUTE)
    second, asked = find(Found(()), FeedState(discovery=known))
    ledger = Ledger(NOTHING_YET, Limits(HOUR, DAY, 999))
    first.noted(ledger, draft())

    assert (asked, list(ledger.locations())) == (0, [MILL])
    for found in (first, second):
        assert (found.names, found.refused) == ((MILL,), frozenset([hostile]))
        [(name, said)] = found.failures
        assert (name, "holds a double quote" in said, "rename it" in said) == (hostile, True, True)


def test_a_name_is_judged_as_the_view_gets_it() -> None:
    mapped = replace(FEED, location_names={"Mill\\Lane": "Mill Lane"})

    found, _ = find(Found(places("Mill\\Lane")), feed=mapped)

    assert (found.names, found.failures) == (("Mill\\Lane",), ())


def test_organisations_that_share_an_identity_are_warned_of_by_the_run_that_first_sees_them() -> None:
    ours = Place(MILL, "com.example.NORTH", 1, frozenset("a"))
    other = Place(QUAY, "evil.com.example.NORTH", 1, frozenset("b"))

    new, _ = find(Found((ours, other)))
    seen, _ = find(
        Found((ours, other)), FeedState(discovery=Discovery(NOON - HOUR, (ours, other), ASKED_WITH))
    )
    joined, _ = find(Found((ours, other)), FeedState(discovery=Discovery(NOON - HOUR, (ours,), ASKED_WITH)))
    alone, _ = find(Found((ours,)))

    assert [len(found.warnings) for found in (new, seen, joined, alone)] == [1, 0, 1, 0]
    assert "means 2 organisations" in new.warnings[0]
    assert new.names == (MILL, QUAY)


def test_names_drift_only_where_discovery_was_asked_in_the_same_way_before() -> None:
    same, _ = find(Found(places(QUAY)), FeedState(discovery=discovered(MILL)))
    other, _ = find(Found(places(QUAY)), FeedState(discovery=discovered(MILL, of="another identity")))

    assert [(drift.kind, drift.location) for drift in same.drift] == [("new", QUAY), ("gone", MILL)]
    assert other.drift == ()


# --- where hubs begin -------------------------------------------------------------------------------


def begin(
    state: FeedState, *names: str, start_from: timedelta | datetime = DAY, horizon: datetime = NOON
) -> tuple[Ledger, list[str]]:
    """Give first checkpoints; give the ledger, and what was warned of."""
    ledger, told = Ledger(state, Limits(HOUR, DAY, 999)), draft()
    begin_checkpoints(ledger, settings(start_from=start_from), list(names), horizon, "state/folder", told)
    return ledger, list(told.finish(failing_since=None, took_s=0.0).warnings)


def begins(ledger: Ledger, name: str) -> Mapping[str, datetime]:
    return {hub: found.delivered_until for hub, found in ledger.location(name).checkpoints.items()}


@pytest.mark.parametrize(
    ("start_from", "expected"),
    [
        (DAY, NOON - DAY),
        (NOON - 3 * DAY, NOON - 3 * DAY),
        (NOON + DAY, NOON),
        (timedelta(seconds=1, microseconds=300), NOON - timedelta(seconds=1) - MILLISECOND),
    ],
    ids=["a duration", "an instant", "an instant to come", "to whole milliseconds"],
)
def test_every_hub_begins_at_start_from_and_never_after_the_horizon(
    start_from: timedelta | datetime, expected: datetime
) -> None:
    ledger, warnings = begin(FeedState(), MILL, start_from=start_from)

    assert begins(ledger, MILL) == {A: expected, B: expected}
    assert [text.partition(",")[0] for text in warnings] == ["no state at state/folder: a new installation"]


def test_a_hub_that_is_new_begins_at_start_from_and_the_other_stays_where_it_is() -> None:
    known = Checkpoint(NOON - MINUTE, NOON - DAY)
    state = FeedState({MILL: LocationState(checkpoints={A: known}, hubs={A: HubRecord(start=NOON - DAY)})})

    ledger, warnings = begin(state, MILL, start_from=HOUR)

    assert begins(ledger, MILL) == {A: known.delivered_until, B: NOON - HOUR}
    assert warnings == []


def test_a_checkpoint_without_a_single_reading_stays_where_it_is() -> None:
    empty = Checkpoint(NOON - 9 * DAY, NOON - 9 * DAY)
    state = FeedState({MILL: LocationState(checkpoints={A: empty, B: empty})})

    ledger, _ = begin(state, MILL)

    assert begins(ledger, MILL) == {A: NOON - 9 * DAY, B: NOON - 9 * DAY}


def test_the_earlier_forwarder_s_position_is_where_all_begin_and_is_taken_over_once() -> None:
    state = FeedState(takeover=Takeover(NOON - 3 * HOUR, "state.json"))

    first, warnings = begin(state, MILL)
    later, _ = begin(first.state(), MILL, QUAY)

    assert begins(first, MILL) == {A: NOON - 3 * HOUR, B: NOON - 3 * HOUR}
    assert first.state().takeover == Takeover(NOON - 3 * HOUR, "state.json", at=NOON)
    assert len(warnings) == 1
    assert begins(later, QUAY) == {A: NOON - DAY, B: NOON - DAY}


def test_the_earlier_forwarder_s_position_waits_for_a_location() -> None:
    takeover = Takeover(NOON - 3 * HOUR, "state.json")

    ledger, _ = begin(FeedState(takeover=takeover))

    assert ledger.state().takeover == takeover


@pytest.mark.parametrize(
    ("ahead", "told"), [(timedelta(seconds=1), False), (MINUTE, True)], ids=["as exact as a clock is", "more"]
)
def test_a_position_ahead_of_the_clock_stays_and_is_warned_of(ahead: timedelta, told: bool) -> None:
    known = Checkpoint(NOON + ahead, NOON - DAY)
    state = FeedState({MILL: LocationState(checkpoints={A: known, B: known})})

    ledger, warnings = begin(state, MILL)

    assert begins(ledger, MILL) == {A: NOON + ahead, B: NOON + ahead}
    assert [("is ahead of the clock" in text, "(1 other too)" in text) for text in warnings] == (
        [(True, True)] if told else []
    )


# --- shards -----------------------------------------------------------------------------------------

HALVES = (Shard(0, 2), Shard(1, 2))
NAMES = [f"Building {number}" for number in range(8)]


def find_for(shard: Shard, answer: Found | SourceError, state: FeedState = NOTHING_YET) -> FoundLocations:
    client = Discovering(answer)
    return find_locations(client, state, settings(FEED), FEED, NOON, shard)  # type: ignore[arg-type]  # see its class


def test_each_location_is_asked_for_and_listed_by_the_shard_that_holds_it() -> None:
    for shard in HALVES:
        found = find_for(shard, Found(places(*NAMES)))
        ledger = Ledger(NOTHING_YET, Limits.of(FEED))
        found.noted(ledger, draft())

        held = [name for name in NAMES if shard.holds(name)]
        assert (list(found.names), sorted(ledger.changed), found.others) == (held, held, True)


def test_a_name_of_two_organisations_is_refused_by_the_shard_that_holds_it() -> None:
    answer = Found(places(*NAMES), collisions=tuple(NAMES))

    told = [[name for name, _ in find_for(shard, answer).failures] for shard in HALVES]

    assert told == [[name for name in NAMES if shard.holds(name)] for shard in HALVES]


def test_a_shard_goes_by_the_newest_list_of_any_and_tells_what_is_new_to_itself() -> None:
    own, newer = discovered(*NAMES[:6]), discovered(*NAMES[1:], ago=MINUTE)
    state = FeedState(discovery=own, latest_discovery=newer)
    answer = SourceUnavailable("nothing is asked")

    found = [find_for(shard, answer, state) for shard in HALVES]

    assert all(each.is_new and each.discovery == newer and not each.warnings for each in found)
    told = [[(drift.kind, drift.location) for drift in each.drift] for each in found]
    news = [("new", NAMES[6]), ("new", NAMES[7]), ("gone", NAMES[0])]
    assert told == [[(kind, name) for kind, name in news if shard.holds(name)] for shard in HALVES]


def test_a_list_that_was_asked_for_with_other_settings_does_not_serve_a_shard() -> None:
    state = FeedState(
        discovery=discovered(*NAMES, ago=MINUTE * 30),
        latest_discovery=discovered(MILL, ago=MINUTE, of="other"),
    )

    found = find_for(HALVES[0], SourceUnavailable("nothing is asked"), state)

    assert found.discovery == state.discovery
