"""How whatever ends is answered on the wire, and what is written in which other way: AMQP 1.0, part 2."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from emulators import amqp
from emulators.amqp_server import Connection, IncomingLink, OutgoingLink, Session, Transfer

_QUICK_S = 0.05


class _Wire(asyncio.Transport):
    """Where a connection writes to; `shut` once it has been closed or dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.shut: str | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.shut is None
        self.written += data

    def close(self) -> None:
        self.shut = self.shut or "closed"

    def abort(self) -> None:
        self.shut = "dropped"


class _Sending(OutgoingLink):
    def __init__(self, session: Session, attach: Any, waiting: Iterable[bytes]) -> None:
        super().__init__(session, attach)
        self.waiting = deque(waiting)

    def next_message(self) -> bytes | None:
        return self.waiting.popleft() if self.waiting else None


class _Taking(IncomingLink):
    """Takes a message, or closes itself where that says so."""

    def receive(self, transfer: Transfer) -> None:
        if transfer.message == b"close":
            self.session.detach(self, "amqp:link:detach-forced", "It was told to.")
        self.session.settle(transfer, amqp.Accepted())


class _Server(Connection):
    """Attaches whatever is asked for, except for `late`, which is kept; `refused` is refused."""

    def __init__(self, idle_timeout_s: float = 60.0) -> None:
        super().__init__(idle_timeout_s)
        self.late: list[tuple[Session, Any]] = []

    def on_attach(self, session: Session, attach: Any) -> None:
        match amqp.address_of(attach.source if attach.role else attach.target):
            case "late":
                self.late.append((session, attach))
            case "refused":
                session.refuse(attach, "amqp:not-found", "There is none.")
            case _ if attach.role:
                session.attach(_Sending(session, attach, [b"one", b"two", b"three"]))
            case _:
                session.attach(_Taking(session, attach))


class _Client:
    """The other side of a connection, frame by frame. Channel 1 has a session."""

    def __init__(self, runner: asyncio.Runner, *, idle_timeout_s: float = 60.0) -> None:
        self.wire = _Wire()
        self.server = _Server(idle_timeout_s)
        self._runner = runner
        self._frames = amqp.FrameBuffer(1_000_000)
        self._act(lambda: self.server.connection_made(self.wire))
        self.say_raw(amqp.AMQP_HEADER)
        self.say(amqp.fill(amqp.OpenFrame, container_id="client", max_frame_size=65_536), channel=0)
        self.say(_begin())
        self.heard()

    def say(self, *performatives: Any, channel: int = 1) -> None:
        self.say_raw(b"".join(amqp.encode(channel, each) for each in performatives))

    def say_body(self, body: bytes, channel: int = 1) -> None:
        """Say the body of a frame."""
        self.say_raw((8 + len(body)).to_bytes(4, "big") + b"\x02\x00" + channel.to_bytes(2, "big") + body)

    def say_raw(self, data: bytes) -> None:
        self._act(lambda: self.server.data_received(data))

    def attach_what_was_late(self) -> None:
        for session, attach in self.server.late:
            if session.awaits(attach):
                self._act(partial(session.attach, _Taking(session, attach)))

    def wait_until_shut(self) -> str | None:
        async def wait() -> None:
            async with asyncio.timeout(10):
                while self.wire.shut is None:
                    await asyncio.sleep(0.005)

        self._runner.run(wait())
        return self.wire.shut

    def _act(self, call: Callable[[], object]) -> None:
        async def act() -> None:
            call()

        self._runner.run(act())

    def heard(self) -> list[tuple[Any, ...]]:
        """What has come since: of each frame its name, and what tells it apart."""
        data = bytes(self.wire.written)
        self.wire.written.clear()
        return [_told(frame) for frame in self._frames.feed(data) if isinstance(frame, amqp.Frame)]


