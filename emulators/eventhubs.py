"""A stand-in for Azure Event Hubs that the unchanged SDK talks to, with an oracle and faults.

One asyncio server in a thread of its own speaks plain AMQP 1.0 on loopback: SASL, `$cbs`,
`$management`, send and receive links. Everything between `_Connection` and `_Hub` runs on that loop;
`EventHubsEmulator` and `EmulatedHub` are the thread-safe face of it.

Beside the service's own habits it keeps every event it stored, acknowledged or not, so that a test
asks what arrived and how often.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Self, TypeVar
from urllib.parse import parse_qs, quote_plus, unquote_plus, urlparse

from emulators import amqp, amqp_server
from emulators.amqp_server import IncomingLink, OutgoingLink, Session, Transfer
from emulators.stored_events import Partition, Record, StoredEvent, host_ms

__all__ = [
    "FALSE_KEY",
    "FALSE_SECOND_KEY",
    "EmulatedHub",
    "EventHubsEmulator",
    "HubSpec",
    "LinkKind",
    "Stage",
    "StoredEvent",
]

Stage = Literal["connect", "cbs", "attach", "outcome"]
LinkKind = Literal["send", "receive"]
T = TypeVar("T")

MAX_PARTITION_KEY_LENGTH = 128
FALSE_KEY = "not-a-secret-the-emulator-knows-no-better"
FALSE_SECOND_KEY = "not-a-secret-either-it-is-the-second-one"

_SERVER_BUSY = "com.microsoft:server-busy"
_SERVER_BUSY_TEXT = "The request was terminated because the entity is being throttled. Error code: 50002."


@dataclass(frozen=True, slots=True)
class HubSpec:
    """An event hub to emulate.

    `own_port` gives it a listener of its own, as if it were a namespace of its own: only there can
    `stall("connect")` and `go_down()` act before the hub is named, and on this hub alone.
    """

    name: str
    partitions: int = 2
    max_message_bytes: int = 1_048_576
    consumer_groups: tuple[str, ...] = ("$Default",)
    own_port: bool = False


class EventHubsEmulator:
    """Event hubs on one port of loopback, until `stop()`. A context manager.

    `key_name` with `key` or `second_key` is what every shared access signature is checked against; a
    bearer token counts only where it equals `identity_token`. A connection that is silent for
    `idle_timeout_s` is closed, as the service does. After `stop()`, `start()` brings the same events back
    at the same port. `now_ms` is the clock by which events are enqueued; tokens end by the host's.
    """

    def __init__(
        self,
        hubs: Sequence[str | HubSpec],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key_name: str = "emulator",
        key: str = FALSE_KEY,
        second_key: str = FALSE_SECOND_KEY,
        identity_token: str | None = None,
        idle_timeout_s: float = 240.0,
        on_store: Callable[[StoredEvent], None] | None = None,
        now_ms: Callable[[], int] = host_ms,
    ) -> None:
        specs = [spec if isinstance(spec, HubSpec) else HubSpec(spec) for spec in hubs]
        self.host = host
        self.port = port
        self._service = _Service(key_name, [key, second_key], identity_token, idle_timeout_s)
        self._hubs = {spec.name: _Hub(spec, on_store, now_ms) for spec in specs}
        self._ports: dict[str, int] = {}  # of the hubs with a port of their own
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen; `port` is known from here on. Raises OSError where the port is taken."""
        if self._thread is not None:
            return self
        listening: Future[None] = Future()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="eventhubs-emulator", daemon=True
        )
        self._thread.start()
        try:
            listening.result(timeout=10)
        except BaseException:
            self._loop = self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Drop every connection and stop listening. What was stored stays readable."""
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            self._loop = self._thread = None
            loop.call_soon_threadsafe(self._stopping.set)
            thread.join(timeout=10)

    def connection_string(self, hub: str, *, key: str | None = None) -> str:
        """Give what the SDK needs to reach a hub, existing or not; the first key unless `key` is given."""
        return (
            f"Endpoint=sb://{self.host}:{self._ports.get(hub, self.port)};"
            f"SharedAccessKeyName={self._service.key_name};SharedAccessKey={key or self._service.keys[0]};"
            f"UseDevelopmentEmulator=true;EntityPath={hub}"
        )

    def renew_key(self, earlier: str, key: str) -> None:
        """Put a key in the place of one of the two: the earlier one is refused from now on."""
        self._service.keys[self._service.keys.index(earlier)] = key

    def hub(self, name: str) -> EmulatedHub:
        return EmulatedHub(self._hubs[name], self._on_loop)

    async def _serve(self, listening: Future[None]) -> None:
        loop = self._loop = asyncio.get_running_loop()
        common = {name: hub for name, hub in self._hubs.items() if not hub.spec.own_port}
        servers = []

        async def listen(hubs: Mapping[str, _Hub], port: int) -> int:
            server = await loop.create_server(partial(_Connection, self._service, hubs), self.host, port)
            servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        try:
            self.port = await listen(common, self.port)
            for name, hub in self._hubs.items():
                if hub.spec.own_port:
                    self._ports[name] = await listen({name: hub}, self._ports.get(name, 0))
            listening.set_result(None)
            await self._stopping.wait()
        except OSError as failure:
            listening.set_exception(failure)
        finally:
            for server in servers:
                server.close()
            for connection in list(self._service.connections):
                connection.abort()
            await asyncio.sleep(0)  # lets the transports close

    def _on_loop(self, action: Callable[[], T]) -> T:
        """Do something where the hubs live; directly once the emulator is stopped, or on its thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or thread is threading.current_thread():
            return action()
        outcome: Future[T] = Future()

        def act() -> None:
            try:
                outcome.set_result(action())
            except Exception as failure:  # noqa: BLE001 - handed to the caller's thread
                outcome.set_exception(failure)

        loop.call_soon_threadsafe(act)
        return outcome.result(timeout=60)


