"""`send-test`: marked test events, to see a hub work end to end."""

from __future__ import annotations

import secrets

import click

from app.base import exact_json
from app.base.instants import format_time, utc_now
from app.base.readings import Event
from app.base.text import counted
from app.cli import COMMANDS, PROGRAM
from app.cli.choices import find_hub, hub_option
from app.cli.output import Output
from app.cli.session import ALL_WELL, HUB_OPEN_S, HUB_SEND_S, begin
from app.eventhub.batches import pack
from app.eventhub.hub import Hub
from app.feeds.feed import SOURCE
from app.network.addresses import run_async
from app.settings.schema import HubSettings

_REC_TYPE = "test"
# Also the partition key, so that test events arrive in their order.
_LOCATION = "test"
# To see that a hub works, not to load it.
_MOST = 1_000


@click.command("send-test", short_help=COMMANDS["send-test"])
@hub_option
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(1, _MOST),
    default=1,
    show_default=True,
    help=f"How many events, at most {_MOST}.",
)
def command(wanted: str | None, count: int) -> int:
    """Send marked test events to a hub, to see it work end to end.

    They carry the application property recType = test, by which consumers can leave them out, and
    change nothing in the forwarder's state. A paused hub is sent to as well.

    \b
    python -m app tail --latest            in one terminal
    python -m app send-test --count 3      in another
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings = begin()
    hub = find_hub(settings, wanted)
    events = [_event(number) for number in range(1, count + 1)]
    count_of_batches = run_async(_send(hub, events))
    batches = "1 batch" if count_of_batches == 1 else f"{count_of_batches} batches"
    option = "" if hub is settings.hubs[0] else f" --hub {hub.key}"
    Output().show(
        f"sent {counted(count, 'test event')} in {batches} to {hub.name} ({hub.key})"
        + (", which is paused" if not hub.enabled else ""),
        f"partition key {_LOCATION}, {_message_ids(events)}",
        f"to see the next ones arrive: {PROGRAM} tail{option} --latest",
    )
    return ALL_WELL


async def _send(settings: HubSettings, events: list[Event]) -> int:
    """Send, and give in how many batches. Raises HubError."""
    hub = Hub(settings)
    try:
        largest = await hub.open(HUB_OPEN_S)
        batches = pack(events, largest, lambda _event, _fits: ([], []), settings.form).batches
        for batch in batches:
            await hub.send(batch, HUB_SEND_S)
        return len(batches)
    finally:
        await hub.close()


def _event(number: int) -> Event:
    body = {"recType": _REC_TYPE, "time": format_time(utc_now()), "number": number}
    properties = {"recType": _REC_TYPE, "location": _LOCATION, "source": SOURCE}
    # As long as a reading's id, and of the same characters.
    return Event(secrets.token_urlsafe(12), _LOCATION, exact_json.dumps(body), properties, (), _REC_TYPE)


def _message_ids(events: list[Event]) -> str:
    first, last = events[0].message_id, events[-1].message_id
    return f"message id {first}" if first == last else f"message ids {first} to {last}"
