"""C: the hubs. Gone, refusing, busy, slow, cut off, with smaller limits; added, removed, paused."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from emulators.eventhubs import EventHubsEmulator, HubSpec
from emulators.microshare import Request, Response
from tests.canaries import HUB_KEY
from tests.environments.faulty import FaultyInstallation, building, run_within, runs
from tests.faults.case import Case
from tests.faults.cases_source import MINUTE, M, T, all_moved

AMQPS = 5671
ALONE = "that hub is left alone for the run, the other gets all, the message names what to do"
REFUSED = "permanent: one attempt a run, reported; heals by itself when it is restored"


def a_has_all(faulty: FaultyInstallation) -> None:
    """Hub a is done; hub b stands where it was."""
    for name in (M, T):
        assert faulty.position(name, "a") == faulty.clock.now
        assert faulty.position(name, "b") < faulty.clock.now
    assert [failure.hub for failure in faulty.report.failures] == [faulty.key("b")]


def nothing_at_b(faulty: FaultyInstallation) -> None:
    a_has_all(faulty)
    assert faulty.since("b") == 0


def one_attempt(faulty: FaultyInstallation) -> None:
    """The SDK repeats once on a connection of its own; the forwarder does not."""
    nothing_at_b(faulty)
    assert sum(faulty.b.fired.values()) <= 2


def stop_b(faulty: FaultyInstallation) -> None:
    faulty.other.stop()
    # Nobody else is to get the port: what is bound and does not listen refuses.
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", faulty.other.port))

    def come_back() -> None:
        held.close()
        faulty.other.start()

    faulty.after(come_back)
    faulty.proof("its port is closed", lambda: _is_closed(faulty.other.port))


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def third_hub(connection_string: Callable[[FaultyInstallation], str]) -> Callable[[FaultyInstallation], None]:
    """Add a hub that cannot be had."""

    def inject(faulty: FaultyInstallation) -> None:
        others = json.loads(faulty.environ["EVENT_HUB_CONNECTION_STRINGS"])
        faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([*others, connection_string(faulty)])
        faulty.proof("it failed, alone", lambda: len(faulty.report.failures) == 1)

    return inject


def no_such_host(faulty: FaultyInstallation) -> str:
    return (
        f"Endpoint=sb://nowhere.invalid/;SharedAccessKeyName=send;SharedAccessKey={HUB_KEY};EntityPath=counts"
    )


def no_such_hub(faulty: FaultyInstallation) -> str:
    return faulty.hubs.connection_string("nowhere")


def both_have_all(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    assert {failure.hub for failure in faulty.report.failures} == {faulty.settings().hubs[2].key}


def own_address(port: int) -> str:
    """Give an address of loopback that nobody else has: the SDK speaks TLS to port 5671 only."""
    return f"127.{port >> 8}.{port & 255}.7"


def amqps_string(host: str, hub: str) -> str:
    return f"Endpoint=sb://{host}/;SharedAccessKeyName=emulator;SharedAccessKey={HUB_KEY};EntityPath={hub}"


def hub_port(faulty: FaultyInstallation) -> int:
    """Give the port of hub b's own."""
    port = urlsplit(faulty.other.connection_string("b").partition(";")[0].partition("=")[2]).port
    assert port is not None
    return port


def no_tls(faulty: FaultyInstallation) -> str:
    """Give a third hub, at whose port nobody speaks TLS."""
    host = own_address(hub_port(faulty))
    third = EventHubsEmulator(["c"], host=host, port=AMQPS, key=HUB_KEY).start()
    faulty.after(third.stop)
    return amqps_string(host, "c")


def fault_at_b(name: str, *args: Any, **options: Any) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: getattr(faulty.b, name)(*args, **options)


def wrong_key(faulty: FaultyInstallation) -> None:
    faulty.secrets.add("canary-rotated-hub-key")
    text = faulty.other.connection_string("b", key="canary-rotated-hub-key")
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([text])
    faulty.proof("it was refused", lambda: "sign-in refused" in faulty.outcomes[-1].text)


def waited_for(times: int) -> Callable[[FaultyInstallation], None]:
    def check(faulty: FaultyInstallation) -> None:
        all_moved(faulty)
        assert faulty.b.fired["throttle"] == times
        assert faulty.report.took_s >= 4

    return check


def busy_for_good(faulty: FaultyInstallation) -> None:
    nothing_at_b(faulty)
    assert faulty.report.took_s >= 12
    assert faulty.since("b.tries") <= 6


