"""What a page is made of, invented: some locations and two hubs, in which things went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.audit.findings import Finding, HourCount, HubAudit
from app.base.checkpoints import Gap
from app.base.instants import HOUR, format_time
from app.base.readings import JsonObject, QuarantinedReading, Slice
from app.health.past_runs import past_run
from app.health.records import Condition, FeedHealth, HubHealth, Kind, LocationHealth, Trouble
from app.page.comparison import compared, differences
from app.page.gathered import Gathered, GatheredFeed
from app.quality.lateness import DelayCount

MADE = datetime(2026, 3, 2, 12, 0, 7, tzinfo=UTC)
DAY = Slice(datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC))
LIVE = "example.servicebus.windows.net/people"
BACKUP = "second.servicebus.windows.net/people"
HUBS = {LIVE: "people-live", BACKUP: "people-backup"}
LOCATIONS = ("50% Annex", "Example Beacon House", "Mill & Lane", "Quay+One", "Tour Été")


@dataclass(slots=True)
class Audited:
    """A hub beside the source, hour by hour; what a hub lacks is taken out of what it has."""

    hub: str
    window: Slice = DAY
    locations: Sequence[str] = LOCATIONS
    an_hour: int = 16
    silent: Mapping[str, Slice] = field(default_factory=dict)
    missing: list[Finding] = field(default_factory=list)
    other: list[Finding] = field(default_factory=list)

    def lacks(self, location: str, start: datetime, count: int, cause: str, *, due: bool = True) -> Audited:
        """Let the hub lack `count` readings, a minute apart, from `start` on."""
        for number in range(count):
            time = start + timedelta(minutes=number % 60)
            self.missing.append(
                Finding("missing", location, time, format_time(time), f"{number:016}", cause=cause, due=due)
            )
        return self

    def has(self, heading: Any, location: str, start: datetime, count: int) -> Audited:
        """Let the hub have `count` readings under a heading that they should not be under."""
        for number in range(count):
            time = start + timedelta(minutes=number % 60)
            self.other.append(Finding(heading, location, time, format_time(time), f"{number:016}", times=2))
        return self

    def audit(self, **fields: Any) -> HubAudit:
        hours = [self._hour(name, at) for name in self.locations for at in hours_of(self.window)]
        published = sum(hour.published for hour in hours)
        wrong = sum(finding.is_wrong for finding in (*self.missing, *self.other))
        found = HubAudit(
            feed="people_counter",
            hub=self.hub,
            window=self.window,
            published=published,
            delivered=sum(hour.delivered for hour in hours),
            missing=_in_order(self.missing),
            repeated=_in_order(found for found in self.other if found.heading == "repeated"),
            changed=_in_order(found for found in self.other if found.heading == "changed"),
            unknown=_in_order(found for found in self.other if found.heading == "unknown"),
            wrong=wrong,
            compared=published + len(self.other),
            locations=len(self.locations),
            hours=[hour for hour in hours if hour.published],
            delays=[DelayCount(60, published // 9), DelayCount(300, published // 2), DelayCount(900, 310)],
            max_delay_s=871.0,
        )
        return replace(found, **fields)

    def _hour(self, location: str, at: datetime) -> HourCount:
        def count(found: Sequence[Finding], heading: str) -> int:
            if not found:
                return 0
            span = Slice(at, at + HOUR)
            return sum(
                each.heading == heading and each.location == location and each.time in span for each in found
            )

        silent = self.silent.get(location)
        published = 0 if silent and at in silent else self.an_hour
        missing, changed = count(self.missing, "missing"), count(self.other, "changed")
        return HourCount(
            location,
            at,
            published=published,
            delivered=published - missing - changed,
            missing=missing,
            repeated=count(self.other, "repeated"),
            changed=changed,
            unknown=count(self.other, "unknown"),
        )


def _in_order(found: Iterable[Finding]) -> list[Finding]:
    """Give findings in the order in which an audit has them."""
    return sorted(found, key=lambda each: (each.location, each.time))


def hours_of(window: Slice) -> list[datetime]:
    return [window.start + number * HOUR for number in range((window.end - window.start) // HOUR)]


def a_run(started: datetime, hubs: Mapping[str, JsonObject], **fields: Any) -> JsonObject:
    """Give the report of a run as the history keeps it."""
    return {
        "run": f"{started:%m%d%H%M}",
        "feed": "people_counter",
        "ok": not fields.get("failures"),
        "started": format_time(started),
        "until": format_time(started),
        "took_s": 4.2,
        "api_calls": 7,
        "lateness": None,
        "hubs": hubs,
        "warnings": [],
        "failures": [],
        "changed": [],
        "drift": [],
        "compared": None,
        "per_day": None,
        **fields,
    }


def a_hub(at: datetime, readings: int = 20, **fields: Any) -> JsonObject:
    """Give what a run's report says of one hub."""
    return {
        "events": readings,
        "readings": readings,
        "duplicates": 60,
        "bytes": readings * 400,
        "delivered_until": format_time(at),
        "behind_s": 0.0,
        "error": None,
        "paused": False,
        **fields,
    }


