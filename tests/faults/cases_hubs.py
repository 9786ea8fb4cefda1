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
from tests.faults.case import Case
from tests.faults.cases_source import MINUTE, M, T, all_moved
from tests.faults.scene import Scene, building, run_within, runs

AMQPS = 5671
ALONE = "that hub is left alone for the run, the other gets all, the message names what to do"
REFUSED = "permanent: one attempt a run, reported; heals by itself when it is restored"


def a_has_all(scene: Scene) -> None:
    """Hub a is done; hub b stands where it was."""
    for name in (M, T):
        assert scene.position(name, "a") == scene.clock.now
        assert scene.position(name, "b") < scene.clock.now
    assert [failure.hub for failure in scene.report.failures] == [scene.key("b")]


def nothing_at_b(scene: Scene) -> None:
    a_has_all(scene)
    assert scene.since("b") == 0


def one_attempt(scene: Scene) -> None:
    """The SDK repeats once on a connection of its own; the forwarder does not."""
    nothing_at_b(scene)
    assert sum(scene.b.fired.values()) <= 2


def stop_b(scene: Scene) -> None:
    scene.other.stop()
    # Nobody else is to get the port: what is bound and does not listen refuses.
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", scene.other.port))

    def come_back() -> None:
        held.close()
        scene.other.start()

    scene.after(come_back)
    scene.proof("its port is closed", lambda: _is_closed(scene.other.port))


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def third_hub(connection_string: Callable[[Scene], str]) -> Callable[[Scene], None]:
    """Add a hub that cannot be had."""

    def inject(scene: Scene) -> None:
        others = json.loads(scene.environ["EVENT_HUB_CONNECTION_STRINGS"])
        scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([*others, connection_string(scene)])
        scene.proof("it failed, alone", lambda: len(scene.report.failures) == 1)

    return inject


def no_such_host(scene: Scene) -> str:
    return (
        f"Endpoint=sb://nowhere.invalid/;SharedAccessKeyName=send;SharedAccessKey={HUB_KEY};EntityPath=counts"
    )


def no_such_hub(scene: Scene) -> str:
    return scene.hubs.connection_string("nowhere")


def both_have_all(scene: Scene) -> None:
    all_moved(scene)
    assert {failure.hub for failure in scene.report.failures} == {scene.settings().hubs[2].key}


def own_address(port: int) -> str:
    """Give an address of loopback that nobody else has: the SDK speaks TLS to port 5671 only."""
    return f"127.{port >> 8}.{port & 255}.7"


def amqps_string(host: str, hub: str) -> str:
    return f"Endpoint=sb://{host}/;SharedAccessKeyName=emulator;SharedAccessKey={HUB_KEY};EntityPath={hub}"


def hub_port(scene: Scene) -> int:
    """Give the port of hub b's own."""
    port = urlsplit(scene.other.connection_string("b").partition(";")[0].partition("=")[2]).port
    assert port is not None
    return port


def no_tls(scene: Scene) -> str:
    """Give a third hub, at whose port nobody speaks TLS."""
    host = own_address(hub_port(scene))
    third = EventHubsEmulator(["c"], host=host, port=AMQPS, key=HUB_KEY).start()
    scene.after(third.stop)
    return amqps_string(host, "c")


def fault_at_b(name: str, *args: Any, **options: Any) -> Callable[[Scene], None]:
    return lambda scene: getattr(scene.b, name)(*args, **options)


def wrong_key(scene: Scene) -> None:
    scene.secrets.add("canary-rotated-hub-key")
    text = scene.other.connection_string("b", key="canary-rotated-hub-key")
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([text])
    scene.proof("it was refused", lambda: "sign-in refused" in scene.outcomes[-1].text)


