"""The client of one run: discovery and dashboard queries, with login, retries and paging in one place."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from app.base import exact_json
from app.base.budget import Budget
from app.base.clocks import ApiClock, LeftOut
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
from app.base.instants import MILLISECOND, format_time, utc_now
from app.base.interpreter import require
from app.base.log import get_log
from app.base.readings import DashboardAnswer, DashboardQuery, JsonObject, line_entries
from app.base.redaction import register_secret
from app.base.text import cut_short, printable, shown
from app.base.view_text import unfit_for_view
from app.microshare import auth
from app.microshare.asked import Asked
from app.microshare.auth import LoginRefusals, Token, TokenCache
from app.microshare.discovery import READ_NAMES, Found, Organisation, find_places, organisations_in
from app.microshare.paging import PER_PAGE, Page, Pages, read_all_pages, read_page
from app.microshare.retries import PassingTrouble, told_time, with_retries
from app.microshare.verdict import Question, check_status, is_json_typed, quote_body, read_json
from app.settings.schema import MicroshareSettings

if TYPE_CHECKING:
    from app.microshare.http import Http, HttpAnswer

# It is loaded with the first call; where there is none, that is said before anything is begun.
require("requests")

VIEW_REC_TYPE = "io.microshare.fm.master.agg"
CLUSTER_REC_TYPE = "io.microshare.peoplecounter.packed"
# A query that is slow for less than this is slow for another reason than its length.
_NARROW = timedelta(minutes=15)
# One that has too much to say for so little is not asked for less.
_SHORTEST = timedelta(minutes=1)
# A cluster has all its devices in one answer, which no window makes shorter; few of its fields are kept.
_LARGEST_DISCOVERY = 64 * 1024 * 1024
# A login, and the question that is asked for the time.
_LARGEST_OTHER = 1024 * 1024
_LOGIN_ATTEMPTS = 3
_MOST_LOGINS = 2
_OVER = "the run's time is over; the next run goes on"


class MicroshareClient:
    """Asks the Microshare API, for one run. Thread-safe: the workers of a run share one.

    Passing trouble (5xx, 429, connection) is tried again, `settings.attempts` times a request,
    after waits that go through `wait` (the budget's own unless given) and are shared where the API
    asks for them (429). The token is shared with other runs through `tokens`. A login that
    failed is not tried again: every later call fails at once with the same error. `refusals` knows of
    logins that failed in earlier runs.

    Every method raises a SourceError that names the call, or Interrupted where the run's time is over.
    """

    def __init__(
        self,
        settings: MicroshareSettings,
        budget: Budget,
        *,
        tokens: TokenCache | None = None,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        wait: Callable[[float], None] | None = None,
        refusals: LoginRefusals | None = None,
    ) -> None:
        register_secret(settings.password)
        register_secret(settings.api_key)
        self._settings = settings
        self._budget = budget
        self._tokens = tokens or TokenCache()
        self._api_clock = ApiClock()
        self._now = now
        self._monotonic = monotonic
        self._jitter = jitter
        self._wait = wait or budget.sleep
        self._refusals = refusals
        self._http: Http | None = None
        self._lock = threading.Lock()
        self._api_calls = 0
        self._logins = 0
        self._failure: SourceError | None = None
        self._paused_until = monotonic()
        self._log = get_log()
        self._tell_asked: Callable[[Asked], None] = self._log_asked

    @property
    def api_calls(self) -> int:
        """HTTP requests made, logins included."""
        return self._api_calls

    def tell_requests(self, tell: Callable[[Asked], None]) -> None:
        """Tell of each request there, from whichever thread made it; else each is logged in that thread.

        Only where the log has such details; see `app.base.log`.
        """
        self._tell_asked = tell

    def api_time(self) -> datetime | None:
        """Give the API's clock now, up to a second early; None before an answer told it.

        It is the Date of the last answer that is the API's own (an accepted login, or a 2xx with
        JSON), a cache's Age added, moved on by the time that passed since.
        """
        return self._api_clock.time(self._monotonic(), self._now())

    def left_out_times(self) -> tuple[LeftOut, ...]:
        """Give the times of answers that were too far from the host's clock to count, in order."""
        return self._api_clock.left_out()

    def learn_time(self, cluster_ids: Sequence[str]) -> None:
        """Ask for an answer that tells the API's clock, where none of this run has yet.

        A process that kept its token has asked nothing so far. The question is a small one, which
        has no window; where it tells nothing, a login does.
        """
        if self.api_time() is None and cluster_ids:
            cluster_id = cluster_ids[0]
            question = _discovery_of(cluster_id, self._settings.api_url, details=False)
            # What is wrong with the clusters is for discovery to say, when it is due.
            with suppress(BadResponse, NoPermission, SourceRefused, SourceUnavailable):
                self._told_by(question, self._ask(question, question.url))
        if self.api_time() is None:
            self._tokens.obtain(self._settings, lambda _: False, self._log_in)

    def login(self) -> None:
        """Make sure that there is a token that should last; nothing is asked where one is at hand."""
        self._token()

    def discover_locations(self, cluster_ids: Sequence[str]) -> Found:
        """Give the buildings in these device clusters that the configured identity owns.

        Raises SourceRefused naming a cluster that does not exist, NoPermission where nothing is
        shown or owned.
        """
        clusters, warnings = self._clusters(cluster_ids)
        found = find_places(clusters, self._settings.identity)
        return Found(found.places, (*warnings, *found.warnings), found.collisions)

    def organisations(self, cluster_ids: Sequence[str]) -> tuple[Organisation, ...]:
        """Give who owns these device clusters, whatever identity is configured.

        Raises SourceRefused naming a cluster that does not exist.
        """
        return organisations_in(self._clusters(cluster_ids)[0])

    def query_dashboard(self, query: DashboardQuery) -> DashboardAnswer:
        """Give the complete answer to a query, all pages.

        Raises WindowTooWide where a shorter window should be asked instead: a gateway time-out, or an
        answer over the limit on bytes, for 15 minutes or more; or pages that do not add up twice. Raises
        SourceRefused, and asks nothing, where the location's name could change the view's query.
        """
        if flaw := unfit_for_view(query.loc1):
            raise SourceRefused(f"microshare: location {shown(query.loc1)} {flaw}; rename it in Microshare")
        question = _question_of(query, self._settings.api_url)
        pages = self._read(
            question,
            lambda page: f"&page={page}&perPage={PER_PAGE}",
            largest=self._settings.largest_answer_bytes,
        )
        if pages.flaw:
            raise WindowTooWide(f"microshare: {question.name}: {pages.flaw}, twice; ask for a shorter window")
        warnings = tuple(f"{question.name}: {warning}" for warning in pages.warnings)
        return DashboardAnswer(pages.objs, warnings)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def _clusters(self, cluster_ids: Sequence[str]) -> tuple[list[Any], list[str]]:
        """Give the clusters of these ids with their devices, and warnings."""
        clusters: list[Any] = []
        warnings: list[str] = []
        for cluster_id in dict.fromkeys(cluster_ids):
            question = _discovery_of(cluster_id, self._settings.api_url, details=True)
            # The first page is asked as it is known to work, without a word on pages.
            pages = self._read(
                question,
                lambda page: f"&page={page}&perPage={PER_PAGE}" if page > 1 else "",
                largest=_LARGEST_DISCOVERY,
                kept=READ_NAMES,
            )
            if pages.flaw:
                raise BadResponse(
                    f"microshare: {question.name}: {pages.flaw}, twice; try again, clusters changed meanwhile"
                )
            clusters += pages.objs
            warnings += (f"{question.name}: {warning}" for warning in pages.warnings)
        return clusters, warnings

    # --- one question -----------------------------------------------------------------------------

    def _read(
        self,
        question: Question,
        paging: Callable[[int], str],
        *,
        largest: int,
        kept: Collection[str] | None = None,
    ) -> Pages:
        """Read all pages of an answer, `largest` bytes at most; of their objects only names in `kept`."""

        def fetch(number: int, left: int) -> Page:
            try:
                answer = self._ask_patiently(question, question.url + paging(number), left)
            except AnswerTooLarge:
                raise _too_large(question, largest) from None
            found = self._told_by(question, answer, kept)
            kind = answer.headers.get("Content-Type") or "no content type"
            odd = () if is_json_typed(answer) else (f"JSON that is sent as {cut_short(printable(kind), 80)}",)
            return read_page(question, found, len(answer.body), odd)

        return read_all_pages(question, fetch, largest_bytes=largest)

    def _told_by(
        self, question: Question, answer: HttpAnswer, kept: Collection[str] | None = None
    ) -> JsonObject:
        """Give the JSON of an answer, whose clock counts then. Raises BadResponse where it is none."""
        try:
            found = read_json(question, answer, kept)
        except BadResponse as error:
            self._tell(question.asks, answer.took_s, answer.status, error=error)
            raise
        self._saw_time(answer)
        self._tell(question.asks, answer.took_s, answer.status, shown=found)
        return found

    def _saw_time(self, answer: HttpAnswer) -> None:
        time = told_time(answer.headers)
        if time is not None:
            self._api_clock.tell(time, answer.at, self._now())

    def _ask_patiently(self, question: Question, url: str, largest: int) -> HttpAnswer:
        return with_retries(
            lambda: self._ask(question, url, largest),
            attempts=self._settings.attempts,
            wait=self._wait,
            jitter=self._jitter,
            on_retry=self._share_pause,
        )

    def _ask(self, question: Question, url: str, largest: int = _LARGEST_OTHER) -> HttpAnswer:
        """Ask once; with a refused token, once more with another. Raises AnswerTooLarge."""
        token = self._token()
        try:
            answer = self._get(question, url, largest, token)
            if answer.status == 401:
                token = self._token(refused=token)
                answer = self._get(question, url, largest, token)
        except PassingTrouble as trouble:
            if trouble.timed_out and question.wide:
                raise WindowTooWide(
                    f"microshare: {question.name}: {trouble}; ask for a shorter window"
                ) from trouble
            raise PassingTrouble(f"{question.name}: {trouble}", timed_out=trouble.timed_out) from trouble
        if answer.status == 401:
            self._tokens.drop(self._settings, token)
            raise self._fail(
                AuthError(
                    f"microshare: {question.name}: 401 with a fresh token, {quote_body(answer.body)}; check "
                    f"the rights of {printable(self._settings.username)}, and MICROSHARE_API_URL"
                )
            )
        check_status(question, answer, self._clock())
        return answer

    def _get(self, question: Question, url: str, largest: int, token: Token) -> HttpAnswer:
        """Ask with this token. What is no success is told of here, the rest when it is read."""
        began = self._monotonic()
        try:
            answer = self._send("GET", url, largest, token=token.value)
        except SourceError as error:
            self._tell(question.asks, self._monotonic() - began, error=error)
            raise
        if not 200 <= answer.status < 300:
            self._tell(question.asks, answer.took_s, answer.status)
        return answer

    def _tell(
        self,
        asks: Mapping[str, str],
        took_s: float,
        status: int | None = None,
        *,
        shown: JsonObject | None = None,
        error: SourceError | None = None,
    ) -> None:
        """Tell of a request, where the log has such details; `shown` is what its answer holds."""
        if self._log.tells_details:
            objs = shown.get("objs") if shown and "view" in asks else None
            readings = sum(len(line_entries(obj) or ()) for obj in objs) if isinstance(objs, list) else None
            self._tell_asked(Asked(asks, took_s, status, readings, None if error is None else str(error)))

    def _log_asked(self, asked: Asked) -> None:
        self._log.debug("request.made", **asked.as_fields())

    def _send(
        self,
        method: str,
        url: str,
        largest: int = _LARGEST_OTHER,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> HttpAnswer:
        """Make one request, once nobody is asked to pause, within the run's time."""
        pause = self._paused_until - self._monotonic()
        if pause > 0:
            self._wait(pause)
        if self._budget.remaining() <= 0:
            raise Interrupted(_OVER)
        with self._lock:
            self._api_calls += 1
        try:
            return self._calls().send(
                method,
                url,
                seconds=self._settings.timeout.total_seconds(),
                remaining=self._budget.remaining,
                largest=largest,
                accept=accept,
                token=token,
                form=form,
            )
        except PassingTrouble as trouble:
            if self._budget.remaining() <= 0:
                raise Interrupted(_OVER) from trouble
            raise

    def _calls(self) -> Http:
        """Give what makes calls. It is loaded for the first of them, while hubs are being connected to."""
        with self._lock:
            if self._http is None:
                from app.microshare.http import Http

                self._http = Http(
                    largest_body=_LARGEST_OTHER, network=self._settings.network, monotonic=self._monotonic
                )
            return self._http

    def _share_pause(self, trouble: PassingTrouble, seconds: float) -> None:
        if trouble.busy:
            with self._lock:
                self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    def _clock(self) -> datetime:
        """Give the API's clock, or the host's before it is known."""
        return self.api_time() or self._now()

    # --- the token --------------------------------------------------------------------------------

    def _token(self, refused: Token | None = None) -> Token:
        """Give a token other than the `refused` one, logging in where there is none.

        One that this run got itself is used until it is refused, however soon it ends.
        """
        self._raise_failure()

        def usable(token: Token) -> bool:
            return token != refused and (self._logins > 0 or token.renew_at > self._clock())

        return self._tokens.obtain(self._settings, usable, self._log_in)

    def _log_in(self) -> Token:
        self._raise_failure()
        if self._logins >= _MOST_LOGINS:
            raise self._fail(
                AuthError(
                    f"microshare: {_MOST_LOGINS} tokens were refused in one run; check the rights of "
                    f"{printable(self._settings.username)}, and whether its tokens are being revoked"
                )
            )
        self._logins += 1
        try:
            if self._refusals is not None:
                self._refusals.require_due(self._settings)
            accepted = with_retries(
                lambda: auth.log_in(self._settings, self._post, self._clock),
                attempts=_LOGIN_ATTEMPTS,
                wait=self._wait,
                jitter=self._jitter,
                on_retry=self._share_pause,
            )
        except SourceError as error:
            if self._refusals is not None and isinstance(error, AuthError) and error.of_credentials:
                self._refusals.refused(self._settings)
            raise self._fail(error) from None
        if self._refusals is not None:
            self._refusals.accepted()
        self._saw_time(accepted.answer)
        return accepted.token

    def _post(self, url: str, form: Mapping[str, str] | None) -> HttpAnswer:
        asks, began = {"login": self._settings.auth}, self._monotonic()
        try:
            answer = self._send("POST", url, form=form, accept="*/*")
        except PassingTrouble as trouble:
            self._tell(asks, self._monotonic() - began, error=trouble)
            raise PassingTrouble(f"login: {trouble}") from trouble
        self._tell(asks, answer.took_s, answer.status)
        return answer

    def _fail(self, error: SourceError) -> SourceError:
        """Remember what ends this client."""
        self._failure = error
        return error

    def _raise_failure(self) -> None:
        # A new exception each time: several threads raising one object would mix their tracebacks.
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))


