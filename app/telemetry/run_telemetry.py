"""What a run tells of itself beside its log lines, where that is wanted: metrics, and a trace.

The trace is the run with what took it longest: queries, and deliveries from their place in a
hub's lane to the acknowledgement. Both are sent when the run is over, by what wiring hands in: nothing of
OpenTelemetry is loaded before.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from app.base.budget import Budget
from app.base.instants import format_time, utc_now
from app.base.log import get_log
from app.base.readings import DashboardAnswer, DashboardQuery
from app.base.side_call import SideCall
from app.eventhub.deliveries import Delivered, Delivery, News, Rejected
from app.microshare.auth import LoginRefusals, TokenCache
from app.microshare.client import MicroshareClient
from app.run.ports import MakeLanes
from app.run.report import Report
from app.settings.schema import HubSettings, MicroshareSettings, TelemetrySettings

# A trace of a catch-up would have thousands of spans; what took long is what is looked for.
MOST_SPANS = 50
# How long a run waits for its telemetry to be taken, if it has that much time left.
_LONGEST_S = 10.0
_LEAST_S = 1.0

Value = str | int | float | bool


class Metric(NamedTuple):
    """`adds_up`: the sum over runs means something; else a value stands for itself."""

    unit: str
    adds_up: bool


# The closed list. All have the attribute `feed`, those of a hub `hub`, its key, those of a shard `shard`.
METRICS: Mapping[str, Metric] = {
    "forwarder.readings": Metric("{reading}", True),  # of a hub: delivered
    "forwarder.events": Metric("{event}", True),  # of a hub: delivered
    "forwarder.bytes": Metric("By", True),  # of a hub: bodies delivered
    "forwarder.duplicates": Metric("{reading}", True),  # of a hub: known already, skipped
    "forwarder.behind_s": Metric("s", False),  # of a hub: its least position to the horizon
    "forwarder.failures": Metric("{failure}", True),  # of a hub, or without `hub`: of the source or the run
    "forwarder.took_s": Metric("s", False),
    "forwarder.api_calls": Metric("{call}", True),
    "forwarder.left": Metric("{location}", False),  # not at the horizon when the run ended
    "forwarder.quarantined": Metric("{reading}", True),
    "forwarder.gaps": Metric("{gap}", True),  # found in the run
    "forwarder.lateness_median_s": Metric("s", False),  # of readings seen for the first time
    "forwarder.lateness_p95_s": Metric("s", False),
    "forwarder.lateness_max_s": Metric("s", False),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of a metric of the list."""

    name: str
    value: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a run's time; `error` is what it ended with, if it failed."""

    name: str
    started: datetime
    took_s: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None


def measurements(report: Report) -> Sequence[Measurement]:
    """Give what a run is measured by. Paused hubs are left out: nothing is expected of them."""
    of_feed = {"feed": report.feed}
    if not report.shard.is_whole:
        of_feed["shard"] = str(report.shard)
    failures = Counter(failure.hub for failure in report.failures)
    values: list[tuple[str, float, Mapping[str, str]]] = [
        ("took_s", report.took_s, of_feed),
        ("api_calls", report.api_calls, of_feed),
        ("left", report.left, of_feed),
        ("quarantined", len(report.quarantined), of_feed),
        ("gaps", len(report.gaps), of_feed),
        ("failures", failures[None], of_feed),
    ]
    if report.lateness is not None:
        values += [
            ("lateness_median_s", report.lateness.median_s, of_feed),
            ("lateness_p95_s", report.lateness.p95_s, of_feed),
            ("lateness_max_s", report.lateness.max_s, of_feed),
        ]
    for key, hub in report.hubs.items():
        if hub.paused:
            continue
        of_hub = {**of_feed, "hub": key}
        values += [
            ("readings", hub.readings, of_hub),
            ("events", hub.events, of_hub),
            ("bytes", hub.bytes, of_hub),
            ("duplicates", hub.duplicates, of_hub),
            ("failures", failures[key], of_hub),
        ]
        if hub.behind_s is not None:
            values.append(("behind_s", hub.behind_s, of_hub))
    return [Measurement(f"forwarder.{name}", value, attributes) for name, value, attributes in values]


def span_of(report: Report) -> Span:
    """Give the whole run as a span."""
    named = ("run", "feed", "ok", "locations", "slices", "api_calls", "left")
    attributes: dict[str, Value] = {
        **{name: getattr(report, name) for name in named},
        "warnings": len(report.warnings),
        "failures": len(report.failures),
    }
    if report.until is not None:
        attributes["until"] = format_time(report.until)
    error = None if report.ok else report.summary()
    return Span(f"run {report.feed}", report.started, report.took_s, attributes, error)