class EmulatedHub:
    """What a hub received, and what is to go wrong at it. May be used from any thread.

    Faults of transfers (`throttle` to `drop_after_store`) form a script: each transfer uses up one
    turn of the oldest that has any left; `times=None` lasts until `clear_faults()`. A `delay`, a stall
    at the outcome, and refusals hold beside the script. `fired` counts each fault by its method's name.
    """

    def __init__(self, hub: _Hub, on_loop: Callable[[Callable[[], Any]], Any]) -> None:
        self.name = hub.spec.name
        self._hub = hub
        self._on_loop = on_loop

    def received(self) -> list[StoredEvent]:
        """Everything that was stored, acknowledged or not, in the order of arrival over all partitions."""
        return [record.event for record in self._records()]

    @property
    def connections(self) -> int:
        """How many AMQP connections have attached a send link so far."""
        return int(self._on_loop(lambda: len(self._hub.sending_connections)))

    @property
    def attempts(self) -> int:
        """How many transfers (batches, mostly) have arrived, whatever came of them."""
        return int(self._on_loop(lambda: self._hub.attempts))

    @property
    def fired(self) -> Counter[str]:
        """How often each fault took effect; a copy, and kept over `clear_faults()`."""
        return Counter(self._on_loop(lambda: Counter(self._hub.faults.fired)))

    def discard(self, predicate: Callable[[StoredEvent], bool]) -> int:
        """Take stored events away, as if they had never come; gives how many."""
        gone = {id(record) for record in self._records() if predicate(record.event)}
        self._on_loop(lambda: self._hub.discard(gone))
        return len(gone)

    def repeat(self, predicate: Callable[[StoredEvent], bool]) -> int:
        """Store events once more, as a producer makes it that lost an acknowledgement; gives how many."""
        chosen = [record for record in self._records() if predicate(record.event)]
        self._on_loop(lambda: self._hub.repeat(chosen))
        return len(chosen)

    def put(self, encoded: bytes, *, partition_key: str | None = None) -> None:
        """Store an encoded event as it is, as if another sender had sent it; `foreign_events` makes some."""
        self._on_loop(lambda: self._hub.store([encoded], partition_key, None, 0))

    def rewrite(self, predicate: Callable[[StoredEvent], bool], old: bytes, new: bytes) -> int:
        """Put `new` in the place of `old`, of the same length, wherever events have it; gives how many."""
        if len(old) != len(new):
            raise ValueError(f"{old!r} and {new!r} differ in length, and sizes are encoded with them")
        chosen = [record for record in self._records() if predicate(record.event)]
        self._on_loop(lambda: self._hub.rewrite(chosen, old, new))
        return len(chosen)

    def on_store(self, call: Callable[[StoredEvent], None]) -> None:
        """Call it with each event stored from here on, on the emulator's thread, before the outcome."""
        self._on_loop(partial(setattr, self._hub, "on_store", call))

    def _records(self) -> list[Record]:
        records: list[Record] = self._on_loop(lambda: list(self._hub.log))
        return records

    def throttle(self, times: int | None) -> None:
        """Reject as too busy, with error code 50002."""
        self._script("throttle", times, _SERVER_BUSY, _SERVER_BUSY_TEXT)

    def reject(self, condition: str, times: int | None = None, description: str = "") -> None:
        """Reject with a condition of your choice."""
        self._script("reject", times, condition, description)

    def accept(self, times: int) -> None:
        """Store so many as ever, before what is scripted next."""
        self._script("accept", times)

    def release(self, times: int | None = None) -> None:
        """Answer with the outcome released: not stored, not refused."""
        self._script("release", times)

    def detach(self, times: int | None = None, condition: str = "amqp:link:detach-forced") -> None:
        """Detach the link where the outcome is awaited; nothing is stored."""
        self._script("detach", times, condition, "The link was detached by the emulator.")

    def drop_before_store(self, times: int | None = None) -> None:
        """Drop the TCP connection when a transfer arrives; nothing is stored."""
        self._script("drop_before_store", times)

    def drop_after_store(self, times: int | None = None) -> None:
        """Store, then drop the TCP connection: the acknowledgement is lost."""
        self._script("drop_after_store", times)

    def delay(self, seconds: float) -> None:
        """Let each outcome come that long after its transfer; it is stored when the outcome is sent."""
        self._on_loop(partial(setattr, self._hub.faults, "delay_s", seconds))

    def stall(self, stage: Stage) -> None:
        """Leave what arrives unanswered until `thaw()`: the TCP connection, token, attach or transfer.

        A stalled transfer is stored at `thaw()`, if its connection is still open then. On the common
        port the stage connect holds new connections to every hub there, the hub being unnamed yet.
        """
        self._on_loop(lambda: self._hub.faults.stalled.setdefault(stage, []))

    def thaw(self) -> None:
        """Go on with whatever was stalled, oldest first."""
        self._see_what_was_closed()
        self._on_loop(self._hub.faults.thaw)

    def refuse_attach(
        self, condition: str = "amqp:unauthorized-access", *, links: Sequence[LinkKind] = ("send",)
    ) -> None:
        """Refuse new links of these kinds, until cleared."""
        self._on_loop(lambda: self._hub.faults.refused_links.update(dict.fromkeys(links, condition)))

    def refuse_token(self) -> None:
        """Answer every token for this hub with 401, until cleared."""
        self._on_loop(partial(setattr, self._hub.faults, "token_refused", True))

    def go_down(self) -> None:
        """Drop what is connected, and each new connection as soon as it names this hub."""
        self._on_loop(self._hub.go_down)

    def come_up(self) -> None:
        self._on_loop(partial(setattr, self._hub.faults, "down", False))

    def disconnect_idle(self) -> int:
        """Close the connections that wait for no outcome, as the service does with idle ones."""
        return int(self._on_loop(self._hub.disconnect_idle))

    def clear_faults(self) -> None:
        """End every fault: the script, the delay, stalls (they thaw), refusals, being down."""
        self._see_what_was_closed()
        self._on_loop(self._hub.faults.clear)

    def _see_what_was_closed(self) -> None:
        # One turn of the loop reads all sockets, so a connection that was closed before now counts as closed.
        self._on_loop(lambda: None)

    def _script(self, name: str, times: int | None, condition: str = "", description: str = "") -> None:
        fault = _Fault(name, times, condition, description)
        self._on_loop(lambda: self._hub.faults.script.append(fault))