def close_when_idle(faulty: FaultyInstallation) -> None:
    """Let the service close connections on which nothing happens while the source is asked."""

    def close(request: Request) -> Response | None:
        if request.kind == "query" and not faulty.fired["closed for being idle"]:
            faulty.fired["closed for being idle"] += faulty.b.disconnect_idle()
        return None

    faulty.source.intercept = close


def lose_one_answer(faulty: FaultyInstallation) -> None:
    faulty.b.drop_after_store(1)
    # One batch holds the readings of one location.
    faulty.repeats = 6


def counted_as_maybe_twice(faulty: FaultyInstallation) -> None:
    all_moved(faulty)
    twice = {hub.key: faulty.report.hubs[hub.key].maybe_twice for hub in faulty.settings().hubs}
    assert twice == {faulty.key("a"): 0, faulty.key("b"): 6}


def stall(stage: str) -> Callable[[FaultyInstallation], None]:
    return lambda faulty: faulty.b.stall(stage)  # type: ignore[arg-type]  # one of its stages


def ended_in_time(faulty: FaultyInstallation) -> None:
    nothing_at_b(faulty)
    assert faulty.report.took_s < 30


def nothing_thaws(faulty: FaultyInstallation) -> None:
    ended_in_time(faulty)
    faulty.b.thaw()
    assert faulty.since("b") == 0


def too_large_for_all(faulty: FaultyInstallation) -> None:
    entry = faulty.plant(M, faulty.clock.now - MINUTE, note="x" * 1_100_000)
    faulty.set_aside(entry)
    faulty.proof(
        "it was kept in full", lambda: any(entry["note"] in path.read_text() for path in faulty.quarantine)
    )


def too_large_for_b(faulty: FaultyInstallation) -> None:
    entry = faulty.plant(M, faulty.clock.now - MINUTE, note="x" * 300_000)
    faulty.set_aside(entry, "b")
    faulty.proof("a has it", lambda: faulty.count(entry) == 1)
    faulty.proof(
        "it was kept for b",
        lambda: [found.hubs for found in faulty.report.quarantined] == [(faulty.key("b"),)],
    )


def much_for_b(faulty: FaultyInstallation) -> None:
    """Plant what is one batch for hub a, and several for hub b."""
    for number in range(8):
        faulty.plant(M, faulty.clock.now - MINUTE + timedelta(seconds=number), note="x" * 60_000)
    faulty.proof("b took more batches", lambda: faulty.since("b.tries") > 2)


def large_hour(faulty: FaultyInstallation) -> None:
    """Let the rooms of one hour be larger together than a message."""
    when = faulty.clock.now - 2 * MINUTE
    for room in faulty.case.buildings[0].rooms:
        for number in range(2):
            at = when + timedelta(seconds=number)
            faulty.estate.add_snapshot(M, room, at, visible_from=at, note=f"{number}" * 400_000)
    faulty.proof("it came in parts", lambda: _parts(faulty) >= {1, 2})


def _parts(faulty: FaultyInstallation) -> set[object]:
    return {event.properties["part"] for event in faulty.b.received() if "part" in event.properties}


def healthy_at_normal_lag(faulty: FaultyInstallation) -> None:
    a_has_all(faulty)
    assert faulty.report.hubs[faulty.key("a")].behind_s == 0
    assert faulty.report.hubs[faulty.key("b")].behind_s == 3 * 3600 + 900
    assert all(outcome.report and outcome.report.slices == 2 for outcome in faulty.outcomes[1:])


def both_down(faulty: FaultyInstallation) -> None:
    faulty.a.go_down()
    faulty.b.go_down()


def nothing_at_all(faulty: FaultyInstallation) -> None:
    assert (faulty.since("a"), faulty.since("b")) == (0, 0)
    assert {failure.hub for failure in faulty.report.failures} == {faulty.key("a"), faulty.key("b")}
    assert all(hub.behind_s == 900 for hub in faulty.report.hubs.values())


def add_hub(faulty: FaultyInstallation) -> None:
    third = EventHubsEmulator(["c"], key=HUB_KEY).start()
    faulty.after(third.stop)
    both = [faulty.other.connection_string("b"), third.connection_string("c")]
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(both)
    faulty.proof(
        "it has all since its own first checkpoint",
        lambda: len(third.hub("c").received()) == len(faulty.shown_now()) == len(faulty.a.received()),
    )


def remove_hub(faulty: FaultyInstallation) -> None:
    key = faulty.key("b")
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = "[]"
    faulty.proof("its checkpoint is kept", lambda: key in faulty.state().locations[M].checkpoints)
    faulty.proof("it was sent nothing", lambda: faulty.since("b") == 0)


