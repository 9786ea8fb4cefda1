"""What is done to a state by hand, and to readings in quarantine, where nothing is asked of anybody."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base import exact_json
from app.base.checkpoints import Checkpoint, FeedState, Gap, HubRecord, LocationState, Seal, Takeover
from app.base.program import APP_ROOT
from app.base.readings import DashboardAnswer, QuarantinedReading, Reading, Slice
from app.cli import main
from app.cli.state_effects import asked
from app.feeds.feed import load_feed, read_answer
from app.feeds.quarantine import NotForwardable, event_again, quarantine_text
from app.settings.schema import FeedSettings
from app.state.document import encode, whole_document
from app.state.edits import Effect, Part, changed, close_gap, effects, move, remember, reset, skip
from app.state.json_file import JsonFileStore
from tests.commands import Call, Ended
from tests.environments.dialogue import Dialogue

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW = NOON + DAY
START = NOW - DAY
A, B = "example.servicebus.windows.net/counts", "example.servicebus.windows.net/second"


def ids(*hours: datetime, each: int = 2) -> dict[datetime, frozenset[str]]:
    return {hour: frozenset(f"{hour:%d%H}id{number:010}" for number in range(each)) for hour in hours}


def done(until: datetime, *hours: datetime) -> Checkpoint:
    return Checkpoint(until, until - DAY, ids(*hours))


def spoken(until: datetime) -> Checkpoint:
    """Give what a hub has whose newest reading is the last that its position can have."""
    return replace(done(until), newest=until - timedelta(milliseconds=1))


def state(**locations: dict[str, Checkpoint]) -> FeedState:
    return FeedState(
        {
            name: LocationState(last_listed=NOON, checkpoints=checkpoints, hubs={A: HubRecord(5, 5)})
            for name, checkpoints in locations.items()
        }
    )


# --- skip and reset, purely -------------------------------------------------------------------------


def test_a_skip_moves_positions_and_known_from_and_keeps_a_gap_for_hubs_that_were_alike() -> None:
    before = state(Mill={A: done(NOON), B: done(NOON)}, Quay={A: done(NOON - HOUR)})
    to = NOON + HOUR

    after = skip(before, Part(), to, NOW)

    assert {name: location.checkpoints for name, location in after.locations.items()} == {
        "Mill": {A: Checkpoint(to, to), B: Checkpoint(to, to)},
        "Quay": {A: Checkpoint(to, to)},
    }
    assert {name: location.gaps for name, location in after.locations.items()} == {
        "Mill": (Gap(Slice(NOON, to), "left behind", NOW, (A, B)),),
        "Quay": (Gap(Slice(NOON - HOUR, to), "left behind", NOW, (A,)),),
    }
    assert after.locations["Mill"].hubs == before.locations["Mill"].hubs


def test_a_skip_keeps_the_ids_of_the_hour_it_goes_to_and_later() -> None:
    held = ids(NOON - HOUR, NOON, NOON + HOUR)
    before = state(Mill={A: Checkpoint(NOON, NOON - DAY, held)})

    after = skip(before, Part(), NOON + HOUR / 2, NOW)

    assert after.locations["Mill"].checkpoints[A].ids == ids(NOON, NOON + HOUR)


def test_what_is_skipped_or_reset_is_not_compared_with_the_source_any_more() -> None:
    seals = {hub: {NOON - 2 * DAY: Seal(1, 2, 3)} for hub in (A, B)}
    before = FeedState({"Mill": LocationState(checkpoints={A: done(NOON), B: done(NOON)}, seals=seals)})

    for after in (skip(before, Part(hub=A), NOW, NOW), reset(before, Part(hub=A), None, START, NOW)):
        assert after.locations["Mill"].seals == {B: seals[B]}


def test_a_move_lets_hubs_go_on_from_where_they_stopped_under_the_earlier_name() -> None:
    gap = Gap(Slice(NOON - DAY, NOON), "missed", NOW)
    before = state(Mill={A: spoken(NOON), B: spoken(NOON - HOUR)}, Quay={A: done(NOON - HOUR)})
    mill = replace(before.locations["Mill"], gaps=(gap,))
    before = replace(before, locations={**before.locations, "Mill": mill})

    after = move(before, "Mill", "Quay")

    quay, left = after.locations["Quay"], after.locations["Mill"]
    assert quay.checkpoints == {A: Checkpoint(NOON, NOON), B: Checkpoint(NOON - HOUR, NOON - HOUR)}
    assert (quay.hubs[A].events, quay.gaps) == (10, (gap,))
    assert left.checkpoints == before.locations["Mill"].checkpoints
    assert (left.hubs[A].events, left.gaps) == (0, ())
    assert after.total_events() == before.total_events()


def test_a_move_leaves_what_is_past_the_earlier_name_as_it_is() -> None:
    before = state(Mill={A: spoken(NOON)}, Quay={A: done(NOON + HOUR)})

    assert move(before, "Mill", "Quay") == before


def test_a_move_sets_back_what_began_past_the_earlier_name() -> None:
    began = NOON + 3 * HOUR
    held = ids(began)
    before = state(Mill={A: spoken(NOON)}, Quay={A: Checkpoint(began + HOUR, began, held)})

    assert move(before, "Mill", "Quay").locations["Quay"].checkpoints == {A: Checkpoint(NOON, NOON, held)}


@pytest.mark.parametrize(
    ("earlier", "stop"),
    [
        (replace(done(NOON + 9 * HOUR), newest=NOON), NOON + timedelta(milliseconds=1)),
        (replace(done(NOON, NOON), newest=NOON + HOUR), NOON),
        (done(NOON + 9 * HOUR, NOON - HOUR), NOON - HOUR),
        (Checkpoint(NOON + 9 * HOUR, NOON), NOON),
    ],
    ids=["after its newest reading", "not past its position", "from the hour of ids", "where it was set"],
)
def test_a_move_goes_on_where_a_hub_has_all_and_not_where_nothing_was_answered(
    earlier: Checkpoint, stop: datetime
) -> None:
    after = move(state(Mill={A: earlier}, Quay={A: done(NOON - DAY)}), "Mill", "Quay")

    assert after.locations["Quay"].checkpoints == {A: Checkpoint(stop, stop)}
    assert move(after, "Mill", "Quay") == after


def test_a_move_leaves_what_began_before_the_earlier_name_stopped_and_has_dropped_its_ids_since() -> None:
    before = state(Mill={A: spoken(NOON)}, Quay={A: done(NOON + 3 * DAY)})
    began = replace(before.locations["Quay"], hubs={A: HubRecord(5, 5, start=NOON - HOUR)})
    before = replace(before, locations={**before.locations, "Quay": began})

    assert move(before, "Mill", "Quay") == before


GAP = Gap(Slice(NOON - 2 * HOUR, NOON - HOUR), "missed", NOON)
OTHER_GAP = Gap(Slice(NOON - 2 * HOUR, NOON - HOUR), "missed", NOON, ("c",))


@pytest.mark.parametrize(
    ("gap", "hubs", "left"),
    [
        (GAP, ["a", "b"], []),
        (GAP, ["a"], [replace(GAP, hubs=("b",))]),
        (replace(GAP, hubs=("a", "b")), ["b"], [replace(GAP, hubs=("a",))]),
        (replace(GAP, hubs=("a",)), ["a", "b"], []),
    ],
    ids=["all hubs", "of all one", "of two one", "its only one"],
)
def test_a_gap_that_is_over_for_some_hubs_stays_for_the_others(
    gap: Gap, hubs: list[str], left: list[Gap]
) -> None:
    checkpoints = {"a": Checkpoint(NOON, NOON), "b": Checkpoint(NOON, NOON)}
    state = FeedState({"Mill": LocationState(checkpoints=checkpoints, gaps=(OTHER_GAP, gap))})

    after = close_gap(state, "Mill", gap, hubs)

    assert after.locations["Mill"].gaps == (OTHER_GAP, *left)


def test_what_was_sent_beside_runs_is_remembered_where_they_read_and_not_compared_where_they_do_not() -> None:
    early, late = NOON - 30 * HOUR, NOON - 2 * HOUR
    seal = Seal(1, 1, 1)
    location = LocationState(
        checkpoints={"a": Checkpoint(NOON, NOON - 24 * HOUR)}, seals={"a": {early: seal, early - HOUR: seal}}
    )

    after = remember(FeedState({"Mill": location}), "Mill", "a", [(early, "x" * 16), (late, "y" * 16)])

    found = after.locations["Mill"]
    assert found.checkpoints["a"].ids == {late: frozenset({"y" * 16})}
    assert found.seals == {"a": {early: None, early - HOUR: seal}}


@pytest.mark.parametrize(
    ("part", "moved"),
    [
        (Part(), {("Mill", A), ("Mill", B), ("Quay", A)}),
        (Part(location="Mill"), {("Mill", A), ("Mill", B)}),
        (Part(hub=A), {("Mill", A), ("Quay", A)}),
        (Part("Mill", B), {("Mill", B)}),
        (Part("Nowhere"), set()),
    ],
    ids=["all", "a location", "a hub", "both", "nothing"],
)
def test_a_skip_and_a_reset_leave_what_is_not_meant_as_it_is(part: Part, moved: set[tuple[str, str]]) -> None:
    before = state(Mill={A: done(NOON), B: done(NOON)}, Quay={A: done(NOON)})

    for after in (skip(before, part, NOW, NOW), reset(before, part, NOW, START, NOW)):
        found = {
            (name, hub)
            for name, location in after.locations.items()
            for hub, checkpoint in location.checkpoints.items()
            if checkpoint != before.locations[name].checkpoints[hub]
        }
        assert found == moved
        assert changed(before, after) == sorted({name for name, _ in moved})


def test_a_skip_back_changes_nothing() -> None:
    before = state(Mill={A: done(NOON)})

    assert skip(before, Part(), NOON - HOUR, NOW) == skip(before, Part(), NOON, NOW) == before


def test_a_reset_forgets_positions_and_ids_and_keeps_counts_listing_and_gaps() -> None:
    before = state(Mill={A: done(NOON, NOON - HOUR)})

    after = reset(before, Part(), None, NOON - HOUR, NOW)

    assert after == FeedState({"Mill": replace(before.locations["Mill"], checkpoints={})})


def test_a_reset_knows_where_a_hub_began_whatever_it_begins_at_now() -> None:
    before = state(Mill={A: done(NOON, NOON - HOUR)})
    began = replace(before.locations["Mill"], hubs={A: HubRecord(5, 5, start=NOON - 9 * HOUR)})
    before = replace(before, locations={"Mill": began})

    resets = [reset(before, Part(), to, NOW, NOW) for to in (None, NOON - 2 * HOUR)]

    assert [after.locations["Mill"].hubs for after in resets] == [began.hubs] * 2


def test_a_reset_that_begins_after_a_position_keeps_a_gap_once() -> None:
    before = state(Mill={A: done(NOON)})

    once = reset(before, Part(), NOW - HOUR, START, NOW)
    again = reset(
        replace(once, locations={"Mill": replace(once.locations["Mill"], checkpoints={A: done(NOON)})}),
        Part(),
        NOW - HOUR,
        START,
        NOW,
    )

    assert once.locations["Mill"].gaps == again.locations["Mill"].gaps
    assert once.locations["Mill"].gaps == (Gap(Slice(NOON, NOW - HOUR), "left behind", NOW, (A,)),)


def test_a_reset_of_the_whole_feed_leaves_an_earlier_position_that_is_not_taken_over() -> None:
    waiting = FeedState(takeover=Takeover(NOON, "an earlier place", 7))
    taken = FeedState(takeover=Takeover(NOON, "an earlier place", 7, at=NOON))
    left = FeedState(takeover=Takeover(NOON, "an earlier place", 7, at=NOW))

    assert reset(waiting, Part(), None, START, NOW) == left
    assert reset(taken, Part(), None, START, NOW) == taken
    assert reset(waiting, Part(hub=A), None, START, NOW) == waiting


# --- what it means ----------------------------------------------------------------------------------

_EFFECTS = {
    "forward": (
        done(NOON, NOON - HOUR),
        Checkpoint(NOON + HOUR, NOON + HOUR),
        Effect("Mill", (A,), NOON, NOON + HOUR, never=Slice(NOON, NOON + HOUR), readings=0),
    ),
    "back, ids forgotten": (
        done(NOON, *(NOON - number * HOUR for number in range(1, 25))),
        Checkpoint(NOON - HOUR, NOON - HOUR),
        Effect("Mill", (A,), NOON, NOON - HOUR, again=Slice(NOON - HOUR, NOON), readings=2),
    ),
    "back, with the ids of then": (
        done(NOON),
        done(NOON - 3 * HOUR, NOON - 5 * HOUR),
        Effect("Mill", (A,), NOON, NOON - 3 * HOUR, again=Slice(NOON - 3 * HOUR, NOON)),
    ),
    "gone, to begin before": (
        done(START + HOUR),
        None,
        Effect("Mill", (A,), START + HOUR, None, again=Slice(START, START + HOUR)),
    ),
    "gone, to begin after": (
        done(START - HOUR),
        None,
        Effect("Mill", (A,), START - HOUR, None, never=Slice(START - HOUR, START)),
    ),
    "batches of a slice that was not completed": (
        done(NOON, NOON + 2 * HOUR),
        Checkpoint(NOON, NOON),
        Effect("Mill", (A,), NOON, NOON, again=Slice(NOON, NOON + 3 * HOUR), readings=0),
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), _EFFECTS.values(), ids=_EFFECTS)
def test_a_change_says_what_is_sent_again_or_never(
    before: Checkpoint, after: Checkpoint | None, expected: Effect
) -> None:
    found = effects(state(Mill={A: before}), state(Mill={A: after} if after else {}), START)

    assert found == [expected]


def test_hubs_that_are_alike_are_told_as_one_and_what_stays_is_not_told() -> None:
    before = state(Mill={A: done(NOON), B: done(NOON)}, Quay={A: done(NOON), B: done(NOON - HOUR)})
    after = skip(before, Part(), NOON, NOW)

    assert effects(before, skip(before, Part("Mill"), NOW, NOW), START) == [
        Effect("Mill", (A, B), NOON, NOW, never=Slice(NOON, NOW))
    ]
    assert effects(before, after, START) == [
        Effect("Quay", (B,), NOON - HOUR, NOON, never=Slice(NOON - HOUR, NOON))
    ]


def _hours(count: int, until: datetime = NOON) -> list[datetime]:
    return [until - number * HOUR for number in range(1, count + 1)]


def test_the_rate_is_that_of_the_last_day_ids_and_seals_together() -> None:
    """Ten readings an hour by seals until 6 h ago, four an hour since; what is older counts nothing."""
    known = Checkpoint(NOON, NOON - 6 * HOUR, ids(*_hours(6), each=4))
    seals = {A: dict.fromkeys(_hours(40, NOON - 6 * HOUR), Seal(10, 2, 3))}
    before = FeedState({"Mill": LocationState(checkpoints={A: known}, seals=seals)})

    [effect] = effects(before, skip(before, Part(), NOON + 24 * HOUR, NOW), START)

    assert effect.readings == 18 * 10 + 6 * 4


def test_what_a_renamed_location_never_had_is_sent_now_and_not_again() -> None:
    began = NOON + 3 * HOUR
    had = Checkpoint(began + HOUR, began, ids(began))
    before = state(Mill={A: spoken(NOON)}, Quay={A: had})

    assert effects(before, move(before, "Mill", "Quay"), START) == [
        Effect("Quay", (A,), began + HOUR, NOON, more=Slice(NOON, began), readings=6)
    ]


def _named(keys: Iterable[str]) -> str:
    return ", ".join(key.rpartition("/")[2] for key in keys)


def test_a_question_says_what_is_concerned() -> None:
    held = [NOON - number * HOUR for number in range(1, 25)]
    before = state(Mill={A: done(NOON, *held), B: done(NOON - HOUR, *held)}, Quay={B: done(NOON)})

    def question(after: FeedState) -> str:
        return asked(effects(before, after, START), _named, never="will never reach", act="Continue?")

    assert question(skip(before, Part(), NOON + 3 * HOUR, NOW)) == (
        "2 locations x 3 h to 4 h, about 8 readings by the rate of the last day (of 1 location it is not "
        "known), will never reach counts, second. Continue?"
    )
    assert question(skip(before, Part("Quay"), NOON + HOUR, NOW)) == (
        "1 location x 1 h, how many readings is not known, will never reach second. Continue?"
    )
    assert question(reset(before, Part("Mill", A), NOON - 2 * HOUR, START, NOW)) == (
        "1 location x 2 h, about 4 readings by the rate of the last day, will be sent again to counts. "
        "Continue?"
    )


# --- a reading out of quarantine --------------------------------------------------------------------

_PEOPLE = FeedSettings(name="people_counter", view_id="v", data_context=("people",), schedule="")
_SNAPSHOTS = FeedSettings(name="hourly_snapshot", view_id="v", data_context=("room",), schedule="")


def quarantined(
    feed: str, data: Any, reason: str = "larger than a message"
) -> tuple[Reading, QuarantinedReading]:
    """Quarantine the one entry of an object, as an answer brought it."""
    answer = DashboardAnswer(({"data": exact_json.loads(data)},))
    reading = read_answer(load_feed(feed).rec_type, "Mill", answer)[0]
    item = QuarantinedReading(feed, "Mill", [A], reading.id, reason, NOON, quarantine_text(reading))
    return reading, item


@pytest.mark.parametrize("settings", [_PEOPLE, _SNAPSHOTS], ids=["people counter", "snapshot"])
def test_a_reading_out_of_quarantine_is_the_event_it_would_have_been(settings: FeedSettings) -> None:
    feed = load_feed(settings.name)
    data = (
        '{"_id": {"tags": ["Mill", "1"], "zone": 5}, "more": {"x": 1.50},'
        '"line": [{"time": "2026-03-02T11:15:00.000Z", "metric": "m", "n": 12345678901234567890.10}]}'
    )
    reading, item = quarantined(settings.name, data)
    known = Checkpoint(NOON, NOON, ids(NOON - HOUR))

    event = event_again(feed, item, settings)

    [expected] = feed.events("Mill", [reading], [reading], known, settings)
    assert (event.message_id, event.properties, event.location) == (
        expected.message_id,
        expected.properties,
        "Mill",
    )
    assert exact_json.loads(event.body) == exact_json.loads(expected.body)


_UNFIT = {
    "no time": ('{"_id": {"tags": []}, "line": [{"n": 1}]}', "it has no time"),
    "no tags": ('{"_id": {}, "line": [{"time": "2026-03-02T11:15:00.000Z"}]}', "no list of tags"),
    "no object": ('{"_id": {"tags": []}, "line": [7]}', "not a JSON object"),
    "no JSON": (
        '{"_id": {"tags": []}, "line": [{"time": "2026-03-02T11:15:00.000Z", "n": NaN}]}',
        "not JSON",
    ),
    "no JSON around it": (
        '{"_id": {"tags": []}, "n": Infinity, "line": [{"time": "2026-03-02T11:15:00.000Z"}]}',
        "not JSON",
    ),
}


@pytest.mark.parametrize(("data", "said"), _UNFIT.values(), ids=_UNFIT)
def test_what_cannot_be_an_event_by_its_nature_says_why(data: str, said: str) -> None:
    _, item = quarantined("people_counter", data, "its reason")

    with pytest.raises(NotForwardable, match=said):
        event_again(load_feed("people_counter"), item, _PEOPLE)


def test_a_reading_that_was_changed_in_quarantine_is_not_sent_under_its_old_id() -> None:
    _, item = quarantined(
        "people_counter", '{"_id": {"tags": []}, "line": [{"time": "2026-03-02T11:15:00.000Z"}]}'
    )
    edited = replace(item, text=item.text.replace(b"11:15", b"11:16"))

    with pytest.raises(NotForwardable, match="it was changed since"):
        event_again(load_feed("people_counter"), edited, _PEOPLE)


def test_one_snapshot_alone_never_stands_for_its_whole_hour() -> None:
    _, item = quarantined(
        "hourly_snapshot", '{"_id": {"tags": []}, "line": [{"time": "2026-03-02T11:15:00.000Z"}]}'
    )

    with pytest.raises(NotForwardable, match="whole hours"):
        event_again(load_feed("hourly_snapshot"), item, replace(_SNAPSHOTS, late="hour"))


def test_a_reading_that_was_quarantined_with_its_tags_alone_can_be_sent() -> None:
    reading, item = quarantined(
        "people_counter", '{"_id": {"tags": ["Mill"]}, "line": [{"time": "2026-03-02T11:15:00.000Z"}]}'
    )
    older = {name: found for name, found in json.loads(item.text).items() if name != "object"}

    event = event_again(load_feed("people_counter"), replace(item, text=encode(older)), _PEOPLE)

    assert (event.message_id, json.loads(event.body)["_location_tags"]) == (reading.id, ["Mill"])


# --- the commands, where no run is needed -----------------------------------------------------------

NAME = "peoplecounterstate"
_SECRET = "obviously-false-shared-access-key"
_CONNECTION = (
    f"Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=sender;SharedAccessKey={_SECRET};"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path) -> JsonFileStore:
    return JsonFileStore(folder)


@pytest.fixture
def call(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Call:
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    for name in os.environ:
        if name.startswith(("MICROSHARE_", "EVENT_HUB_", "AzureWebJobs", "STATE_", "LOG_LEVEL")):
            monkeypatch.delenv(name)
    for name, value in {
        "FORWARDER_CONFIG": str(tmp_path / "config.yaml"),
        "MICROSHARE_USERNAME": "svc@example.test",
        "MICROSHARE_PASSWORD": "obviously-false-password",
        "MICROSHARE_IDENTITY": "com.example.NORTH",
        "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
        "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
        "EVENT_HUB_CONNECTION_STRING": f"{_CONNECTION}EntityPath=counts",
        "EVENT_HUB_CONNECTION_STRINGS": json.dumps([f"{_CONNECTION}EntityPath=second"]),
        "STATE_DIR": str(folder),
    }.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert _SECRET not in (out + err).decode()
        return Ended(int(ended.value.code or 0), out.decode(), err.decode())

    return call


def rich() -> FeedState:
    found = state(Mill={A: done(NOON, NOON - HOUR), B: done(NOON - DAY)}, Quay={A: done(NOON)})
    return replace(found, last_run={"run": "r1", "ok": True}, takeover=Takeover(NOON, "earlier", 7, at=NOON))


def saved(store: JsonFileStore, found: FeedState) -> FeedState:
    store.save(NAME, found, found.locations)
    return found


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "backups").glob("*.json"))


def test_show_as_json_gives_the_document_with_numbers_of_ids(call: Call, store: JsonFileStore) -> None:
    saved(store, rich())

    ended = call("state", "show", "people-counter", "--location", "Mill", "--hub", A.upper(), "--json")

    [found] = ended.objects
    assert (ended.status, found["feed"], found["name"], list(found["locations"])) == (
        0,
        "people_counter",
        NAME,
        ["Mill"],
    )
    assert found["locations"]["Mill"]["groups"] == [
        {
            "hubs": [A],
            "delivered_until": "2026-03-02T12:00:00.000Z",
            "known_from": "2026-03-01T12:00:00.000Z",
            "newest": None,
            "ids": {"2026-03-02T11": 2},
        }
    ]
    assert found["takeover"]["position"] == "2026-03-02T12:00:00.000Z"


def test_show_for_people_names_positions_ids_and_gaps(call: Call, store: JsonFileStore) -> None:
    saved(store, skip(rich(), Part("Mill", B), NOON, NOW))

    ended = call("state", "show", "people_counter")

    assert ended.status == 0
    for said in (
        f"people-counter: {NAME} in ",
        "done until 2026-03-02 12:00:00 UTC, known from 2026-03-01 12:00:00 UTC",
        "2026-03-02 11h 2",
        "2026-03-01 12:00:00 UTC to 2026-03-02 12:00:00 UTC, left behind",
        "from earlier, taken over at 2026-03-02 12:00:00 UTC",
    ):
        assert said in ended.out


def test_what_is_exported_is_imported_whole(
    call: Call, store: JsonFileStore, folder: Path, tmp_path: Path
) -> None:
    before = saved(store, rich())
    file = tmp_path / "out" / "export.json"

    exported = call("state", "export", "people-counter", "--output", str(file))
    printed = call("state", "export", "people-counter")
    (folder / f"{NAME}.json").unlink()
    (folder / f"{NAME}.json.bak").unlink(missing_ok=True)
    imported = call("state", "import", "people-counter", str(file), "--yes")

    assert (exported.status, printed.status, imported.status) == (0, 0, 0)
    assert (printed.out.encode(), file.stat().st_mode & 0o777) == (file.read_bytes(), 0o600)
    assert store.load(NAME) == before
    assert kept(folder) == []


def test_an_export_never_overwrites_a_file(call: Call, store: JsonFileStore, tmp_path: Path) -> None:
    saved(store, rich())
    file = tmp_path / "export.json"
    file.write_text("mine")

    ended = call("state", "export", "people-counter", "--output", str(file))

    assert (ended.status, file.read_text()) == (1, "mine")
    assert "name another file" in ended.err


@pytest.mark.parametrize("stdout", ["-", "/dev/stdout", "/dev/fd/1"])
def test_an_export_to_standard_output_is_what_is_printed_and_makes_no_file(
    call: Call, store: JsonFileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdout: str
) -> None:
    saved(store, rich())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    printed = call("state", "export", "people-counter")
    ended = call("state", "export", "people-counter", "--output", stdout)

    assert (ended.status, ended.out) == (0, printed.out)
    assert list((tmp_path / "here").iterdir()) == []


def test_an_export_goes_into_a_pipe_which_stays_one(call: Call, store: JsonFileStore, tmp_path: Path) -> None:
    saved(store, rich())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    ended = call("state", "export", "people-counter", "--output", str(pipe))
    reader.join(20)

    assert (ended.status, read) == (0, [call("state", "export", "people-counter").out])
    assert pipe.is_fifo()


def test_a_backup_that_would_be_no_file_is_refused_and_nothing_changes(
    call: Call, store: JsonFileStore
) -> None:
    before = saved(store, rich())

    ended = call("state", "reset", "people-counter", "--backup", "-", "--yes")

    assert ended.status == 2
    assert "--backup - is not a file; name one" in ended.err
    assert store.load(NAME) == before


def test_backups_follow_no_link_that_others_put_there(
    call: Call, store: JsonFileStore, folder: Path, tmp_path: Path
) -> None:
    before = saved(store, rich())
    (tmp_path / "victim").mkdir()
    folder.chmod(0o777)
    (folder / "backups").symlink_to(tmp_path / "victim")

    ended = call("state", "reset", "people-counter", "--yes")

    assert ended.status == 1
    assert "is a link, in a folder that others can write" in ended.err
    assert (list((tmp_path / "victim").iterdir()), store.load(NAME)) == ([], before)


def test_an_import_says_which_locations_go_back_and_keeps_what_there_was(
    call: Call, store: JsonFileStore, folder: Path, tmp_path: Path
) -> None:
    older = rich()
    newer = saved(store, state(Mill={A: done(NOON + HOUR)}, Quay={A: done(NOON)}, Shed={A: done(NOON)}))
    file = tmp_path / "older.json"
    file.write_bytes(encode(whole_document(NAME, older)))

    ended = call("state", "import", "people-counter", str(file), "--yes")

    assert ended.status == 0
    again = [line for line in ended.out.splitlines() if line.startswith("Mill")]
    assert "2026-03-02 13:00  2026-03-02 12:00         1 h" in again[0]
    assert not any(line.startswith("Quay") for line in ended.out.splitlines())
    assert "not in the file, and forgotten: Shed" in ended.out
    assert store.load(NAME) == older
    [backup] = kept(folder)
    assert str(backup) in ended.out
    assert call("state", "import", "people-counter", str(backup), "--yes").status == 0
    assert store.load(NAME) == newer


def test_an_import_that_goes_forward_says_what_it_takes_for_sent(
    call: Call, store: JsonFileStore, tmp_path: Path
) -> None:
    saved(store, state(Mill={A: done(NOON)}))
    file = tmp_path / "newer.json"
    file.write_bytes(encode(whole_document(NAME, state(Mill={A: done(NOON + HOUR)}))))

    ended = call("state", "import", "people-counter", str(file), "--yes")

    assert ended.status == 0
    assert "2026-03-02 12:00  2026-03-02 13:00         1 h" in ended.out
    assert "never sent: the file says that it was" in ended.out
    assert "not in the file, so it begins at START_FROM: second" in ended.out


_NO_IMPORTS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "Expecting property name"),
    "a list": (b"[]", "no object"),
    "something else": (b'{"a": 1}', "no version"),
    "a newer version": (encode(whole_document(NAME, rich()) | {"version": 2}), "a newer forwarder"),
    "another feed's": (encode(whole_document("snapshotstate", rich())), "it is the state 'snapshotstate'"),
    "no locations": (encode({"version": 1}), "lacks its locations"),
    "a damaged location": (
        encode(whole_document(NAME, rich()) | {"locations": {"Mill": {"groups": 5}}}),
        "'Mill': location",
    ),
}


@pytest.mark.parametrize(("content", "said"), _NO_IMPORTS.values(), ids=_NO_IMPORTS)
def test_what_is_no_export_of_the_feed_is_refused(
    call: Call, store: JsonFileStore, tmp_path: Path, content: bytes, said: str
) -> None:
    before = saved(store, rich())
    file = tmp_path / "file.json"
    file.write_bytes(content)

    ended = call("state", "import", "people-counter", str(file), "--yes")

    assert (ended.status, store.load(NAME)) == (1, before)
    assert "cannot be imported" in ended.err
    assert said in ended.err


def test_an_import_of_a_file_that_is_not_there_is_refused(call: Call) -> None:
    ended = call("state", "import", "people-counter", "nowhere.json", "--yes")

    assert (ended.status, "nowhere.json: No such file" in ended.err) == (1, True)


def test_an_earlier_forwarders_file_is_imported_as_a_takeover(
    call: Call, store: JsonFileStore, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"last_fetch_timestamp": "2026-03-01T10:15:00.000Z"}')

    ended = call("state", "import", "people-counter", str(file), "--yes")

    assert ended.status == 0
    assert store.load(NAME).takeover == Takeover(datetime(2026, 3, 1, 10, 15, tzinfo=UTC), str(file))
    assert "takes over the earlier forwarder's position 2026-03-01 10:15:00 UTC" in ended.out


def test_a_skip_says_what_is_never_sent_and_can_be_taken_back(
    call: Call, store: JsonFileStore, folder: Path
) -> None:
    before = saved(store, rich())

    ended = call("state", "skip", "people-counter", "--hub", B, "--to", "2026-03-02T12:00Z", "--yes")

    assert ended.status == 0
    assert "2026-03-01 12:00  2026-03-02 12:00         1 d" in ended.out
    assert "never sent: nothing of it is read again" in ended.out
    after = store.load(NAME)
    assert after.locations["Mill"].checkpoints[B] == Checkpoint(NOON, NOON)
    [gap] = after.locations["Mill"].gaps
    assert (gap.window, gap.cause, gap.hubs) == (Slice(NOON - DAY, NOON), "left behind", (B,))
    assert call("state", "import", "people-counter", str(kept(folder)[0]), "--yes").status == 0
    assert store.load(NAME) == before


def test_a_reset_to_a_time_says_what_is_sent_again(call: Call, store: JsonFileStore) -> None:
    saved(store, rich())

    ended = call(
        "state",
        "reset",
        "people-counter",
        "--location",
        "Mill",
        "--hub",
        A,
        "--to",
        "2026-03-02T10:00Z",
        "--yes",
    )

    assert ended.status == 0
    assert "2026-03-02 12:00  2026-03-02 10:00         2 h" in ended.out
    assert "with the same message ids" in ended.out
    at = NOON - 2 * HOUR
    assert store.load(NAME).locations["Mill"].checkpoints == {
        A: Checkpoint(at, at),
        B: rich().locations["Mill"].checkpoints[B],
    }


def test_a_reset_of_a_feed_forgets_every_position(call: Call, store: JsonFileStore, folder: Path) -> None:
    saved(store, rich())

    ended = call("state", "reset", "people-counter", "--yes")

    assert (ended.status, "START_FROM" in ended.out, len(kept(folder))) == (0, True, 1)
    assert [location.checkpoints for location in store.load(NAME).locations.values()] == [{}, {}]
    assert store.load(NAME).total_events() == rich().total_events()


def test_a_reset_leaves_the_earlier_forwarders_position_and_keeps_its_file(
    call: Call, store: JsonFileStore, folder: Path
) -> None:
    folder.mkdir()
    earlier = '{"last_fetch_timestamp": "2026-03-01T10:15:00.000Z", "total_events_sent": 7}'
    (folder / f"{NAME}.json").write_text(earlier)

    ended = call("state", "reset", "people-counter", "--yes")

    found = store.load(NAME)
    assert ended.status == 0
    assert "position 2026-03-01 10:15:00 UTC from" in ended.out
    assert found.takeover is not None
    assert (found.takeover.at is None, found.total_events()) == (False, 7)
    assert (folder / f"{NAME}.json.earlier").read_text() == earlier


@pytest.mark.parametrize("gone", [False, True], ids=["damaged", "gone beside its backup"])
def test_a_reset_of_a_damaged_state_moves_it_aside_with_its_backup(
    call: Call, store: JsonFileStore, folder: Path, gone: bool
) -> None:
    for until in (NOON, NOON + HOUR):
        saved(store, state(Mill={A: done(until)}))
    path = folder / f"{NAME}.json"
    if gone:
        path.unlink()
    else:
        path.write_text("{")
    backup = (folder / f"{NAME}.json.bak").read_bytes()

    partly = call("state", "reset", "people-counter", "--hub", A, "--yes")
    ended = call("state", "reset", "people-counter", "--yes")

    assert (partly.status, ended.status, store.load(NAME)) == (2, 0, FeedState())
    aside = sorted(folder.glob("*.damaged-*"))
    assert [file.read_bytes() for file in aside] == ([backup] if gone else [backup, b"{"])
    assert all(str(file) in ended.out for file in aside)


@pytest.mark.parametrize("gone", [False, True], ids=["damaged", "gone beside its backup"])
def test_a_damaged_state_is_brought_back_by_the_import_of_its_backup(
    call: Call, store: JsonFileStore, folder: Path, gone: bool
) -> None:
    last = saved(store, state(Mill={A: done(NOON)}))
    saved(store, state(Mill={A: done(NOON + HOUR)}))
    path = folder / f"{NAME}.json"
    if gone:
        path.unlink()
    else:
        path.write_text("{")

    ended = call("state", "import", "people-counter", str(folder / f"{NAME}.json.bak"), "--yes")

    assert (ended.status, store.load(NAME)) == (0, last)
    assert "is sent again, with the same message ids" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reset", "people-counter"], "there is no terminal to ask at; add --yes"),
        (["skip", "people-counter", "--to", "0s"], "there is no terminal to ask at; add --yes"),
        (["skip", "people-counter"], "Missing option '--to'"),
        (["skip", "people-counter", "--to", "noon"], "'noon' is not a time; write 2026"),
        (["skip", "people-counter", "--to", "2999-01-01T00:00Z"], "is in the future; write"),
        (["skip", "nix", "--to", "0s"], "'nix' is not a feed; there are people-counter, hourly-snapshot"),
        (["skip", "hourly-snapshot", "--to", "0s"], "there is no position of that yet"),
        (["reset", "people-counter", "--location", "nix"], "there are:\n  Mill\n  Quay"),
        (["reset", "people-counter", "--hub", "nix"], f"there are:\n  {A}\n  {B}"),
        (["reset", "people-counter", "--hub", B, "--location", "Quay", "--to", "1h"], "no position of that"),
        (["show", "people-counter", "--location", "nix"], "'nix' is not a location of this state"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_meant_or_not_confirmed_is_refused_with_2(
    call: Call, store: JsonFileStore, folder: Path, words: list[str], said: str
) -> None:
    before = saved(store, rich())

    ended = call("state", *words)

    assert (ended.status, store.load(NAME), kept(folder)) == (2, before, [])
    assert said in ended.err


@pytest.mark.parametrize(
    "words",
    [["skip", "people-counter", "--to", "0s"], ["reset", "people-counter"], ["import", "people-counter"]],
    ids=lambda words: words[0],
)
def test_nothing_is_changed_beside_a_run(
    call: Call, store: JsonFileStore, folder: Path, tmp_path: Path, words: list[str]
) -> None:
    before = saved(store, rich())
    file = tmp_path / "file.json"
    file.write_bytes(encode(whole_document(NAME, FeedState())))
    more = [str(file)] if words[0] == "import" else []

    with store.lock(NAME, "another-run"):
        ended = call("state", *words, *more, "--yes")

    assert (ended.status, store.load(NAME), kept(folder)) == (3, before, [])
    assert "another run works on this feed (another-run" in ended.err


def test_a_backup_goes_where_it_is_told_to(call: Call, store: JsonFileStore, tmp_path: Path) -> None:
    saved(store, rich())
    mine = tmp_path / "mine.json"

    ended = call("state", "reset", "people-counter", "--backup", str(mine), "--yes")
    refused = call("state", "skip", "people-counter", "--backup", str(mine), "--to", "0s", "--yes")

    assert (ended.status, refused.status) == (0, 2)
    assert json.loads(mine.read_bytes())["name"] == NAME


def test_nothing_to_do_is_said_and_changes_nothing(call: Call, store: JsonFileStore, folder: Path) -> None:
    before = saved(store, rich())

    skipped = call("state", "skip", "people-counter", "--to", "2026-02-01T00:00Z")
    nothing = call("state", "reset", "hourly-snapshot")

    assert (skipped.status, nothing.status, store.load(NAME), kept(folder)) == (0, 0, before, [])
    assert "nothing to skip" in skipped.out
    assert "nothing to forget" in nothing.out


# --- quarantine, where nothing is sent --------------------------------------------------------------

_TIMELESS = '{"_id": {"tags": ["Mill"]}, "line": [{"n": 1.50, "note": "first\\u001b[2J"}]}'


def test_quarantine_is_listed_and_shown_in_full(call: Call, store: JsonFileStore) -> None:
    _, item = quarantined("people_counter", _TIMELESS, "it has no time")
    store.quarantine(NAME, item)
    said = {
        "feed": "people_counter",
        "id": item.id,
        "location": "Mill",
        "hubs": [A],
        "reason": "it has no time",
        "at": "2026-03-02T12:00:00.000Z",
    }

    listed = call("quarantine", "list", "--json")
    others = call("quarantine", "list", "hourly-snapshot", "--json")
    shown = call("quarantine", "show", item.id, "--json")
    for_people = call("quarantine", "show", item.id)

    assert (listed.status, listed.objects, others.objects) == (0, [said], [])
    assert shown.objects == [said | {"reading": json.loads(item.text)}]
    assert '"n":1.50' in shown.out
    assert "it has no time" in for_people.out
    assert "\x1b" not in for_people.out
    assert item.id in call("quarantine", "list").out


def test_what_cannot_be_forwarded_stays_until_it_is_discarded(call: Call, store: JsonFileStore) -> None:
    _, item = quarantined("people_counter", _TIMELESS, "it has no time")
    store.quarantine(NAME, item)

    replayed = call("quarantine", "replay", "--all", "--yes")
    unasked = call("quarantine", "replay", item.id, "--discard")
    left = list(store.quarantined(NAME, "people_counter"))
    discarded = call("quarantine", "replay", item.id, "--discard", "--yes")

    assert (replayed.status, unasked.status, len(left), discarded.status) == (1, 2, 1, 0)
    assert "it cannot be forwarded: it has no time" in replayed.out
    assert list(store.quarantined(NAME, "people_counter")) == []
    assert call("quarantine", "list").out == "nothing is in quarantine\n"


def test_a_reading_that_is_kept_for_each_hub_is_asked_about_as_one(
    environ: dict[str, str], store: JsonFileStore, tmp_path: Path
) -> None:
    _, item = quarantined("people_counter", _TIMELESS)
    for hub in (A, B):
        store.quarantine(NAME, replace(item, hubs=[hub]))

    talk = Dialogue(["quarantine", "replay", "--all", "--discard"], environ, tmp_path)
    talk.answer(f"1 reading will never reach {B}, primary. Continue?", "n")

    assert talk.end() == 1
    assert len(list(store.quarantined(NAME, "people_counter"))) == 2


def test_a_discard_for_one_hub_leaves_the_reading_for_the_other(call: Call, store: JsonFileStore) -> None:
    _, item = quarantined("people_counter", _TIMELESS)
    store.quarantine(NAME, replace(item, hubs=[A, B]))

    ended = call("quarantine", "replay", item.id, "--hub", A, "--discard", "--yes")

    assert ended.status == 0
    assert [found.hubs for _, found in store.quarantined(NAME, "people_counter")] == [[B]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "-nix"], "'-nix' is not in quarantine"),
        (["replay"], "name one reading, or --all"),
        (["replay", "-nix", "--all"], "name one reading, or --all"),
        (["replay", "nix", "--yes"], "'nix' is not in quarantine"),
        (["replay", "--all", "--hub", "nix"], "'nix' is not one of the hubs"),
        (["list", "nix"], "'nix' is not a feed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_mean_no_reading_are_refused_with_2(call: Call, words: list[str], said: str) -> None:
    ended = call("quarantine", *words)

    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_what_is_a_megabyte_long_is_cut_on_a_screen_and_whole_in_a_file(
    call: Call, store: JsonFileStore, tmp_path: Path
) -> None:
    _, item = quarantined("people_counter", _TIMELESS.replace("first", "x" * 1_000_000))
    store.quarantine(NAME, item)
    file = tmp_path / "kept.json"

    for_people = call("quarantine", "show", item.id)
    written = call("quarantine", "show", item.id, "--output", str(file))
    whole = call("quarantine", "show", item.id, "--json").objects

    assert len(for_people.out) < 5_000
    assert re.search("… 4,000 of 1,000,[0-9]{3} characters; --json shows all", for_people.out)
    assert (written.status, written.out) == (0, f"{item.id}: written to {file}\n")
    assert [json.loads(file.read_text())] == whole
    assert call("quarantine", "show", item.id, "--output", str(file)).status == 1, "it is there already"


@pytest.mark.parametrize("command", ["show", "replay"])
@pytest.mark.parametrize(
    "reading_id", ["-hQ0aB9xY7LwZk1f", "-5_oFfXvzSlQ5fnZ", "-Zk1qQ0aB9xY7LwZ", "--Q0aB9xY7LwZk1f"]
)
def test_an_id_may_begin_with_a_dash_and_hold_the_letters_of_options(
    command: str, reading_id: str, call: Call, store: JsonFileStore
) -> None:
    plain = call("quarantine", command, reading_id, "-v")
    behind_dashes = call("quarantine", command, "-v", "--", reading_id)

    assert f"{reading_id!r} is not in quarantine" in plain.err
    assert f"{reading_id!r} is not in quarantine" in behind_dashes.err


@pytest.mark.parametrize("command", ["show", "replay"])
def test_help_is_asked_for_by_h(command: str, call: Call, store: JsonFileStore) -> None:
    asked_for = call("quarantine", command, "-h")

    assert (asked_for.status, asked_for.out.split("\n")[0].split(" [")[0]) == (
        0,
        f"Usage: python -m app quarantine {command}",
    )


def test_a_file_in_quarantine_that_cannot_be_read_hides_no_other(
    call: Call, store: JsonFileStore, folder: Path
) -> None:
    _, item = quarantined("people_counter", _TIMELESS)
    store.quarantine(NAME, item)
    (folder / "quarantine" / "people_counter" / "0.json").write_text("{")

    ended = call("quarantine", "list", "--json")

    assert (ended.status, [found["id"] for found in ended.objects]) == (1, [item.id])
    assert "0.json: cannot be read" in ended.err


def test_where_nothing_of_a_quarantine_can_be_read_nobody_says_that_it_is_empty(
    call: Call, folder: Path
) -> None:
    for feed in ("people_counter", "hourly_snapshot"):
        place = folder / "quarantine" / feed
        place.mkdir(parents=True)
        (place / "0.json").write_text("{")

    for words in (["list"], ["replay", "--all", "--yes"], ["replay", "--all", "--discard", "--yes"]):
        ended = call("quarantine", *words)

        assert (ended.status, ended.out) == (1, "")
        assert ended.err.count("people_counter/0.json: cannot be read") == 1
        assert ended.err.count("hourly_snapshot/0.json: cannot be read") == 1


def test_a_replay_beside_a_run_is_refused(call: Call, store: JsonFileStore) -> None:
    _, item = quarantined("people_counter", _TIMELESS)
    store.quarantine(NAME, item)

    with store.lock(NAME, "another-run"):
        ended = call("quarantine", "replay", "--all", "--discard", "--yes")

    assert (ended.status, len(list(store.quarantined(NAME, "people_counter")))) == (3, 1)