@dataclass(slots=True)
class _Fault:
    name: str
    left: int | None
    condition: str
    description: str


@dataclass(slots=True)
class _Faults:
    script: deque[_Fault] = field(default_factory=deque)
    delay_s: float = 0.0
    stalled: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    refused_links: dict[str, str] = field(default_factory=dict)
    token_refused: bool = False
    down: bool = False
    fired: Counter[str] = field(default_factory=Counter)

    def take(self) -> _Fault | None:
        """Use up one turn of the oldest scripted fault."""
        while self.script:
            fault = self.script[0]
            if fault.left is None or fault.left > 0:
                fault.left = None if fault.left is None else fault.left - 1
                self.fired[fault.name] += 1
                return fault
            self.script.popleft()
        return None

    def hold(self, stage: Stage, go_on: Callable[[], None]) -> bool:
        """Keep a step back where its stage is stalled; gives whether it is."""
        if stage not in self.stalled:
            return False
        self.stalled[stage].append(go_on)
        self.fired["stall"] += 1
        return True

    def thaw(self) -> None:
        held = [go_on for waiting in self.stalled.values() for go_on in waiting]
        self.stalled.clear()
        for go_on in held:
            go_on()

    def clear(self) -> None:
        self.script.clear()
        self.refused_links.clear()
        self.delay_s, self.token_refused, self.down = 0.0, False, False
        self.thaw()