def _told(frame: amqp.Frame) -> tuple[Any, ...]:
    said = frame.performative
    match said:
        case amqp.DetachFrame():
            return ("detach", said.handle, bool(said.closed), _condition(said.error))
        case amqp.EndFrame():
            return ("end", frame.channel, _condition(said.error))
        case amqp.CloseFrame():
            return ("close", _condition(said.error))
        case amqp.AttachFrame():
            return ("attach", said.handle)
        case amqp.FlowFrame():
            return ("flow", said.handle, said.delivery_count, said.link_credit, bool(said.drain))
        case amqp.TransferFrame():
            return ("transfer", said.handle, bytes(said.payload or b""))
        case None:
            return ("heartbeat",)
    return (type(said).__name__,)


def _condition(error: Any) -> str | None:
    return amqp.text(error[0]) if error else None


def _begin() -> Any:
    return amqp.fill(amqp.BeginFrame, next_outgoing_id=0, incoming_window=100, outgoing_window=100)


def _attach(handle: int, address: str = "a", *, receives: bool = False) -> Any:
    return amqp.fill(
        amqp.AttachFrame,
        name=f"link {handle}",
        handle=handle,
        role=receives,
        send_settle_mode=2,
        rcv_settle_mode=0,
        source=amqp.source(address),
        target=amqp.target(address),
        initial_delivery_count=None if receives else 0,
    )


def _detach(handle: int, *, closed: bool = True) -> Any:
    return amqp.DetachFrame(handle=handle, closed=closed, error=None)


def _transfer(handle: int, payload: bytes, *, delivery_id: int = 0, settled: bool = False) -> Any:
    return amqp.fill(
        amqp.TransferFrame,
        handle=handle,
        delivery_id=delivery_id,
        delivery_tag=b"t",
        message_format=0,
        settled=settled,
        more=False,
        payload=payload,
    )


def _flow(handle: int | None, *, credit: int | None = None, drain: bool = False, echo: bool = False) -> Any:
    windows = {"next_incoming_id": 0, "incoming_window": 100, "next_outgoing_id": 0, "outgoing_window": 100}
    counted = {} if handle is None else {"handle": handle, "delivery_count": 0, "link_credit": credit}
    return amqp.fill(amqp.FlowFrame, **windows, **counted, drain=drain, echo=echo)


_END = amqp.EndFrame(error=None)
_CLOSE = amqp.CloseFrame(error=None)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The loop on which the timers of a connection are."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def client(runner: asyncio.Runner) -> _Client:
    return _Client(runner)


# -- what a client ends


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("receives", [True, False])
def test_a_detach_is_answered_once_on_its_handle_with_what_it_says(
    client: _Client, receives: bool, closed: bool
) -> None:
    client.say(_attach(7, receives=receives))
    client.heard()

    client.say(_detach(7, closed=closed))

    assert client.heard() == [("detach", 7, closed, None)]


def test_a_handle_can_be_attached_again_after_its_detach(client: _Client) -> None:
    client.say(_attach(0), _detach(0), _attach(0))

    attached = [("attach", 0), ("flow", 0, 0, 1000, False)]
    assert client.heard() == [*attached, ("detach", 0, True, None), *attached]


def test_an_end_is_answered_on_its_channel_and_takes_its_links_along(client: _Client) -> None:
    client.say(_attach(0), _attach(1, receives=True))
    client.heard()

    client.say(_END)

    assert client.heard() == [("end", 1, None)]


def test_a_detach_and_an_end_in_one_go_are_answered_in_their_order(client: _Client) -> None:
    client.say(_attach(0))
    client.heard()

    client.say(_detach(0), _END)

    assert client.heard() == [("detach", 0, True, None), ("end", 1, None)]


def test_a_channel_can_be_begun_again_after_its_end(client: _Client) -> None:
    client.say(_END, _begin(), _attach(0))

    assert client.heard()[:3] == [("end", 1, None), ("BeginFrame",), ("attach", 0)]


def test_a_close_is_answered_as_the_last_that_is_written(client: _Client) -> None:
    client.say(_attach(0))
    client.heard()

    client.say(_CLOSE, channel=0)
    client.say(_transfer(0, b"too late"))

    assert (client.heard(), client.wire.shut) == ([("close", None)], "closed")


