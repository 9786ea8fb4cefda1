"""What the shards of a feed keep of it, put together for its readers, and what a shard goes on from. Pure.

A record is what a run says of the feed: a FeedState without locations. There is one of each shard that
ran, and one of the whole feed: of runs without shards, and of who looks for locations for all shards.
When the number of shards changes there are records of both numbers, until each of the new shards has its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.base.checkpoints import Discovery, FeedState, LocationState, SeenKey, Takeover
from app.base.readings import JsonObject
from app.base.shards import WHOLE, Shard
from app.quality.bounds import KEYS_KEPT
from app.quality.drift import joined

Records = Mapping[Shard, FeedState]


def together(records: Records) -> FeedState:
    """Give what is said of the feed: by the shards of the number whose newest run is the newest of all.

    Their runs are told as one: begun with the first, ended with the last, ok if all of them are. What
    was noticed is joined. As long as one of these shards has no record, what others say counts, too.
    """
    if records.keys() <= {WHOLE}:
        return records.get(WHOLE, FeedState())
    current = _current(records)
    told = list(current.values()) if is_complete(current) else [*current.values(), *records.values()]
    return FeedState(
        discovery=_newest(record.discovery for record in records.values()),
        takeover=_takeover(current, records.get(WHOLE)),
        last_run=_as_one([record.last_run for record in current.values() if record.last_run]),
        drift=joined(drift for record in told for drift in record.drift),
        keys=_keys(records.values()),
    )


def of_shard(records: Records, shard: Shard) -> FeedState:
    """Give what a shard goes on from: its own record; without one, what the others say of its locations."""
    feed = together(records)
    own = records.get(shard, feed)
    drift = [found for found in own.drift if found.location is not None and shard.holds(found.location)]
    drift += [found for found in feed.drift if found.location is None]
    return replace(own, drift=tuple(drift), keys=feed.keys, latest_discovery=feed.discovery)


def replaced_by(shard: Shard, known: Collection[Shard]) -> list[Shard]:
    """Give those whose records are read no more when `shard` has one, of those that have one now.

    They are shards of another number, and none as long as one of its own number has no record.
    """
    current = {shard, *(each for each in known if each.of == shard.of)}
    if len(current) < shard.of:
        return []
    return [each for each in known if each not in current and not each.is_whole]


def is_complete(records: Records) -> bool:
    """Whether each of the shards of a number, of which these are records, has one."""
    return bool(records) and all(len(records) == shard.of for shard in records)


def as_listed(state: FeedState) -> Mapping[str, LocationState]:
    """Give the locations with what the newest discovery says of when they were listed.

    Each shard notes that of its own when it runs: those of one that does not run are not gone.
    """
    if state.discovery is None:
        return state.locations
    listed = {place.name for place in state.discovery.places} - {*state.discovery.collisions}
    return {
        name: replace(found, last_listed=state.discovery.at) if name in listed else found
        for name, found in state.locations.items()
    }


def _current(records: Records) -> Records:
    """Give the records of the number of shards whose newest run is newest, in the order of the shards.

    The whole feed's is older than one that is as new: it may repeat what shards said.
    """
    of = max(records, key=lambda shard: (_began(records[shard].last_run), shard.of)).of
    return {shard: record for shard, record in sorted(records.items()) if shard.of == of}


def _began(run: JsonObject | None) -> str:
    return str((run or {}).get("started") or "")


def _as_one(runs: Sequence[JsonObject]) -> JsonObject | None:
    if len(runs) < 2:
        return runs[0] if runs else None
    newest: JsonObject = max(runs, key=_began)
    failed = [run for run in runs if not run.get("ok", True)]
    return {
        **newest,
        "started": min(_said(runs, "started"), default=None),
        "ended": max(_said(runs, "ended"), default=None),
        "ok": not failed,
        "error": next(_said(failed, "error"), None),
        "failing_since": min(_said(failed, "failing_since"), default=None),
        "hubs_failing": sorted({hub for run in runs for hub in run.get("hubs_failing", ())}),
    }


def _said(runs: Iterable[JsonObject], what: str) -> Any:
    return (run[what] for run in runs if run.get(what) is not None)


def _newest(found: Iterable[Discovery | None]) -> Discovery | None:
    return max((each for each in found if each is not None), key=lambda each: each.at, default=None)


def _takeover(current: Records, whole: FeedState | None) -> Takeover | None:
    """Give the earlier forwarder's position; it is taken over when each of the shards has done that.

    One that has no record would else begin its locations at START_FROM.
    """
    found = [record.takeover for record in current.values() if record.takeover is not None]
    if is_complete(current) or not found:
        undone = [takeover for takeover in found if takeover.at is None]
        return next(iter([*undone, *found]), None)
    return whole.takeover if whole is not None else replace(found[0], at=None)


def _keys(records: Iterable[FeedState]) -> Mapping[str, SeenKey]:
    """Give the keys that any record knows, each as it was seen last; the newest ones, as many as are kept."""
    newest: dict[str, SeenKey] = {}

    def order(seen: SeenKey) -> tuple[datetime, bool]:
        return seen.last, seen.vanished

    for record in records:
        for key, seen in record.keys.items():
            newest[key] = max(newest.get(key, seen), seen, key=order)
    kept = sorted(newest.items(), key=lambda item: (order(item[1]), item[0]))[-KEYS_KEPT:]
    return dict(sorted(kept))