class _Hub:
    """The events, the connections and the faults of one hub."""

    def __init__(
        self, spec: HubSpec, on_store: Callable[[StoredEvent], None] | None, now_ms: Callable[[], int]
    ) -> None:
        self.spec = spec
        self.on_store = on_store
        self.faults = _Faults()
        self.created_ms = now_ms()
        self.partitions = {
            str(number): Partition(spec.name, str(number), now_ms) for number in range(spec.partitions)
        }
        self.log: list[Record] = []
        self.connected: set[_Connection] = set()
        self.sending_connections: set[int] = set()
        self.attempts = 0
        self._turn = 0

    def store(
        self, messages: Iterable[bytes], key: str | None, partition_id: str | None, connection: int
    ) -> None:
        """Append to the partition asked for, or of the key, or whose turn it is."""
        partition = self.partitions[partition_id or self._choose(key)]
        for encoded in messages:
            record = partition.append(encoded, key, connection)
            self.log.append(record)
            if self.on_store is not None:
                self.on_store(record.event)
        for reader in list(partition.readers):
            reader.pump()

    def _choose(self, key: str | None) -> str:
        if key is not None:
            return str(zlib.crc32(key.encode()) % self.spec.partitions)
        self._turn += 1
        return str((self._turn - 1) % self.spec.partitions)

    def discard(self, gone: set[int]) -> None:
        self.log = [record for record in self.log if id(record) not in gone]
        for partition in self.partitions.values():
            partition.records = [record for record in partition.records if id(record) not in gone]

    def repeat(self, records: Iterable[Record]) -> None:
        for record in records:
            self.store([record.encoded], record.partition_key, record.partition.id, record.connection)

    def rewrite(self, records: Iterable[Record], old: bytes, new: bytes) -> None:
        for record in records:
            record.rewrite(old, new)

    def go_down(self) -> None:
        self.faults.down = True
        for connection in list(self.connected):
            self.faults.fired["go_down"] += 1
            connection.abort()

    def disconnect_idle(self) -> int:
        idle = [connection for connection in self.connected if not connection.unsettled]
        for connection in idle:
            self.faults.fired["disconnect_idle"] += 1
            connection.close_idle()
        return len(idle)

    def properties(self) -> dict[str, object]:
        return {
            "name": self.spec.name,
            "type": "com.microsoft:eventhub",
            "created_at": amqp.timestamp_value(self.created_ms),
            "partition_count": self.spec.partitions,
            "partition_ids": amqp.array_value(amqp.string_value(name) for name in self.partitions),
        }


class _Service:
    """What all connections share: the keys, and each other."""

    def __init__(
        self, key_name: str, keys: list[str], identity_token: str | None, idle_timeout_s: float
    ) -> None:
        self.key_name = key_name
        self.keys = keys
        self.identity_token = identity_token
        self.idle_timeout_s = idle_timeout_s
        self.connections: set[_Connection] = set()
        self.opened = 0

    def token_expiry(self, audience: str, token_type: str, token: str) -> float | None:
        """Check a token as the service does; gives when it ends (seconds since 1970), None if it is wrong."""
        if token_type == "jwt":
            return time.time() + 3600 if token == self.identity_token else None
        parts = {name: values[0] for name, values in parse_qs(token.partition(" ")[2]).items()}
        scope, expiry = parts.get("sr", ""), parts.get("se", "")
        signed = f"{quote_plus(scope)}\n{expiry}".encode()
        signatures = (
            base64.b64encode(hmac.digest(key.encode(), signed, hashlib.sha256)) for key in self.keys
        )
        given = parts.get("sig", "").encode()
        right = (
            any(hmac.compare_digest(signature, given) for signature in signatures)
            and unquote_plus(parts.get("skn", "")) == self.key_name
            and f"{audience}/".startswith(f"{scope.rstrip('/')}/")
            and expiry.isdigit()
            and int(expiry) > time.time()
        )
        return float(expiry) if right else None


