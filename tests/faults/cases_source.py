"""A and B: the source. Logins and rights; answers that fail, lie, or are large; clocks; discovery."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.base.instants import EPOCH, parse_time
from app.base.readings import Slice
from app.state.opening import open_store
from emulators.estate import Building
from emulators.microshare import Request, Response
from tests.environments.faulty import (
    MILL,
    RUN,
    TOUR,
    FaultyInstallation,
    Outcome,
    building,
    run_command,
    runs,
)
from tests.environments.installation import Clock
from tests.faults.case import Case

M, T = MILL.name, TOUR.name
MINUTE = timedelta(minutes=1)
YEARS = timedelta(days=3_653)
REFUSED = "one login, not tried again; the settings are named; positions stay"
KEPT = "the bad answer is an error of this location; its position stays, others go on"


def all_of(*steps: Callable[[FaultyInstallation], None]) -> Callable[[FaultyInstallation], None]:
    def act(faulty: FaultyInstallation) -> None:
        for step in steps:
            step(faulty)

    return act


def stays(faulty: FaultyInstallation) -> None:
    """The first location's positions did not move; the second one's did."""
    assert faulty.position(M, "a") < faulty.clock.now
    assert faulty.position(M, "b") < faulty.clock.now
    assert faulty.position(T, "a") == faulty.position(T, "b") == faulty.clock.now


def nothing_moved(faulty: FaultyInstallation) -> None:
    for name in (M, T):
        assert faulty.position(name, "a") == faulty.position(name, "b") == faulty.clock.now - 15 * MINUTE
    assert (faulty.since("a"), faulty.since("b")) == (0, 0)


def all_moved(faulty: FaultyInstallation) -> None:
    for name in (M, T):
        assert faulty.position(name, "a") == faulty.position(name, "b") == faulty.clock.now


# --- A: logins and rights -----------------------------------------------------------------------------


def wrong_password(faulty: FaultyInstallation) -> None:
    faulty.restart()
    faulty.environ["MICROSHARE_PASSWORD"] = "canary-wrong-password"
    faulty.secrets.add("canary-wrong-password")
    faulty.proof("a login was refused", lambda: faulty.since("attempts") > faulty.since("logins"))


def refused_login(how: str) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.restart()
        faulty.source.faults.refuse_login(how)  # type: ignore[arg-type]  # one of its ways

    return inject


def one_login_refused(faulty: FaultyInstallation) -> None:
    assert (faulty.since("attempts"), faulty.since("logins"), faulty.since("queries")) == (1, 0, 0)
    nothing_moved(faulty)


def one_more_login(faulty: FaultyInstallation) -> None:
    assert faulty.since("logins") == 1
    all_moved(faulty)


def revoke_in_mid_run(faulty: FaultyInstallation) -> None:
    """Revoke the token as the first query comes; whether another worker has asked by then is all the same."""

    def revoke(request: Request) -> Response | None:
        if request.kind == "query" and not faulty.fired["token revoked"]:
            faulty.fired["token revoked"] += 1
            faulty.source.revoke_tokens()
        return None

    faulty.source.intercept = revoke


def expire_token(faulty: FaultyInstallation) -> None:
    faulty.skip_time(hours=49)
    faulty.proof("the token was past its end", lambda: faulty.since("logins") > 0)


def expire_in_mid_run(faulty: FaultyInstallation) -> None:
    """Let the hour in which the token ends pass while the first query is under way."""
    faulty.restart()
    faulty.source.token_ttl = timedelta(minutes=30)

    def let_time_pass(request: Request) -> Response | None:
        if request.kind == "query" and not faulty.fired["token ended"]:
            faulty.fired["token ended"] += 1
            faulty.clock.move(minutes=31)
        return None

    faulty.source.intercept = let_time_pass
    faulty.after(lambda: setattr(faulty.source, "token_ttl", timedelta(hours=48)))


def two_logins(faulty: FaultyInstallation) -> None:
    assert faulty.since("logins") == 2
    for name in (M, T):
        assert faulty.position(name, "a") == faulty.position(name, "b") == faulty.clock.now - 31 * MINUTE


def storm(faulty: FaultyInstallation) -> None:
    faulty.source.faults.unauthorized()


def few_logins(faulty: FaultyInstallation) -> None:
    assert faulty.since("logins") <= 2
    nothing_moved(faulty)


def login_fails(times: int | None) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.restart()
        faulty.source.faults.status(503, on="login", times=times)

    return inject


def redirect_login_to_http(faulty: FaultyInstallation) -> None:
    faulty.restart()
    faulty.source.faults.redirect_login("http://example.test")


def slow_login(faulty: FaultyInstallation) -> None:
    faulty.restart()
    faulty.overrides["timeout"] = timedelta(seconds=0.3)
    faulty.source.faults.slow(1.0, on="login")


def attempts(count: int) -> Callable[[FaultyInstallation], None]:
    def check(faulty: FaultyInstallation) -> None:
        assert faulty.since("attempts") == count

    return check


def redirect_login(faulty: FaultyInstallation) -> None:
    faulty.restart()
    faulty.source.faults.redirect_login()


def far_zone(faulty: FaultyInstallation) -> None:
    faulty.environ["TZ"] = "Asia/Kathmandu"
    faulty.proof("the process has another zone", lambda: faulty.environ["TZ"] == "Asia/Kathmandu")


def host_clock(**off: float) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.host_clock = Clock(faulty.clock.now + timedelta(**off))
        faulty.restart()
        faulty.proof("the clocks differ", lambda: faulty.host_clock.now != faulty.clock.now)

    return inject


def host_clock_of_a_warm_process(faulty: FaultyInstallation) -> None:
    faulty.host_clock = Clock(faulty.clock.now - timedelta(days=3))
    faulty.proof("no login was made", lambda: faulty.since("attempts") == 0)


def no_date(faulty: FaultyInstallation) -> None:
    faulty.restart()
    faulty.source.faults.no_date(on="any")


def dead_token_and_wrong_clock(faulty: FaultyInstallation) -> None:
    faulty.host_clock = Clock(faulty.clock.now - 4 * MINUTE)
    faulty.source.revoke_tokens()
    faulty.proof("a 401 came", lambda: any(asked.status == 401 for asked in faulty.source.requests))


A = (
    Case("A1", "wrong password", REFUSED, wrong_password, 1, ("MICROSHARE_PASSWORD",), one_login_refused),
    *(
        Case(
            "A1",
            name,
            REFUSED,
            refused_login(how),
            1,
            ("MICROSHARE_PASSWORD", "login refused"),
            one_login_refused,
        )
        for name, how in {
            "login answered with 401": "401",
            "login answered with the form again": "form",
            "login sent back to its page without a cookie": "redirect",
            "session cookie without a token": "no-token",
        }.items()
    ),
    Case(
        "A1",
        "password refused in the OAuth2 grant",
        REFUSED,
        refused_login("401"),
        1,
        ("MICROSHARE_PASSWORD", "login refused"),
        one_login_refused,
        environ={"MICROSHARE_AUTH": "oauth2"},
    ),
    Case(
        "A2",
        "token revoked in mid-run",
        "one login for all workers, that request again, the run goes on",
        revoke_in_mid_run,
        check=one_more_login,
    ),
    Case(
        "A2",
        "token that ends in mid-run",
        "one login for all workers, that request again, the run goes on",
        expire_in_mid_run,
        check=two_logins,
    ),
    Case(
        "A2",
        "token expired between runs",
        "one login ahead of the first request",
        expire_token,
        check=one_more_login,
    ),
    Case(
        "A3",
        "every call answered with 401",
        "at most two logins a run, then an error on rights",
        storm,
        1,
        ("401", "rights"),
        few_logins,
    ),
    Case("A4", "login answered with 503 twice", "tried again, bounded", login_fails(2), check=attempts(3)),
    Case(
        "A4",
        "login answered with 503 for good",
        "three tries, then an error; nothing moved",
        login_fails(None),
        1,
        ("login", "503"),
        all_of(attempts(3), nothing_moved),
    ),
    Case(
        "A4",
        "login that never answers in time",
        "ends at its deadline, bounded tries",
        slow_login,
        1,
        ("login", "0.3 s"),
        all_of(attempts(3), nothing_moved),
    ),
    Case(
        "A4",
        "login redirected to another host",
        "refused; the credentials go nowhere else",
        redirect_login,
        1,
        ("redirect", "MICROSHARE_APP_URL"),
        all_of(attempts(1), nothing_moved),
    ),
    Case(
        "A4",
        "login redirected to plain HTTP",
        "refused; the credentials go nowhere else",
        redirect_login_to_http,
        1,
        ("redirect", "MICROSHARE_APP_URL"),
        all_of(attempts(1), nothing_moved),
    ),
    Case(
        "A6",
        "host in another time zone",
        "times are UTC whatever the zone",
        far_zone,
        act=run_command(*RUN),
        live=True,
    ),
    Case(
        "A6",
        "token refused while the host clock is minutes wrong",
        "the 401 is healed by one login",
        dead_token_and_wrong_clock,
        check=lambda faulty: attempts(1)(faulty),
    ),
    Case(
        "A7",
        "query answered with 403",
        "reported as missing rights; position stays, others go on",
        lambda faulty: faulty.source.faults.status(403, "Forbidden", location=M),
        1,
        ("403", "rights"),
        stays,
    ),
    Case(
        "A7",
        "objects counted but none shown",
        "missing rights, not missing data; position stays, others go on",
        lambda faulty: faulty.source.faults.withhold(location=M),
        1,
        ("none is shown", "rights"),
        stays,
    ),
)


# --- B1 to B5: statuses and connections ---------------------------------------------------------------


def waited(least: float, most: float) -> Callable[[FaultyInstallation], None]:
    def check(faulty: FaultyInstallation) -> None:
        assert faulty.waits
        assert all(least <= seconds <= most for seconds in faulty.waits), faulty.waits

    return check


def throttle(after: str | None, times: int | None = 1) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: faulty.source.faults.throttle(after, times=times, location=M)


def throttle_until_a_date(faulty: FaultyInstallation) -> None:
    # From the API's own Date, which has whole seconds.
    date = format_datetime(faulty.clock.now.replace(microsecond=0) + timedelta(seconds=7), usegmt=True)
    faulty.source.faults.throttle(date, times=1, location=M)


def long_error(faulty: FaultyInstallation) -> None:
    faulty.source.faults.status(500, json.dumps({"error": "Z" * 3000}), location=M)


def long_text(faulty: FaultyInstallation) -> None:
    faulty.source.faults.status(500, "Z" * 3000, location=M)


def not_quoted(faulty: FaultyInstallation) -> None:
    stays(faulty)
    assert "ZZ" not in faulty.report.failures[0].error


def quoted_in_part(faulty: FaultyInstallation) -> None:
    stays(faulty)
    assert "Z" * 480 in faulty.report.failures[0].error
    assert "Z" * 500 not in faulty.report.failures[0].error
    assert len([asked for asked in faulty.source.queries(M) if asked.status == 500]) == 4


def template_fault(body: str) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: faulty.source.faults.status(503, body, location=M)


def asked_once(faulty: FaultyInstallation) -> None:
    stays(faulty)
    assert len([asked for asked in faulty.source.queries(M) if asked.status in (302, 307, 503)]) == 1


def slow_when_wide(faulty: FaultyInstallation) -> None:
    faulty.overrides["timeout"] = timedelta(seconds=4)
    faulty.source.faults.slow(
        6, when=lambda request: (request.window or timedelta(0)) > timedelta(minutes=40)
    )


def drip(faulty: FaultyInstallation) -> None:
    faulty.overrides |= {"timeout": timedelta(seconds=3), "attempts": 2}
    faulty.source.faults.drip(0.05, location=M)


RETRIED = "the call fails as a whole and is tried again; nothing is taken for shorter data"

B1_TO_B5 = (
    Case(
        "B1",
        "429 with a Retry-After in seconds",
        "that wait, then on",
        throttle("7"),
        check=all_of(waited(6, 7), all_moved),
    ),
    Case(
        "B1",
        "429 with a Retry-After date",
        "waits until then, by the API's own clock",
        throttle_until_a_date,
        check=all_of(waited(5, 7), all_moved),
    ),
    Case(
        "B1",
        "429 without Retry-After",
        "jittered backoff",
        throttle(None),
        check=all_of(waited(0.4, 1.5), all_moved),
    ),
    Case(
        "B1",
        "429 with a negative Retry-After",
        "jittered backoff",
        throttle("-5"),
        check=all_of(waited(0.4, 1.5), all_moved),
    ),
    Case(
        "B1",
        "429 that asks for a day",
        "no wait beyond the budget; the run stops opening slices",
        throttle("86400"),
        1,
        ("does not allow a wait", "next run goes on"),
        lambda faulty: _not_at(faulty, M),
    ),
    Case(
        "B2",
        "burst of 503",
        "bounded retries with jitter, then all is delivered",
        lambda faulty: faulty.source.faults.status(503, times=2),
        check=all_of(waited(0.5, 3), all_moved),
    ),
    Case(
        "B2",
        "502 for good",
        "four tries, then this location fails alone",
        lambda faulty: faulty.source.faults.status(502, location=M),
        1,
        ("502", "given up after 4"),
        stays,
    ),
    Case(
        "B2",
        "500 with a long error in JSON",
        "the error quotes its first 500 characters",
        long_error,
        1,
        ("500",),
        quoted_in_part,
    ),
    Case(
        "B2",
        "500 with a long text",
        "only its status and length are told: what is no JSON is not quoted",
        long_text,
        1,
        ("500", "3,000 bytes"),
        not_quoted,
    ),
    Case(
        "B3",
        "view template that cannot be filled",
        "not tried again; quotes the body and what was sent",
        template_fault("[Error: unresolvable property or identifier: metric]"),
        1,
        ("unresolvable property", "sent id=", "placeholders"),
        asked_once,
    ),
    Case(
        "B3",
        "view query that the database refuses",
        "not tried again; quotes the body and what was sent",
        template_fault("$all needs an array"),
        1,
        ("$all needs an array", "datacontext="),
        asked_once,
    ),
    Case(
        "B4",
        "504 on a wide window",
        "halved until it is answered",
        lambda faulty: faulty.source.faults.wide_window(0.5),
        check=all_moved,
    ),
    Case(
        "B4",
        "504 on every window",
        "halved to the floor, then this location fails",
        lambda faulty: faulty.source.faults.wide_window(0, location=M),
        1,
        ("504", "given up"),
        stays,
    ),
    Case("B4", "time-out on a wide window", "halved until it is answered", slow_when_wide, check=all_moved),
    Case(
        "B5",
        "answer that drips byte by byte",
        "a deadline for the whole call; this location fails",
        drip,
        1,
        ("3 s",),
        stays,
        slow=True,
    ),
    Case(
        "B5",
        "connection reset twice",
        "tried again",
        lambda faulty: faulty.source.faults.reset(times=2),
        check=all_moved,
    ),
    Case(
        "B5",
        "body cut short once",
        RETRIED,
        lambda faulty: faulty.source.faults.truncate(times=1),
        check=all_moved,
    ),
    Case(
        "B5",
        "body cut short for good",
        RETRIED,
        lambda faulty: faulty.source.faults.truncate(location=M),
        1,
        ("given up",),
        stays,
    ),
    Case(
        "B5",
        "gzip stream cut short",
        RETRIED,
        lambda faulty: faulty.source.faults.truncate_gzip(location=M),
        1,
        ("gzip",),
        stays,
    ),
)


def _not_at(faulty: FaultyInstallation, name: str) -> None:
    assert faulty.position(name, "a") < faulty.clock.now


# --- B6 to B9: bodies and redirects -------------------------------------------------------------------


def marked(entry_text: bytes) -> Callable[[FaultyInstallation], None]:
    """Let one entry hold something that JSON text can hide."""

    def inject(faulty: FaultyInstallation) -> None:
        # Once the source is well, it is a correction of what was set aside.
        faulty.comes_late(faulty.plant(M, faulty.clock.now - MINUTE, note="MARK"))

        def rewrite(body: bytes) -> bytes:
            if b'"MARK"' in body:
                faulty.fired["rewritten"] += 1
            return body.replace(b'"MARK"', entry_text)

        faulty.source.faults.rewrite_body(rewrite, location=M)
        faulty.proof("an entry was rewritten", lambda: faulty.fired["rewritten"] > 0)

    return inject


def one_set_aside(faulty: FaultyInstallation) -> None:
    """Set aside in the first run, and known as such in the second: its id is stable."""
    first, second = (outcome.report for outcome in faulty.outcomes[-2:])
    assert first is not None
    assert second is not None
    assert [len(first.quarantined), len(second.quarantined), len(faulty.quarantine)] == [1, 0, 1]
    assert [hub.quarantined for hub in (*first.hubs.values(), *second.hubs.values())] == [1, 1, 0, 0]
    all_moved(faulty)


def beside(obj: bytes) -> Callable[[FaultyInstallation], None]:
    """Put something before the objects of an answer."""

    def inject(faulty: FaultyInstallation) -> None:
        def rewrite(body: bytes) -> bytes:
            faulty.fired["put beside"] += 1
            return body.replace(b'"objs":[', b'"objs":[%b,' % obj)

        faulty.source.faults.rewrite_body(rewrite, location=M)

    return inject


def number_in_discovery(faulty: FaultyInstallation) -> None:
    def rewrite(body: bytes) -> bytes:
        faulty.fired["a number in discovery"] += 1
        return body.replace(b'"objs":[{', b'"objs":[{"size":1e9999999999999999999999,')

    faulty.source.faults.rewrite_body(rewrite, on="devices")


def hidden(note: object) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        entry = faulty.plant(M, faulty.clock.now - MINUTE, note=note)
        faulty.proof("it arrived as it was", lambda: faulty.count(entry) == faulty.count(entry, "b") == 1)

    return inject


def with_bom(faulty: FaultyInstallation) -> None:
    faulty.source.faults.rewrite_body(lambda body: b"\xef\xbb\xbf" + body)


def quarantined_none(faulty: FaultyInstallation) -> None:
    assert faulty.report.quarantined == ()
    all_moved(faulty)


def large(make: Callable[[FaultyInstallation], None]) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        make(faulty)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        faulty.proof(
            "memory stayed bounded",
            lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024,
        )

    return inject


def gzip_bomb(faulty: FaultyInstallation) -> None:
    packed = gzip.compress(bytes(80_000_000), compresslevel=1)

    def answer(request: Request) -> Response | None:
        if request.first("loc1") != M:
            return None
        faulty.fired["gzip bomb"] += 1
        return Response(body=packed, headers={"Content-Encoding": "gzip"})

    faulty.source.intercept = answer


def redirected(to: str) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: faulty.source.faults.redirect(to, location=M)


def no_elsewhere(faulty: FaultyInstallation) -> None:
    asked_once(faulty)
    assert all(asked.path != "/elsewhere" for asked in faulty.source.requests)


REDIRECTED = "never followed, the token goes nowhere; an error that is not tried again"

B6_TO_B9 = (
    Case(
        "B6",
        "JSON cut short in a complete answer",
        KEPT,
        lambda faulty: faulty.source.faults.truncate_json(location=M),
        1,
        ("no readable JSON",),
        stays,
    ),
    Case(
        "B6",
        "HTML page with status 200",
        KEPT,
        lambda faulty: faulty.source.faults.html(location=M),
        1,
        ("no readable JSON", 'but a page, "Example"'),
        stays,
    ),
    Case(
        "B6",
        "empty body with status 200",
        KEPT,
        lambda faulty: faulty.source.faults.empty(location=M),
        1,
        ("empty answer",),
        stays,
    ),
    Case(
        "B6",
        "object without objs",
        KEPT,
        lambda faulty: faulty.source.faults.no_objs(location=M),
        1,
        ("without a list 'objs'",),
        stays,
    ),
    Case(
        "B6",
        "valid JSON under another content type",
        "accepted, with a warning",
        lambda faulty: faulty.source.faults.wrong_type(),
        says=("sent as text/html",),
        check=all_moved,
    ),
    Case(
        "B7",
        "NaN in one reading",
        "that reading is quarantined once, the rest is sent",
        marked(b"NaN"),
        act=runs(2),
        check=one_set_aside,
    ),
    Case(
        "B7",
        "Infinity in one reading",
        "that reading is quarantined once, the rest is sent",
        marked(b"-Infinity"),
        act=runs(2),
        check=one_set_aside,
    ),
    Case(
        "B7",
        "key twice in one reading",
        "that reading is quarantined once, the rest is sent",
        marked(b'1,"note":2'),
        act=runs(2),
        check=one_set_aside,
    ),
    *(
        Case(
            "B7",
            f"{what} in one reading",
            "that reading is quarantined once, the rest is sent",
            marked(text),
            act=runs(2),
            check=one_set_aside,
        )
        for what, text in (
            ("number whose exponent is out of all bounds", b"1e9999999999999999999999"),
            ("nesting 20,000 levels deep", b"[" * 20_000 + b"]" * 20_000),
            ("bytes that are not UTF-8", b'"caf\xe9"'),
            (
                "90,000 keys and one of them twice",
                b"{%b}" % b",".join(b'"k%d":0' % (n % 90_000) for n in range(90_001)),
            ),
        )
    ),
    *(
        Case(
            "B7",
            f"{what} among the objects of an answer",
            "it is quarantined once, the rest is sent",
            beside(text),
            act=runs(2),
            check=one_set_aside,
        )
        for what, text in (
            ("object whose lines are null", b'{"data":{"_id":{"tags":["Mill"]},"line":null}}'),
            ("object without data", b"{}"),
            ("null", b"null"),
            ("text with half a surrogate pair", b'"\\ud800"'),
        )
    ),
    Case(
        "B7",
        "number whose exponent is out of all bounds in discovery",
        "discovered as if it were not there",
        number_in_discovery,
        check=quarantined_none,
    ),
    Case("B7", "huge integer", "sent without loss", hidden(10**60), check=quarantined_none),
    Case("B7", "lone surrogate in a text", "sent without loss", hidden("a\ud800b"), check=quarantined_none),
    Case(
        "B7",
        "byte order mark before the answer",
        "read as if it were not there",
        with_bom,
        check=quarantined_none,
    ),
    Case(
        "B8",
        "answer nested without end",
        "clear error; others go on",
        large(lambda faulty: faulty.source.faults.deep(location=M)),
        1,
        ("nested",),
        stays,
    ),
    Case(
        "B8",
        "answer of 500 MB",
        "refused at the limit, in bounded memory",
        large(lambda faulty: faulty.source.faults.big(500, location=M)),
        1,
        ("bytes", "less at a time"),
        stays,
    ),
    Case(
        "B8",
        "gzip bomb",
        "refused at the limit, in bounded memory",
        large(gzip_bomb),
        1,
        ("bytes", "less at a time"),
        stays,
    ),
    *(
        Case(
            "B9",
            f"redirect of a query to {where}",
            REDIRECTED,
            redirected(where),
            1,
            ("redirect", "MICROSHARE_API_URL"),
            no_elsewhere,
        )
        for where in ("other host", "same host", "loop", "http://example.test/plain")
    ),
)


# --- B10 to B17: rows ---------------------------------------------------------------------------------


def paged(fault: Callable[[FaultyInstallation], None]) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.source.faults.small_pages(1)
        fault(faulty)

    return inject


def correct_one(faulty: FaultyInstallation) -> None:
    when = faulty.clock.now - 20 * MINUTE
    faulty.estate.correct(M, MILL.groups[0], when, at=faulty.clock.now, change={"in": 99})
    faulty.fired["corrected"] += 1
    record = next(one.entry["record"] for one in faulty.shown_now() if '"in": 99' in one.content)
    # The corrected reading comes behind those that were sent after its first version.
    for reading in faulty.shown_now():
        if reading.entry["record"] == record:
            faulty.comes_late(reading.entry)
    faulty.proof("its second version was sent", lambda: _versions(faulty, record) == [1, 99])


def _versions(faulty: FaultyInstallation, record: str) -> list[int]:
    return [entry["change"]["in"] for entry in faulty.entries("b") if entry["record"] == record]


def alike_in_first_half(faulty: FaultyInstallation) -> None:
    ids = [event.message_id for event in faulty.arrived("a") if '"in": 99' in event.readings[0].content]
    assert len(ids) == 1
    (changed,) = faulty.report.as_json()["changed"]
    assert (changed["location"], changed["readings"]) == (M, 1)
    alike = [event.message_id for event in faulty.arrived("a") if event.message_id[:8] == ids[0][:8]]
    assert len(alike) == 2


def burst(count: int, *, cap: int, apart: timedelta) -> Callable[[FaultyInstallation], None]:
    """Plant many readings within the quarter of an hour that a view limited to `cap` would cut."""

    def inject(faulty: FaultyInstallation) -> None:
        faulty.overrides["record_limit"] = cap
        faulty.source.faults.cap(cap)
        begin = faulty.clock.now - 10 * MINUTE + timedelta(seconds=1)
        for number in range(count):
            entry = faulty.plant(M, begin + number * apart)
            if not apart:
                faulty.comes_late(entry)

    return inject


def saturated(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    at = faulty.clock.now - 10 * MINUTE + timedelta(seconds=1)
    assert [(name, gap.cause, gap.window.start) for name, gap in faulty.report.gaps] == [(M, "saturated", at)]
    # The millisecond was asked when it was the newest: what came of it went out.
    sent = [entry for entry in faulty.entries("a") if parse_time(entry["time"]) == at]
    assert len(sent) == 60


def nearly_full(faulty: FaultyInstallation) -> None:
    """Let an answer hold 95 of 100 of what the view gives at most: it may be cut."""
    burst(51, cap=60, apart=timedelta(seconds=2))(faulty)
    faulty.proof("it was asked in parts", lambda: len(faulty.source.queries(M)) > 2)


def round_and_round(faulty: FaultyInstallation) -> None:
    """Let pages come round again, under an envelope that states more of them than there are."""
    faulty.source.faults.small_pages(1)
    faulty.source.faults.total_pages(7)

    def turn(request: Request) -> Response | None:
        number = int(request.first("page") or 1)
        if request.kind != "query" or number < 3:
            return None
        faulty.fired["round again"] += 1
        again = {**request.query, "page": [str(2 - number % 2)]}
        return faulty.source.answer(replace(request, query=again))

    faulty.source.intercept = turn


def late(behind: timedelta) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        when = faulty.clock.now - behind
        entry = faulty.plant(M, when, visible_from=faulty.clock.now)
        faulty.comes_late(entry)
        faulty.proof("it came once", lambda: faulty.count(entry) == faulty.count(entry, "b") == 1)

    return inject


def after_the_look_back(faulty: FaultyInstallation) -> None:
    """Publish a reading so late that no run reads it any more."""
    entry = faulty.plant(M, faulty.clock.now - 5 * MINUTE, visible_from=faulty.clock.now + timedelta(hours=9))
    faulty.set_aside(entry)
    hour = (faulty.clock.now - 5 * MINUTE).replace(minute=0)
    faulty.proof("its hour is a gap", lambda: [gap.window.start for gap in faulty.gaps(M)] == [hour])


def days_of_runs(faulty: FaultyInstallation) -> Outcome:
    """Give the first run that compares hours and finds one that differs."""
    for _ in range(16):
        faulty.pass_quiet_time(hours=6)
        outcome = faulty.run_once()
        assert outcome.report is not None
        if (outcome.report.as_json()["compared"] or {}).get("differ"):
            return outcome
    return outcome


def missed_by_hours(faulty: FaultyInstallation) -> None:
    """Publish a reading of hours ago, which lies before what a run reads again."""
    entry = faulty.plant(M, faulty.clock.now - 150 * MINUTE, visible_from=faulty.clock.now)
    faulty.comes_late(entry)
    faulty.proof("no run has sent it", lambda: faulty.count(entry) == faulty.count(entry, "b") == 0)


def run_and_audit(faulty: FaultyInstallation) -> Outcome:
    """Give what `audit` says after a run, which has not seen what is missing."""
    assert faulty.run_once().status == 0
    return faulty.command("audit", "--feed", "people-counter", "--from", "170m", "--json")


def one_missing(faulty: FaultyInstallation) -> None:
    found = [json.loads(line) for line in faulty.outcomes[-1].text.splitlines() if line.startswith('{"feed"')]
    assert [len(told["missing"]) for told in found] == [1, 1]
    assert all(told["repeated"] == told["changed"] == told["unknown"] == [] for told in found)


def repair(faulty: FaultyInstallation) -> None:
    words = ("audit", "--feed", "people-counter", "--from", "170m", "--repair", "--yes")
    assert faulty.command(*words).status == 0


def lateness_counted(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    assert faulty.report.lateness is not None
    assert faulty.report.lateness.max_s == 50 * 60


def flawed(**how: object) -> Callable[[FaultyInstallation], None]:
    """Plant one reading that lacks or garbles something, and that can never be sent."""

    def inject(faulty: FaultyInstallation) -> None:
        entry = faulty.plant(M, faulty.clock.now - MINUTE, **how)
        faulty.set_aside(entry)
        faulty.proof("it was set aside", lambda: bool(faulty.quarantine))

    return inject


def without_tags(faulty: FaultyInstallation) -> None:
    def rewrite(body: bytes) -> bytes:
        faulty.fired["untagged"] += 1
        return body.replace(b'"tags":["Mill & Lane","0","Main Entrance"]', b'"tags":null')

    for reading in faulty.shown_now():
        faulty.comes_late(reading.entry)

    faulty.source.faults.rewrite_body(rewrite, location=M)


def some_set_aside(faulty: FaultyInstallation) -> None:
    assert faulty.report.quarantined
    assert all("no list of tags" in reading.reason for reading in faulty.report.quarantined)
    all_moved(faulty)


def without_record(faulty: FaultyInstallation) -> None:
    entry = faulty.plant(M, faulty.clock.now - MINUTE, without=["record"])
    faulty.proof(
        "it came once", lambda: [found for found in faulty.entries("a") if found == entry] == [entry]
    )


def far_off(**by: float) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        told = faulty.clock.now + timedelta(**by)
        entry = faulty.plant(M, faulty.clock.now - MINUTE, time_as=told.isoformat(timespec="milliseconds"))
        faulty.comes_late(entry)
        faulty.proof("it came once", lambda: faulty.count(entry) == faulty.count(entry, "b") == 1)

    return inject


def silent(hours: float) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        for name in (M, T):
            faulty.estate.silence(name, faulty.clock.now, faulty.clock.now + timedelta(hours=hours))
        faulty.proof("nothing new was shown for hours", lambda: len(_runs_without_events(faulty)) >= 4)

    return inject


def _runs_without_events(faulty: FaultyInstallation) -> list[Outcome]:
    return [outcome for outcome in faulty.outcomes if outcome.report and not _events(outcome)]


def _events(outcome: Outcome) -> int:
    return sum(hub.events for hub in outcome.report.hubs.values()) if outcome.report else 0


def hours_of_silence(hours: float) -> Callable[[FaultyInstallation], Outcome]:
    """Give six runs over so many hours."""

    def act(faulty: FaultyInstallation) -> Outcome:
        faulty.run_once()
        for _ in range(5):
            faulty.pass_time(hours=hours / 5, minutes=1)
            outcome = faulty.run_once()
        return outcome

    return act


def falls_silent(faulty: FaultyInstallation) -> None:
    faulty.estate.silence(M, faulty.clock.now)
    faulty.proof("it is said once", lambda: _drift(faulty).count(("silent", M)) == 1)


def _drift(faulty: FaultyInstallation) -> list[tuple[str, str | None]]:
    """Give what all runs together said of what drifts."""
    reports = [outcome.report for outcome in faulty.outcomes if outcome.report]
    return [(found["kind"], found["location"]) for report in reports for found in report.as_json()["drift"]]


def kept_as_silent(faulty: FaultyInstallation) -> None:
    assert [(found.kind, found.location) for found in faulty.state().drift] == [("silent", M)]
    all_moved(faulty)


def closed_for_a_day(faulty: FaultyInstallation) -> Outcome:
    for _ in range(5):
        faulty.skip_time(hours=5)
        outcome = faulty.run_once()
    return outcome


def closed(faulty: FaultyInstallation) -> None:
    faulty.proof("nothing was sent", lambda: not _events(faulty.outcomes[-1]))


B10_TO_B17 = (
    Case(
        "B10",
        "rows twice in an answer",
        "sent once, in time order",
        lambda faulty: faulty.source.faults.duplicate_lines(),
        check=all_moved,
    ),
    Case(
        "B10",
        "rows in another order",
        "sent once, in time order",
        lambda faulty: faulty.source.faults.reorder_lines(),
        check=all_moved,
    ),
    Case(
        "B10",
        "rows and objects in another order, across pages",
        "sent once, in time order",
        paged(lambda faulty: faulty.source.faults.reorder_lines()),
        check=all_moved,
    ),
    Case(
        "B10",
        "objects twice, on several pages",
        "sent once, in time order",
        paged(lambda faulty: faulty.source.faults.repeat_objs()),
        check=all_moved,
    ),
    Case(
        "B11",
        "row corrected inside the look-back",
        "sent under a new id that shares the first half, counted as changed; the old one is not sent again",
        correct_one,
        check=alike_in_first_half,
    ),
    Case(
        "B12",
        "same page under every number",
        "stops on the repeat; an error, not a part taken for the whole",
        lambda faulty: faulty.source.faults.same_page(location=M),
        1,
        ("page",),
        stays,
    ),
    Case(
        "B12",
        "pages that come round again",
        "ends; taken only where the distinct objects add up",
        round_and_round,
        check=all_moved,
    ),
    Case(
        "B12",
        "list that turns while it is read",
        "a page that repeats is an error, not a part taken for the whole; the next run has all",
        paged(lambda faulty: faulty.source.faults.drift(keeps_count=True, location=M, times=1)),
        1,
        ("page",),
        stays,
    ),
    Case(
        "B12",
        "totalPages of 0",
        "all that is there is taken",
        lambda faulty: faulty.source.faults.total_pages(0),
        check=all_moved,
    ),
    Case(
        "B12",
        "totalPages of 99",
        "all that is there is taken",
        lambda faulty: faulty.source.faults.total_pages(99),
        check=all_moved,
    ),
    Case(
        "B12",
        "totalPages of 0 where there are two",
        "all that is there is taken, or an error",
        paged(lambda faulty: faulty.source.faults.total_pages(0)),
        check=all_moved,
    ),
    Case(
        "B12",
        "totalCount of the whole platform",
        "ignored, with one warning",
        lambda faulty: faulty.source.faults.platform_total(),
        says=("whole platform",),
        check=all_moved,
    ),
    Case(
        "B13",
        "more rows than the view gives",
        "halved until all are had",
        burst(150, cap=60, apart=timedelta(seconds=2)),
        check=all_moved,
    ),
    Case(
        "B13",
        "nearly as many rows as the view gives",
        "may be cut: halved",
        nearly_full,
        check=all_moved,
    ),
    Case(
        "B13",
        "more rows in one millisecond than the view gives",
        "what came is delivered, the millisecond is a gap, the position moves on",
        burst(80, cap=60, apart=timedelta(0)),
        says=("saturated",),
        check=saturated,
    ),
    Case(
        "B14",
        "row published 50 minutes late",
        "sent once, when it is seen; its lateness is counted",
        late(50 * MINUTE),
        check=lateness_counted,
    ),
    Case(
        "B14",
        "row published so late that the look-back all but missed it",
        "sent once; the warning says which look-back to set",
        late(68 * MINUTE),
        says=("feeds.people_counter.look_back: 2h",),
        check=all_moved,
    ),
    Case(
        "B14",
        "row published after the look-back",
        "found by the daily comparison, kept as a gap",
        after_the_look_back,
        says=('"cause": "missed"',),
        act=days_of_runs,
        slow=True,
    ),
    Case(
        "B14",
        "row published after the look-back, looked for by hand",
        "`audit` names it, and sends it with `--repair`",
        missed_by_hours,
        1,
        ('"cause":"late"',),
        one_missing,
        heals=repair,
        act=run_and_audit,
        live=True,
    ),
    Case(
        "B15",
        "row without a time",
        "quarantined with its reason; blocks nothing",
        flawed(without=["time"]),
        says=("it has no time",),
        check=all_moved,
    ),
    Case(
        "B15",
        "row with a time that is none",
        "quarantined with its reason; blocks nothing",
        flawed(time_as="yesterday"),
        says=("is not an ISO time",),
        check=all_moved,
    ),
    Case(
        "B15",
        "row with a time in which half a surrogate pair stands",
        "quarantined with its reason; blocks nothing",
        flawed(time_as="2026-03-02\ud80012:10:00Z"),
        says=("is not an ISO time",),
        check=all_moved,
    ),
    Case(
        "B15",
        "rows without tags",
        "quarantined with their reason; block nothing",
        without_tags,
        check=some_set_aside,
    ),
    Case(
        "B15",
        "row without a record",
        "sent once, under an id that stays the same",
        without_record,
        act=runs(2),
        check=all_moved,
    ),
    Case(
        "B16",
        "row days before the window asked",
        "sent once, with a word; does not move the position",
        far_off(days=-2),
        says=("far outside the window",),
        check=all_moved,
    ),
    Case(
        "B16",
        "row from the future",
        "sent once, with a word; does not move the position",
        far_off(days=2),
        says=("far outside the window",),
        act=runs(1),
        check=all_moved,
    ),
    Case(
        "B17",
        "source silent for five hours, then all at once",
        "nothing is lost",
        silent(5),
        act=hours_of_silence(5),
        check=all_moved,
    ),
    Case(
        "B17",
        "source silent for most of a day, then all at once",
        "nothing is lost",
        silent(23),
        act=hours_of_silence(23),
        check=all_moved,
        slow=True,
    ),
    Case(
        "B17",
        "building silent for longer than ever before",
        "said once, and kept in the state until it speaks again; other buildings go on",
        falls_silent,
        act=runs(6, minutes=60),
        check=kept_as_silent,
    ),
    Case(
        "B17",
        "building that is closed for a day",
        "empty in truth: no error, positions move on",
        closed,
        act=closed_for_a_day,
        check=all_moved,
    ),
)


# --- B18 to B25: places, clocks, drift ----------------------------------------------------------------


def rename(faulty: FaultyInstallation) -> None:
    faulty.estate.rename(M, "Mill & Lane West", at=faulty.clock.now)
    faulty.proof("discovery lists the new name", lambda: "Mill & Lane West" in faulty.state().locations)


def an_hour_on(faulty: FaultyInstallation) -> Outcome:
    """Let discovery be asked again."""
    faulty.pass_time(minutes=61)
    return faulty.run_once()


def old_name_kept(faulty: FaultyInstallation) -> None:
    assert {M, "Mill & Lane West", T} <= set(faulty.state().locations)
    assert faulty.position(M, "a") == faulty.clock.now


def add_building(faulty: FaultyInstallation) -> None:
    faulty.estate.add(building("New Annex"), since=faulty.clock.now)
    faulty.proof("discovery lists it", lambda: "New Annex" in faulty.state().locations)


def new_begins(faulty: FaultyInstallation) -> None:
    known_from = faulty.state().locations["New Annex"].checkpoints[faulty.key("a")].known_from
    assert known_from == faulty.clock.now - faulty.case.start_from


def remove_building(faulty: FaultyInstallation) -> None:
    faulty.estate.remove(M, at=faulty.clock.now)
    faulty.proof("discovery lists it no more", lambda: _listed(faulty) == [T])


def _listed(faulty: FaultyInstallation) -> list[str]:
    discovery = faulty.state().discovery
    return [place.name for place in discovery.places] if discovery else []


def unknown_location(faulty: FaultyInstallation) -> None:
    faulty.environ["MICROSHARE_LOCATIONS"] = '["Nowhere House"]'
    faulty.proof("it was asked for", lambda: bool(faulty.source.queries("Nowhere House")))


def discovery_anew(faulty: FaultyInstallation) -> None:
    """Let discovery be asked with other clusters, and so at once; as before when the fault is healed."""
    clusters = [*faulty.source.cluster_ids, faulty.source.foreign_cluster_id]
    faulty.environ["MICROSHARE_PC_DEVICE_CLUSTER_ID"] = json.dumps(clusters)


def collision(faulty: FaultyInstallation) -> None:
    faulty.estate.add(Building(M, cluster=2))
    discovery_anew(faulty)
    faulty.proof("discovery found both", lambda: M in faulty.report.failures[0].error)


def evaluated_name(faulty: FaultyInstallation) -> None:
    """Let somebody who may name a device name its building so that the view would show every other, too."""
    named = b'Mill\\", \\"$or\\": [{}], \\"x\\": \\"'

    def rewrite(body: bytes) -> bytes:
        faulty.fired["name"] += b'"Mill & Lane"' in body
        return body.replace(b'"Mill & Lane"', b'"' + named + b'"')

    discovery_anew(faulty)
    faulty.source.faults.rewrite_body(rewrite, on="devices")
    faulty.proof(
        "nothing was asked by that name", lambda: not any("$or" in str(q) for q in faulty.source.queries())
    )


def spaces_in_discovery(faulty: FaultyInstallation) -> None:
    """Let device clusters have spaces around the name of a building, whose records have none."""

    def rewrite(body: bytes) -> bytes:
        faulty.fired["spaces"] += b'"Mill & Lane"' in body
        return body.replace(b'"Mill & Lane"', b'"  Mill & Lane   "')

    faulty.source.faults.rewrite_body(rewrite, on="devices")


def same_locations(faulty: FaultyInstallation) -> None:
    assert set(faulty.state().locations) == {M, T}
    all_moved(faulty)


HOSTILE = ("Café", "Cafe\u0301", "100% Annex + Yard & Co #2", "Étage 😀", "50%2B")


def hostile_names(faulty: FaultyInstallation) -> None:
    faulty.proof("each is a partition key", lambda: _keys(faulty) == set(HOSTILE))


def _keys(faulty: FaultyInstallation) -> set[str | None]:
    return {event.partition_key for event in faulty.b.received()}


def names_in_state(faulty: FaultyInstallation) -> None:
    assert set(faulty.state().locations) == set(HOSTILE)


def whole_local_day(zone: str, day: datetime, quarters: int) -> Callable[[FaultyInstallation], None]:
    """Plant a reading for each local quarter of an hour of a day."""

    def inject(faulty: FaultyInstallation) -> None:
        begin = day.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        for number in range(quarters):
            faulty.plant("Elsewhere", begin + number * 15 * MINUTE + timedelta(seconds=7))
        end = (day + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        assert (end - begin) == quarters * 15 * MINUTE
        sent = [begin + number * 15 * MINUTE + timedelta(seconds=7) for number in range(quarters)]
        faulty.proof(
            "every quarter arrived",
            lambda: set(sent) <= {parse_time(entry["time"]) for entry in faulty.entries("a")},
        )

    return inject


def day_case(name: str, zone: str, day: datetime, quarters: int) -> Case:
    return Case(
        "B20",
        name,
        f"{quarters} local quarters of an hour, all delivered once",
        whole_local_day(zone, day, quarters),
        new=True,
        start_from=timedelta(hours=40),
        at=(day + timedelta(hours=34)).replace(tzinfo=UTC),
        buildings=(building("Elsewhere", zone=zone),),
    )


def leap_second(faulty: FaultyInstallation) -> None:
    faulty.clock.move(minutes=1)
    when = faulty.clock.now.replace(second=0) - MINUTE
    text = f"{(when - MINUTE):%Y-%m-%dT%H:%M}:60.000Z"
    entry = faulty.plant(M, when, time_as=text)
    faulty.proof("it arrived as it was written", lambda: faulty.count(entry) == 1)


def clock_back(faulty: FaultyInstallation) -> None:
    faulty.clock.move(hours=-3)
    faulty.after(lambda: faulty.clock.move(hours=3))
    faulty.proof("positions are ahead of the clock", lambda: "ahead of the clock" in faulty.outcomes[-1].text)


def ahead_stays(faulty: FaultyInstallation) -> None:
    """Positions are where they were, and nothing was asked for them."""
    for name in (M, T):
        position = faulty.clock.now + timedelta(hours=3) - 15 * MINUTE
        assert faulty.position(name, "a") == faulty.position(name, "b") == position
    assert (faulty.since("a"), faulty.since("b"), faulty.since("queries")) == (0, 0, 0)


def nothing_changed(faulty: FaultyInstallation) -> None:
    """The run asked for no reading, sent nothing, and left the state and the history as they were."""
    nothing_moved(faulty)
    assert faulty.since("queries") == 0
    last = faulty.state().last_run
    assert last is not None
    assert last["ok"] is True
    history = open_store(faulty.settings().state).history("peoplecounterstate", EPOCH)
    assert [report["ok"] for report in history] == [True]


def dated(seconds: float = -YEARS.total_seconds(), **where: Any) -> Callable[[FaultyInstallation], None]:
    """Date answers so far from now."""

    def inject(faulty: FaultyInstallation) -> None:
        faulty.restart()
        faulty.source.faults.wrong_date(seconds, **where)

    return inject


def error_page_of_long_ago(faulty: FaultyInstallation) -> None:
    faulty.source.faults.status(503, headers={"Date": "Tue, 01 Mar 2016 10:00:00 GMT"}, times=1)


def stale(faulty: FaultyInstallation) -> None:
    faulty.source.faults.stale()


def gone_from_view(faulty: FaultyInstallation) -> None:
    now = faulty.clock.now
    faulty.estate.hide(M, now - 60 * MINUTE, now - 20 * MINUTE)
    record = faulty.entries("a")[0]["record"]
    faulty.proof(
        "rows that were sent are shown no more", lambda: len(faulty.shown_now()) < len(faulty.entries("a"))
    )
    assert record


def discovery_status(code: int) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: faulty.source.faults.status(code, on="devices")


def fewer_clusters(faulty: FaultyInstallation) -> None:
    second = faulty.source.cluster_ids[1]

    def answer(request: Request) -> Response | None:
        if not request.path.endswith(second):
            return None
        faulty.fired["fewer"] += 1
        return Response.json({"meta": {"totalCount": 0, "totalPages": 1, "currentPage": 1}, "objs": []})

    faulty.source.intercept = answer


def raise_look_back(faulty: FaultyInstallation) -> None:
    faulty.overrides["look_back"] = timedelta(hours=48)
    early(faulty)


def move_start_back(faulty: FaultyInstallation) -> None:
    faulty.environ["START_FROM"] = "30d"
    early(faulty)


def early(faulty: FaultyInstallation) -> None:
    """Let there be a reading from before anything was asked for."""
    entry = faulty.plant(M, faulty.began - timedelta(hours=5))
    faulty.set_aside(entry)
    faulty.proof("the source shows it", lambda: any(one.entry == entry for one in faulty.shown_now()))


def skip_ahead(faulty: FaultyInstallation) -> None:
    """Move a state ahead, as somebody who wants to leave a stretch out would."""
    document = json.loads(faulty.state_file().read_text())
    ahead = (faulty.clock.now - 5 * MINUTE).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for group in document["locations"][M]["groups"]:
        group |= {"delivered_until": ahead, "known_from": ahead, "ids": {}}
    faulty.state_file().write_text(json.dumps(document))
    left = Slice(faulty.clock.now - 15 * MINUTE, faulty.clock.now - 5 * MINUTE)
    for reading in faulty.shown_now():
        if reading.location == M and parse_time(reading.entry["time"]) in left:
            faulty.set_aside(reading.entry)
    asked = len(faulty.source.queries(M))
    faulty.proof("it was read from there", lambda: _earliest_since(faulty, asked) >= parse_time(ahead))


def _earliest_since(faulty: FaultyInstallation, asked: int) -> datetime:
    return min(parse_time(found.query["from"][0]) for found in faulty.source.queries(M)[asked:])


def never_before(faulty: FaultyInstallation) -> None:
    known_from = faulty.began - faulty.case.start_from
    assert _earliest_since(faulty, 0) >= known_from
    all_moved(faulty)


B18_TO_B25 = (
    Case(
        "B18",
        "building renamed",
        "the tail under its old name is fetched, the new one begins; said",
        rename,
        says=('"kind": "renamed"', "a new location with the devices of Mill & Lane, which is gone"),
        act=an_hour_on,
        check=old_name_kept,
    ),
    Case(
        "B18",
        "building added",
        "begins at its written first checkpoint; said",
        add_building,
        says=('"kind": "new"',),
        act=an_hour_on,
        check=new_begins,
    ),
    Case(
        "B18",
        "building gone",
        "its checkpoint is kept and its tail fetched; said",
        remove_building,
        says=('"kind": "gone"',),
        act=an_hour_on,
        check=lambda faulty: all_moved(faulty),
    ),
    Case("B18", "location that does not exist", "no readings, no error", unknown_location, check=all_moved),
    Case(
        "B18",
        "one name in two organisations",
        "refused and named; others go on",
        collision,
        1,
        ("two organisations", "MICROSHARE_LOCATIONS"),
        lambda faulty: _not_at(faulty, M),
    ),
    Case(
        "B18",
        "name that a view would take for a part of its query",
        "not asked for, and named; others go on",
        evaluated_name,
        1,
        ("holds a double quote", "rename it in Microshare"),
        check=lambda faulty: all_moved(faulty),
    ),
    Case(
        "B19",
        "names that are hostile to URLs, keys and files",
        "exact in query, key, partition key and file",
        hostile_names,
        buildings=tuple(building(name) for name in HOSTILE),
        check=names_in_state,
    ),
    Case(
        "B19",
        "names that are hostile to table keys",
        "exact in query, key, partition key and table key",
        hostile_names,
        buildings=tuple(building(name) for name in HOSTILE),
        check=names_in_state,
        table=True,
    ),
    Case(
        "B19",
        "spaces around a name in discovery",
        "the same location",
        spaces_in_discovery,
        act=an_hour_on,
        check=same_locations,
    ),
    day_case("day of 23 hours", "Europe/Paris", datetime(2026, 3, 29), 92),  # noqa: DTZ001 - local midnight
    day_case("day of 25 hours", "Europe/Paris", datetime(2026, 10, 25), 100),  # noqa: DTZ001
    day_case("zone at a quarter to the hour", "Asia/Kathmandu", datetime(2026, 3, 29), 96),  # noqa: DTZ001
    Case(
        "B20",
        "leap second in a time",
        "read as the second after, sent as it was written",
        leap_second,
        check=all_moved,
    ),
    Case(
        "B21",
        "host clock five hours ahead",
        "no slice ends after the API's clock; a warning",
        host_clock(hours=5),
        says=("ahead of the API",),
        check=lambda faulty: all_moved_nearly(faulty),
    ),
    Case(
        "B21",
        "host clock an hour behind",
        "no slice ends after the host's clock; a warning",
        host_clock(hours=-1),
        says=("behind the API",),
    ),
    Case(
        "B21",
        "both clocks set back three hours",
        "positions ahead stay with a warning; nothing is asked for them, or sent again",
        clock_back,
        says=("ahead of the clock",),
        check=ahead_stays,
    ),
    Case(
        "B21",
        "host clock three days back",
        "the run fails, naming the clock that is wrong, and changes nothing",
        host_clock(days=-3),
        1,
        ("set this host's clock right", "before the last run"),
        nothing_changed,
    ),
    Case(
        "B21",
        "host clock twenty days back",
        "the run fails and changes nothing",
        host_clock(days=-20),
        1,
        ("clocks: ", "20 d apart"),
        nothing_changed,
    ),
    Case(
        "B21",
        "host clock ten years ahead",
        "the run fails and changes nothing",
        host_clock(days=3_653),
        1,
        ("clocks: ", "3653 d apart"),
        nothing_changed,
    ),
    Case(
        "B21",
        "host clock wrong in a process that kept its token",
        "one small question tells the API's clock; the run fails and changes nothing",
        host_clock_of_a_warm_process,
        1,
        ("set this host's clock right",),
        nothing_changed,
    ),
    Case(
        "B21",
        "login dated ten years ago",
        "the run fails, naming the clock that is wrong, and changes nothing",
        dated(on="login", times=1),
        1,
        ("what answers in the API's place", "before the last run"),
        nothing_changed,
    ),
    Case(
        "B21",
        "every answer of a run dated a year ahead",
        "the run fails and changes nothing",
        dated(365 * 86_400, on="any"),
        1,
        ("clocks: ", "365 d apart"),
        nothing_changed,
    ),
    Case(
        "B21",
        "one answer in mid-run dated ten years ago",
        "its time is left out with a warning; all is forwarded",
        dated(times=1),
        says=("was left out",),
        check=all_moved,
    ),
    Case(
        "B21",
        "two answers in a row dated ten years ago",
        "no more slices are opened, the run fails, and the next one goes on",
        dated(times=2),
        1,
        ("during the run, clocks: ",),
    ),
    Case(
        "B21",
        "error page dated ten years ago",
        "it says nothing of the API's clock; tried again, all is forwarded",
        error_page_of_long_ago,
        check=all_moved,
    ),
    Case(
        "B21",
        "answers of a cache, nine hours old by their Age",
        "the age is added; all is forwarded",
        dated(-9 * 3_600, age=9 * 3_600),
        check=all_moved,
    ),
    Case(
        "B21",
        "no answer tells its time",
        "the host's clock counts alone, with a warning; all is forwarded",
        no_date,
        says=("no answer of the API told its time",),
        check=all_moved,
    ),
    Case("B22", "stale answer of a cache", "the look-back reads it again", stale, act=runs(3)),
    Case(
        "B22",
        "rows seen earlier are absent",
        "asked for again in halves, then a warning; no error, nothing is taken back",
        gone_from_view,
        says=("did not come back",),
        check=all_moved,
    ),
    Case(
        "B23",
        "discovery answered with 503",
        "the last known list, flagged; all is forwarded",
        discovery_status(503),
        act=an_hour_on,
        says=("last known list",),
        check=all_moved,
    ),
    Case(
        "B23",
        "discovery answered with 403",
        "the last known list, reported; all is forwarded",
        discovery_status(403),
        1,
        ("last known list", "rights"),
        all_moved,
        act=an_hour_on,
    ),
    Case(
        "B23",
        "discovery shows fewer clusters",
        "nobody's checkpoint is dropped; all is forwarded",
        fewer_clusters,
        act=an_hour_on,
        check=all_moved,
    ),
    Case(
        "B24",
        "object skipped while paging",
        "objects must add up: asked again",
        paged(lambda faulty: faulty.source.faults.drift(times=1)),
        check=all_moved,
    ),
    Case(
        "B24",
        "object skipped in every reading of the pages",
        "an error, not a part taken for the whole",
        paged(lambda faulty: faulty.source.faults.drift(location=M)),
        1,
        ("pages hold",),
        stays,
    ),
    Case(
        "B25",
        "look-back raised",
        "nothing before the first checkpoint is read, nothing is sent twice",
        raise_look_back,
        check=never_before,
    ),
    Case(
        "B25",
        "start moved back",
        "nothing before the first checkpoint is read, nothing is sent twice",
        move_start_back,
        check=never_before,
    ),
    Case(
        "B25",
        "state skipped ahead",
        "what was skipped is not read, nothing is sent twice",
        skip_ahead,
        check=all_moved,
    ),
)


def all_moved_nearly(faulty: FaultyInstallation) -> None:
    """Positions are where the API's clock stands, which its Date tells to the second."""
    for name in (M, T):
        assert (
            faulty.clock.now - timedelta(seconds=2)
            <= faulty.position(name, "a")
            <= faulty.clock.now + timedelta(seconds=10)
        )


CASES = (*A, *B1_TO_B5, *B6_TO_B9, *B10_TO_B17, *B18_TO_B25)