def waited_for(times: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        all_moved(scene)
        assert scene.b.fired["throttle"] == times
        assert scene.report.took_s >= 4

    return check


def busy_for_good(scene: Scene) -> None:
    nothing_at_b(scene)
    assert scene.report.took_s >= 12
    assert scene.since("b.tries") <= 6


def close_when_idle(scene: Scene) -> None:
    """Let the service close connections on which nothing happens while the source is asked."""

    def close(request: Request) -> Response | None:
        if request.kind == "query" and not scene.fired["closed for being idle"]:
            scene.fired["closed for being idle"] += scene.b.disconnect_idle()
        return None

    scene.source.intercept = close


def lose_one_answer(scene: Scene) -> None:
    scene.b.drop_after_store(1)
    # One batch holds the readings of one location.
    scene.repeats = 6


def counted_as_maybe_twice(scene: Scene) -> None:
    all_moved(scene)
    twice = {hub.key: scene.report.hubs[hub.key].maybe_twice for hub in scene.settings().hubs}
    assert twice == {scene.key("a"): 0, scene.key("b"): 6}


def stall(stage: str) -> Callable[[Scene], None]:
    return lambda scene: scene.b.stall(stage)  # type: ignore[arg-type]  # one of its stages


def ended_in_time(scene: Scene) -> None:
    nothing_at_b(scene)
    assert scene.report.took_s < 30


def nothing_thaws(scene: Scene) -> None:
    ended_in_time(scene)
    scene.b.thaw()
    assert scene.since("b") == 0


def too_large_for_all(scene: Scene) -> None:
    entry = scene.plant(M, scene.clock.now - MINUTE, note="x" * 1_100_000)
    scene.set_aside(entry)
    scene.proof(
        "it was kept in full", lambda: any(entry["note"] in path.read_text() for path in scene.quarantine)
    )


def too_large_for_b(scene: Scene) -> None:
    entry = scene.plant(M, scene.clock.now - MINUTE, note="x" * 300_000)
    scene.set_aside(entry, "b")
    scene.proof("a has it", lambda: scene.count(entry) == 1)
    scene.proof(
        "it was kept for b", lambda: [found.hubs for found in scene.report.quarantined] == [(scene.key("b"),)]
    )


def much_for_b(scene: Scene) -> None:
    """Plant what is one batch for hub a, and several for hub b."""
    for number in range(8):
        scene.plant(M, scene.clock.now - MINUTE + timedelta(seconds=number), note="x" * 60_000)
    scene.proof("b took more batches", lambda: scene.since("b.tries") > 2)


def large_hour(scene: Scene) -> None:
    """Let the rooms of one hour be larger together than a message."""
    when = scene.clock.now - 2 * MINUTE
    for room in scene.case.buildings[0].rooms:
        for number in range(2):
            at = when + timedelta(seconds=number)
            scene.estate.add_snapshot(M, room, at, visible_from=at, note=f"{number}" * 400_000)
    scene.proof("it came in parts", lambda: _parts(scene) >= {1, 2})


def _parts(scene: Scene) -> set[object]:
    return {event.properties["part"] for event in scene.b.received() if "part" in event.properties}


def healthy_at_normal_lag(scene: Scene) -> None:
    a_has_all(scene)
    assert scene.report.hubs[scene.key("a")].behind_s == 0
    assert scene.report.hubs[scene.key("b")].behind_s == 3 * 3600 + 900
    assert all(outcome.report and outcome.report.slices == 2 for outcome in scene.outcomes[1:])


def both_down(scene: Scene) -> None:
    scene.a.go_down()
    scene.b.go_down()


def nothing_at_all(scene: Scene) -> None:
    assert (scene.since("a"), scene.since("b")) == (0, 0)
    assert {failure.hub for failure in scene.report.failures} == {scene.key("a"), scene.key("b")}
    assert all(hub.behind_s == 900 for hub in scene.report.hubs.values())


def add_hub(scene: Scene) -> None:
    third = EventHubsEmulator(["c"], key=HUB_KEY).start()
    scene.after(third.stop)
    both = [scene.other.connection_string("b"), third.connection_string("c")]
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(both)
    scene.proof(
        "it has all since its own first checkpoint",
        lambda: len(third.hub("c").received()) == len(scene.shown_now()) == len(scene.a.received()),
    )


def remove_hub(scene: Scene) -> None:
    key = scene.key("b")
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = "[]"
    scene.proof("its checkpoint is kept", lambda: key in scene.state().locations[M].checkpoints)
    scene.proof("it was sent nothing", lambda: scene.since("b") == 0)


def pause_hub(scene: Scene) -> None:
    paused = [{"connection_string": scene.other.connection_string("b"), "enabled": False}]
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps(paused)
    scene.proof("its lag is shown", lambda: scene.report.hubs[scene.key("b")].behind_s == 900)
    scene.proof("it was sent nothing", lambda: scene.since("b") == 0)


def same_hub_twice(scene: Scene) -> None:
    text = scene.hubs.connection_string("a")
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([text])
    scene.proof("nothing was asked or sent", lambda: scene.since("queries") == scene.since("a") == 0)


LONG = "Long Example Street " * 10


def long_name(scene: Scene) -> None:
    scene.proof(
        "the key was shortened",
        lambda: {len(str(event.partition_key)) for event in scene.a.received()} == {128},
    )


def device_without_building(scene: Scene) -> None:
    def add(body: bytes) -> bytes:
        document = json.loads(body)
        for cluster in document["objs"]:
            cluster["data"]["devices"].append({"guid": "nameless", "meta": {"location": ["", "1"]}})
        scene.fired["device without a building"] += 1
        return json.dumps(document).encode()

    scene.source.faults.rewrite_body(add, on="devices")


def no_nameless_location(scene: Scene) -> None:
    assert set(scene.state().locations) == {M, T}
    all_moved(scene)


def stop_after_first_batch(scene: Scene) -> None:
    """Let hub b lose its connection for good as soon as it has stored a batch."""

    def stored(_: object) -> None:
        if not scene.fired["stopped between batches"]:
            scene.fired["stopped between batches"] += 1
            scene.b.reject("amqp:not-allowed", times=2)

    scene.b.on_store(stored)


def part_of_a_slice(scene: Scene) -> None:
    assert scene.position(M, "a") == scene.position(T, "a") == scene.clock.now
    stopped = [name for name in (M, T) if scene.position(name, "b") < scene.clock.now]
    assert len(stopped) == 1
    known = scene.state().locations[stopped[0]].checkpoints[scene.key("b")]
    at_b = {event.message_id for event in scene.arrived("b") if event.location == stopped[0]}
    assert at_b == {found for ids in known.ids.values() for found in ids}


def slow_b(scene: Scene) -> None:
    scene.b.delay(3.0)


def some_left(scene: Scene) -> None:
    assert scene.position(M, "a") == scene.position(T, "a") == scene.clock.now
    assert scene.report.left > 0
    assert scene.since("b") < scene.since("a")


SMALL_B = (HubSpec("a"), HubSpec("b", max_message_bytes=262_144))
TINY_B = (HubSpec("a"), HubSpec("b", max_message_bytes=3_000))

CASES = (
    Case(
        "C1",
        "hub that refuses connections",
        ALONE,
        stop_b,
        1,
        ("EVENT_HUB_TRANSPORT=websockets", "443"),
        nothing_at_b,
    ),
    Case(
        "C1", "hub whose name is not found", ALONE, third_hub(no_such_host), 1, ("websockets",), both_have_all
    ),
    Case(
        "C1",
        "hub that fails in TLS",
        ALONE,
        third_hub(no_tls),
        1,
        ("check the network", "websockets"),
        both_have_all,
    ),
    Case(
        "C1",
        "hub behind a blocked port",
        ALONE,
        stall("connect"),
        1,
        ("EVENT_HUB_TRANSPORT", "443"),
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