class _Connection(amqp_server.Connection):
    """A connection to one or more hubs, and the tokens it has put."""

    def __init__(self, service: _Service, hubs: Mapping[str, _Hub]) -> None:
        super().__init__(service.idle_timeout_s)
        service.opened += 1
        self.number = service.opened
        self.service = service
        self.hubs = hubs
        self._tokens: dict[str, float] = {}
        self._held: bytearray | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.service.connections.add(self)
        for hub in self.hubs.values():
            if hub.spec.own_port and not self.names(hub):
                return
            if hub.faults.hold("connect", self._go_on):
                self._held = bytearray()
                return

    def data_received(self, data: bytes) -> None:
        if self._held is None:
            super().data_received(data)
        else:
            self._held += data

    def connection_lost(self, failure: Exception | None) -> None:
        super().connection_lost(failure)
        self.service.connections.discard(self)
        for hub in self.hubs.values():
            hub.connected.discard(self)

    def names(self, hub: _Hub) -> bool:
        """Note that this connection is about a hub; gives False where the hub is down, and drops it."""
        if hub.faults.down:
            hub.faults.fired["go_down"] += 1
            self.abort()
            return False
        hub.connected.add(self)
        return True

    def authorize(self, hub: str, until: float) -> None:
        self._tokens[hub] = until

    def is_authorized(self, hub: str) -> bool:
        return self._tokens.get(hub, 0.0) > time.time()

    def on_attach(self, session: Session, attach: Any) -> None:
        path = _split(amqp.address_of(attach.source if attach.role else attach.target) or "")
        if path[0] in ("$cbs", "$management"):
            answers = _ResponseLink(session, attach, path[0])
            session.attach(answers if attach.role else _RequestLink(session, attach, path[0], self))
            return
        hub = self.hubs.get(path[0])
        if hub is None:
            session.refuse(attach, "amqp:not-found", f"The messaging entity '{path[0]}' could not be found.")
            return
        go_on = partial(self._attach, session, attach, hub, path)
        if self.names(hub) and not hub.faults.hold("attach", go_on):
            go_on()

    def _attach(self, session: Session, attach: Any, hub: _Hub, path: list[str]) -> None:
        if not session.awaits(attach):
            return
        refused = hub.faults.refused_links.get("receive" if attach.role else "send")
        if refused is not None:
            hub.faults.fired["refuse_attach"] += 1
            session.refuse(attach, refused, "The link was refused by the emulator.")
        elif not self.is_authorized(hub.spec.name):
            session.refuse(attach, "amqp:unauthorized-access", f"Unauthorized access to '{hub.spec.name}'.")
        elif attach.role:
            _attach_receiver(session, attach, hub, path)
        else:
            self._attach_sender(session, attach, hub, path)

    def _attach_sender(self, session: Session, attach: Any, hub: _Hub, path: list[str]) -> None:
        match path[1:]:
            case []:
                session.attach(_SendLink(session, attach, hub, None, self))
            case [word, partition_id] if word.lower() == "partitions" and partition_id in hub.partitions:
                session.attach(_SendLink(session, attach, hub, partition_id, self))
            case _:
                session.refuse(attach, "amqp:not-found", f"'{'/'.join(path)}' is nothing to send to.")

    def _go_on(self) -> None:
        held, self._held = self._held, None
        if self.is_open and held is not None:
            self.data_received(bytes(held))


class _ResponseLink(OutgoingLink):
    """Carries the answers of `$cbs` or `$management`."""

    def __init__(self, session: Session, attach: Any, node: str) -> None:
        super().__init__(session, attach)
        self.node = node
        self.waiting: deque[bytes] = deque()

    def next_message(self) -> bytes | None:
        return self.waiting.popleft() if self.waiting else None


