"""Dashboard queries and discovery: what goes on the wire, and what every kind of answer means."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses

from app.base.budget import Budget
from app.base.checkpoints import Place
from app.base.errors import (
    AnswerTooLarge,
    AuthError,
    BadResponse,
    Interrupted,
    NoPermission,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    WindowTooWide,
)
from app.base.readings import DashboardAnswer, DashboardQuery, Slice
from app.feeds import hourly_snapshot, people_counter
from app.microshare.auth import TokenCache
from app.microshare.client import MicroshareClient
from app.microshare.discovery import Found, Organisation, shared_identities
from app.settings.schema import FeedSettings
from tests.unit.microshare_fake import NOW, PASSWORD, Answer, FakeMicroshare, page, session

DAY = Slice(datetime(2025, 11, 12, tzinfo=UTC), datetime(2025, 11, 13, tzinfo=UTC))
QUARTER = Slice(DAY.start, DAY.start + timedelta(minutes=15))
A, B, C, D = ({"data": {"_id": {"tags": [name]}, "line": []}} for name in "ABCD")
NAME = "query of view view-1 for 'Example Beacon House', 2025-11-12T00:00:00.000Z to 2025-11-12T23:59:59.999Z"
SENT = (
    "id=view-1&recType=io.example.counts&from=2025-11-12T00:00:00.000Z&to=2025-11-12T23:59:59.999Z"
    "&dataContext=%5B%22people%22%5D&field1=change&loc1=Example+Beacon+House"
)


@pytest.fixture
def microshare() -> Iterator[FakeMicroshare]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield FakeMicroshare(mock)


def query(
    loc1: str = "Example Beacon House", window: Slice = DAY, context: tuple[str, ...] = ("people",)
) -> DashboardQuery:
    return DashboardQuery("view-1", "io.example.counts", context, loc1, window, {"field1": "change"})


def failure_of(client: MicroshareClient, asked: DashboardQuery | None = None) -> tuple[type, str]:
    with pytest.raises((SourceError, Interrupted)) as caught:
        client.query_dashboard(asked or query())
    return caught.type, str(caught.value)


# --- on the wire ------------------------------------------------------------------------------------


def test_the_people_counter_query_is_written_as_the_view_wants_it(microshare: FakeMicroshare) -> None:
    settings = FeedSettings(
        name="people_counter",
        view_id="ffffffffffffffffffffff0a",
        data_context=("people",),
        schedule="",
        look_back=timedelta(hours=1),
    )

    people_counter.get_people_counter_full_coverage(
        microshare.client().query_dashboard, settings, "Example Beacon House", DAY
    )

    assert microshare.asked == [
        (
            "/share/io.microshare.fm.master.agg/?id=ffffffffffffffffffffff0a"
            "&recType=io.microshare.peoplecounter.unpacked.event.agg"
            "&from=2025-11-12T00:00:00.000Z&to=2025-11-12T23:59:59.999Z&dataContext=%5B%22people%22%5D"
            "&field1=daily_total&field2=meta&field3=change&field4=field4&field5=field5&field6=field6"
            "&loc1=Example+Beacon+House&page=1&perPage=999"
        )
    ]


def test_the_snapshot_query_is_written_as_the_view_wants_it(microshare: FakeMicroshare) -> None:
    settings = FeedSettings(
        name="hourly_snapshot",
        view_id="ffffffffffffffffffffff0b",
        data_context=("ctx1", "ctx2", "room"),
        schedule="",
        look_back=timedelta(hours=6),
        parameters={"category": "space", "metric": "occupancy"},
        location_prefix="Example",
    )

    hourly_snapshot.get_snapshot_full_coverage(
        microshare.client().query_dashboard, settings, "Example Beacon House", DAY
    )

    (asked,) = microshare.asked
    assert urlsplit(asked).path == "/share/io.microshare.fm.master.agg/"
    assert sorted(urlsplit(asked).query.split("&")) == sorted(
        [
            "id=ffffffffffffffffffffff0b",
            "recType=io.microshare.lake.snapshot.hourly",
            "from=2025-11-12T00:00:00.000Z",
            "to=2025-11-12T23:59:59.999Z",
            "dataContext=%5B%22ctx1%22%2C%22ctx2%22%2C%22room%22%5D",
            "field1=current",
            "field2=field2",
            "field3=field3",
            "field4=field4",
            "field5=field5",
            "field6=field6",
            "category=space",
            "metric=occupancy",
            "ownerOrg=%22%5Ba-zA-Z%5D%22",
            "loc1=Beacon+House",
            "page=1",
            "perPage=999",
        ]
    )


@pytest.mark.parametrize(
    "name",
    [
        "Müller-Straße",
        unicodedata.normalize("NFC", "Café"),
        unicodedata.normalize("NFD", "Café"),
        "1+1 & 50% #2 / a=b?;",
        "100%25",
        "Tower 🏢 東京",
        " two  spaces ",
        "../../x",
        "O'Brien House",
        "{A} for $5 @ 100%",
    ],
    ids=[
        "accents",
        "NFC",
        "NFD",
        "reserved",
        "looks encoded",
        "emoji",
        "spaces",
        "dots",
        "single quote",
        "braces, dollar and at apart",
    ],
)
def test_a_name_arrives_exactly_as_it_is(microshare: FakeMicroshare, name: str) -> None:
    microshare.client().query_dashboard(query(name, context=(name, "people")))

    (asked,) = microshare.asked
    found = dict(parse_qsl(urlsplit(asked).query, keep_blank_values=True))
    assert (found["loc1"], found["dataContext"]) == (name, f'["{name}","people"]')


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ('Mill", "loc1": {"$ne": "x', "holds a double quote"),
        ("Mill\\", "holds a backslash"),
        ("Mill ${ownerOrg}", "holds $ or @ next to a brace"),
        ("Mill $ {ownerOrg}", "holds $ or @ next to a brace"),
        ("Mill @{ownerOrg}", "holds $ or @ next to a brace"),
        ("Mill {ownerOrg}$", "holds $ or @ next to a brace"),
        ("Mill @code{ownerOrg}", "holds $ or @ next to a brace"),
        ("$meta.device", "begins with $"),
        (" $$ROOT", "begins with $"),
        ("line\nbreak", "holds a control character"),
        ("nothing\x00", "holds a control character"),
        ("a\u2028b", "holds a control character"),
        ("a\ud800b", "holds a control character"),
    ],
    ids=[
        "a quote and more of the query",
        "a backslash at the end",
        "an expression",
        "an expression with a space",
        "an expression of MVEL",
        "a brace before",
        "a block of MVEL",
        "a field",
        "a variable",
        "line break",
        "NUL",
        "line separator",
        "half a character",
    ],
)
def test_a_name_that_could_change_the_query_is_refused_and_nothing_is_asked(
    microshare: FakeMicroshare, name: str, said: str
) -> None:
    with pytest.raises(SourceRefused) as refused:
        microshare.client().query_dashboard(query(name))

    assert said in str(refused.value)
    assert ascii(name)[1:5] in str(refused.value)
    assert str(refused.value).endswith("; rename it in Microshare")
    assert microshare.asked == []


def test_every_call_carries_the_token(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([A], totalPages=2, totalCount=2), page([B], totalPages=2, totalCount=2)]
    client = microshare.client()

    client.query_dashboard(query())

    assert microshare.tokens_used == ["Bearer token-1", "Bearer token-1"]
    assert (client.api_calls, microshare.login_requests) == (3, 1)


# --- pages ------------------------------------------------------------------------------------------


def test_an_answer_is_given_as_it_came(microshare: FakeMicroshare) -> None:
    body = b'{"meta":{"totalPages":1},"objs":[{"n":0.10,"s":"\\ud83d\\ude00","deep":[[{"k":null}]]}]}'
    microshare.answers = [Answer(body=b"\xef\xbb\xbf" + body)]

    answer = microshare.client().query_dashboard(query())

    assert [dict(obj) | {"n": str(obj["n"])} for obj in answer.objs] == [
        {"n": "0.10", "s": "😀", "deep": [[{"k": None}]]}
    ]


@pytest.mark.parametrize(
    ("pages", "asked", "objs"),
    [
        ([page([])], ["1"], []),
        ([page([A, B])], ["1"], [A, B]),
        (
            [page([A, B], totalPages=2, totalCount=3), page([C], totalPages=2, totalCount=3)],
            ["1", "2"],
            [A, B, C],
        ),
        ([page([A], totalPages=0, perPage=0)], ["1"], [A]),
        ([Answer(json={"objs": [A]})], ["1"], [A]),
        (
            [page([A], totalPages=0, totalCount=2), page([B], totalPages=0, totalCount=2)],
            ["1", "2"],
            [A, B],
        ),
        (
            [
                page([A], totalPages={"$numberLong": "2"}, totalCount={"$numberLong": "2"}),
                page([B], totalPages="2", totalCount="2"),
            ],
            ["1", "2"],
            [A, B],
        ),
        (
            [page([A], totalPages=3, totalCount=2), page([B], totalPages=2, totalCount=2)],
            ["1", "2"],
            [A, B],
        ),
    ],
    ids=[
        "nothing",
        "one page",
        "two pages",
        "no number of pages",
        "no envelope",
        "the count goes on",
        "extended JSON",
        "fewer pages than said at first",
    ],
)
def test_pages_are_read_to_their_end(
    microshare: FakeMicroshare, pages: list[Answer | Exception], asked: list[str], objs: list[Any]
) -> None:
    microshare.answers = pages

    answer = microshare.client().query_dashboard(query())

    assert (answer, microshare.pages_asked) == (DashboardAnswer(tuple(objs)), asked)


def two_pages(
    first: list[Any], second: list[Any], count: int, *, per_page: int = 999
) -> list[Answer | Exception]:
    stated = {"totalPages": 2, "perPage": per_page, "totalCount": count}
    return [page(first, **stated), page(second, **stated)]


@pytest.mark.parametrize(
    ("first_pass", "second_pass", "objs"),
    [
        (two_pages([A, B], [B], 3), two_pages([A, B], [C], 3), [A, B, C]),
        (two_pages([A, B], [D], 4), two_pages([A, B], [C, D], 4), [A, B, C, D]),
        (two_pages([A, B], [D], 4, per_page=2), two_pages([A, B], [C, D], 4, per_page=2), [A, B, C, D]),
        (
            [page([A, B], totalPages=2, totalCount=4), page([D], totalPages=2, totalCount=3)],
            two_pages([A, B], [D], 3),
            [A, B, D],
        ),
        (two_pages([A, B], [A, C], 4), two_pages([A, B], [A, C], 4), [A, B, A, C]),
        (two_pages([A, B], [], 3), [page([A, B])], [A, B]),
    ],
    ids=[
        "one came twice",
        "one was skipped",
        "one was skipped where all pages are full",
        "the count fell meanwhile",
        "the source repeats one itself",
        "a page was empty",
    ],
)
def test_pages_that_do_not_add_up_are_read_again(
    microshare: FakeMicroshare,
    first_pass: list[Answer | Exception],
    second_pass: list[Answer | Exception],
    objs: list[Any],
) -> None:
    microshare.answers = first_pass + second_pass

    answer = microshare.client().query_dashboard(query())

    assert (answer, microshare.pages_asked[:3]) == (DashboardAnswer(tuple(objs)), ["1", "2", "1"])


@pytest.mark.parametrize(
    ("second_pass", "flaw"),
    [
        (two_pages([A, B], [D], 4), "2 pages hold 3 different objects, and state a total of 4 then 4"),
        (two_pages([B, A], [B, C], 4), "2 pages hold 3 different objects, and state a total of 4 then 4"),
        (
            [page([A, B], totalPages=3, totalCount=4), page([], totalPages=3, totalCount=4)],
            "the pages end with 2 of 3",
        ),
    ],
    ids=["skipped again", "repeated otherwise", "an empty page"],
)
def test_pages_that_never_add_up_ask_for_a_shorter_window(
    microshare: FakeMicroshare, second_pass: list[Answer | Exception], flaw: str
) -> None:
    microshare.answers = two_pages([A, B], [A, C], 4) + second_pass

    assert failure_of(microshare.client()) == (
        WindowTooWide,
        f"microshare: {NAME}: {flaw}, twice; ask for a shorter window",
    )
    assert microshare.pages_asked == ["1", "2", "1", "2"]


@pytest.mark.parametrize(
    ("pages", "warning"),
    [
        (
            [page([A], totalCount=5_000)],
            (
                "a totalCount of 5000 is more than 1 page can hold; it is taken for a count of the whole "
                "platform and ignored"
            ),
        ),
        (
            [
                page([A], totalPages=2, perPage=1, totalCount=5_000),
                page([B], totalPages=2, perPage=1, totalCount=5_001),
            ],
            (
                "a totalCount of 5000 is more than 2 pages can hold; it is taken for a count of the whole "
                "platform and ignored"
            ),
        ),
        (
            [page([A], totalCount=7)],
            "a totalCount of 7 on one page of 1 object; all were taken",
        ),
        (
            [page([A], totalPages=0, totalCount=7), page([], totalPages=0, totalCount=7)],
            "a totalCount of 7 on one page of 1 object; all were taken",
        ),
        (
            [page([A], totalPages=2, totalCount=None), page([B], totalPages=2, totalCount=None)],
            "no totalCount on every one of 2 pages; nothing tells if they are whole",
        ),
        (
            [
                replace(page([A], totalPages=2, totalCount=2), headers={"Content-Type": "text/html"}),
                replace(page([B], totalPages=2, totalCount=2), headers={"Content-Type": "text/html"}),
            ],
            "JSON that is sent as text/html",
        ),
    ],
    ids=[
        "platform-wide",
        "platform-wide over pages",
        "a count too high",
        "and an empty page",
        "no count",
        "type",
    ],
)
def test_what_is_odd_but_usable_is_taken_with_one_warning(
    microshare: FakeMicroshare, pages: list[Answer], warning: str
) -> None:
    microshare.answers = list(pages)

    answer = microshare.client().query_dashboard(query())

    expected = tuple(obj for each in pages for obj in each.json["objs"])
    assert answer == DashboardAnswer(expected, (f"{NAME}: {warning}",))


def test_a_page_that_comes_again_is_an_error_not_half_an_answer(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([A, B], totalPages=9, totalCount=18)]

    assert failure_of(microshare.client()) == (
        BadResponse,
        (
            f"microshare: {NAME}: page 2 is the page before it again: "
            "the API does not turn pages here; ask for less at a time"
        ),
    )
    assert microshare.pages_asked == ["1", "2"]


def test_pages_without_end_are_given_up(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([{"n": number}], totalPages=10**9) for number in range(1_001)]

    assert failure_of(microshare.client()) == (
        BadResponse,
        f"microshare: {NAME}: more than 1,000 pages; ask for less at a time",
    )


def test_pages_over_the_limit_together_ask_for_a_shorter_window(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([{"n": number, "pad": "x" * 400}], totalPages=9) for number in range(9)]

    assert failure_of(microshare.client(largest_answer_bytes=1_000)) == (
        WindowTooWide,
        f"microshare: {NAME}: its answer is over 1,000 bytes, all pages together; ask for less at a time",
    )


def test_pages_are_read_into_the_bytes_that_are_left(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([{"n": number, "pad": "x" * 200}], totalPages=2) for number in range(2)]
    size = len(microshare.answers[0].triple()[2])  # type: ignore[union-attr]  # both are answers

    assert failure_of(microshare.client(largest_answer_bytes=2 * size - 1))[0] is WindowTooWide

    microshare.answers = [page([{"n": n, "pad": "x" * 200}], totalPages=2, totalCount=2) for n in range(2)]
    size = len(microshare.answers[0].triple()[2])  # type: ignore[union-attr]
    found = microshare.client(largest_answer_bytes=2 * size).query_dashboard(query())
    assert [obj["n"] for obj in found.objs] == [0, 1]


def test_an_answer_that_no_shorter_window_makes_smaller_names_the_setting(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([{"pad": "x" * 2_000}])]
    minute = query(window=Slice(DAY.start, DAY.start + timedelta(minutes=1)))

    kind, message = failure_of(microshare.client(largest_answer_bytes=1_000), minute)

    assert kind is AnswerTooLarge
    said = (
        "its answer is over 1,000 bytes, all pages together; raise microshare.largest_answer_bytes in config"
    )
    assert said in message


def test_discovery_may_be_larger_than_a_dashboard_s_answer(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([cluster("com.example.NORTH", device("Beacon House")) | {"pad": "x" * 2_000}])]

    found = microshare.client(largest_answer_bytes=1_000).discover_locations(["aa01"])

    assert [place.name for place in found.places] == ["Beacon House"]


def test_objects_that_are_counted_and_not_shown_are_missing_rights(microshare: FakeMicroshare) -> None:
    microshare.answers = [page([], totalCount=12)]

    assert failure_of(microshare.client()) == (
        NoPermission,
        (
            f"microshare: {NAME}: 12 objects are counted and none is shown: the account lacks read rights; "
            "have them granted on view view-1, and check MICROSHARE_IDENTITY"
        ),
    )


# --- answers that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty answer; if that lasts, ask Microshare about it"),
        (b" \r\n", "an empty answer; if that lasts, ask Microshare about it"),
        (b'{"objs": [{"a": 1}', None),
        (b"<html>\n<b>Welcome</b>", None),
        (b"[1, 2]", 'no JSON object but "[1, 2]"'),
        (b"null", 'no JSON object but "null"'),
        (b'{"meta": {}, "error": "x"}', "an answer without a list 'objs', but with 'error', 'meta'; "),
        (b'{"objs": {"a": 1}}', "an answer without a list 'objs', but with 'objs'; "),
        (b"{}", "an answer without a list 'objs', but with nothing; "),
        (b'{"objs": [], "objs": []}', "no JSON object but"),
        (b'{"objs": ' + b"[" * 200_000, "no readable JSON (nested too deeply)"),
    ],
    ids=[
        "empty",
        "blank",
        "truncated",
        "HTML",
        "a list",
        "null",
        "an error object",
        "objs no list",
        "no member",
        "a key twice",
        "a depth bomb",
    ],
)
def test_a_success_without_a_readable_answer_is_a_bad_response(
    microshare: FakeMicroshare, body: bytes, said: str | None
) -> None:
    microshare.answers = [Answer(body=body)]

    kind, message = failure_of(microshare.client())

    start = f"microshare: {NAME}: {said or 'no readable JSON ('}"
    assert (kind, message[: len(start)], len(microshare.asked)) == (BadResponse, start, 1)
    assert len(message) < 1_000
    assert "\n" not in message


def test_nesting_as_deep_as_allowed_is_read(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(body=b'{"objs": [{"a": ' + b"[" * 61 + b"]" * 61 + b"}]}")]

    [found] = microshare.client().query_dashboard(query()).objs

    while found:
        [found] = found.values() if isinstance(found, dict) else found
    assert found == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"7", None),
        (b"null", None),
        (b'{"a": 1, "a": 2}', "holds the key 'a' twice"),
        (b"1e9999999999999999999999", "holds the number '1e9999999999999999999999', whose exponent is"),
        (b'"caf\xe9"', "holds bytes that are not UTF-8"),
        (b"[" * 70 + b"]" * 70, "is nested over 64 levels deep"),
        (b"[" * 200_000 + b"]" * 200_000, "is nested over 64 levels deep"),
    ],
    ids=["a number", "null", "a key twice", "an exponent", "bytes", "deep", "a closed depth bomb"],
)
def test_what_stands_among_objects_hides_none_of_them(
    microshare: FakeMicroshare, part: bytes, reason: str | None
) -> None:
    microshare.answers = [Answer(body=b'{"objs": [{"good": 1}, %b, {"good": 2}]}' % part)]

    first, bad, last = microshare.client().query_dashboard(query()).objs

    while isinstance(bad, list):
        [bad] = bad
    assert (first, last) == ({"good": 1}, {"good": 2})
    assert reason is None or bad.reason.startswith(reason)


@pytest.mark.parametrize("meta", [b"5", b'"x"', b"[]", b'{"totalCount": 1, "totalCount": 2}'])
def test_an_envelope_that_cannot_be_read_is_said(microshare: FakeMicroshare, meta: bytes) -> None:
    microshare.answers = [Answer(body=b'{"meta": %b, "objs": [{"good": 1}]}' % meta)]

    found = microshare.client().query_dashboard(query())

    assert found.objs == ({"good": 1},)
    assert found.warnings == (
        f"{NAME}: a 'meta' that is not a readable object; the answer is taken for its only page",
    )


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            Answer(400, body=b"bad data"),
            SourceRefused,
            f'400, "bad data"; check the settings it was made of; sent {SENT}',
        ),
        (
            Answer(403, body=b"Access to this path is denied"),
            NoPermission,
            (
                '403, "Access to this path is denied", the account may not read this; have rights on '
                "view view-1 "
                "granted to it, and check MICROSHARE_IDENTITY"
            ),
        ),
        (
            Answer(404, body=b"io.microshare.utils.NotFoundException: Record not found or inaccessible."),
            SourceRefused,
            (
                '404, "io.microshare.utils.NotFoundException: Record not found or inaccessible.", '
                "view view-1 "
                "does not exist or is no longer visible to this account; check the id, then the "
                "account's rights"
            ),
        ),
        (
            Answer(302, headers={"Location": "http://elsewhere.test/share?token=x"}),
            SourceRefused,
            "redirect to elsewhere.test refused (302); check MICROSHARE_API_URL",
        ),
        (
            Answer(308, headers={"Location": "/share/other"}),
            SourceRefused,
            "redirect to the same host refused (308); check MICROSHARE_API_URL",
        ),
        (
            Answer(
                503,
                body=b"[Error: unresolvable property or identifier: ownerOrg]\n[Near : {... ownerOrg ....}]",
            ),
            SourceRefused,
            (
                'the view refuses its parameters (503, "[Error: unresolvable property or identifier: '
                "ownerOrg]"
                f"\\n[Near : {{... ownerOrg ....}}]\"); compare them with the view's "
                f"placeholders, the one it names is not always the faulty one; sent {SENT}"
            ),
        ),
        (
            Answer(503, body=b"com.mongodb: '$all needs an array'"),
            SourceRefused,
            (
                f"the view refuses its parameters (503, \"com.mongodb: '$all needs an array'\"); compare "
                "them with the view's placeholders, the one it names is not always the faulty one; "
                f"sent {SENT}"
            ),
        ),
    ],
    ids=["400", "403", "404", "redirect elsewhere", "redirect at home", "template", "Mongo"],
)
def test_a_refusal_is_named_at_once_with_what_to_do(
    microshare: FakeMicroshare, answer: Answer, kind: type, said: str
) -> None:
    microshare.answers = [answer]

    assert failure_of(microshare.client()) == (kind, f"microshare: {NAME}: {said}")
    assert (len(microshare.asked), microshare.clock.waited) == (1, [])


# --- trying again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
def test_passing_trouble_is_tried_four_times(microshare: FakeMicroshare, status: int) -> None:
    microshare.answers = [Answer(status, body=b"<html>\r\n\x00busy \xff</html>")]

    assert failure_of(microshare.client(), query(window=QUARTER)) == (
        SourceUnavailable,
        (
            "microshare: query of view view-1 for 'Example Beacon House', 2025-11-12T00:00:00.000Z to "
            f"2025-11-12T00:14:59.999Z: {status}, a page; "
            "given up after 4 attempts, the next run tries again"
        ),
    )
    assert (len(microshare.asked), microshare.clock.waited) == (4, [1.0, 2.0, 4.0])


def test_a_query_goes_on_after_passing_trouble(microshare: FakeMicroshare) -> None:
    microshare.answers = [
        Answer(502),
        requests.ConnectionError("reset"),
        requests.ConnectTimeout("slow"),
        page([A]),
    ]

    answer = microshare.client().query_dashboard(query())

    assert (answer, microshare.clock.waited) == (DashboardAnswer((A,)), [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    "trouble", [Answer(504, body=b"gateway"), requests.ReadTimeout("slow")], ids=["504", "time-out"]
)
@pytest.mark.parametrize(
    ("window", "kind", "tries"),
    [
        (DAY, WindowTooWide, 1),
        (Slice(DAY.start, QUARTER.end + timedelta(milliseconds=1)), WindowTooWide, 1),
        (QUARTER, SourceUnavailable, 4),
    ],
    ids=["a day", "over a quarter of an hour", "a quarter of an hour"],
)
def test_a_long_window_that_times_out_is_not_tried_again_as_it_is(
    microshare: FakeMicroshare, trouble: Answer | Exception, window: Slice, kind: type, tries: int
) -> None:
    microshare.answers = [trouble]

    assert (failure_of(microshare.client(), query(window=window))[0], len(microshare.asked)) == (kind, tries)


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("17", [17.0]),
        ("0.5", [0.5]),
        ("Wed, 12 Nov 2025 10:00:42 GMT", [42.0]),
        ("Wed, 12 Nov 2025 09:00:00 GMT", [1.0]),
        ("-5", [1.0]),
        ("0", [1.0]),
        ("soon", [1.0]),
        ("inf", [1.0]),
        ("", [1.0]),
    ],
    ids=[
        "seconds",
        "half a second",
        "date",
        "date in the past",
        "negative",
        "zero",
        "a word",
        "infinite",
        "none",
    ],
)
def test_a_busy_api_is_left_alone_as_long_as_it_asks(
    microshare: FakeMicroshare, retry_after: str, waited: list[float]
) -> None:
    """A date counts by the API's own clock: the host's is two hours ahead here."""
    microshare.clock.seconds += 7_200
    microshare.answers = [Answer(429, headers={"Retry-After": retry_after}), page([A])]

    answer = microshare.client().query_dashboard(query())

    assert (answer.objs, microshare.clock.waited) == ((A,), waited)


def test_a_pause_that_the_api_asks_for_holds_for_every_worker(microshare: FakeMicroshare) -> None:
    waited: list[tuple[str, float]] = []

    def wait(seconds: float) -> None:
        waited.append(("the other" if waited else "the one", seconds))
        if len(waited) == 1:
            client.query_dashboard(query("Other House"))  # as another worker would meanwhile

    client = microshare.client(wait=wait)
    microshare.answers = [Answer(429, headers={"Retry-After": "30"}), page([A])]

    client.query_dashboard(query())

    assert waited[:2] == [("the one", 30.0), ("the other", 30.0)]


def test_an_absurd_pause_ends_the_run_and_is_not_waited_for(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(429, headers={"Retry-After": "86400"})]
    client = microshare.client(own_wait=False)

    found = [failure_of(client)[0], failure_of(client, query("Other House"))[0]]

    assert (found, len(microshare.asked)) == ([Interrupted, Interrupted], 1)


def test_trouble_past_the_end_of_the_run_is_an_interruption_not_a_fault(microshare: FakeMicroshare) -> None:
    budget = Budget(timedelta(minutes=1), monotonic=microshare.clock.monotonic)

    def late(_: requests.PreparedRequest) -> Answer:
        microshare.clock.seconds += 100
        raise requests.ReadTimeout("slow")

    client = microshare.client(budget=budget)
    client.login()
    microshare.on_answer = late

    assert failure_of(client) == (Interrupted, "the run's time is over; the next run goes on")


@pytest.mark.parametrize("jitter", [0.0, 0.999], ids=["least", "most"])
def test_waits_are_spread_by_half_either_way(microshare: FakeMicroshare, jitter: float) -> None:
    microshare.answers = [Answer(500)]

    failure_of(microshare.client(jitter=lambda: jitter))

    assert microshare.clock.waited == [pytest.approx(seconds * (0.5 + jitter)) for seconds in (1, 2, 4)]


# --- the token refused ------------------------------------------------------------------------------


def test_a_refused_token_is_replaced_and_the_request_repeated(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(401), page([A])]
    client = microshare.client()

    answer = client.query_dashboard(query())

    assert (answer.objs, microshare.tokens_used, microshare.login_requests) == (
        (A,),
        ["Bearer token-1", "Bearer token-2"],
        2,
    )


def test_a_token_kept_from_an_earlier_run_can_be_refused_too(microshare: FakeMicroshare) -> None:
    tokens = TokenCache()
    microshare.client(tokens=tokens).login()
    microshare.answers = [Answer(401), page([A])]
    client = microshare.client(tokens=tokens)

    client.query_dashboard(query())

    assert (microshare.tokens_used, microshare.login_requests) == (["Bearer token-1", "Bearer token-2"], 2)


def test_a_storm_of_refusals_ends_after_two_logins(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(401, body=b"no")]
    client = microshare.client()

    found = [failure_of(client), failure_of(client, query("Other House"))]

    message = (
        f'microshare: {NAME}: 401 with a fresh token, "no"; check the rights of svc-forwarder, '
        "and MICROSHARE_API_URL"
    )
    assert found == [(AuthError, message), (AuthError, message)]
    assert (len(microshare.asked), microshare.login_requests) == (2, 2)


def test_the_run_after_a_storm_logs_in_anew(microshare: FakeMicroshare) -> None:
    tokens = TokenCache()
    microshare.answers = [Answer(401), Answer(401), page([A])]

    failure_of(microshare.client(tokens=tokens))
    microshare.client(tokens=tokens).query_dashboard(query())

    assert microshare.tokens_used == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


def test_a_third_token_is_not_asked_for_in_one_run(microshare: FakeMicroshare) -> None:
    microshare.answers = [Answer(401), page([A]), Answer(401)]
    client = microshare.client()
    client.query_dashboard(query())

    assert failure_of(client) == (
        AuthError,
        (
            "microshare: 2 tokens were refused in one run; check the rights of svc-forwarder, and whether "
            "its tokens are being revoked"
        ),
    )
    assert microshare.login_requests == 2


def test_workers_whose_token_is_refused_at_once_share_one_login(microshare: FakeMicroshare) -> None:
    together = threading.Barrier(4)

    def revoke(request: requests.PreparedRequest) -> Answer:
        if request.headers["Authorization"] == "Bearer token-1":
            together.wait()
            return Answer(401)
        return page([A])

    microshare.on_answer = revoke
    client = microshare.client()
    found: list[DashboardAnswer] = []
    workers = [
        threading.Thread(target=lambda: found.append(client.query_dashboard(query()))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert (found, microshare.login_requests) == ([DashboardAnswer((A,))] * 4, 2)


def test_a_login_that_is_refused_in_mid_run_stops_every_call(microshare: FakeMicroshare) -> None:
    microshare.logins = [session("token-1"), Answer(401)]
    microshare.answers = [Answer(401)]
    client = microshare.client()

    found = [failure_of(client)[0] for _ in range(3)]

    assert (found, microshare.login_requests, len(microshare.asked)) == ([AuthError] * 3, 2, 1)


# --- what is shown ----------------------------------------------------------------------------------


def test_an_error_shows_no_secret_and_stays_short(microshare: FakeMicroshare) -> None:
    echo = f"Authorization: Bearer token-1 password={PASSWORD} " + "x" * 5_000
    microshare.answers = [Answer(500, body=echo.encode())]

    _, message = failure_of(microshare.client())

    assert not any(secret in message for secret in ("token-1", PASSWORD))
    assert len(message) < 800


# --- the API's clock --------------------------------------------------------------------------------

OTHER_DATE = {"Date": "Wed, 12 Nov 2025 11:30:00 GMT"}
HALF_PAST_ELEVEN = datetime(2025, 11, 12, 11, 30, tzinfo=UTC)


def test_an_accepted_login_tells_the_clock_of_the_api_and_each_answer_after_it(
    microshare: FakeMicroshare,
) -> None:
    client = microshare.client()

    before = client.api_time()
    client.login()
    microshare.clock.seconds += 90
    after_login = client.api_time()
    microshare.answers = [replace(page([]), headers=OTHER_DATE)]
    client.query_dashboard(query())

    assert (before, after_login, client.api_time()) == (
        None,
        NOW + timedelta(seconds=90),
        HALF_PAST_ELEVEN,
    )


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, json={}, headers=OTHER_DATE),
        Answer(403, body=b"<html>", headers=OTHER_DATE | {"Content-Type": "text/html"}),
        Answer(503, json={}, headers=OTHER_DATE),
        Answer(302, body=b"", headers=OTHER_DATE | {"Location": "https://portal.example.test/"}),
        Answer(200, body=b"<html>", headers=OTHER_DATE | {"Content-Type": "text/html"}),
        Answer(200, body=b"", headers=OTHER_DATE),
        Answer(200, body=b"[]", headers=OTHER_DATE),
        Answer(200, json={"objs": []}, headers={"Date": "yesterday"}),
        Answer(200, json={"objs": []}, headers={"Date": ""}),
    ],
    ids=[
        "unknown view",
        "page of a cache",
        "gateway",
        "captive portal",
        "HTML with 200",
        "nothing",
        "no object",
        "a Date that is none",
        "an empty Date",
    ],
)
def test_an_answer_that_is_not_the_api_s_own_says_nothing_of_its_clock(
    microshare: FakeMicroshare, answer: Answer
) -> None:
    client = microshare.client()
    client.login()
    microshare.answers = [answer]

    with suppress(SourceError):
        client.query_dashboard(query())

    told = client.api_time()
    assert told is not None
    assert told < HALF_PAST_ELEVEN - timedelta(hours=1)


def test_a_login_that_is_refused_says_nothing_of_the_clock(microshare: FakeMicroshare) -> None:
    microshare.logins = [Answer(401, body=b"<html>", headers=OTHER_DATE)]
    client = microshare.client()

    with pytest.raises(AuthError):
        client.login()

    assert client.api_time() is None


@pytest.mark.parametrize(
    ("age", "told"),
    [
        ("5400", NOW + timedelta(minutes=90)),
        ("0", NOW),
        ("", NOW),
        ("-60", NOW),
        ("an hour", NOW),
        ("9999999999", NOW + timedelta(seconds=9_999_999_999)),
    ],
    ids=["an hour and a half", "fresh", "empty", "negative", "no number", "absurd"],
)
def test_the_age_of_an_answer_from_a_cache_is_added_to_its_date(
    microshare: FakeMicroshare, age: str, told: datetime
) -> None:
    login = session("token-1")
    microshare.logins = [replace(login, headers={**login.headers, "Age": age})]
    client = microshare.client()

    client.login()

    assert client.api_time() == told


def warm_client(microshare: FakeMicroshare) -> MicroshareClient:
    """Give a client of a process that kept its token, and asked nothing since."""
    tokens = TokenCache()
    microshare.client(tokens=tokens).login()
    microshare.requests.clear()
    return microshare.client(tokens=tokens)


def test_a_login_of_this_run_is_all_that_the_clock_costs(microshare: FakeMicroshare) -> None:
    client = microshare.client()

    client.login()
    client.learn_time(("cluster-1",))

    assert (client.api_time(), client.api_calls) == (NOW, 1)


def test_a_process_that_kept_its_token_asks_one_small_question_for_the_clock(
    microshare: FakeMicroshare,
) -> None:
    client = warm_client(microshare)
    before = client.api_time()

    client.learn_time(("cluster-1", "cluster-2"))
    client.learn_time(("cluster-1", "cluster-2"))

    assert (before, client.api_time(), client.api_calls) == (None, NOW, 1)
    assert microshare.asked == ["/device/io.microshare.peoplecounter.packed/cluster-1?details=false"]


@pytest.mark.parametrize(
    ("clusters", "answers", "calls"),
    [
        ((), [page([])], 1),
        (("cluster-1",), [Answer(503, json={})], 2),
        (("cluster-1",), [Answer(404, json={})], 2),
        (("cluster-1",), [Answer(200, body=b"<html>")], 2),
        (("cluster-1",), [replace(page([]), headers={"Date": ""})], 2),
    ],
    ids=["no cluster to ask for", "unavailable", "unknown cluster", "no JSON", "no Date"],
)
def test_where_the_small_question_tells_no_time_a_login_does(
    microshare: FakeMicroshare, clusters: tuple[str, ...], answers: list[Answer], calls: int
) -> None:
    client = warm_client(microshare)
    microshare.answers = [*answers]

    client.learn_time(clusters)

    assert (client.api_time(), client.api_calls) == (NOW, calls)


def test_an_api_that_never_tells_its_time_is_asked_once_in_each_way(microshare: FakeMicroshare) -> None:
    login = session("token-1")
    microshare.logins = [replace(login, headers={**login.headers, "Date": ""})]
    microshare.answers = [replace(page([]), headers={"Date": ""})]
    client = warm_client(microshare)

    client.learn_time(("cluster-1",))

    assert (client.api_time(), client.api_calls) == (None, 2)


# --- discovery --------------------------------------------------------------------------------------


def device(*location: str | None, guid: str | None = None, **more: Any) -> dict[str, Any]:
    found = {"id": "00-00-00-00-00-00-00-00", "status": "pending", "meta": {"location": list(location)}}
    return found | ({"guid": guid} if guid else {}) | more


def cluster(org: str | None, *devices: Any, name: str = "Counting") -> dict[str, Any]:
    owner = {"owner": {"org": org, "user": "svc@example.test"}} if org is not None else {}
    secrets = {"readAuth": "canary-read-auth", "writeAuth": "canary-write-auth"}
    return {"name": name, "data": {"devices": list(devices), **secrets}} | owner


def discover(microshare: FakeMicroshare, *clusters: Any, identity: tuple[str, ...] = ("NORTH",)) -> Found:
    microshare.answers = [page(list(clusters))]
    return microshare.client(identity=identity).discover_locations(["aaaaaaaaaaaaaaaaaaaaaa01"])


def test_organisations_are_told_with_what_they_own_whoever_is_meant(microshare: FakeMicroshare) -> None:
    microshare.answers = [
        page(
            [
                cluster("com.example.NORTH", device("Beacon House", "4"), device("Annexe", "")),
                cluster("Com.Example.North", device("Beacon House", "8")),
                cluster("com.other.SOUTH"),
                cluster(None, device("Nobody's")),
                "no cluster",
            ]
        )
    ]

    found = microshare.client(identity=("com.third.WEST",)).organisations(["aa01"])

    assert found == (
        Organisation("com.example.NORTH", clusters=2, locations=2, devices=3),
        Organisation("com.other.SOUTH", clusters=1, locations=0, devices=0),
    )


def test_discovery_gives_the_buildings_of_every_cluster(microshare: FakeMicroshare) -> None:
    microshare.answers = [
        page(
            [cluster("com.example.NORTH", device("Beacon House", "4"), device("Beacon House", "8", "Roof"))],
            totalPages=2,
            totalCount=2,
        ),
        page([cluster("com.example.NORTH", device("Annexe", "", ""))], totalPages=2, totalCount=2),
        page([cluster("com.example.NORTH", device("Beacon House", "1"), device(" Café "))]),
    ]

    found = microshare.client().discover_locations(["cluster/1", "cluster-2", "cluster/1"])

    owner = "com.example.NORTH"
    assert found == Found(
        (Place("Annexe", owner, 1), Place("Beacon House", owner, 3), Place("Café", owner, 1))
    )
    assert microshare.asked == [
        "/device/io.microshare.peoplecounter.packed/cluster%2F1?details=true",
        "/device/io.microshare.peoplecounter.packed/cluster%2F1?details=true&page=2&perPage=999",
        "/device/io.microshare.peoplecounter.packed/cluster-2?details=true",
    ]


@pytest.mark.parametrize(
    ("identity", "owned"),
    [
        (("com.example.NORTH",), True),
        (("COM.EXAMPLE.north",), True),
        (("NORTH",), True),
        (("example.NORTH",), True),
        (("RTH",), False),
        (("ample.NORTH",), False),
        (("com.example",), False),
        (("example",), False),
        (("xcom.example.NORTH",), False),
        (("",), False),
        ((".",), False),
        (("SOUTH", "NORTH"), True),
        (("=com.example.NORTH",), True),
        (("=COM.example.north",), True),
        (("=NORTH",), False),
        (("=",), False),
    ],
    ids=lambda value: "+".join(value) or "empty" if isinstance(value, tuple) else str(value),
)
def test_an_identity_is_an_organisation_or_its_trailing_segments(
    microshare: FakeMicroshare, identity: tuple[str, ...], owned: bool
) -> None:
    def found() -> list[str]:
        try:
            clusters = [cluster("com.example.NORTH", device("Beacon House"))]
            return [place.name for place in discover(microshare, *clusters, identity=identity).places]
        except NoPermission:
            return []

    assert found() == (["Beacon House"] if owned else [])


def test_each_object_is_judged_by_its_own_owner(microshare: FakeMicroshare) -> None:
    found = discover(
        microshare,
        cluster("com.other.SOUTH", device("Other Place")),
        cluster("com.example.NORTH", device("Beacon House")),
        cluster(None, device("Nobody's Place")),
    )

    assert found == Found((Place("Beacon House", "com.example.NORTH", 1),))


def test_devices_are_counted_whatever_their_status_and_placeholder_ids(microshare: FakeMicroshare) -> None:
    found = discover(
        microshare,
        cluster(
            "com.example.NORTH",
            device("Beacon House", guid="g-1"),
            device("Beacon House", guid="g-2", status="inactive"),
            device("Beacon House"),
            device("Beacon House"),
        ),
        cluster("com.example.NORTH", device("Beacon House", guid="g-1")),
    )

    assert [(place.name, place.devices, len(place.sketch)) for place in found.places] == [
        ("Beacon House", 4, 2)
    ]


def test_a_building_with_the_same_devices_has_the_same_sketch_under_another_name(
    microshare: FakeMicroshare,
) -> None:
    guids = [f"g-{number}" for number in range(30)]
    sketches = [
        discover(microshare, cluster("com.example.NORTH", *(device(name, guid=guid) for guid in known)))
        .places[0]
        .sketch
        for name, known in (("Beacon House", guids), ("Beacon Tower", guids), ("Quay", ["g-90", "g-91"]))
    ]

    assert sketches[0] == sketches[1]
    assert len(sketches[0]) == 16
    assert sketches[0] & sketches[2] == frozenset()


def test_devices_without_a_usable_location_are_left_out(microshare: FakeMicroshare) -> None:
    found = discover(
        microshare,
        cluster(
            "com.example.NORTH",
            device("Beacon House"),
            device(),
            device("", "4"),
            device("  "),
            device(None),
            {"id": "no meta"},
            {"meta": None},
            "no device",
            {"meta": {"location": "Beacon House, 4, Lobby"}},
            {"meta": {"location": [4]}},
            name="Counting\nhouse",
        ),
    )

    assert found == Found(
        (Place("Beacon House", "com.example.NORTH", 1),),
        (
            (
                "cluster 'Counting\\nhouse': 3 devices without the form of an object, or with a location "
                "that is not a list of levels; left out"
            ),
        ),
    )


def test_a_building_whose_name_is_too_long_to_be_kept_is_left_out_and_counted(
    microshare: FakeMicroshare,
) -> None:
    found = discover(
        microshare,
        cluster("com.example.NORTH", device("x" * 256), device("x" * 257), device("y" * 1_200_000)),
    )

    assert [place.name for place in found.places] == ["x" * 256]
    assert found.warnings == (
        (
            "discovery: 2 devices with a building's name of more than 256 characters, left out; give that "
            "building a shorter name in Microshare"
        ),
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"null",
        b"7",
        b'{"owner": 1e9999999999999999999999, "owner": 2}',
        b'{"owner": {"org": "com.example.NORTH"}, "data": {"devices": "none"}}',
        b'{"owner": {"org": "com.example.NORTH"}, "data": {"devices": [], "devices": []}}',
        b'{"owner": {"org": "com.example.NORTH"}, "data": 1e9999999999999999999999}',
    ],
    ids=["null", "a number", "a key twice", "devices no list", "devices twice", "an exponent"],
)
def test_a_cluster_that_is_none_hides_no_other(microshare: FakeMicroshare, bad: bytes) -> None:
    good = json.dumps(cluster("com.example.NORTH", device("Beacon House"))).encode()
    microshare.answers = [Answer(body=b'{"objs": [%b, %b]}' % (bad, good))]

    found = microshare.client().discover_locations(["aa01"])

    assert [place.name for place in found.places] == ["Beacon House"]
    assert found.warnings == (
        (
            "discovery: 1 cluster could not be read, or with no readable list of devices; ask "
            "Microshare about these, the others were taken"
        ),
    )


@pytest.mark.parametrize(
    "other", ["com.other.NORTH", "com.other.SOUTH"], ids=["both meant by the identity", "one is a stranger"]
)
def test_a_name_that_two_organisations_own_is_refused(microshare: FakeMicroshare, other: str) -> None:
    found = discover(
        microshare,
        cluster("com.example.NORTH", device("Beacon House"), device("Annexe")),
        cluster("COM.example.north", device("Annexe")),
        cluster(other, device("Beacon House ")),
    )

    assert found == Found((Place("Annexe", "com.example.NORTH", 2),), (), ("Beacon House",))


@pytest.mark.parametrize(
    ("identity", "warned"),
    [
        (("NORTH",), ["MICROSHARE_IDENTITY NORTH means 2 organisations, and all are forwarded"]),
        (
            ("com.example.NORTH",),
            ["MICROSHARE_IDENTITY com.example.NORTH means 2 organisations, and all are forwarded"],
        ),
        (("=com.example.NORTH",), []),
        (("=com.example.NORTH", "=evil.com.example.NORTH"), []),
        (("SOUTH",), []),
    ],
    ids=["last segment", "whole, with a stranger's before it", "exact", "each exact", "one in two ways"],
)
def test_organisations_that_share_an_identity_are_warned_of(
    identity: tuple[str, ...], warned: list[str]
) -> None:
    owners = ["com.example.NORTH", "evil.com.example.NORTH", "com.SOUTH", "com.South"]

    found = shared_identities(owners, identity)

    assert [warning.partition(": ")[0] for warning in found] == warned
    assert all(
        "com.example.NORTH, evil.com.example.NORTH; write the one that is yours with = before it, "
        "=com.example.NORTH," in warning
        for warning in found
    )


@pytest.mark.parametrize(
    ("clusters", "seen"),
    [
        (
            [cluster("com.other.SOUTH"), cluster("com.other.EAST"), cluster(None)],
            "com.other.EAST, com.other.SOUTH, no owner",
        ),
        ([], "nobody"),
    ],
    ids=["others", "nothing"],
)
def test_an_identity_that_owns_nothing_is_missing_permission(
    microshare: FakeMicroshare, clusters: list[Any], seen: str
) -> None:
    with pytest.raises(NoPermission) as caught:
        discover(microshare, *clusters)

    assert str(caught.value) == (
        f"microshare: discovery: no cluster of NORTH, only of {seen}; check MICROSHARE_IDENTITY and "
        "MICROSHARE_PC_DEVICE_CLUSTER_ID, and the account's rights"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            Answer(404, body=b"gone"),
            SourceRefused,
            (
                '404, "gone", cluster aa01 does not exist or is no longer visible to this account; '
                "check the id, "
                "then the account's rights"
            ),
        ),
        (
            page([], totalCount=3),
            NoPermission,
            (
                "3 objects are counted and none is shown: the account lacks read rights; have them "
                "granted on "
                "cluster aa01, and check MICROSHARE_IDENTITY"
            ),
        ),
        (
            Answer(504, body=b"slow"),
            SourceUnavailable,
            None,
        ),
    ],
    ids=["unknown cluster", "counted, not shown", "slow"],
)
def test_a_cluster_that_cannot_be_read_is_named(
    microshare: FakeMicroshare, answer: Answer, kind: type, said: str | None
) -> None:
    microshare.answers = [answer]

    with pytest.raises(kind) as caught:
        microshare.client().discover_locations(["aa01"])

    assert str(caught.value) == (
        f"microshare: discovery of cluster aa01: {said}"
        if said
        else 'microshare: discovery of cluster aa01: 504, "slow"; given up after 4 attempts, '
        "the next run tries again"
    )


def test_clusters_that_change_while_they_are_read_are_a_bad_response(microshare: FakeMicroshare) -> None:
    one, two = cluster("com.example.NORTH", device("A")), cluster("com.example.NORTH", device("B"))
    microshare.answers = two_pages([one], [two], 3) * 2

    with pytest.raises(BadResponse) as caught:
        microshare.client().discover_locations(["aa01"])

    assert str(caught.value).startswith(
        "microshare: discovery of cluster aa01: 2 pages hold 2 different objects"
    )


def test_no_secret_of_a_cluster_is_kept(microshare: FakeMicroshare) -> None:
    found = discover(microshare, cluster("com.example.NORTH", device("Beacon House"), device("x", name="y")))

    assert "canary" not in repr(found)
