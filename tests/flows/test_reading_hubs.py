"""What a hub holds is read to its end, also where it says to hold more than it hands out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.base.errors import HubUnreachable
from app.eventhub.reader import HubReader
from app.eventhub.received import Received
from app.settings.schema import NetworkSettings
from emulators.eventhubs import EmulatedHub, EventHubsEmulator, StoredEvent
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, small_estate
from tests.environments.tls import Authority, TlsFront


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Installation]:
    """An installation with a day of readings in both hubs."""
    clock = Clock(START)
    with MicroshareEmulator(small_estate(), clock=clock) as source, EventHubsEmulator(["a", "b"]) as hubs:
        installation = Installation(source, hubs, clock, tmp_path)
        assert installation.run().ok
        yield installation


def last_events(hub: EmulatedHub) -> dict[str, StoredEvent]:
    return {event.partition_id: event for event in hub.received()}


def reader_of(installation: Installation, *, answer_s: float = 12) -> HubReader:
    return HubReader(installation.settings().hubs[0], "$Default", answer_s=answer_s)


def test_events_that_were_taken_from_the_end_of_a_hub_are_found_to_be_gone(full: Installation) -> None:
    ends = {name: event.sequence_number for name, event in last_events(full.a).items()}
    for _ in range(3):
        gone = {event.sequence_number for event in last_events(full.a).values()}
        full.a.discard(lambda event: event.sequence_number in gone)  # noqa: B023 - used at once
    taken: list[Received] = []
    reader = reader_of(full, answer_s=3)

    reader.open(latest=False)
    readable_from = reader.read_held(taken.append)

    assert sorted(str(event.message_id) for event in taken) == sorted(
        str(event.message_id) for event in full.a.received()
    )
    kept = {name: event.sequence_number for name, event in last_events(full.a).items()}
    assert reader.withheld == {name: (kept[name], ends[name]) for name in kept}
    assert readable_from is None


def test_a_hub_that_hands_out_nothing_of_what_it_holds_is_an_error(full: Installation) -> None:
    reader = reader_of(full, answer_s=3)
    reader.open(latest=False)
    full.a.discard(lambda _: True)

    with pytest.raises(HubUnreachable, match="it holds events, and none came"):
        reader.read_held(lambda _: None)


def test_how_far_reading_has_come_is_told_in_events(full: Installation) -> None:
    told: list[tuple[int, int]] = []
    reader = reader_of(full)

    reader.open(latest=False)
    reader.read_held(lambda _: None, lambda done, known: told.append((done, known)))

    count = len(full.a.received())
    assert told[-1] == (count, count)
    assert all(done <= known for done, known in told)


def test_a_hub_behind_an_authority_that_the_settings_name_is_read(full: Installation, tmp_path: Path) -> None:
    plain, taken = full.settings().hubs[0], list[Received]()
    port = urlsplit(full.hubs.connection_string("a").partition(";")[0].partition("=")[2]).port
    assert plain.connection_string is not None
    assert port is not None
    # The SDK speaks TLS to this port only, so the front has an address of loopback to itself.
    host = f"127.{port >> 8}.{port & 255}.9"
    authority = Authority(tmp_path)
    secure = plain.connection_string.replace(f"127.0.0.1:{port}", host).replace(
        ";UseDevelopmentEmulator=true", ""
    )
    front = TlsFront(port, authority.sign(host=host), host=host, port=5671).start()
    network = NetworkSettings(ca_file=str(authority.file))
    reader = HubReader(replace(plain, connection_string=secure, network=network), "$Default")

    try:
        reader.open(latest=False)
        reader.read_held(taken.append)
    finally:
        front.stop()

    assert len(taken) == len(full.a.received())
    assert front.trusted > 0
