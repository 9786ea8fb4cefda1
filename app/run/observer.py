"""What a run notices beside delivering: late, changed, cut and odd answers, what drifts, what differs.

It notes all of it in the run's ledger and in the draft of its report. Nothing is delivered, or held
back, for what is noticed here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from app.base.checkpoints import Gap, LocationState
from app.base.instants import EPOCH, HOUR, format_time, hour_of
from app.base.readings import Reading, Slice, key_of
from app.base.shards import WHOLE, Shard
from app.base.text import counted
from app.quality.bounds import SATURATED
from app.quality.drift import body_keys, gather, is_forgotten, keys_drift, silences, spoke_again
from app.quality.hourly_digests import CHANGED, Difference, compare, gaps_of, is_due, questions
from app.quality.lateness import first_seen, is_steady, near_far_edge
from app.run.draft import Draft
from app.run.fetching import Fetched
from app.run.ledger import Ledger
from app.run.planning import Group
from app.settings.schema import FeedSettings
from app.state.edits import advised

# A reading so far outside the window asked is worth a word.
_ABSURD = HOUR


class Observer:
    """Notices for one run, from its own thread. A run that `is_live` goes up to now: it is no backfill.

    Made when the run's ledger holds the state as it was loaded.
    """

    def __init__(
        self,
        ledger: Ledger,
        draft: Draft,
        settings: FeedSettings,
        *,
        is_live: bool,
        shard: Shard = WHOLE,
    ) -> None:
        self._ledger = ledger
        self._draft = draft
        self._settings = settings
        self._is_live = is_live
        self._shard = shard
        self._before = dict(ledger.locations())
        self._body_keys: set[str] = set()

    def fetched(self, group: Group, fetched: Fetched, horizon: datetime) -> None:
        """Take in a slice that was fetched for a group, before anything of it is delivered."""
        name = group.location
        for text in fetched.warnings:
            self._draft.warn(text)
        self._ledger.saw(name, fetched.readings, horizon)
        self._body_keys |= body_keys(fetched.readings)
        self._warn_of_absent(name, fetched)
        self._warn_of_absurd(name, fetched, horizon)
        self._measure_lateness(group, fetched, horizon)
        self._tell_changed(group, fetched)
        if fetched.saturated is not None:
            gap = Gap(fetched.saturated, SATURATED, horizon)
            if self._ledger.found_gap(name, gap):
                self._draft.found_gap(name, gap)

    def due(self, names: Collection[str], hubs: Collection[str], horizon: datetime) -> list[str]:
        """Give the locations that it is time to compare with the source, the longest-waiting first."""
        due = [name for name in names if is_due(self._ledger.location(name), hubs, horizon)]
        return sorted(due, key=lambda name: self._ledger.location(name).compared or EPOCH)

    def compare(
        self,
        name: str,
        hubs: Collection[str],
        shown: Callable[[Slice], Sequence[Reading]],
        horizon: datetime,
    ) -> None:
        """Compare a location with what the source shows now; what `shown` raises leaves it as it was.

        Hours that differ are asked for once more: an answer that is cut, or a cache's, lacks readings.
        """
        location = self._ledger.location(name)
        differences: list[Difference] = []
        hours = 0
        for window in questions(location, hubs, self._settings.record_limit):
            readings = shown(window)
            after, found = compare(location, hubs, window, readings)
            if found:
                for hour in sorted({difference.hour for difference in found}):
                    readings = [*readings, *shown(Slice(hour, hour + HOUR))]
                after, found = compare(location, hubs, window, readings)
            location = after
            differences += found
            hours += (window.end - window.start) // HOUR
        gaps = gaps_of(differences, horizon)
        self._ledger.compared(name, location, gaps, horizon)
        self._draft.compared(hours, len({difference.hour for difference in differences}))
        for gap in gaps:
            self._draft.found_gap(name, gap)
        for difference in differences:
            if difference.kind == CHANGED:
                self._draft.changed(name, difference.hour, {})

    def settle(self, answered: Collection[str], horizon: datetime) -> None:
        """Keep in the state what drifts, and leave in the report what of it is news.

        Only locations in `answered`, whose queries all succeeded, can be called silent.
        """
        if not self._is_live:
            return
        state = self._ledger.state()
        keys, found = keys_drift(state.keys, self._body_keys, horizon)
        self._draft.drifts(found)
        over = []
        for drift in state.drift:
            location = self._ledger.location(drift.location or "")
            again = spoke_again(drift, location, horizon)
            if again is not None:
                self._draft.drifts([again])
            if again is not None or is_forgotten(drift, location):
                over.append(drift)
        listed = {place.name for place in state.discovery.places} if state.discovery else set()
        # What is no longer listed has a tail at most: nobody waits for more of it.
        for name in sorted({*answered} & (listed | {*self._settings.locations})):
            location = self._ledger.location(name)
            self._draft.drifts(silences(name, location, self._settings.look_back, horizon))
        # Judged now that the run has moved positions: a move that would change nothing is not proposed.
        told = [advised(state, drift, self._shard) for drift in self._draft.drifted]
        drifting = gather(state.drift, told, over, horizon)
        self._draft.settle_drift(drifting)
        self._ledger.update(keys=keys, drift=drifting.kept)

    def _warn_of_absent(self, name: str, fetched: Fetched) -> None:
        if fetched.absent:
            self._draft.warn(
                f"{name}: {counted(fetched.absent, 'reading')} that the source showed before did not come "
                "back, asked for twice: a stale or cut answer, or they were removed; if it lasts, ask "
                "Microshare"
            )

    def _warn_of_absurd(self, name: str, fetched: Fetched, horizon: datetime) -> None:
        end = max(fetched.window.end, horizon) + _ABSURD
        sane = Slice(fetched.window.start - _ABSURD, end)
        absurd = [
            found.time for found in fetched.readings if found.time is not None and found.time not in sane
        ]
        if absurd:
            first = format_time(absurd[0])
            self._draft.warn(
                f"{name}: {counted(len(absurd), 'reading')} far outside the window asked, one at {first}"
            )

    def _measure_lateness(self, group: Group, fetched: Fetched, horizon: datetime) -> None:
        """Measure how late the source is, where the run follows closely on the one before."""
        name, before = group.location, self._before.get(group.location, LocationState())
        checkpoints = [before.checkpoints[hub] for hub in group.hubs if hub in before.checkpoints]
        first_time = len(checkpoints) < len(group.hubs)
        position = min((found.delivered_until for found in checkpoints), default=horizon)
        if not self._is_live or first_time or not is_steady(position, horizon):
            return
        new = first_seen(fetched.readings, self._ledger.known(name))
        for reading in new:
            if reading.time is not None:
                self._draft.lateness.add(horizon + self._settings.settle - reading.time)
        late = near_far_edge(new, checkpoints[0], before.newest, self._settings.look_back)
        if late:
            self._draft.warn_of_look_back(name, len(late), self._settings)

    def _tell_changed(self, group: Group, fetched: Fetched) -> None:
        """Tell which readings that a hub has come with another content now."""
        known = {key_of(found): found for ids in group.checkpoint.ids.values() for found in ids}
        for reading in fetched.readings:
            before = known.get(key_of(reading.id))
            if before in (None, reading.id) or reading.time is None or group.checkpoint.knows(reading.id):
                continue
            self._draft.changed(group.location, hour_of(reading.time), {before: reading.id})