def _discovery_of(cluster_id: str, api_url: str, *, details: bool) -> Question:
    """Ask for a cluster, with its devices where `details` are wanted."""
    return Question(
        name=f"discovery of cluster {printable(cluster_id)}",
        id=f"cluster {printable(cluster_id)}",
        url=f"{api_url}/device/{CLUSTER_REC_TYPE}/{quote(cluster_id, safe='')}"
        f"?details={'true' if details else 'false'}",
        asks={"cluster": cluster_id},
    )


def _question_of(query: DashboardQuery, api_url: str) -> Question:
    """Write a query as the API wants it, everything percent-encoded once, spaces as `+`.

    `dataContext` is one parameter, a JSON array as text: the view pastes it as it is. The path
    keeps its trailing slash: without one some deployments answer 403.
    """
    start, end = format_time(query.window.start), format_time(query.window.end - MILLISECOND)
    pairs = [
        ("id", query.view_id),
        ("recType", query.rec_type),
        ("from", start),
        ("to", end),
        ("dataContext", exact_json.dumps(list(query.data_context)).decode()),
        *query.parameters.items(),
        ("loc1", query.loc1),
    ]
    parameters = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in pairs)
    return Question(
        name=f"query of view {printable(query.view_id)} for {query.loc1!r}, {start} to {end}",
        id=f"view {printable(query.view_id)}",
        url=f"{api_url}/share/{VIEW_REC_TYPE}/?{parameters}",
        parameters=parameters,
        wide=query.window.end - query.window.start > _NARROW,
        divisible=query.window.end - query.window.start > _SHORTEST,
        asks={"view": query.view_id, "location": query.loc1, "from": start, "to": end},
    )


def _too_large(question: Question, largest: int) -> SourceError:
    said = f"microshare: {question.name}: its answer is over {largest:,} bytes, all pages together"
    if question.divisible:
        return WindowTooWide(f"{said}; ask for less at a time")
    if question.parameters:
        return AnswerTooLarge(
            f"{said}; raise microshare.largest_answer_bytes in config.yaml, where memory allows 5 to 30 "
            f"times as much for each of run.concurrency; there is no asking for less at a time"
        )
    return AnswerTooLarge(f"{said}; ask for less at a time: for clusters with fewer devices")


def _encode(text: str) -> str:
    return quote_plus(text, safe=":", errors="surrogatepass")