# -- what is ended here


def test_what_a_client_says_before_it_knows_that_a_link_was_closed_is_passed_over(client: _Client) -> None:
    client.say(_attach(0))
    client.heard()

    client.say(_transfer(0, b"close"), _transfer(0, b"under way", delivery_id=1), _flow(0, credit=1))

    assert client.heard() == [("detach", 0, True, "amqp:link:detach-forced"), ("DispositionFrame",)]


def test_the_detach_that_answers_ours_or_crosses_it_is_not_answered_again(client: _Client) -> None:
    client.say(_attach(0), _attach(1, "refused"), _transfer(0, b"close"))
    client.heard()

    client.say(_detach(0), _detach(1), _attach(0))

    assert client.heard() == [("attach", 0), ("flow", 0, 0, 1000, False)]


def test_a_handle_of_a_link_that_was_closed_here_is_in_use_until_the_client_detaches_it(
    client: _Client,
) -> None:
    client.say(_attach(0), _transfer(0, b"close"))
    client.heard()

    client.say(_attach(0))

    assert client.heard() == [("end", 1, "amqp:session:handle-in-use")]


@pytest.mark.parametrize(
    "said",
    [_transfer(3, b"x"), _flow(3, credit=1), _detach(3)],
    ids=["transfer", "flow", "detach"],
)
def test_a_handle_that_no_link_has_ends_the_session(client: _Client, said: Any) -> None:
    client.say(_attach(0))
    client.heard()

    client.say(said)

    assert client.heard() == [("end", 1, "amqp:session:unattached-handle")]


def test_after_our_end_all_is_passed_over_until_the_clients(client: _Client) -> None:
    client.say(_detach(3))
    client.heard()

    client.say(_attach(0), _transfer(0, b"x"), _flow(None, echo=True), _END)
    nothing = client.heard()
    client.say(_begin())

    assert (nothing, client.heard()) == ([], [("BeginFrame",)])


@pytest.mark.parametrize(
    ("said", "channel", "condition"),
    [
        (_attach(0), 9, "amqp:illegal-state"),
        (_END, 9, "amqp:illegal-state"),
        (_begin(), 1, "amqp:illegal-state"),
        (_begin(), 5_000, "amqp:connection:framing-error"),
        (_attach(256), 1, "amqp:connection:framing-error"),
    ],
    ids=["no session", "no session to end", "begun twice", "channel too high", "handle too high"],
)
def test_what_belongs_to_no_session_closes_the_connection(
    client: _Client, said: Any, channel: int, condition: str
) -> None:
    client.say(said, channel=channel)

    assert (client.heard(), client.wire.shut) == ([("close", condition)], None)


def test_after_our_close_nothing_is_written_and_the_clients_ends_the_connection(client: _Client) -> None:
    client.say(_attach(0))
    client.say_body(b"nothing that can be read")
    client.heard()

    client.say(_transfer(0, b"x"), _flow(None, echo=True), _detach(0), _END)
    client.say_body(b"nothing that can be read")
    kept_open = client.wire.shut
    client.say(_CLOSE, channel=0)

    assert (client.heard(), kept_open, client.wire.shut) == ([], None, "closed")


@pytest.mark.parametrize("told", ["wrong frame", "idle"])
def test_a_client_that_does_not_answer_our_close_is_dropped(runner: asyncio.Runner, told: str) -> None:
    client = _Client(runner, idle_timeout_s=_QUICK_S)
    if told == "wrong frame":
        client.say(_begin())

    assert client.wait_until_shut() == "dropped"
    assert client.heard()[-1][0] == "close"


def test_a_link_that_a_client_gave_up_before_its_answer_is_not_attached(client: _Client) -> None:
    client.say(_attach(0, "late"), _detach(0))

    client.attach_what_was_late()

    assert client.heard() == []


def test_a_link_that_is_answered_late_is_attached(client: _Client) -> None:
    client.say(_attach(0, "late"))

    client.attach_what_was_late()

    assert client.heard()[0] == ("attach", 0)


# -- credit and outcomes