def pause_hub(faulty: FaultyInstallation) -> None:
    paused = [{"connection_string": faulty.other.connection_string("b"), "enabled": False}]
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(paused)
    faulty.proof("its lag is shown", lambda: faulty.report.hubs[faulty.key("b")].behind_s == 900)
    faulty.proof("it was sent nothing", lambda: faulty.since("b") == 0)


def same_hub_twice(faulty: FaultyInstallation) -> None:
    text = faulty.hubs.connection_string("a")
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([text])
    faulty.proof("nothing was asked or sent", lambda: faulty.since("queries") == faulty.since("a") == 0)


LONG = "Long Example Street " * 10


def long_name(faulty: FaultyInstallation) -> None:
    faulty.proof(
        "the key was shortened",
        lambda: {len(str(event.partition_key)) for event in faulty.a.received()} == {128},
    )


def device_without_building(faulty: FaultyInstallation) -> None:
    def add(body: bytes) -> bytes:
        document = json.loads(body)
        for cluster in document["objs"]:
            cluster["data"]["devices"].append({"guid": "nameless", "meta": {"location": ["", "1"]}})
        faulty.fired["device without a building"] += 1
        return json.dumps(document).encode()

    faulty.source.faults.rewrite_body(add, on="devices")


def no_nameless_location(faulty: FaultyInstallation) -> None:
    assert set(faulty.state().locations) == {M, T}
    all_moved(faulty)


def stop_after_first_batch(faulty: FaultyInstallation) -> None:
    """Let hub b lose its connection for good as soon as it has stored a batch."""

    def stored(_: object) -> None:
        if not faulty.fired["stopped between batches"]:
            faulty.fired["stopped between batches"] += 1
            faulty.b.reject("amqp:not-allowed", times=2)

    faulty.b.on_store(stored)


def part_of_a_slice(faulty: FaultyInstallation) -> None:
    assert faulty.position(M, "a") == faulty.position(T, "a") == faulty.clock.now
    stopped = [name for name in (M, T) if faulty.position(name, "b") < faulty.clock.now]
    assert len(stopped) == 1
    known = faulty.state().locations[stopped[0]].checkpoints[faulty.key("b")]
    at_b = {event.message_id for event in faulty.arrived("b") if event.location == stopped[0]}
    assert at_b == {found for ids in known.ids.values() for found in ids}


def slow_b(faulty: FaultyInstallation) -> None:
    faulty.b.delay(3.0)


def some_left(faulty: FaultyInstallation) -> None:
    assert faulty.position(M, "a") == faulty.position(T, "a") == faulty.clock.now
    assert faulty.report.left > 0
    assert faulty.since("b") < faulty.since("a")


SMALL_B = (HubSpec("a"), HubSpec("b", max_message_bytes=262_144))
TINY_B = (HubSpec("a"), HubSpec("b", max_message_bytes=3_000))