class _RequestLink(IncomingLink):
    """Takes the requests to `$cbs` or `$management`; answers on the response link of the same session."""

    def __init__(self, session: Session, attach: Any, node: str, connection: _Connection) -> None:
        super().__init__(session, attach)
        self.node = node
        self.connection = connection

    def receive(self, transfer: Transfer) -> None:
        try:
            request = amqp.decode_message(transfer.message)
        except amqp.Malformed as problem:
            refusal = amqp.Rejected(error=amqp.error("amqp:decode-error", str(problem)))
            self.session.settle(transfer, refusal)
            return
        self.session.settle(transfer, amqp.Accepted())
        connection = self.connection
        audience = str(request.properties.get("name"))
        hub = connection.hubs.get(_split(audience)[0] if self.node == "$cbs" else audience)
        if hub is not None and not connection.names(hub):
            return
        if self.node == "$management":
            self._read(request, hub)
        elif hub is None or not hub.faults.hold("cbs", partial(self._put_token, request, audience, hub)):
            self._put_token(request, audience, hub)

    def _put_token(self, request: amqp.Message, audience: str, hub: _Hub | None) -> None:
        if request.properties.get("operation") != "put-token":
            self._answer(request, 400, "The operation is not put-token.")
            return
        connection = self.connection
        token_type = str(request.properties.get("type"))
        until = connection.service.token_expiry(audience, token_type, str(request.value))
        if hub is not None and hub.faults.token_refused:
            hub.faults.fired["refuse_token"] += 1
            until = None
        if until is None:
            self._answer(request, 401, "InvalidSignature: The token has an invalid signature.")
            return
        connection.authorize(_split(audience)[0], until)
        self._answer(request, 202, "Accepted")

    def _read(self, request: amqp.Message, hub: _Hub | None) -> None:
        asked = request.properties
        if asked.get("operation") != "READ":
            self._answer(request, 400, "The operation is not READ.")
        elif hub is None:
            self._answer(request, 404, f"The messaging entity '{asked.get('name')}' could not be found.")
        elif not self.connection.is_authorized(hub.spec.name):
            self._answer(request, 401, "Unauthorized access.")
        elif asked.get("type") == "com.microsoft:eventhub":
            self._answer(request, 200, "OK", hub.properties())
        elif asked.get("type") == "com.microsoft:partition" and asked.get("partition") in hub.partitions:
            self._answer(request, 200, "OK", hub.partitions[str(asked.get("partition"))].properties())
        else:
            self._answer(request, 400, "The type or the partition is not one of this hub.")

    def _answer(
        self, request: amqp.Message, code: int, description: str, value: Mapping[str, object] | None = None
    ) -> None:
        status: dict[str, str | int] = {"status-code": code, "status-description": description}
        for link in list(self.session.links.values()):
            if isinstance(link, _ResponseLink) and link.node == self.node:
                link.waiting.append(amqp.encode_response(request.message_id, status, value))
                link.pump()


