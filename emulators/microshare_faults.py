"""What can go wrong with the Microshare stand-in, switched on by name and counted when it happens."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal, TypedDict, Unpack

from emulators.estate import FOREIGN_CLUSTER, EmulatedFeed, Entry, ms_of
from emulators.microshare_answers import Refusal, refused_login
from emulators.microshare_http import (
    MEGABYTE,
    JsonObject,
    Kind,
    Request,
    Response,
    Wire,
    phrase,
    positive_number,
)

Target = Literal["login", "query", "devices", "views", "api", "any"]


class Where(TypedDict, total=False):
    """Which requests a fault is for, and how often.

    `times`: so often, then never again; left out: always. `after`: so many requests pass first.
    `location`: queries with this loc1 only. `feed`: queries of this view only. `on`: what kind of
    request. `when`: any further condition.
    """

    times: int | None
    after: int
    location: str | None
    feed: str | None
    on: Target
    when: Callable[[Request], bool] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page of which size is given, and what its meta says in place of the truth."""

    number: int
    per_page: int
    says: Mapping[str, Any] = field(default_factory=dict)


Stage = Literal["instead", "clusters", "cap", "page", "objs", "payload", "answer"]
# Takes the request and what the stage has made so far; gives what to go on with, None for no effect.
Act = Callable[[Request, Any], Any]


@dataclass(slots=True)
class _Armed:
    name: str
    stage: Stage
    act: Act = field(repr=False)
    where: Where
    passed: int = 0
    fired: int = 0

    def concerns(self, request: Request, asked: EmulatedFeed | None) -> bool:
        where = self.where
        location, feed, when = where.get("location"), where.get("feed"), where.get("when")
        return (
            _targets(where.get("on", "query"), request.kind)
            and (location is None or request.first("loc1") == location)
            and (feed is None or (asked is not None and asked.name == feed))
            and (when is None or when(request))
        )

    def spent(self) -> bool:
        times = self.where.get("times")
        return times is not None and self.fired >= times


def _targets(target: Target, kind: Kind) -> bool:
    if target == "any":
        return True
    return kind in ("query", "devices", "views") if target == "api" else kind == target


