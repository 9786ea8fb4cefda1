"""What a message of the queue says: which shard of a feed is to be run, and of which tick. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from app.base.instants import format_time, parse_time
from app.base.shards import Shard
from app.base.text import shown
from app.settings.ncrontab import times_after
from app.state.records import in_reach

# Of a schedule that is not even: the shortest of its next periods counts.
_PERIODS = 5


@dataclass(frozen=True, slots=True)
class ShardMessage:
    """A shard of a feed that is to be run, and the tick of the feed's timer that it is a part of."""

    feed: str
    shard: Shard
    tick: datetime

    def text(self) -> str:
        """Write it as it is on the queue: the shard counted from 1, as people write it."""
        said = {
            "feed": self.feed,
            "shard": self.shard.number,
            "of": self.shard.of,
            "tick": format_time(self.tick),
        }
        return json.dumps(said)

    @classmethod
    def parse(cls, text: str) -> ShardMessage:
        """Read what `text` gives. Raises ValueError, saying what is wrong, for whatever else is there."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if not isinstance(said, dict):
            raise ValueError("is not a JSON object")
        number, of = _whole(said, "shard"), _whole(said, "of")
        if of < 2:
            raise ValueError(f"has {of} as 'of', which is not a number of shards")
        return cls(_text(said, "feed"), Shard(number - 1, of), _tick(said))

    def is_over(self, now: datetime, schedule: str) -> bool:
        """Whether it is older than the schedule's period: the next tick has seen to that shard by then."""
        times = islice(times_after(schedule, self.tick), _PERIODS)
        period = min((later - at for at, later in pairwise(times)), default=timedelta.max)
        return now - self.tick > period


def _text(said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"has {shown(found)} as {name!r}, which is not a text")
    return found


def _tick(said: dict[str, Any]) -> datetime:
    text = _text(said, "tick")
    try:
        return in_reach(parse_time(text))
    except ValueError as error:
        raise ValueError(f"has {shown(text)} as 'tick', which is not a time of a timer: {error}") from None


def _whole(said: dict[str, Any], name: str) -> int:
    found = said.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValueError(f"has {shown(found)} as {name!r}, which is not a whole number")
    return found
