"""The Microshare stand-in is as strict as the platform, and its data is the same everywhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from dotenv import dotenv_values

from emulators.counts import Count, read_counts
from emulators.estate import DEFAULT, PEOPLE, SNAPSHOTS, Building, Estate
from emulators.microshare import (
    PACKED_REC_TYPE,
    VIEW_REC_TYPE,
    Faults,
    MicroshareEmulator,
    Request,
    Response,
)

NOW = datetime(2025, 11, 14, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
TOWER = Building("Tower")
DOOR = TOWER.groups[0]
ROOM = TOWER.rooms[0]
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


def text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Client:
    """A plain caller of the API, logged in unless told otherwise."""

    def __init__(self, emulator: MicroshareEmulator) -> None:
        self.emulator = emulator
        self.session = requests.Session()
        self.session.trust_env = False

    def log_in(self, password: str | None = None) -> requests.Response:
        form = {
            "csrfToken": "any",
            "username": self.emulator.username,
            "password": self.emulator.password if password is None else password,
        }
        answer = self.session.post(f"{self.emulator.url}/login", data=form, allow_redirects=False, timeout=5)
        if "PLAY_SESSION" in answer.cookies:
            token = payload_of(answer.cookies["PLAY_SESSION"])["data"].get("access_token")
            self.session.headers["Authorization"] = f"Bearer {token}"
            self.session.cookies.clear()
        return answer

    def get(self, path: str, **parameters: Any) -> requests.Response:
        url = f"{self.emulator.url}{path}"
        return self.session.get(url, params=parameters, allow_redirects=False, timeout=5)

    def people(self, called: str = "Tower", /, **changed: Any) -> requests.Response:
        return self.get(f"/share/{VIEW_REC_TYPE}/", **people_parameters(self.emulator, called) | changed)

    def snapshots(self, called: str = "Tower", /, **changed: Any) -> requests.Response:
        return self.get(f"/share/{VIEW_REC_TYPE}/", **snapshot_parameters(self.emulator, called) | changed)


def people_parameters(emulator: MicroshareEmulator, loc1: str) -> dict[str, Any]:
    return {
        "id": emulator.people_view_id,
        "recType": PEOPLE.rec_type,
        "dataContext": '["people"]',
        "field1": "daily_total",
        "field2": "meta",
        "field3": "change",
        "field4": "field4",
        "field5": "field5",
        "field6": "field6",
        "loc1": loc1,
        "from": text(NOW - DAY),
        "to": text(NOW),
    }


def snapshot_parameters(emulator: MicroshareEmulator, loc1: str) -> dict[str, Any]:
    return people_parameters(emulator, loc1) | {
        "id": emulator.snapshot_view_id,
        "recType": SNAPSHOTS.rec_type,
        "dataContext": '["example","room"]',
        "field1": "current",
        "field2": "field2",
        "field3": "field3",
        "category": "space",
        "metric": "occupancy",
        "ownerOrg": '"[a-zA-Z]"',
    }


def payload_of(jwt: str) -> Any:
    payload = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def lines(answer: requests.Response) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    answer.raise_for_status()
    return [
        (tuple(obj["data"]["_id"]["tags"]), entry)
        for obj in json.loads(answer.content)["objs"]
        for entry in obj["data"]["line"]
    ]


def times(answer: requests.Response) -> list[str]:
    return sorted(entry["time"] for _, entry in lines(answer))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def estate() -> Estate:
    """A tower with nothing in it but what a test plants."""
    return Estate(buildings=(TOWER,), generated=False)


@pytest.fixture
def emulator(estate: Estate, clock: Clock) -> Iterator[MicroshareEmulator]:
    with MicroshareEmulator(estate, clock=clock) as started:
        yield started


@pytest.fixture
def client(emulator: MicroshareEmulator) -> Client:
    made = Client(emulator)
    made.log_in()
    return made


@pytest.fixture
def platform(clock: Clock) -> Iterator[MicroshareEmulator]:
    """The default estate, with generated readings."""
    with MicroshareEmulator(Estate(), clock=clock) as started:
        yield started


@pytest.fixture
def visitor(platform: MicroshareEmulator) -> Client:
    made = Client(platform)
    made.log_in()
    return made


# Logging in.


def test_a_session_cookie_is_an_unpadded_url_safe_jwt_that_lasts_two_days(
    emulator: MicroshareEmulator,
) -> None:
    answer = Client(emulator).log_in()

    jwt = answer.cookies["PLAY_SESSION"]
    payload = payload_of(jwt)
    assert answer.status_code == 303
    assert len(jwt.split(".")) == 3
    assert "=" not in jwt
    assert {"-", "_"} <= set(jwt)
    assert len(jwt.split(".")[1]) % 4 != 0
    assert len(payload["data"]["access_token"]) == 64
    assert (payload["iat"], payload["exp"]) == (int(NOW.timestamp()), int((NOW + 2 * DAY).timestamp()))


@pytest.mark.parametrize(
    ("how", "status", "location", "has_cookie"),
    [
        ("401", 401, None, False),
        ("form", 200, None, False),
        ("redirect", 303, "/login", False),
        ("no-token", 303, "/composer", True),
    ],
)
def test_wrong_credentials_are_refused_in_four_ways(
    emulator: MicroshareEmulator, how: Any, status: int, location: str | None, has_cookie: bool
) -> None:
    emulator.login_refusal = how

    answer = Client(emulator).log_in(password="wrong")

    assert (answer.status_code, answer.headers.get("Location")) == (status, location)
    assert ("PLAY_SESSION" in answer.cookies) is has_cookie
    if has_cookie:
        assert "access_token" not in payload_of(answer.cookies["PLAY_SESSION"])["data"]
    assert (emulator.logins, emulator.login_attempts) == (0, 1)


def test_a_login_without_a_csrf_token_is_refused(emulator: MicroshareEmulator) -> None:
    form = {"username": emulator.username, "password": emulator.password}
    answer = requests.post(f"{emulator.url}/login", data=form, allow_redirects=False, timeout=5)
    assert answer.status_code == 401


@pytest.mark.parametrize("sent_as", ["params", "data", "json"])
def test_the_password_grant_takes_query_form_and_json(emulator: MicroshareEmulator, sent_as: str) -> None:
    grant = {
        "grant_type": "password",
        "client_id": emulator.api_key,
        "username": emulator.username,
        "password": emulator.password,
        "scope": "ALL:ALL",
    }
    sent: dict[str, Any] = {sent_as: grant}
    answer = requests.post(f"{emulator.url}/oauth2/token", timeout=5, **sent).json()

    client = Client(emulator)
    client.session.headers["Authorization"] = f"Bearer {answer['access_token']}"
    assert client.people().status_code == 200
    assert "expires_in" not in answer
    assert emulator.password not in repr(emulator.requests)


@pytest.mark.parametrize(
    ("changed", "login_status", "query_status"),
    [
        ({"client_id": "OTHER"}, 401, None),
        ({"grant_type": "pipe"}, 401, None),
        ({"scope": "SHARE:READ"}, 200, 401),
        ({"scope": "SHARE:READ SHARE:QUERY SHARE:EXECUTE"}, 200, 200),
    ],
    ids=["another key", "another grant", "too narrow a scope", "a scope just wide enough"],
)
def test_the_password_grant_needs_the_api_key_and_a_scope_to_read_through_views(
    emulator: MicroshareEmulator, changed: dict[str, str], login_status: int, query_status: int | None
) -> None:
    grant = {
        "grant_type": "password",
        "client_id": emulator.api_key,
        "username": emulator.username,
        "password": emulator.password,
    }
    answer = requests.post(f"{emulator.url}/oauth2/token", data=grant | changed, timeout=5)

    client = Client(emulator)
    asked = None
    if answer.status_code == 200:
        client.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        asked = client.people().status_code
    assert (answer.status_code, asked) == (login_status, query_status)


def test_the_token_is_asked_for_before_anything_else(emulator: MicroshareEmulator) -> None:
    stranger = Client(emulator)
    statuses = [
        stranger.people(id="unknown").status_code,
        stranger.get(f"/share/{VIEW_REC_TYPE}").status_code,
        stranger.get(f"/device/{PACKED_REC_TYPE}/unknown").status_code,
        stranger.get("/view/*").status_code,
    ]
    assert statuses == [401, 401, 401, 401]


def test_an_expired_and_a_revoked_token_are_refused(
    emulator: MicroshareEmulator, client: Client, clock: Clock
) -> None:
    statuses = [client.people().status_code]
    emulator.revoke_tokens()
    statuses.append(client.people().status_code)
    client.log_in()
    statuses.append(client.people().status_code)
    clock.now += 2 * DAY
    statuses.append(client.people().status_code)
    assert statuses == [200, 401, 200, 401]


# Asking a view.


def test_a_view_is_refused_without_its_trailing_slash_and_protected_data_without_a_view(
    client: Client,
) -> None:
    parameters = people_parameters(client.emulator, "Tower")
    answers = [
        client.get(f"/share/{VIEW_REC_TYPE}", **parameters),
        client.get(f"/share/{PEOPLE.rec_type}", details="true"),
        client.people(id="ffffffffffffffffffffffff"),
    ]
    assert [(answer.status_code, answer.text) for answer in answers] == [
        (403, "Access to this path is denied"),
        (403, "Access to this path is denied"),
        (404, "io.microshare.utils.NotFoundException: Record not found or inaccessible."),
    ]


@pytest.mark.parametrize(
    "missing", [f"field{number}" for number in range(1, 7)] + ["loc1", "from", "to", "recType"]
)
def test_a_people_query_lacking_a_placeholder_fails_in_the_template(client: Client, missing: str) -> None:
    answer = client.people("Tower", **{missing: None})
    assert answer.status_code == 503
    assert answer.text.startswith(f"[Error: unresolvable property or identifier: {missing}]\n[Near : {{...")


@pytest.mark.parametrize("missing", ["category", "metric", "ownerOrg", "dataContext", "field6"])
def test_a_snapshot_query_lacking_a_placeholder_fails_in_the_template(client: Client, missing: str) -> None:
    answer = client.snapshots("Tower", **{missing: None})
    assert answer.status_code == 503
    assert answer.text.startswith(f"[Error: unresolvable property or identifier: {missing}]")


@pytest.mark.parametrize(
    ("context", "status", "says"),
    [
        (["example", "room"], 503, "unresolvable property or identifier: ownerOrg"),
        ("[example,room]", 503, "unresolvable property or identifier: ownerOrg"),
        ("room", 503, "unresolvable property or identifier: ownerOrg"),
        ('"room"', 503, "'$all needs an array'"),
        ('["elsewhere"]', 200, '"objs":[]'),
        ("[]", 200, '"objs":[]'),
        ('["room"]', 200, '"count":4'),
    ],
    ids=["repeated", "quotes eaten", "bare", "a text", "other tags", "no tags", "one of the tags"],
)
def test_the_data_context_is_one_json_array_of_which_every_tag_must_match(
    client: Client, estate: Estate, context: Any, status: int, says: str
) -> None:
    estate.add_snapshot("Tower", ROOM, NOW - 4 * HOUR)
    answer = client.snapshots(dataContext=context)
    assert answer.status_code == status
    assert says in answer.text


@pytest.mark.parametrize(
    ("owner", "status", "says"),
    [
        ("[a-zA-Z]", 503, "$regex has to be a string"),
        ('"["', 503, "$regex has to be a string"),
        ('"NORTH$"', 200, '"totalCount":1'),
        ('"SOUTH"', 200, '"totalCount":0'),
    ],
    ids=["without quotes", "no regex", "our organisation", "the other organisation"],
)
def test_the_owner_is_a_quoted_regex(
    client: Client, estate: Estate, owner: str, status: int, says: str
) -> None:
    estate.add_snapshot("Tower", ROOM, NOW - 4 * HOUR)
    answer = client.snapshots(ownerOrg=owner)
    assert answer.status_code == status
    assert says in answer.text


def test_an_entry_has_the_sub_documents_that_the_fields_name(client: Client, estate: Estate) -> None:
    planted = estate.add_people("Tower", DOOR, NOW - HOUR, ins=5, outs=3)

    answers = [client.people(), client.people(field2="field2", field3="field3")]

    assert [lines(answer) for answer in answers] == [
        [(DOOR, planted)],
        [(DOOR, {name: planted[name] for name in ("time", "record", "daily_total")})],
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"loc1": "Nowhere"},
        {"loc1": "tower"},
        {"loc1": ""},
        {"recType": SNAPSHOTS.rec_type},
        {"from": "2025-11-13T12:00:00Z"},
        {"to": "2025-11-14T13:00:00.000+01:00"},
    ],
    ids=["unknown", "another case", "empty", "another recType", "no milliseconds", "an offset"],
)
def test_what_matches_nothing_is_a_success_without_objs(
    client: Client, estate: Estate, changed: dict[str, str]
) -> None:
    estate.add_people("Tower", DOOR, NOW - HOUR)
    answer = client.people(**changed)
    assert (answer.status_code, answer.json()["objs"]) == (200, [])


def test_both_ends_of_a_window_are_inclusive(client: Client, estate: Estate) -> None:
    millisecond = timedelta(milliseconds=1)
    start, end = NOW - 2 * HOUR, NOW - HOUR
    for instant in (start - millisecond, start, end, end + millisecond):
        estate.add_people("Tower", DOOR, instant)
    assert times(client.people(**{"from": text(start), "to": text(end)})) == [text(start), text(end)]


def test_a_reading_is_seen_once_it_was_published(client: Client, estate: Estate, clock: Clock) -> None:
    estate.add_people("Tower", DOOR, NOW - SECOND)
    estate.add_people("Tower", DOOR, NOW - HOUR, visible_from=NOW + HOUR)
    estate.add_snapshot("Tower", ROOM, NOW - HOUR)

    seen = []
    for later in (timedelta(0), SECOND, 10 * MINUTE, HOUR):
        clock.now = NOW + later
        seen.append((times(client.people()), times(client.snapshots())))

    late, recent, snapshot = text(NOW - HOUR), text(NOW - SECOND), text(NOW - HOUR)
    assert seen == [
        ([], []),
        ([recent], []),
        ([recent], [snapshot]),
        ([late, recent], [snapshot]),
    ]


def test_only_the_newest_records_are_taken_in(
    emulator: MicroshareEmulator, client: Client, estate: Estate
) -> None:
    emulator.record_cap = 3
    for minutes in range(1, 6):
        estate.add_people("Tower", TOWER.groups[minutes % 2], NOW - minutes * MINUTE)
    assert times(client.people()) == [text(NOW - minutes * MINUTE) for minutes in (3, 2, 1)]


def test_pages_add_up_to_the_whole(visitor: Client) -> None:
    whole = visitor.people("Tour Été")
    pages = [visitor.people("Tour Été", page=number, perPage=3) for number in (1, 2, 3)]

    metas = [page.json()["meta"] for page in pages]
    assert [line for page in pages for line in lines(page)] == lines(whole)
    assert [(meta["currentPage"], meta["currentCount"]) for meta in metas] == [(1, 3), (2, 1), (3, 0)]
    assert {(meta["perPage"], meta["totalCount"], meta["totalPages"]) for meta in metas} == {(3, 4, 2)}
    assert visitor.people("Tour Été", perPage="many").status_code == 400


def test_a_group_without_entries_is_left_out_or_empty(emulator: MicroshareEmulator, client: Client) -> None:
    without = client.people().json()["objs"]
    emulator.empty_groups = True
    with_empty = client.people().json()["objs"]
    assert without == []
    assert [(tuple(obj["data"]["_id"]["tags"]), obj["data"]["line"]) for obj in with_empty] == [
        (tags, []) for tags in TOWER.groups
    ]


@pytest.mark.parametrize("building", DEFAULT, ids=lambda building: building.name)
def test_every_building_answers_to_its_name_whatever_is_in_it(visitor: Client, building: Building) -> None:
    people = {tags for tags, _ in lines(visitor.people(building.name))}
    snapshots = {tags for tags, _ in lines(visitor.snapshots(building.snapshot_name))}
    assert (people, snapshots) == (set(building.groups), set(building.rooms))


def test_a_space_may_come_as_a_plus_or_percent_encoded(visitor: Client) -> None:
    parameters = people_parameters(visitor.emulator, "X")
    prepared = requests.Request("GET", "http://example.test/", params=parameters).prepare().url or ""
    answers = [
        visitor.get(f"/share/{VIEW_REC_TYPE}/?{prepared.partition('?')[2].replace('loc1=X', f'loc1={form}')}")
        for form in ("Example+Beacon+House", "Example%20Beacon%20House")
    ]
    assert [len(answer.json()["objs"]) for answer in answers] == [4, 4]


def test_a_building_with_a_prefix_has_another_name_in_snapshots(visitor: Client) -> None:
    assert visitor.snapshots("Example Beacon House").json()["objs"] == []
    assert len(visitor.snapshots("Beacon House").json()["objs"]) == 4
    assert visitor.emulator.environment()["MICROSHARE_LOCATION_PREFIX"] == "Example"


# Device clusters, views, headers.


def test_clusters_belong_to_two_organisations(visitor: Client) -> None:
    path = f"/device/{PACKED_REC_TYPE}"
    ours = visitor.get(path, details="true", discover="false").json()
    shared = visitor.get("/device/*", details="true", discover="true").json()
    assert [obj["owner"]["org"] for obj in ours["objs"]] == ["com.example.NORTH"] * 2
    assert [obj["owner"]["org"] for obj in shared["objs"]] == ["com.example.NORTH"] * 2 + ["com.other.SOUTH"]


def test_a_cluster_holds_every_kind_of_device_and_secrets(visitor: Client) -> None:
    emulator = visitor.emulator
    path = f"/device/{PACKED_REC_TYPE}/{emulator.cluster_ids[0]}"
    (cluster,) = visitor.get(path, details="true").json()["objs"]
    (summary,) = visitor.get(path, details="false").json()["objs"]

    devices = cluster["data"]["devices"]
    locations = [device["meta"].get("location") for device in devices]
    ids = [device["id"] for device in devices]
    assert {location[0] for location in locations if location} == {
        "Example Beacon House",
        "Tour Été",
        "Mill & Lane",
    }
    assert None in locations
    assert ["Example Beacon House", "8", "Roof", ""] in locations
    assert "00-00-00-00-00-00-00-00" in ids
    assert {device["status"] for device in devices} == {"pending", "active", "inactive"}
    assert cluster["data"]["readAuth"] == "not-a-real-read-secret-0"
    assert set(summary) == {"_id", "id", "name", "url", "recType", "tags", "tstamp"}
    assert visitor.get(f"/device/{PACKED_REC_TYPE}/unknown").status_code == 404
    assert visitor.get(f"/device/io.other.packed/{emulator.cluster_ids[0]}").status_code == 404


def test_views_are_listed(visitor: Client) -> None:
    answers = [
        visitor.get(path).json()["objs"] for path in (f"/view/{VIEW_REC_TYPE}", "/view/*", "/view/other")
    ]
    ids = [visitor.emulator.people_view_id, visitor.emulator.snapshot_view_id]
    assert [[view["id"] for view in views] for views in answers] == [ids, ids, []]


def test_the_date_header_follows_the_clock_and_its_skew(emulator: MicroshareEmulator, client: Client) -> None:
    dates = [client.people().headers["Date"]]
    emulator.skew = 10 * MINUTE
    dates.append(client.people().headers["Date"])
    assert dates == ["Fri, 14 Nov 2025 12:00:00 GMT", "Fri, 14 Nov 2025 12:10:00 GMT"]


def test_all_three_base_urls_can_carry_a_path_prefix(estate: Estate, clock: Clock) -> None:
    with MicroshareEmulator(estate, clock=clock, prefix="/api") as emulator:
        client = Client(emulator)
        client.log_in()
        outside = client.session.get(emulator.url.removesuffix("/api") + "/view/*", timeout=5)
        statuses = [client.people().status_code, outside.status_code]
    assert emulator.url.endswith("/api")
    assert statuses == [200, 404]


def test_requests_are_recorded_by_kind_and_location(emulator: MicroshareEmulator, client: Client) -> None:
    client.people("A")
    client.people("B")
    client.get("/view/*")
    assert [(one.kind, one.status, one.location) for one in emulator.requests] == [
        ("login", 303, None),
        ("query", 200, "A"),
        ("query", 200, "B"),
        ("views", 200, None),
    ]
    assert [one.at for one in emulator.queries("B")] == [NOW]


def test_an_emulator_that_was_stopped_starts_again_at_the_same_address(estate: Estate) -> None:
    emulator = MicroshareEmulator(estate)
    with emulator:
        first = emulator.url
    with emulator:
        assert emulator.url == first
        assert Client(emulator).log_in().status_code == 303


# Data.


def test_data_is_the_same_in_every_process_and_another_with_another_seed() -> None:
    program = (
        "import hashlib, sys; from datetime import *; from emulators.estate import Estate;"
        "now = datetime(2025, 11, 14, 12, tzinfo=UTC); estate = Estate(int(sys.argv[1]));"
        "day = timedelta(hours=24); held = (estate.expected_people(now - day, now, now),"
        "estate.expected_snapshots(now - day, now, now));"
        "print(hashlib.sha256(repr(held).encode()).hexdigest())"
    )

    def hash_elsewhere(seed: int, hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program, str(seed)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        ).stdout.strip()

    estate = Estate()
    held = (estate.expected_people(NOW - DAY, NOW, NOW), estate.expected_snapshots(NOW - DAY, NOW, NOW))
    here = hashlib.sha256(repr(held).encode()).hexdigest()
    assert [hash_elsewhere(1, "1"), hash_elsewhere(1, "2")] == [here, here]
    assert hash_elsewhere(2, "1") != here


def test_readings_do_not_depend_on_how_their_window_is_cut() -> None:
    whole = Estate().expected_people(NOW - 3 * DAY, NOW, NOW)
    pieces = [
        reading
        for hours in range(72, 0, -7)
        for reading in Estate().expected_people(NOW - hours * HOUR, min(NOW, NOW - (hours - 7) * HOUR), NOW)
    ]
    assert sorted(map(repr, pieces)) == sorted(map(repr, whole))


def test_people_times_are_off_the_quarter_and_records_say_when_they_were_made() -> None:
    held = Estate().expected_people(NOW - DAY, NOW, NOW)
    assert len(held) > 1700
    for _, _, time, entry in held:
        instant = datetime.fromisoformat(str(time))
        assert timedelta(0) < (instant - NOW) % timedelta(minutes=15)
        assert int(entry["record"][:8], 16) == int((instant + 2 * SECOND).timestamp())
        assert len(entry["record"]) == 24


def test_a_lost_uplink_is_counted_in_the_next_reading() -> None:
    held = Estate().expected_people(NOW - DAY, NOW, NOW)
    lumped = [entry for *_, entry in held if entry["change"]["missing_records"]]
    assert lumped
    assert all(
        entry["change"]["elapsed"]["minutes"] == 15 * (1 + entry["change"]["missing_records"])
        for *_, entry in held
    )


def test_daily_totals_run_from_local_midnight() -> None:
    midnight = datetime(2025, 11, 14, tzinfo=ZoneInfo("Asia/Kathmandu"))
    (door, *_) = Building("50% Annex").groups
    entries = Estate().people("50% Annex", midnight, midnight + 8 * HOUR, now=NOW)[door]
    running = 0
    for entry in entries:
        running += entry["change"]["in"]
        assert entry["daily_total"]["in"] == running
        assert entry["daily_total"]["reset_time"] == "2025-11-13T18:15:00.000Z"
        assert entry["daily_total"]["date"] == "2025-11-14"


@pytest.mark.parametrize(
    ("day", "quarters"), [((2025, 3, 30), 92), ((2025, 10, 26), 100), ((2025, 11, 13), 96)], ids=str
)
def test_a_local_day_has_as_many_quarters_as_its_clock_shows(
    day: tuple[int, int, int], quarters: int
) -> None:
    zone = ZoneInfo("Europe/Paris")
    start = datetime(*day, tzinfo=zone).astimezone(UTC)
    end = datetime(day[0], day[1], day[2] + 1, tzinfo=zone).astimezone(UTC)
    for entries in Estate().people("Tour Été", start, end, now=NOW).values():
        told = sum(1 + entry["change"]["missing_records"] for entry in entries)
        assert abs(told - quarters) <= 2  # uplinks lost across midnight are told by the other day


def test_planted_readings_can_be_corrected_hidden_and_silenced(estate: Estate) -> None:
    first, second, third = (NOW - minutes * MINUTE for minutes in (30, 20, 10))
    estate.add_people("Tower", DOOR, first, ins=1)
    estate.add_people("Tower", DOOR, second, ins=2)
    estate.add_people("Tower", DOOR, third, ins=3)
    estate.correct("Tower", DOOR, first, at=NOW + HOUR, change={"in": 7})
    estate.hide("Tower", second, second + MINUTE, until=NOW + 3 * HOUR)
    estate.silence("Tower", third, until=NOW + 2 * HOUR)

    seen = [
        [entry["change"]["in"] for *_, entry in estate.expected_people(first, NOW, NOW + later * HOUR)]
        for later in range(4)
    ]
    assert seen == [[1], [7], [7, 3], [7, 2, 3]]


def test_a_silent_source_publishes_everything_at_once() -> None:
    estate, spoken = Estate(buildings=(TOWER,)), Estate(buildings=(TOWER,))
    estate.silence("Tower", NOW, until=NOW + 9 * HOUR)
    seen = [
        len(estate.expected_people(NOW, NOW + 9 * HOUR, NOW + later)) for later in (HOUR, 8 * HOUR, 9 * HOUR)
    ]
    everything = spoken.expected_people(NOW, NOW + 9 * HOUR, NOW + 9 * HOUR)
    assert seen[:2] == [0, 0]
    assert seen[2] == len(everything) > 100


def test_planting_a_reading_twice_differs_in_its_record_only(estate: Estate) -> None:
    twins = [estate.add_people("Tower", DOOR, NOW - HOUR) for _ in range(2)]
    records = {entry.pop("record") for entry in [dict(twin) for twin in twins]}
    assert len(records) == 2


def test_planted_readings_can_lack_or_carry_anything(client: Client, estate: Estate) -> None:
    estate.add_people("Tower", DOOR, NOW - HOUR, without=("time", "record"), change={"in": float("nan")})
    estate.add_people("Tower", DOOR, NOW - HOUR, time_as="nonsense", odd="\ud800")
    found = [entry for _, entry in lines(client.people())]
    assert [entry.get("time") for entry in found] == [None, "nonsense"]
    assert "NaN" in client.people().text
    assert found[1]["odd"] == "\ud800"


def test_a_renamed_building_keeps_its_old_name_for_what_it_read_before(clock: Clock) -> None:
    estate = Estate(buildings=(TOWER,))
    estate.rename("Tower", "Spire", at=NOW)
    later = NOW + 2 * HOUR
    names = [
        [building.name for building in estate.listed(instant) if building.cluster == 0]
        for instant in (NOW - SECOND, NOW)
    ]
    window = (NOW - HOUR, NOW + HOUR)
    old = estate.people("Tower", *window, now=later)
    new = estate.people("Spire", *window, now=later)
    whole = Estate(buildings=(TOWER,)).people("Tower", *window, now=later)
    assert names == [["Tower"], ["Spire"]]
    assert sum(map(len, old.values())) + sum(map(len, new.values())) == sum(map(len, whole.values()))
    assert {tags[0] for tags in new} == {"Spire"}


def test_buildings_come_and_go() -> None:
    estate = Estate(buildings=(TOWER,))
    estate.add(Building("New"), since=NOW)
    estate.remove("Tower", at=NOW)
    window = (NOW - HOUR, NOW + HOUR)
    held = estate.expected_people(*window, now=NOW + DAY)
    assert {(name, str(time) < text(NOW)) for name, _, time, _ in held} == {("Tower", True), ("New", False)}
    assert [building.name for building in estate.listed(NOW) if building.cluster == 0] == ["New"]


def test_two_organisations_may_have_a_building_of_the_same_name() -> None:
    estate = Estate(buildings=(TOWER,))
    alone = len(estate.expected_people(NOW - DAY, NOW, NOW))
    estate.add(Building("Tower", cluster=2))
    mixed = estate.people("Tower", NOW - DAY, NOW, now=NOW)
    assert sum(map(len, mixed.values())) > 1.9 * alone
    assert len(estate.expected_people(NOW - DAY, NOW, NOW)) == alone


# Counts of a file.


def half_hours(days: int) -> list[Count]:
    start = datetime(2005, 7, 24)  # noqa: DTZ001 - local times have no zone
    return [(start + index * timedelta(minutes=30), index, 2 * index) for index in range(48 * days)]


def test_counts_of_a_file_are_replayed_exactly_weeks_later_at_the_same_local_time(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    rows = half_hours(14)
    file.write_text("time,in,out\n" + "".join(f"{time.isoformat()},{i},{o}\n" for time, i, o in rows))
    estate = Estate(buildings=(TOWER, Building("Other")), counts=read_counts(file))

    replayed = estate.people("Tower", NOW - 14 * DAY, NOW, now=NOW + MINUTE)
    zone = ZoneInfo(TOWER.zone)
    found = []
    for entry in replayed[DOOR]:
        local = datetime.fromisoformat(entry["time"]).astimezone(zone).replace(tzinfo=None)
        found.append((local, entry["change"]["in"], entry["change"]["out"]))
    original = {(came, left): time for time, came, left in rows}

    assert sorted((came, left) for _, came, left in found) == sorted((came, left) for _, came, left in rows)
    assert all(
        (local - original[came, left]) % timedelta(weeks=1) == timedelta(0) for local, came, left in found
    )
    assert len(replayed) == 4
    assert len(estate.people("Other", NOW - DAY, NOW, now=NOW)) == 4


def test_a_file_of_part_weeks_leaves_no_day_without_counts() -> None:
    estate = Estate(buildings=(TOWER,), counts=half_hours(10), generated=False)
    per_day = [
        len(estate.people("Tower", NOW - (day + 1) * DAY, NOW - day * DAY, now=NOW)[DOOR])
        for day in range(18)
    ]
    assert per_day == [48] * 18


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("when,in\n2025-01-01T00:00:00,1\n")
    with pytest.raises(ValueError, match="no column out, time"):
        read_counts(file)


# Faults.


def people_statuses(client: Client, queries: int) -> list[int]:
    return [client.people().status_code for _ in range(queries)]


def test_a_fault_fires_as_often_as_told_after_as_many_as_told(
    emulator: MicroshareEmulator, client: Client
) -> None:
    emulator.faults.status(502, times=2, after=1)
    assert people_statuses(client, 5) == [200, 502, 502, 200, 200]
    assert emulator.faults.fired == {"status": 2}


def test_a_fault_hits_its_location_feed_and_kind_of_request_only(
    emulator: MicroshareEmulator, client: Client
) -> None:
    emulator.faults.status(500, location="A")
    emulator.faults.status(502, feed="snapshots")
    emulator.faults.status(504, on="views")
    answers = [client.people("A"), client.people("B"), client.snapshots("B"), client.get("/view/*")]
    assert [answer.status_code for answer in answers] == [500, 200, 502, 504]
    emulator.faults.clear()
    assert client.people("A").status_code == 200


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(5, "5"), ("Fri, 14 Nov 2025 12:01:00 GMT", "Fri, 14 Nov 2025 12:01:00 GMT"), (None, None)],
    ids=["seconds", "a date", "absent"],
)
def test_throttling_says_when_to_come_back(
    emulator: MicroshareEmulator, client: Client, retry_after: Any, header: str | None
) -> None:
    emulator.faults.throttle(retry_after)
    answer = client.people()
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)


def test_tokens_can_be_revoked_after_some_queries(emulator: MicroshareEmulator, client: Client) -> None:
    emulator.faults.revoke_after(2)
    statuses = people_statuses(client, 3)
    client.log_in()
    assert statuses + people_statuses(client, 3) == [200, 200, 401, 200, 200, 200]
    assert emulator.faults.fired == {"revoke_after": 1}


def test_a_window_can_be_too_wide(emulator: MicroshareEmulator, client: Client) -> None:
    emulator.faults.wide_window(hours=6)
    narrow = {"from": text(NOW - 6 * HOUR)}
    assert [client.people().status_code, client.people(**narrow).status_code] == [504, 200]
    assert emulator.faults.fired == {"wide_window": 1}


CONNECTION_FAULTS: dict[str, tuple[Callable[[Faults], None], type[Exception]]] = {
    "reset": (lambda faults: faults.reset(times=1), requests.ConnectionError),
    "truncate": (lambda faults: faults.truncate(times=1), requests.exceptions.ChunkedEncodingError),
    "truncate_json": (lambda faults: faults.truncate_json(times=1), requests.JSONDecodeError),
    "html": (lambda faults: faults.html(times=1), requests.JSONDecodeError),
    "empty": (lambda faults: faults.empty(times=1), requests.JSONDecodeError),
    "deep": (lambda faults: faults.deep(times=1), RecursionError),
    "no_objs": (lambda faults: faults.no_objs(times=1), KeyError),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_broken_answer_breaks_its_reader_once(
    emulator: MicroshareEmulator, client: Client, estate: Estate, name: str
) -> None:
    estate.add_people("Tower", DOOR, NOW - HOUR)
    arm, error = CONNECTION_FAULTS[name]
    arm(emulator.faults)
    with pytest.raises(error):
        client.people().json()["objs"]
    assert emulator.faults.fired == {name: 1}
    assert times(client.people()) == [text(NOW - HOUR)]


def test_a_truncated_gzip_has_the_length_it_promises(emulator: MicroshareEmulator, client: Client) -> None:
    emulator.faults.truncate_gzip()
    answer = client.session.get(
        f"{emulator.url}/share/{VIEW_REC_TYPE}/",
        params=people_parameters(emulator, "Tower"),
        stream=True,
        timeout=5,
    )
    raw = answer.raw.read(decode_content=False)
    assert len(raw) == int(answer.headers["Content-Length"])
    with pytest.raises(EOFError):
        gzip.decompress(raw)


def test_big_answers_are_white_space_around_the_true_one(
    emulator: MicroshareEmulator, client: Client
) -> None:
    true = client.people().json()["meta"]
    emulator.faults.big(megabytes=3, times=1)
    big = client.people()
    emulator.faults.gzip_bomb(megabytes=3, times=1)
    bomb = client.people()
    assert [len(answer.content) // 2**20 for answer in (big, bomb)] == [3, 3]
    assert int(bomb.headers["Content-Length"]) < 20_000
    assert [answer.json()["meta"] for answer in (big, bomb)] == [true, true]


def test_a_body_can_be_rewritten_dripped_and_mislabelled(
    emulator: MicroshareEmulator, client: Client
) -> None:
    emulator.faults.rewrite_body(lambda _: b'\xef\xbb\xbf{"a": NaN, "a": 1}')
    emulator.faults.drip(0.0001)
    emulator.faults.wrong_type("text/html")
    answer = client.people()
    assert (answer.content, answer.headers["Content-Type"]) == (
        b'\xef\xbb\xbf{"a": NaN, "a": 1}',
        "text/html",
    )
    assert emulator.faults.fired == {"rewrite_body": 1, "drip": 1, "wrong_type": 1}


@pytest.mark.parametrize(
    ("arm", "meta", "objs"),
    [
        (lambda faults: faults.withhold(), {"currentCount": 0, "totalCount": 4}, 0),
        (lambda faults: faults.platform_total(9999), {"totalCount": 9999}, 4),
        (lambda faults: faults.total_pages(0), {"totalPages": 0}, 4),
        (lambda faults: faults.small_pages(3), {"totalPages": 2, "perPage": 3, "currentCount": 3}, 3),
    ],
    ids=["totals without objs", "a total of the platform", "no pages", "small pages"],
)
def test_an_envelope_can_mislead(
    platform: MicroshareEmulator,
    visitor: Client,
    arm: Callable[[Faults], None],
    meta: dict[str, int],
    objs: int,
) -> None:
    arm(platform.faults)
    answer = visitor.people("Quay+One").json()
    assert answer["meta"] | meta == answer["meta"]
    assert len(answer["objs"]) == objs
    assert platform.faults.fired.total() == 1


def tags_by_page(client: Client, pages: int) -> list[list[str]]:
    return [
        [obj["data"]["_id"]["tags"][1] for obj in client.people("Quay+One", page=page).json()["objs"]]
        for page in range(1, pages + 1)
    ]


@pytest.mark.parametrize(
    ("arm", "pages"),
    [
        (lambda _: None, [["0", "1"], ["4", "8"]]),
        (lambda faults: faults.same_page(), [["0", "1"], ["0", "1"]]),
        (lambda faults: faults.drift(), [["0", "1"], ["8"]]),
        (lambda faults: faults.drift(keeps_count=True), [["0", "1"], ["8", "0"]]),
        (lambda faults: faults.repeat_objs(), [["0", "1"], ["4", "8"], ["0", "1"], ["4", "8"]]),
        (lambda faults: faults.reorder_lines(), [["8", "1"], ["0", "4"]]),
    ],
    ids=["well", "same page", "drifting", "drifting with a full count", "repeated", "reordered"],
)
def test_pages_can_loop_drift_repeat_and_be_out_of_order(
    platform: MicroshareEmulator, visitor: Client, arm: Callable[[Faults], None], pages: list[list[str]]
) -> None:
    platform.faults.small_pages(2)
    arm(platform.faults)
    assert tags_by_page(visitor, len(pages)) == pages


def test_lines_can_come_twice_and_with_fields_that_nobody_knows(
    emulator: MicroshareEmulator, client: Client, estate: Estate
) -> None:
    estate.add_people("Tower", DOOR, NOW - HOUR)
    emulator.faults.duplicate_lines()
    emulator.faults.extra_fields()
    found = [entry for _, entry in lines(client.people())]
    assert len(found) == 2
    assert found[0] == found[1]
    assert "x_new" in found[0]


def test_a_stale_answer_ignores_the_window(
    emulator: MicroshareEmulator, client: Client, estate: Estate
) -> None:
    estate.add_people("Tower", DOOR, NOW - HOUR)
    emulator.faults.stale(location="Tower")
    first = client.people()
    estate.add_people("Tower", DOOR, NOW - MINUTE)
    again = client.people(**{"from": text(NOW - 2 * MINUTE)})
    assert times(again) == times(first) == [text(NOW - HOUR)]
    assert emulator.faults.fired == {"stale": 1}


@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("other host", "http://localhost:{port}/share/io.microshare.fm.master.agg/"),
        ("same host", "http://127.0.0.1:{port}/elsewhere"),
        ("loop", "http://127.0.0.1:{port}/share/io.microshare.fm.master.agg/"),
        ("https://example.test/", "https://example.test/"),
    ],
)
def test_a_query_can_be_redirected(
    emulator: MicroshareEmulator, client: Client, to: str, location: str
) -> None:
    emulator.faults.redirect(to)
    answer = client.people()
    port = emulator.url.rpartition(":")[2]
    assert (answer.status_code, answer.headers["Location"]) == (302, location.format(port=port))


def test_a_login_can_be_refused_broken_and_redirected(emulator: MicroshareEmulator) -> None:
    client = Client(emulator)
    emulator.faults.refuse_login("form", times=1)
    emulator.faults.status(503, on="login", times=1)
    emulator.faults.redirect_login(times=1)
    answers = [client.log_in() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 307, 303]
    assert answers[2].headers["Location"].startswith("http://localhost:")
    assert (emulator.logins, emulator.login_attempts) == (1, 4)


def test_a_cluster_can_come_with_a_foreign_one_and_ids_of_an_older_form(
    platform: MicroshareEmulator, visitor: Client
) -> None:
    platform.faults.mixed_clusters()
    platform.faults.extended_json(on="devices")
    path = f"/device/{PACKED_REC_TYPE}/{platform.cluster_ids[1]}"
    objs = visitor.get(path, details="true").json()["objs"]
    assert [(obj["owner"]["org"], obj["_id"]) for obj in objs] == [
        ("com.other.SOUTH", {"$oid": platform.foreign_cluster_id}),
        ("com.example.NORTH", {"$oid": platform.cluster_ids[1]}),
    ]


def test_whatever_else_can_go_wrong_is_intercepted(emulator: MicroshareEmulator, client: Client) -> None:
    def teapot(request: Request) -> Response | None:
        return Response.text(418, "short and stout") if request.first("loc1") == "Tea" else None

    emulator.intercept = teapot
    assert [client.people(name).status_code for name in ("Tea", "Tower")] == [418, 200]


def test_faults_can_be_switched_by_hand_over_http(emulator: MicroshareEmulator, client: Client) -> None:
    control = f"{emulator.url}/_control"
    on = requests.post(control, json={"fault": "query-503", "times": 2}, timeout=5).json()
    statuses = people_statuses(client, 1)
    off = requests.post(control, json={"clear": True}, timeout=5).json()
    wrong = [
        requests.post(control, json=asked, timeout=5).status_code
        for asked in ({"fault": "none"}, {"fault": "slow", "odd": 1}, {})
    ]
    assert (on["armed"], statuses, off["armed"], off["fired"]) == (["status"], [503], [], {"status": 1})
    assert wrong == [400, 400, 400]
    assert people_statuses(client, 1) == [200]
    assert "throttle" in requests.get(control, timeout=5).json()["faults"]


# As a command.


@pytest.mark.skipif(
    importlib.util.find_spec("emulators.eventhubs") is None, reason="emulators.eventhubs is not there"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_command_writes_settings_stays_and_ends_well_when_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "my demo.env"
    command = [sys.executable, "-m", "emulators", "--env-file", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while said[-1] not in ("Ctrl-C ends it.\n", ""):
            said.append(process.stdout.readline())
        settings = dotenv_values(file)
        mode = stat.S_IMODE(file.stat().st_mode)
        sourced = subprocess.run(
            ["bash", "-c", f'set -a; . "{file}"; env -0'], capture_output=True, text=True, check=True, env={}
        ).stdout.split("\0")
        answer = requests.get(f"{settings['MICROSHARE_API_URL']}/view/*", timeout=5)
        printed = said[said.index("In another terminal:\n") + 1 : -2]
        tried = subprocess.run(
            ["bash", "-e"],
            input="".join(line for line in printed if "-m app" not in line or "status" in line),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
        )
        process.send_signal(number)
        status = process.wait(timeout=10)

    assert status == 0
    assert mode == 0o600
    assert answer.status_code == 401
    assert {f"{name}={value}" for name, value in settings.items()} <= set(sourced)
    assert json.loads(settings["MICROSHARE_PC_DEVICE_CLUSTER_ID"] or "") == [
        "aaaaaaaaaaaaaaaaaaaaaa01",
        "aaaaaaaaaaaaaaaaaaaaaa02",
    ]
    assert (settings["EVENT_HUB_CONNECTION_STRING"] or "").endswith("EntityPath=people")
    assert len(json.loads(settings["EVENT_HUB_CONNECTION_STRINGS"] or "")) == 1
    # Copied into a fresh shell, the commands work, and look where only this world's state is, while it lasts.
    assert [line.split(" -m app ")[1] for line in printed if "-m app" in line] == [
        "check\n",
        "run all\n",
        "status\n",
        "tail --count 5\n",
    ]
    assert (tried.returncode, tried.stderr) == (0, ""), tried
    assert "no run" in tried.stdout
    assert Path(settings["STATE_DIR"] or "").parent == tmp_path
    assert list(tmp_path.iterdir()) == [file]
    assert (settings["STATE_STORE"], settings["TELEMETRY"]) == ("json", "none")
    # A proxy that the shell names is not asked for what is on this machine.
    assert settings["NO_PROXY"] == "127.0.0.1,localhost"
    assert f"  set -a; . '{file}'; set +a\n" in said
