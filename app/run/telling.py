"""Who a run is, and how what became of it is told: in its log, its report, and the feed's history."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from app.base.errors import StateError
from app.base.instants import MINUTE, format_time, parse_time
from app.base.log import get_log
from app.base.readings import JsonObject
from app.base.redaction import redact
from app.base.shards import WHOLE, Shard
from app.quality.bounds import error_kept
from app.run.availability import Availability
from app.run.brief import in_brief
from app.run.draft import Draft
from app.run.ports import Wiring
from app.run.report import Report
from app.settings.schema import FeedSettings

# What a run did is told as a rate where it follows on another as runs do, hourly ones with a pause
# included; after a longer one it caught up, and a repeat by hand did nothing.
_SHORTEST_APART = MINUTE
_LONGEST_APART = timedelta(hours=3)
# What each line of a run says, of which its report tells the same.
_BOUND = ("run", "feed", "shard")


class Telling:
    """A run's name, and what it has to tell. `draft` gathers the report while the run goes on."""

    def __init__(
        self,
        wiring: Wiring,
        feed: FeedSettings,
        state_name: str,
        shard: Shard = WHOLE,
        tick: str | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.state_name = state_name
        part = {} if shard.is_whole else {"shard": shard.number, "shards": shard.of}
        self.log = get_log(run=self.id, feed=feed.name, **part)
        self.started = wiring.now()
        self.draft = Draft(
            self.id,
            feed.name,
            self.started,
            wiring.settings,
            dry_run=wiring.dry_run,
            shard=shard,
            tick=tick,
        )
        self._wiring = wiring

    def could_not_begin(self, error: StateError, took_s: float) -> Report:
        """Tell of a run whose state cannot be used."""
        self.draft.fail(None, None, str(error))
        return self.tell(self.draft.finish(failing_since=self.started, took_s=took_s))

    def seconds_since(self, last_run: JsonObject | None) -> float | None:
        """Give how long ago the run before began; None where this one does not follow closely on it."""
        if last_run is None or "started" not in last_run:
            return None
        apart = self.started - parse_time(last_run["started"])
        return apart.total_seconds() if _SHORTEST_APART <= apart <= _LONGEST_APART else None

    def failing_since(self, available: Availability) -> datetime | None:
        """Give when the first of the runs began that failed up to this one; None where this one is well."""
        return (available.failed_before.since or self.started) if self.draft.failed else None

    def last_run(self, available: Availability) -> JsonObject:
        """Give what the state keeps of this run, for the next one."""
        failing_since = self.failing_since(available)
        error = self.draft.first_error
        return {
            "run": self.id,
            "started": format_time(self.started),
            "ended": format_time(self._wiring.now()),
            "ok": not self.draft.failed,
            "error": error and error_kept(error),
            "failing_since": failing_since and format_time(failing_since),
            "hubs_failing": available.failing_hubs(),
        }

    def tell(self, report: Report, *, knows_the_time: bool = True) -> Report:
        """Log what became of the run, and keep it in the history, which a backfill is no part of.

        A run that does not know what time it is changes nothing: its entry would have a wrong time.
        """
        if self._wiring.state_name is None and knows_the_time:
            report = self._kept(report)
        for key, hub in report.hubs.items():
            if not hub.paused:
                self.log.info(
                    "hub.delivered",
                    hub=key,
                    events=hub.events,
                    readings=hub.readings,
                    behind_s=hub.behind_s,
                    position=hub.delivered_until and format_time(hub.delivered_until),
                )
        said = {name: value for name, value in report.as_json().items() if name not in _BOUND}
        write = self.log.info if report.ok else self.log.error
        write("run.finished", briefly=in_brief(report, self._wiring.settings.hub_names), **said)
        return report

    def _kept(self, report: Report) -> Report:
        try:
            self._wiring.store.keep_report(self.state_name, report.as_json())
        except StateError as error:
            text = redact(f"the report of this run could not be kept: {error}")
            return replace(report, warnings=(*report.warnings, text))
        return report