class Spans:
    """Keeps the longest spans of a run. Thread-safe."""

    def __init__(
        self,
        most: int = MOST_SPANS,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._longest: list[tuple[float, int, Span]] = []

    def begin(self, name: str, **attributes: Value) -> Callable[[str | None], None]:
        """Begin a span; what is given ends it, with an error or None."""
        started, at = self._now(), self._monotonic()

        def end(error: str | None) -> None:
            self._keep(Span(name, started, self._monotonic() - at, attributes, error))

        return end

    @contextmanager
    def of(self, name: str, **attributes: Value) -> Iterator[None]:
        """Make a span of what is done inside."""
        end = self.begin(name, **attributes)
        try:
            yield
        except Exception as error:
            end(str(error))
            raise
        end(None)

    def longest(self) -> Sequence[Span]:
        """Give them in the order they began."""
        with self._lock:
            return sorted((span for *_, span in self._longest), key=lambda span: span.started)

    def _keep(self, span: Span) -> None:
        with self._lock:
            heapq.heappush(self._longest, (span.took_s, next(self._numbers), span))
            if len(self._longest) > self._most:
                heapq.heappop(self._longest)


class WatchedClient(MicroshareClient):
    """A client whose queries become spans."""

    def __init__(
        self,
        settings: MicroshareSettings,
        budget: Budget,
        *,
        tokens: TokenCache,
        spans: Spans,
        refusals: LoginRefusals | None = None,
    ) -> None:
        super().__init__(settings, budget, tokens=tokens, refusals=refusals)
        self._spans = spans

    def query_dashboard(self, query: DashboardQuery) -> DashboardAnswer:
        window = {"from": format_time(query.window.start), "to": format_time(query.window.end)}
        with self._spans.of("query", location=query.loc1, **window):
            return super().query_dashboard(query)


def watching(make_lanes: MakeLanes, spans: Spans) -> MakeLanes:
    """Give what makes lanes whose deliveries become spans."""
    return lambda *given: _WatchedLanes(make_lanes, spans, *given)


class _WatchedLanes:
    def __init__(
        self,
        make_lanes: MakeLanes,
        spans: Spans,
        hubs: Sequence[HubSettings],
        budget: Budget,
        tell: Callable[[News], None],
        may_send: Callable[[], str | None],
    ) -> None:
        self._spans = spans
        self._tell = tell
        self._under_way: dict[tuple[str, int], Callable[[str | None], None]] = {}
        lanes = make_lanes(hubs, budget, self._end_and_tell, may_send)
        self._put = lanes.put
        self.start = lanes.start
        self.has_room = lanes.has_room
        self.stop_location = lanes.stop_location
        self.close = lanes.close

    def put(self, hub: str, delivery: Delivery) -> None:
        if delivery.batch is not None:
            events, size = delivery.batch.counts.events, delivery.batch.size_bytes
            # A lane tells of a delivery of its own making, but sends what is encoded here.
            self._under_way[hub, id(delivery.batch.encoded)] = self._spans.begin(
                "deliver", hub=hub, location=delivery.location, events=events, bytes=size
            )
        self._put(hub, delivery)

    def _end_and_tell(self, news: News) -> None:
        if isinstance(news, Delivered | Rejected) and news.delivery.batch is not None:
            end = self._under_way.pop((news.hub, id(news.delivery.batch.encoded)), None)
            if end is not None:
                end(str(news.error) if isinstance(news, Rejected) else None)
        self._tell(news)


# Where to, the run's span, the others, the metrics, and what the run is a part of; gives what went wrong.
Send = Callable[[TelemetrySettings, Span, Sequence[Span], Sequence[Measurement], str], str | None]


def exporter(
    settings: TelemetrySettings, spans: Spans, send: Send, traceparent: str = ""
) -> Callable[[Report, float], None]:
    """Give what sends a run's telemetry by `send`, within the seconds that the run has left.

    `traceparent` names what the run is a part of, in W3C's form. Whatever goes wrong is a line in
    the log and no more.
    """

    def export(report: Report, left_s: float) -> None:
        limit_s = min(_LONGEST_S, max(_LEAST_S, left_s))

        def send_what_was_told() -> str | None:
            told = span_of(report), spans.longest(), measurements(report)
            return send(settings, *told, traceparent)

        trouble = SideCall("telemetry", send_what_was_told).trouble(limit_s)
        if trouble is not None:
            get_log(run=report.run, feed=report.feed).warning(
                "telemetry.failed",
                error=f"telemetry: Application Insights did not take it: {trouble}; check "
                "APPLICATIONINSIGHTS_CONNECTION_STRING, and that its host can be reached",
            )

    return export