CASES = (
    Case(
        "C1",
        "hub that refuses connections",
        ALONE,
        stop_b,
        1,
        ("check its namespace", "other hubs are reached"),
        nothing_at_b,
    ),
    Case(
        "C1",
        "hub whose name is not found",
        ALONE,
        third_hub(no_such_host),
        1,
        ("there is no host nowhere.invalid", "check its namespace"),
        both_have_all,
    ),
    Case(
        "C1",
        "hub that fails in TLS",
        ALONE,
        third_hub(no_tls),
        1,
        ("check its namespace", "what inspects TLS on the way"),
        both_have_all,
    ),
    Case(
        "C1",
        "hub behind a blocked port",
        ALONE,
        stall("connect"),
        1,
        ("check its namespace", "other hubs are reached"),
        ended_in_time,
        act=run_within(8, 2),
    ),
    Case(
        "C2",
        "hub token revoked",
        REFUSED,
        fault_at_b("refuse_token"),
        1,
        ("Send right", "renew the key"),
        one_attempt,
    ),
    Case("C2", "hub key rotated", REFUSED, wrong_key, 1, ("Send right", "renew the key"), nothing_at_b),
    Case(
        "C2",
        "right to send missing",
        REFUSED,
        fault_at_b("refuse_attach"),
        1,
        ("grant the Send right",),
        one_attempt,
    ),
    Case(
        "C2",
        "hub deleted",
        REFUSED,
        fault_at_b("refuse_attach", "amqp:not-found"),
        1,
        ("check EntityPath",),
        one_attempt,
    ),
    Case(
        "C2",
        "hub disabled",
        REFUSED,
        fault_at_b("refuse_attach", "com.microsoft:entity-disabled"),
        1,
        ("enable it",),
        one_attempt,
    ),
    Case(
        "C2",
        "hub name that does not exist",
        REFUSED,
        third_hub(no_such_hub),
        1,
        ("check EntityPath",),
        both_have_all,
    ),
    Case(
        "C3",
        "hub busy for a moment",
        "waits 4 s, sends the same batch again, no failure",
        fault_at_b("throttle", 2),
        check=waited_for(2),
    ),
    Case(
        "C3",
        "hub busy for good",
        "waits 4 s and 8 s; after three busy answers it is left alone for the run",
        fault_at_b("throttle", None),
        1,
        ("busy",),
        busy_for_good,
    ),
    Case(
        "C3",
        "hub over its quota for a moment",
        "pacing, no failure",
        fault_at_b("reject", "amqp:resource-limit-exceeded", 2),
        check=all_moved,
    ),
    Case(
        "C4",
        "link detached",
        "opened again; the same batch with the same ids",
        fault_at_b("detach", 1),
        check=all_moved,
    ),
    Case(
        "C4",
        "connection forced shut",
        "opened again; the same batch with the same ids",
        fault_at_b("detach", 1, "amqp:connection:forced"),
        check=all_moved,
    ),
    Case(
        "C4",
        "connection closed for being idle",
        "opened again; nothing is lost or repeated",
        close_when_idle,
        check=all_moved,
    ),
    Case(
        "C5",
        "connection cut before the batch was stored",
        "delivered once, after a retry",
        fault_at_b("drop_before_store", 1),
        check=all_moved,
    ),
    Case(
        "C6",
        "acknowledgement lost",
        "that batch at most twice, with the same ids; counted as such",
        lose_one_answer,
        check=counted_as_maybe_twice,
    ),
    Case(
        "C7",
        "send that never returns",
        "its own deadline; the run ends inside its budget",
        stall("outcome"),
        1,
        ("no answer to send",),
        ended_in_time,
        act=run_within(8, 3),
    ),
    Case(
        "C8",
        "event larger than any hub takes",
        "quarantined in full, once; blocks nothing",
        too_large_for_all,
        says=("larger than a message",),
        check=all_moved,
    ),
    Case(
        "C8",
        "event larger than one hub takes",
        "quarantined for that hub, delivered to the other",
        too_large_for_b,
        says=("larger than a message",),
        check=all_moved,
        hubs=SMALL_B,
    ),
    Case(
        "C8",
        "hub with a smaller batch limit",
        "batches are filled to that limit",
        much_for_b,
        check=all_moved,
        hubs=SMALL_B,
    ),
    Case(
        "C8",
        "snapshot hour larger than a message",
        "split by objects, every part whole",
        large_hour,
        feed="hourly_snapshot",
    ),
    Case(
        "C9",
        "one of two hubs down for hours",
        "the other at normal lag, one fetch a location; then it catches up in order",
        fault_at_b("go_down"),
        1,
        ("no connection",),
        healthy_at_normal_lag,
        act=runs(4, minutes=60),
    ),
    Case(
        "C9",
        "both hubs down",
        "both reported, both catch up",
        both_down,
        1,
        ("no connection",),
        nothing_at_all,
    ),
    Case(
        "C10",
        "hub added",
        "its own first checkpoint at START_FROM; the others go on",
        add_hub,
        check=all_moved,
    ),
    Case("C10", "hub removed", "its checkpoint is kept", remove_hub),
    Case(
        "C10",
        "hub paused",
        "nothing is sent to it, its lag is shown; then it catches up",
        pause_hub,
        says=('"paused": true',),
    ),
    Case(
        "C10",
        "hub listed twice",
        "refused before anything is asked",
        same_hub_twice,
        2,
        ("EVENT_HUB_CONNECTION_STRINGS",),
    ),
    Case(
        "C11",
        "location name too long for a partition key",
        "shortened by a stable hash, order kept",
        long_name,
        buildings=(building(LONG.strip()),),
    ),
    Case(
        "C11",
        "building without a name",
        "is no location, so there is no empty partition key",
        device_without_building,
        check=no_nameless_location,
        new=True,
    ),
    Case(
        "C12",
        "sending ends between two batches of a slice",
        "what was acknowledged is not sent again, order kept",
        stop_after_first_batch,
        1,
        ("rejected",),
        part_of_a_slice,
        hubs=TINY_B,
    ),
    Case(
        "C13",
        "stalled send that thaws after the run",
        "it was aborted: nothing arrives",
        stall("outcome"),
        1,
        ("the connection was closed",),
        nothing_thaws,
        act=run_within(8, 3),
    ),
    Case(
        "C14",
        "hub slow for a whole run",
        "the other at normal speed; it catches up later",
        slow_b,
        0,
        (),
        some_left,
        act=run_within(6, 6),
        hubs=TINY_B,
        slow=True,
    ),
)
