"""How feeds fare, in Prometheus' text format, for node_exporter's textfile collector: docs/metrics.md.

The names are a contract: alerts and dashboards of others rest on them. Seconds and Unix times, as
Prometheus' naming has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.base.redaction import redact
from app.base.version import VERSION
from app.health.records import Condition, FeedHealth, HubHealth

# Of a feed, in the order in which they are told.
_VERDICTS = (
    Condition.HEALTHY,
    Condition.BEHIND,
    Condition.FAILING,
    Condition.STOPPED,
    Condition.NEVER_RAN,
    Condition.UNKNOWN,
    Condition.OFF,
)


def as_metrics(found: Sequence[FeedHealth], at: datetime) -> bytes:
    """Give how the feeds fare at `at`; what is not known of a feed or hub has no sample."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_of_all(at), *_of_feeds(found), *_of_hubs(found)]))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_all(at: datetime) -> Iterator[Metric]:
    info = GaugeMetricFamily("forwarder_info", "The version that looked; always 1.", labels=["version"])
    info.add_metric([VERSION], 1)
    yield info
    yield GaugeMetricFamily("forwarder_status_time_seconds", "When this was looked up.", value=at.timestamp())


def _of_feeds(found: Sequence[FeedHealth]) -> Iterator[Metric]:
    verdict = GaugeMetricFamily(
        "forwarder_feed_verdict", "1 for the feed's verdict, 0 for every other.", labels=["feed", "verdict"]
    )
    for feed in found:
        for each in _VERDICTS:
            verdict.add_metric([feed.feed, each.replace(" ", "_")], each is feed.verdict)
    yield verdict
    yield _gauge(
        "forwarder_feed_ok",
        "0 where `status` ends with 1 for the feed.",
        ((feed, feed.ok) for feed in found if feed.verdict is not Condition.OFF),
    )
    known = [feed for feed in found if feed.is_known]
    for name, told, values in (
        ("behind_seconds", "How far the farthest position is behind.", [feed.lag for feed in known]),
        ("behind_limit_seconds", "What is behind by more is told as behind.", [feed.limit for feed in known]),
        ("last_run_start_time_seconds", "When the last run began.", [feed.runs.began for feed in known]),
        ("last_run_end_time_seconds", "When the last run ended.", [feed.runs.ended for feed in known]),
        ("last_run_ok", "0 where something failed in it.", [_last_ok(feed) for feed in known]),
        ("next_run_time_seconds", "When the next run is due.", [feed.runs.next_due for feed in known]),
        ("runs_missed", "Runs that were due since the last one.", [feed.runs.missed for feed in known]),
        ("locations", "Locations that are asked for.", [len(_asked(feed)) for feed in known]),
        ("locations_behind", "Those with a hub behind.", [_count(feed, Condition.BEHIND) for feed in known]),
        ("locations_failing", "Those that fail.", [_count(feed, Condition.FAILING) for feed in known]),
        ("gaps", "Gaps that are known.", [len(feed.gaps) for feed in known]),
        ("quarantined_readings", "In quarantine, counted up to 100.", [feed.quarantined for feed in known]),
    ):
        yield _gauge(f"forwarder_feed_{name}", told, zip(known, values, strict=True))


def _of_hubs(found: Sequence[FeedHealth]) -> Iterator[Metric]:
    hubs = [(feed, hub) for feed in found for hub in feed.hubs.values()]
    for name, told, values in (
        ("enabled", "0 where it is paused, or not in the settings.", [_is_on(hub) for _, hub in hubs]),
        ("behind_seconds", "How far its farthest position is behind.", [hub.lag for _, hub in hubs]),
        ("locations_behind", "Locations that it is behind at.", [hub.behind for _, hub in hubs]),
        ("locations_failing", "Locations that it fails at.", [hub.failing for _, hub in hubs]),
        (
            "last_success_time_seconds",
            "When it took something.",
            [hub.record.last_success for _, hub in hubs],
        ),
    ):
        yield _per_hub(GaugeMetricFamily, f"forwarder_hub_{name}", told, hubs, values)
    for name, told, counts in (
        ("events", "Events that it took.", [hub.record.events for _, hub in hubs]),
        ("readings", "Readings that it took.", [hub.record.readings for _, hub in hubs]),
        ("duplicates", "Readings left out, as it had them.", [hub.record.duplicates for _, hub in hubs]),
    ):
        yield _per_hub(CounterMetricFamily, f"forwarder_hub_{name}_total", told, hubs, counts)


Value = bool | int | timedelta | datetime | None


def _gauge(name: str, told: str, values: Iterable[tuple[FeedHealth, Value]]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=["feed"])
    for feed, value in values:
        if value is not None:
            family.add_metric([feed.feed], _number(value))
    return family


def _per_hub(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    told: str,
    hubs: Sequence[tuple[FeedHealth, HubHealth]],
    values: Sequence[Value],
) -> Metric:
    family = kind(name, told, labels=["feed", "hub"])
    for (feed, hub), value in zip(hubs, values, strict=True):
        if value is not None:
            family.add_metric([feed.feed, redact(hub.name)], _number(value))
    return family


def _number(value: bool | int | timedelta | datetime) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _last_ok(feed: FeedHealth) -> bool | None:
    return None if feed.last_run is None else bool(feed.last_run.get("ok", True))


def _asked(feed: FeedHealth) -> list[Condition]:
    return [location.verdict for location in feed.locations if location.asked]


def _count(feed: FeedHealth, verdict: Condition) -> int:
    return _asked(feed).count(verdict)


def _is_on(hub: HubHealth) -> bool:
    return hub.verdict not in (Condition.PAUSED, Condition.REMOVED)
