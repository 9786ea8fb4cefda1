from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.eventhub.exceptions import ConnectError, ConnectionLostError, EventDataSendError, EventHubError

from app.base.errors import BatchRejected, HubBusy, HubError, HubRefused, HubUnreachable, MessageTooLarge
from app.base.readings import Event, Reading
from app.base.wire_forms import PLAIN, WireForm
from app.eventhub.batches import Counts, Packed, pack, pack_alike, partition_key
from app.eventhub.hub import translate
from app.settings.schema import HubSettings
from tests.unit.sdk_errors import sdk_error, within

HUB = HubSettings("h.example.test/e", "eu", "h.example.test", "e")


def event(number: int, size: int = 100) -> Event:
    reading = Reading(f"id{number}", None, (), {}, {})
    return Event(f"id{number}", "A", b"x" * size, {"recType": "r"}, (reading,))


def no_split(event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
    return [], list(event.readings)


def ids(packed: Packed) -> list[list[str]]:
    return [[event.message_id for event in batch.events] for batch in packed.batches]


def test_events_fill_batches_in_order_up_to_the_limit() -> None:
    packed = pack([event(n, 3_000) for n in range(10)], 10_000, no_split)

    assert ids(packed) == [["id0", "id1", "id2"], ["id3", "id4", "id5"], ["id6", "id7", "id8"], ["id9"]]
    assert max(batch.size_bytes for batch in packed.batches) <= 10_000


def test_a_batch_that_let_go_of_its_events_still_says_how_much_they_were() -> None:
    (batch,) = pack([event(0), event(1, 50)], 10_000, no_split).batches

    waiting = batch.without_events().without_events()

    assert (waiting.events, waiting.encoded, waiting.size_bytes) == ((), batch.encoded, batch.size_bytes)
    assert (waiting.counts, batch.counts) == (Counts(2, 2, 150), Counts(2, 2, 150))


def test_an_event_that_fits_no_message_is_oversize_and_the_others_keep_their_order() -> None:
    packed = pack([event(0), event(1, 20_000), event(2)], 10_000, no_split)

    assert ids(packed) == [["id0", "id2"]]
    assert [reading.id for reading in packed.oversize] == ["id1"]


def test_parts_of_a_split_event_stand_where_it_stood() -> None:
    def halves(whole: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
        assert not fits(whole)
        return [event(11, 6_000), event(12, 6_000)], []

    packed = pack([event(0, 6_000), event(1, 20_000), event(2, 6_000)], 10_000, halves)

    assert ids(packed) == [["id0"], ["id11"], ["id12"], ["id2"]]


def test_a_part_that_fits_no_message_is_oversize_and_the_other_parts_are_sent() -> None:
    def one_too_large(whole: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
        return [event(11), event(12, 20_000), event(13)], [*event(14).readings]

    packed = pack([event(0), event(1, 50_000)], 10_000, one_too_large)

    assert ids(packed) == [["id0", "id11", "id13"]]
    assert [reading.id for reading in packed.oversize] == ["id14", "id12"]


def test_all_forms_have_the_same_parts_those_of_the_largest() -> None:
    wide = WireForm("plain", (("tenant", "x" * 3_000),))

    def halves(whole: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:
        assert not fits(whole)
        return [event(11, 3_000), event(12, 3_000)], []

    packed = pack_alike([event(0), event(1, 8_000), event(2)], 10_000, halves, [PLAIN, wide])

    assert ids(packed[PLAIN]) == [["id0", "id11", "id12", "id2"]]
    assert ids(packed[wide]) == [["id0", "id11"], ["id12", "id2"]]
    assert max(batch.size_bytes for batch in packed[wide].batches) <= 10_000


def test_what_is_too_large_in_one_form_is_oversize_in_each() -> None:
    wide = WireForm("plain", (("tenant", "x" * 3_000),))

    packed = pack_alike([event(0), event(1, 8_000), event(2)], 10_000, no_split, [PLAIN, wide])

    assert {form: ids(found) for form, found in packed.items()} == {
        PLAIN: [["id0", "id2"]],
        wide: [["id0", "id2"]],
    }
    assert {reading.id for found in packed.values() for reading in found.oversize} == {"id1"}


def test_the_bytes_of_a_batch_are_those_of_its_form() -> None:
    body = b'{"recType":"r"}'
    one = Event("id", "A", body, {"recType": "r"}, event(0).readings)

    (plain,), (cloudevents,) = (
        pack([one], 10_000, no_split, WireForm(form)).batches for form in ("plain", "cloudevents")
    )

    assert plain.counts.body_bytes == len(body)
    assert cloudevents.counts.body_bytes > len(body) + len('{"specversion":"1.0","data":}')


@pytest.mark.parametrize(
    "location",
    ["Tour Été", "x" * 128, "É" * 128],
    ids=["accents", "as long as may be", "characters count, not bytes"],
)
def test_a_location_is_its_own_partition_key(location: str) -> None:
    assert partition_key(location) == location


def test_a_long_location_has_a_short_stable_key_of_its_own() -> None:
    one, other = partition_key("x" * 300), partition_key("x" * 299 + "y")

    assert len(one) == 128
    assert one == partition_key("x" * 300)
    assert one != other
    assert one.startswith("x" * 100)


def test_a_lone_surrogate_in_a_name_is_sent_as_its_escape() -> None:
    assert partition_key("A\ud800") == "A\\ud800"


@pytest.mark.parametrize(
    ("error", "ours", "advice"),
    [
        (sdk_error(EventDataSendError, "com.microsoft:server-busy"), HubBusy, "busy"),
        (sdk_error(EventDataSendError, "amqp:resource-limit-exceeded"), HubBusy, "busy"),
        (
            EventHubError("The request was terminated because the entity is being throttled. 50002"),
            HubBusy,
            "busy",
        ),
        (sdk_error(ConnectError, "amqp:unauthorized-access"), HubRefused, "grant the Send right"),
        (sdk_error(ConnectionLostError, "amqp:not-found"), HubRefused, "check EntityPath"),
        (sdk_error(ConnectError, "com.microsoft:entity-disabled"), HubRefused, "enable it"),
        (ClientAuthenticationError("no identity"), HubRefused, "grant the Send right"),
        (sdk_error(EventDataSendError, "amqp:link:message-size-exceeded"), MessageTooLarge, "too large"),
        (ValueError("EventDataBatch has reached its size limit"), MessageTooLarge, "too large"),
        (sdk_error(EventDataSendError, "amqp:not-allowed"), BatchRejected, "not-allowed"),
        (
            sdk_error(ConnectionLostError, "amqp:link:detach-forced"),
            HubUnreachable,
            "EVENT_HUB_TRANSPORT=websockets",
        ),
        (OSError(111, "refused"), HubUnreachable, "EVENT_HUB_TRANSPORT=websockets"),
        (ValueError("Did not receive reciprocal protocol header."), HubUnreachable, "no connection"),
        (TypeError("'NoneType' object is not iterable"), HubUnreachable, "says nothing of the network"),
        (within(EventHubError("failed"), KeyError("a")), HubUnreachable, "(KeyError: failed)"),
        (within(EventHubError("failed"), OSError("reset")), HubUnreachable, "check the network"),
    ],
    ids=lambda value: getattr(value, "error", None) or getattr(value, "__name__", type(value).__name__),
)
def test_what_the_sdk_raises_is_told_by_what_to_do(
    error: Exception, ours: type[HubError], advice: str
) -> None:
    translated = translate(HUB, error)

    assert type(translated) is ours
    assert str(translated).startswith("hub eu: ")
    assert advice in str(translated)
