"""`tail`: read a hub's events."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from app.base import exact_json
from app.base.errors import SettingsError
from app.base.instants import format_time, utc_now
from app.base.redaction import redact_json
from app.base.text import counted
from app.cli import COMMANDS
from app.cli.choices import consumer_group_option, find_hub, hub_option
from app.cli.event_lines import EventLines
from app.cli.event_verdicts import Verdicts
from app.cli.output import Output
from app.cli.session import ALL_WELL, SOMETHING_WRONG, begin, complain, json_option
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.feeds.feed import Feed, load_feed
from app.settings.schema import HubSettings, Settings


@click.command("tail", short_help=COMMANDS["tail"])
@hub_option
@consumer_group_option
@click.option("--latest", is_flag=True, help="Only what comes from now on, instead of all that is there.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after N events.")
@click.option("--seconds", metavar="S", type=click.FloatRange(min=0), help="End after S seconds of reading.")
@click.option(
    "--validate", is_flag=True, help="Check each event against its JSON Schema; needs the package jsonschema."
)
@json_option
def command(
    wanted: str | None,
    consumer_group: str,
    latest: bool,
    count: int | None,
    seconds: float | None,
    validate: bool,
    as_json: bool,
) -> int:
    """Read a hub's events, oldest first in each partition.

    A line an event: the time of its reading in UTC, the location and the sensor, what was counted, and
    how long after its time it was stored; with --json the whole event. Reads on until Ctrl-C unless
    --count or --seconds ends it. It needs a key with the Listen right, and leaves nothing behind in the
    hub.

    With --validate each line begins with whether the event fits the JSON Schema of its feed and form (in
    docs/schemas), those of others and test events with a dash; it ends with 1 where one does not fit.

    \b
    python -m app tail --count 5
    python -m app tail --hub second --latest --json | jq .body
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings = begin(as_json=as_json)
    hub = find_hub(settings, wanted)
    out = Output(as_json=as_json)
    feeds = _feeds(settings)
    verdicts = Verdicts(feeds) if validate else None
    with contextlib.suppress(KeyboardInterrupt):
        shown = _Shown(out, EventLines(feeds.values(), utc_now()), verdicts)
        _tail(HubReader(hub, consumer_group), hub, shown, latest=latest, count=count, seconds=seconds)
    if verdicts is None:
        return ALL_WELL
    complain(verdicts.summary())
    return SOMETHING_WRONG if verdicts.count["wrong"] else ALL_WELL


def _tail(
    reader: HubReader,
    hub: HubSettings,
    shown: _Shown,
    *,
    latest: bool,
    count: int | None,
    seconds: float | None,
) -> None:
    def take(event: Received) -> bool:
        shown.show(event)
        return not shown.out.reader_gone and shown.count != count

    partitions = reader.open(latest=latest)
    begins = "what comes from now on" if latest else "from the beginning"
    complain(f"reading {hub.name} ({hub.key}), {counted(partitions, 'partition')}, {begins}")
    reader.read(take, seconds)


class _Shown:
    """Shows events, each with its verdict where there are `verdicts`; `count` is how many it has shown."""

    def __init__(self, out: Output, lines: EventLines, verdicts: Verdicts | None) -> None:
        self.out = out
        self.count = 0
        self._lines = lines
        self._verdicts = verdicts

    def show(self, event: Received) -> None:
        verdict = self._verdicts.of(event) if self._verdicts else None
        self.count += 1
        if self.out.as_json:
            self.out.write_object(_event_json(event) | (verdict.as_json() if verdict else {}))
            return
        begins = f"{verdict.word:5} " if verdict else ""
        self.out.show_line(f"{begins}{self._lines.line(event)}")
        if verdict and verdict.flaws:
            self.out.show(*(f"      {flaw}" for flaw in verdict.flaws))


def _feeds(settings: Settings) -> dict[str, Feed]:
    feeds: dict[str, Feed] = {}
    for name in settings.feeds:
        # A feed that is off need not have a module.
        with contextlib.suppress(SettingsError):
            feeds[name] = load_feed(name)
    return feeds


def _event_json(event: Received) -> dict[str, Any]:
    return {
        "partition": event.partition,
        "sequence": event.sequence,
        "offset": event.offset,
        "enqueued": event.enqueued and format_time(event.enqueued),
        "message_id": event.message_id,
        "partition_key": event.partition_key,
        "content_type": event.content_type,
        "properties": dict(event.properties),
        "body": _body_json(event.body),
        "body_type": event.body_type,
    }


def _body_json(body: bytes) -> Any:
    """Give a body as the JSON it is; as text where it is none, or none that can be written again."""
    try:
        found = redact_json(exact_json.loads(body))
        exact_json.dumps(found)
    except (exact_json.NotJson, RecursionError):
        return body.decode("utf-8", "backslashreplace")
    return found