def runs(window: Slice = DAY) -> list[JsonObject]:
    """Give a day's runs: the second hub is down in the small hours, and no run comes for two hours."""
    down = "hub people-backup: no connection: connection refused; check the network"
    told = []
    position = window.start
    for number in range((window.end - window.start) // timedelta(minutes=15)):
        at = window.start + number * timedelta(minutes=15)
        if timedelta(hours=17) <= at - window.start < timedelta(hours=19):
            continue
        refused = timedelta(hours=13) <= at - window.start < timedelta(hours=16)
        position = position if refused else at
        backup = (
            a_hub(position, 0, error=down, behind_s=(at - position).total_seconds(), duplicates=0)
            if refused
            else a_hub(at)
        )
        told.append(
            a_run(
                at,
                {LIVE: a_hub(at), BACKUP: backup},
                lateness={
                    "readings": 20,
                    "median_s": 431.0,
                    "p95_s": 862.0,
                    "max_s": 901.0,
                    "delays": [{"up_to_s": 300, "readings": 6}, {"up_to_s": 900, "readings": 14}],
                },
                failures=[{"location": None, "hub": BACKUP, "error": down}] if refused else [],
                per_day={
                    "api_calls": 500,
                    "hubs": {LIVE: {"events": 1920, "bytes": 768_000, "unit_share": 0.000022}},
                },
            )
        )
    return told


def a_health(**fields: Any) -> FeedHealth:
    """Give the health of a feed whose hubs are all at the window's end."""
    locations = [LocationHealth(name, Condition.HEALTHY, asked=True) for name in LOCATIONS]
    found = FeedHealth(
        "people_counter",
        MADE,
        Condition.HEALTHY,
        "5 locations at 2 hubs, at most 7 s behind",
        hubs={
            key: HubHealth(name, Condition.HEALTHY, position=DAY.end, lag=timedelta(seconds=7))
            for key, name in HUBS.items()
        },
        locations=locations,
    )
    return replace(found, **fields)


def a_feed(
    *, audits: Sequence[HubAudit] | None = None, runs: Sequence[JsonObject] = (), **fields: Any
) -> GatheredFeed:
    """Give a feed in which all is well, unless `audits` or `fields` say otherwise."""
    if audits is None:
        audits = Audited(LIVE).audit(), Audited(BACKUP).audit()
    found = GatheredFeed(
        "people-counter",
        a_health(),
        look_back=HOUR,
        hubs=HUBS,
        runs=[past_run(report) for report in runs],
        comparisons={audit.hub: compared(audit) for audit in audits},
        differences=differences(audits),
    )
    return replace(found, **fields)


def well() -> Gathered:
    return Gathered(MADE, DAY, [a_feed(runs=runs()[:52])])


def troubled() -> Gathered:
    """Give a day in which all went wrong that the page can tell, one way and another."""
    live = Audited(LIVE, silent={"Tour Été": Slice(DAY.start + 2 * HOUR, DAY.start + 5 * HOUR)})
    backup = Audited(BACKUP, silent=live.silent)
    backup.lacks("Quay+One", DAY.start + 4 * HOUR, 14, "late")
    backup.lacks("Mill & Lane", DAY.start + 6 * HOUR, 2, "lost")
    for name in LOCATIONS:
        backup.lacks(name, DAY.end - HOUR, 9, "behind", due=False)
    backup.has("repeated", "Example Beacon House", DAY.start + 9 * HOUR, 3)
    backup.has("changed", "50% Annex", DAY.start + 10 * HOUR, 1)
    quarantined = QuarantinedReading(
        "people_counter",
        "Mill & Lane",
        (BACKUP,),
        "bm90IGEgcmVhZGlu",
        "1,310,720 bytes, over the hub's 1,048,576",
        DAY.start + 3 * HOUR,
        b"{}",
    )
    health = a_health(
        verdict=Condition.FAILING,
        said="connection refused, for 3 h",
        troubles=[
            Trouble(
                Kind.HUB,
                "hub people-backup: no connection: connection refused",
                "check the network; where only port 443 is open, set EVENT_HUB_TRANSPORT=websockets",
                BACKUP,
                LOCATIONS,
                DAY.end - 3 * HOUR,
                grave=True,
                cause="no connection",
            ),
            Trouble(
                Kind.DRIFT,
                "Tour Été was silent for 3 h, longer than ever before",
                None,
                locations=["Tour Été"],
                since=DAY.start + 2 * HOUR,
            ),
        ],
        gaps=[
            (
                "Quay+One",
                Gap(
                    Slice(DAY.start + 4 * HOUR, DAY.start + 5 * HOUR),
                    "missed",
                    DAY.start + 20 * HOUR,
                    (BACKUP,),
                ),
            )
        ],
    )
    people = a_feed(
        runs=runs(),
        health=health,
        audits=[live.audit(), backup.audit()],
        quarantined=[quarantined],
    )
    snapshots = a_feed(
        name="hourly-snapshot",
        health=a_health(feed="hourly_snapshot"),
        look_back=6 * HOUR,
        audits=[
            Audited(LIVE, an_hour=4).audit(),
            HubAudit(
                "hourly_snapshot",
                BACKUP,
                DAY,
                error="hub people-backup: the key may not read here; use one with the Listen right",
            ),
        ],
    )
    return Gathered(MADE, DAY, [people, snapshots])