def test_a_link_that_is_drained_sends_what_it_has_and_says_that_the_credit_is_used_up(
    client: _Client,
) -> None:
    client.say(_attach(0, receives=True))
    client.heard()

    client.say(_flow(0, credit=10, drain=True))

    sent = [("transfer", 0, body) for body in (b"one", b"two", b"three")]
    assert client.heard() == [*sent, ("flow", 0, 10, 0, True)]


def test_a_flow_that_asks_for_an_echo_is_answered(client: _Client) -> None:
    client.say(_attach(0, receives=True), _attach(1))
    client.heard()

    client.say(_flow(0, credit=2, echo=True), _flow(1, credit=0, echo=True), _flow(None, echo=True))

    assert client.heard()[2:] == [
        ("flow", 0, 2, 0, False),
        ("flow", 1, 0, 1000, False),
        ("flow", None, None, None, False),
    ]


def test_what_a_client_settled_itself_gets_no_outcome(client: _Client) -> None:
    client.say(_attach(0))
    client.heard()

    client.say(_transfer(0, b"x", settled=True), _transfer(0, b"y", delivery_id=1))

    assert client.heard() == [("DispositionFrame",)]


# -- other ways to write the same


@pytest.mark.parametrize(
    "descriptor", [b"\x00\x53", b"\x00\x80" + bytes(7)], ids=["short descriptor", "long descriptor"]
)
@pytest.mark.parametrize(
    "fields",
    [b"\x45", b"\xc0\x01\x00", b"\xd0\x00\x00\x00\x04\x00\x00\x00\x00", b"\xc0\x02\x01\x40"],
    ids=["no list", "short empty list", "long empty list", "null"],
)
def test_an_end_and_a_close_are_read_however_they_are_written(
    client: _Client, descriptor: bytes, fields: bytes
) -> None:
    client.say_body(descriptor + b"\x17" + fields)
    client.say_body(descriptor + b"\x18" + fields, channel=0)

    assert client.heard() == [("end", 1, None), ("close", None)]


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        b"\x00\x53\x17",
        b"\x00\x53\x99\x45",
        b"\x00\x53\x16\x45",
        b"\x00\x53\x17\xc0\x03\x01\x70\x00",
        b"\x00\x53\x17\xc0\x03\x02\x40\x40",
        b"\x00\x53\x16\xc0\x03\x01\xa1\x00",
        b"\x00\x53\x12\xc0\x0a\x06\xa1\x01l\x43\x42\x40\x40\x43",
    ],
    ids=[
        "cut",
        "no list",
        "unknown",
        "detach without a handle",
        "cut number",
        "too many fields",
        "detach with a text as its handle",
        "attach with a number as its source",
    ],
)
def test_a_frame_that_cannot_be_read_closes_the_connection(client: _Client, body: bytes) -> None:
    client.say_body(body)

    assert client.heard() == [("close", "amqp:decode-error")]


def test_a_client_of_another_protocol_is_told_which_one_is_spoken(client: _Client) -> None:
    client.say_raw(b"AMQP\x00\x00\x09\x01")

    assert (bytes(client.wire.written), client.wire.shut) == (amqp.AMQP_HEADER, "closed")


def test_a_client_that_wants_to_sign_in_otherwise_is_refused(client: _Client) -> None:
    client.say(amqp.SASLInit(mechanism="GSSAPI", initial_response=None, hostname=None))
    client.say(_attach(0))

    assert (client.wire.shut, b"\x00\x53\x44" in client.wire.written) == ("closed", True)


def test_a_message_with_long_descriptors_is_read_and_delivered_as_it_came() -> None:
    long = b"\x00\x80" + bytes(7)
    encoded = long + b"\x73\x45" + long + b"\x75\xa0\x01x"

    delivered = amqp.with_annotations(encoded, {"x-opt-offset": amqp.string_value("7")})

    assert delivered.endswith(encoded)
    message = amqp.decode_message(delivered)
    assert (message.body, message.annotations) == (b"x", {"x-opt-offset": "7"})