class Faults:
    """What can go wrong, switched on by the method of its name; `fired` counts what happened.

    Each takes the options of `Where`. Unless said otherwise a fault is for dashboard queries,
    has no end, and stays until `clear`. Durations are seconds.
    """

    def __init__(
        self, revoke_tokens: Callable[[], None], feed_of: Callable[[Request], EmulatedFeed | None]
    ) -> None:
        self.fired: Counter[str] = Counter()
        self._armed: tuple[_Armed, ...] = ()
        self._revoke_tokens = revoke_tokens
        self._feed_of = feed_of
        self._lock = threading.RLock()

    def clear(self, name: str | None = None) -> None:
        """Switch off the fault `name`, or all of them; what fired stays counted."""
        with self._lock:
            self._armed = tuple(armed for armed in self._armed if name not in (None, armed.name))

    def armed(self) -> list[str]:
        return [armed.name for armed in self._armed if not armed.spent()]

    # Statuses.

    def status(
        self,
        code: int = 503,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        **where: Unpack[Where],
    ) -> None:
        """Answer with a status, by default the HTML page of a gateway."""
        title = f"{code} {phrase(code)}"
        answer = Response.html(code, title, headers) if body is None else Response.text(code, body, headers)
        self._arm("status", "instead", lambda *_: answer, where)

    def throttle(self, retry_after: str | float | None = 1, **where: Unpack[Where]) -> None:
        """Answer 429, with Retry-After in seconds, as an HTTP date, or (None) without it."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        answer = Response.text(429, "Too Many Requests", headers)
        self._arm("throttle", "instead", lambda *_: answer, where)

    def unauthorized(self, **where: Unpack[Where]) -> None:
        """Answer 401 to every API call, whatever its token."""
        where.setdefault("on", "api")
        self._arm("unauthorized", "instead", lambda *_: Response.text(401, ""), where)

    def refuse_login(self, how: Refusal = "401", **where: Unpack[Where]) -> None:
        """Refuse logins in one of the five ways that such servers have."""
        where.setdefault("on", "login")
        self._arm("refuse_login", "instead", lambda request, _: refused_login(request, how), where)

    def redirect_login(self, to: str | None = None, status: int = 307, **where: Unpack[Where]) -> None:
        """Send a login to another host, with a status that asks to post the credentials again."""
        where.setdefault("on", "login")

        def act(request: Request, _: Any) -> Response:
            return Response(status, headers={"Location": to or _other_host(request) + request.path})

        self._arm("redirect_login", "instead", act, where)

    def wide_window(self, hours: float = 1.0, **where: Unpack[Where]) -> None:
        """Answer 504 where a window is wider than `hours`."""

        def act(request: Request, _: Any) -> Response | None:
            too_wide = request.window is not None and request.window > timedelta(hours=hours)
            return Response.html(504, "504 Gateway Time-out") if too_wide else None

        self._arm("wide_window", "instead", act, where)

    def redirect(
        self,
        to: Literal["other host", "same host", "loop"] | str = "other host",
        status: int = 302,
        **where: Unpack[Where],
    ) -> None:
        """Redirect a GET; `to` may be any URL."""

        def act(request: Request, _: Any) -> Response:
            own = f"http://{request.headers.get('host', '')}"
            places = {
                "other host": _other_host(request) + request.path,
                "same host": f"{own}/elsewhere",
                "loop": own + request.path,
            }
            return Response(status, headers={"Location": places.get(to, to)})

        self._arm("redirect", "instead", act, where)

    def revoke_after(self, queries: int = 1) -> None:
        """Revoke all tokens once so many queries have been answered from now."""
        answered = 0

        def act(_: Request, answer: Response) -> Response | None:
            nonlocal answered
            answered += 1
            if answered < queries:
                return None
            self._revoke_tokens()
            return answer

        self._arm("revoke_after", "answer", act, {"times": 1})

    def wrong_date(
        self, seconds: float = -315_576_000.0, age: int | None = None, **where: Unpack[Where]
    ) -> None:
        """Date an answer so many seconds from now, ten years ago unless told, with an `Age` if told."""

        def act(request: Request, answer: Response) -> Response:
            date = format_datetime((request.at + timedelta(seconds=seconds)).astimezone(UTC), usegmt=True)
            aged = {} if age is None else {"Age": str(age)}
            return replace(answer, headers={**answer.headers, "Date": date, **aged})

        self._arm("wrong_date", "answer", act, where)

    def no_date(self, **where: Unpack[Where]) -> None:
        """Answer without a Date that says anything."""

        def act(_: Request, answer: Response) -> Response:
            return replace(answer, headers={**answer.headers, "Date": ""})

        self._arm("no_date", "answer", act, where)

    # Connections.

    def slow(self, seconds: float = 5.0, **where: Unpack[Where]) -> None:
        """Answer after a while."""
        self._arm("slow", "answer", lambda _, answer: _travelling(answer, delay=seconds), where)

    def drip(self, seconds: float = 0.1, **where: Unpack[Where]) -> None:
        """Send the body byte by byte, so long apart."""
        self._arm("drip", "answer", lambda _, answer: _travelling(answer, drip=seconds), where)

    def reset(self, **where: Unpack[Where]) -> None:
        """Reset the connection instead of answering."""
        self._arm("reset", "instead", lambda *_: Response(0, wire=Wire(reset=True)), where)

    def truncate(self, keep: float = 0.5, **where: Unpack[Where]) -> None:
        """Close the connection after a part of the body that Content-Length promised."""

        def act(_: Request, answer: Response) -> Response:
            return _travelling(answer, cut_after=int(len(answer.body) * keep))

        self._arm("truncate", "answer", _on_success(act), where)

    def truncate_gzip(self, keep: float = 0.5, **where: Unpack[Where]) -> None:
        """Send a part of a compressed body, with the length of that part."""

        def act(_: Request, answer: Response) -> Response:
            packed = gzip.compress(answer.body)
            return _compressed(answer, packed[: int(len(packed) * keep)])

        self._arm("truncate_gzip", "answer", _on_success(act), where)

    # Bodies.

    def rewrite_body(self, rewrite: Callable[[bytes], bytes], **where: Unpack[Where]) -> None:
        """Send `rewrite(body)`: NaN, duplicate keys, a byte order mark, whatever JSON text can hide."""
        self._body("rewrite_body", rewrite, where)

    def truncate_json(self, keep: float = 0.5, **where: Unpack[Where]) -> None:
        """Send a part of the JSON text as if it were all."""
        self._body("truncate_json", lambda body: body[: int(len(body) * keep)], where)

    def html(self, **where: Unpack[Where]) -> None:
        """Answer 200 with an HTML page."""
        self._arm("html", "answer", _on_success(lambda *_: Response.html(200, "Maintenance")), where)

    def empty(self, **where: Unpack[Where]) -> None:
        """Answer 200 with nothing."""
        self._body("empty", lambda _: b"", where)

    def wrong_type(self, content_type: str = "text/html", **where: Unpack[Where]) -> None:
        """Answer in valid JSON under another content type."""

        def act(_: Request, answer: Response) -> Response:
            return replace(answer, content_type=content_type)

        self._arm("wrong_type", "answer", _on_success(act), where)

    def gzip_bomb(self, megabytes: int = 512, **where: Unpack[Where]) -> None:
        """Send a small compressed body that inflates to so much white space and the answer."""

        def act(_: Request, answer: Response) -> Response:
            # Members of a gzip file may follow each other, so one is made and repeated.
            member = gzip.compress(b" " * MEGABYTE)
            return _compressed(answer, member * megabytes + gzip.compress(answer.body))

        self._arm("gzip_bomb", "answer", _on_success(act), where)

    def big(self, megabytes: int = 512, **where: Unpack[Where]) -> None:
        """Send so much white space before the answer."""

        def act(_: Request, answer: Response) -> Response:
            return _travelling(answer, padding=megabytes * MEGABYTE)

        self._arm("big", "answer", _on_success(act), where)

    def deep(self, levels: int = 200_000, **where: Unpack[Where]) -> None:
        """Answer with an array in an array, and so on."""
        deep = b'{"meta":{},"objs":' + b"[" * levels + b"]" * levels + b"}"
        self._body("deep", lambda _: deep, where)

    # What an envelope says.

    def no_objs(self, **where: Unpack[Where]) -> None:
        """Answer with an envelope that has no objs."""

        def act(_: Request, payload: JsonObject) -> JsonObject:
            return {"meta": payload["meta"]}

        self._arm("no_objs", "payload", act, where)

    def withhold(self, **where: Unpack[Where]) -> None:
        """Count the objs, but give none: rights were lost."""

        def act(_: Request, payload: JsonObject) -> JsonObject | None:
            meta = payload["meta"] | {"currentCount": 0}
            meta["totalCount"] = meta["totalCount"] or 4
            return payload | {"meta": meta, "objs": []}

        self._arm("withhold", "payload", act, where)

    def platform_total(self, total: int = 1_234_567, **where: Unpack[Where]) -> None:
        """Count everything on the platform in totalCount."""
        self._meta("platform_total", {"totalCount": total}, where)

    def total_pages(self, pages: int = 0, **where: Unpack[Where]) -> None:
        """Say another number of pages than there are."""
        self._meta("total_pages", {"totalPages": pages}, where)

    # Pages.

    def cap(self, records: int = 999, **where: Unpack[Where]) -> None:
        """Let a view take in so many line entries only, the newest."""
        self._arm("cap", "cap", lambda _, cap: records if records < cap else None, where)

    def small_pages(self, per_page: int = 1, **where: Unpack[Where]) -> None:
        """Give fewer objs a page than asked for."""

        def act(_: Request, asked: Asked) -> Asked | None:
            return replace(asked, per_page=per_page) if per_page < asked.per_page else None

        self._arm("small_pages", "page", act, where)

    def same_page(self, **where: Unpack[Where]) -> None:
        """Give page 1 under every number, saying that there is always one more."""

        def act(request: Request, asked: Asked) -> Asked:
            number = positive_number(request.first("page"), 1) or 1
            return Asked(1, asked.per_page, {"currentPage": number, "totalPages": number + 1})

        self._arm("same_page", "page", act, where)

    def drift(self, *, keeps_count: bool = False, **where: Unpack[Where]) -> None:
        """Let the list move between pages: from page 2 on its first object is gone, so one is skipped.

        With `keeps_count` it has come back at the end, so that the objects add up all the same.
        """

        def act(request: Request, objs: list[JsonObject]) -> list[JsonObject] | None:
            if positive_number(request.first("page"), 1) == 1 or not objs:
                return None
            return objs[1:] + (objs[:1] if keeps_count else [])

        self._arm("drift", "objs", act, where)

    def repeat_objs(self, **where: Unpack[Where]) -> None:
        """Give every object twice, the second time after all others: on another page, if there is one."""
        self._arm("repeat_objs", "objs", lambda _, objs: [*objs, *objs] if objs else None, where)

    def duplicate_lines(self, **where: Unpack[Where]) -> None:
        """Give every line entry twice."""
        self._lines("duplicate_lines", lambda line: [entry for entry in line for _ in range(2)], where)

    def reorder_lines(self, **where: Unpack[Where]) -> None:
        """Give line entries and objects in another order: the odd ones backwards, then the even ones."""
        self._lines("reorder_lines", _shuffled, where, _shuffled)

    # What else an answer can hold.

    def stale(self, **where: Unpack[Where]) -> None:
        """Give the first answer for a view, location and page again, whatever the window."""
        kept: dict[tuple[str | None, ...], JsonObject] = {}

        def act(request: Request, payload: JsonObject) -> JsonObject | None:
            asked = tuple(request.first(name) for name in ("id", "loc1", "page"))
            if asked in kept:
                return kept[asked]
            kept[asked] = payload
            return None

        self._arm("stale", "payload", act, where)

    def extra_fields(self, **where: Unpack[Where]) -> None:
        """Put fields that nobody knows into the envelope, its objects and their entries."""
        news = {"x_new": {"since": "v9", "values": [1, None, "é"]}}
        self._lines(
            "extra_fields",
            lambda line: [entry | news for entry in line],
            where,
            lambda objs: [obj | news for obj in objs],
        )

    def extended_json(self, **where: Unpack[Where]) -> None:
        """Write ids and dates of objects as older envelopes do."""

        def act(_: Request, payload: JsonObject) -> JsonObject:
            return payload | {"objs": [_extended(obj) for obj in payload["objs"]]}

        self._arm("extended_json", "payload", act, where)

    def mixed_clusters(self, **where: Unpack[Where]) -> None:
        """Put the foreign organisation's cluster first into every answer about one cluster."""
        where.setdefault("on", "devices")

        def act(_: Request, numbers: list[int]) -> list[int] | None:
            return None if FOREIGN_CLUSTER in numbers else [FOREIGN_CLUSTER, *numbers]

        self._arm("mixed_clusters", "clusters", act, where)

    # The machinery.

    def run(self, stage: Stage, request: Request, value: Any = None) -> Any:
        """Give what the faults of a stage make of `value`; of stage `instead`, the first answer."""
        with self._lock:
            feed = self._feed_of(request)
            for armed in self._armed:
                if armed.stage != stage or armed.spent() or not armed.concerns(request, feed):
                    continue
                outcome = armed.act(request, value)
                if outcome is None:
                    continue
                armed.passed += 1
                if armed.passed <= armed.where.get("after", 0):
                    continue
                armed.fired += 1
                self.fired[armed.name] += 1
                value = outcome
                if stage == "instead":
                    break
        return value

    def _arm(self, name: str, stage: Stage, act: Act, where: Where) -> None:
        unknown = set(where) - set(Where.__annotations__)
        if unknown:
            raise TypeError(
                f"no option {', '.join(sorted(unknown))}; there are {', '.join(Where.__annotations__)}"
            )
        with self._lock:
            self._armed += (_Armed(name, stage, act, where),)

    def _body(self, name: str, rewrite: Callable[[bytes], bytes], where: Where) -> None:
        def act(_: Request, answer: Response) -> Response:
            return replace(answer, body=rewrite(answer.body))

        self._arm(name, "answer", _on_success(act), where)

    def _meta(self, name: str, said: JsonObject, where: Where) -> None:
        def act(_: Request, payload: JsonObject) -> JsonObject:
            return payload | {"meta": payload["meta"] | said}

        self._arm(name, "payload", act, where)

    def _lines(
        self,
        name: str,
        change: Callable[[list[Entry]], list[Entry]],
        where: Where,
        change_objs: Callable[[list[JsonObject]], list[JsonObject]] = list,
    ) -> None:
        def act(_: Request, objs: list[JsonObject]) -> list[JsonObject] | None:
            changed = [
                obj | {"data": obj["data"] | {"line": change(obj["data"].get("line", []))}} for obj in objs
            ]
            return change_objs(changed) if objs else None

        self._arm(name, "objs", act, where)


def _other_host(request: Request) -> str:
    """Give the base URL of another name of this very host, so that what follows it is recorded."""
    name, _, port = request.headers.get("host", "").rpartition(":")
    return f"http://{'127.0.0.1' if name == 'localhost' else 'localhost'}:{port}"


def _on_success(act: Act) -> Act:
    return lambda request, answer: act(request, answer) if answer.status == 200 else None


def _travelling(answer: Response, **how: Any) -> Response:
    return replace(answer, wire=replace(answer.wire, **how))


def _compressed(answer: Response, body: bytes) -> Response:
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})


def _shuffled(items: list[Any]) -> list[Any]:
    return [*items[1::2][::-1], *items[::2]]


def _extended(obj: JsonObject) -> JsonObject:
    ids = {name: {"$oid": obj[name]} for name in ("_id", "id") if isinstance(obj.get(name), str)}
    dates: JsonObject = {
        name: {"$date": ms_of(datetime.fromisoformat(obj[name]))}
        for name in ("createDate", "updateDate")
        if name in obj
    }
    if isinstance(obj.get("tstamp"), int):
        dates["tstamp"] = {"$numberLong": str(obj["tstamp"])}
    return obj | ids | dates