class _SendLink(IncomingLink):
    """Takes events for a hub, or for one of its partitions."""

    def __init__(
        self, session: Session, attach: Any, hub: _Hub, partition_id: str | None, connection: _Connection
    ) -> None:
        super().__init__(session, attach)
        self.hub = hub
        self.connection = connection
        self.partition_id = partition_id
        self._due = 0.0

    @property
    def max_message_bytes(self) -> int:
        return self.hub.spec.max_message_bytes

    def attached(self) -> None:
        super().attached()
        self.hub.sending_connections.add(self.connection.number)

    def receive(self, transfer: Transfer) -> None:
        self.hub.attempts += 1
        self.connection.unsettled += 1
        go_on = partial(self._process, transfer)
        if self.hub.faults.hold("outcome", go_on):
            return
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time() + self.hub.faults.delay_s)
        if self.hub.faults.delay_s:
            self.hub.faults.fired["delay"] += 1
        if self._due > loop.time():  # also where an earlier one still waits: outcomes keep their order
            loop.call_at(self._due, go_on)
        else:
            go_on()

    def _process(self, transfer: Transfer) -> None:
        """Store and settle, or do what the oldest fault says. Nothing is done for a lost connection."""
        connection = self.connection
        if not connection.is_open:
            return
        connection.unsettled -= 1
        fault = self.hub.faults.take()
        if fault is None or fault.name == "accept":
            self.session.settle(transfer, self._store(transfer))
        elif fault.name == "release":
            self.session.settle(transfer, amqp.Released())
        elif fault.name == "detach":
            self.session.detach(self, fault.condition, fault.description)
        elif fault.name in ("drop_before_store", "drop_after_store"):
            if fault.name == "drop_after_store":
                self._store(transfer)
            connection.abort()
        else:
            problem = amqp.error(fault.condition, fault.description)
            self.session.settle(transfer, amqp.Rejected(error=problem))

    def _store(self, transfer: Transfer) -> Any:
        """Store a batch whole, or refuse it whole; gives the outcome."""
        limit = self.max_message_bytes
        if transfer.size > limit:
            text = f"The message of {transfer.size} bytes exceeds the limit of {limit} bytes on the link."
            return amqp.Rejected(error=amqp.error("amqp:link:message-size-exceeded", text))
        try:
            key = amqp.decode_annotations(transfer.message).get("x-opt-partition-key")
            batched = transfer.message_format == amqp.BATCH_FORMAT
            messages = amqp.batched_messages(transfer.message) if batched else [transfer.message]
        except amqp.Malformed as problem:
            return amqp.Rejected(error=amqp.error("amqp:decode-error", str(problem)))
        if key is not None and len(str(key)) > MAX_PARTITION_KEY_LENGTH:
            text = f"The partition key has more than {MAX_PARTITION_KEY_LENGTH} characters."
            return amqp.Rejected(error=amqp.error("com.microsoft:argument-error", text))
        number = self.connection.number
        self.hub.store(messages, None if key is None else str(key), self.partition_id, number)
        return amqp.Accepted()


class _ReceiveLink(OutgoingLink):
    """Gives the events of a partition, from where the client asked to begin."""

    def __init__(self, session: Session, attach: Any, partition: Partition, group: str, start: int) -> None:
        super().__init__(session, attach)
        self.partition = partition
        self.group = group
        self.epoch: int | None = (attach.properties or {}).get(b"com.microsoft:epoch")
        self._next = start

    def attached(self) -> None:
        self.partition.readers.append(self)

    def closed(self) -> None:
        if self in self.partition.readers:
            self.partition.readers.remove(self)

    def next_message(self) -> bytes | None:
        record = self.partition.at_or_after(self._next)
        if record is None:
            return None
        self._next = record.sequence_number + 1
        return record.delivered()


def _attach_receiver(session: Session, attach: Any, hub: _Hub, path: list[str]) -> None:
    words, names = [word.lower() for word in path[1::2]], path[2::2]
    if (
        words != ["consumergroups", "partitions"]
        or names[:1] not in [[group] for group in hub.spec.consumer_groups]
        or names[1:] not in [[partition_id] for partition_id in hub.partitions]
    ):
        session.refuse(
            attach, "amqp:not-found", f"The messaging entity '{'/'.join(path)}' could not be found."
        )
        return
    group, partition = names[0], hub.partitions[names[1]]
    try:
        start = partition.start_of(amqp.selector_of(attach.source))
    except ValueError as problem:
        session.refuse(attach, "amqp:invalid-field", str(problem))
        return
    link = _ReceiveLink(session, attach, partition, group, start)
    readers = [reader for reader in partition.readers if isinstance(reader, _ReceiveLink)]
    rivals = [reader for reader in readers if reader.group == group]
    owner = max((reader.epoch for reader in rivals if reader.epoch is not None), default=None)
    if owner is not None and (link.epoch is None or link.epoch < owner):
        session.refuse(attach, "amqp:link:stolen", f"A receiver with epoch {owner} owns the partition.")
        return
    if link.epoch is not None:
        for reader in rivals:
            reader.session.detach(
                reader, "amqp:link:stolen", f"A receiver with epoch {link.epoch} took over."
            )
    session.attach(link)


def _split(address: str) -> list[str]:
    """Split `sb://host/hub/ConsumerGroups/…`, or a bare `$cbs`, into its words."""
    return urlparse(address).path.strip("/").split("/")
