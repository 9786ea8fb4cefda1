"""The server's side of AMQP 1.0 on an asyncio transport: connections, sessions, links, credit, windows.

It knows nothing of Event Hubs: a subclass of `Connection` decides what may be attached, and
subclasses of `IncomingLink` and `OutgoingLink` what comes and goes.

Whatever a client ends (a link, a session, the connection) is answered in kind, once. What is ended here,
or by both at once, stays until the client's own detach, end or close, which is then the answer; until
then all else that comes for it is passed over (AMQP 1.0, part 2, 2.4.3, 2.5.3 to 2.5.5 and 2.6.6).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from emulators import amqp

MAX_FRAME_BYTES = 65_536
MAX_MESSAGE_BYTES = 1_048_576
CREDIT = 1_000  # transfers a client may send ahead on one link
WINDOW = 5_000  # frames a client may send ahead in one session
CHANNEL_MAX = 4_999
HANDLE_MAX = 255
CLOSE_PATIENCE_S = 10.0  # for a client to answer a close, or to read the last that was written
_OPEN_MECHANISMS = [b"MSSBCBS", b"ANONYMOUS"]  # who it is comes later, with the token


class Connection(asyncio.Protocol):
    """One connection: framing, SASL, heartbeats, and the sessions in it.

    `unsettled` counts the transfers whose outcome is still owed.
    """

    def __init__(self, idle_timeout_s: float) -> None:
        self.idle_timeout_s = idle_timeout_s
        self.unsettled = 0
        self.writable = True
        self.is_open = False
        self.peer_max_frame_bytes = 512
        self._peer_idle_timeout_s: float | None = None
        self._transport: asyncio.Transport
        self._frames = amqp.FrameBuffer(MAX_FRAME_BYTES)
        self._closing = False
        self._sessions: dict[int, Session] = {}
        self._heard_at = self._spoke_at = time.monotonic()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def on_attach(self, session: Session, attach: Any) -> None:
        """Attach or refuse the link that a client asks for."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.is_open = True
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        try:
            for frame in self._frames.feed(data):
                self._on_frame(frame)
                if not self.is_open:
                    return
        except amqp.Malformed as problem:
            self.close("amqp:decode-error", str(problem))

    def eof_received(self) -> None:
        self.is_open = False

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        self._end_sessions()
        for timer in (self._heartbeat, self._patience):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        for session in self._sessions.values():
            session.pump()

    def send(self, channel: int, performative: Any) -> None:
        if not self._closing:
            self._write(amqp.encode(channel, performative))

    def abort(self) -> None:
        """Drop the TCP connection, without a word."""
        self.is_open = False
        self._transport.abort()

    def close(self, condition: str, description: str) -> None:
        """Say why, as the last that is written, and wait for the client to close; not for long."""
        self._close(amqp.error(condition, description))

    def _close(self, problem: Any) -> None:
        if self._closing:
            return
        self.send(0, amqp.CloseFrame(error=problem))
        self._closing = True
        self._end_sessions()
        patience_s = min(self.idle_timeout_s, CLOSE_PATIENCE_S)
        self._patience = asyncio.get_running_loop().call_later(patience_s, self.abort)

    def _end_sessions(self) -> None:
        for session in self._sessions.values():
            session.let_go()

    def close_idle(self) -> None:
        limit_ms = int(self.idle_timeout_s * 1000)
        self.close(
            "amqp:connection:forced",
            f"The connection was inactive for more than the allowed {limit_ms} milliseconds and is closed.",
        )

    def _on_frame(self, frame: bytes | amqp.Frame) -> None:
        if isinstance(frame, bytes):
            self._on_header(frame)
            return
        performative = frame.performative
        if isinstance(performative, amqp.CloseFrame):
            self._close(None)  # unless it is the answer to ours
            self._shut()
        elif self._closing or performative is None:
            return
        elif isinstance(performative, amqp.SASLInit):
            self._on_sasl(performative)
        elif isinstance(performative, amqp.OpenFrame):
            self._on_open(performative)
        elif isinstance(performative, amqp.BeginFrame):
            self._on_begin(frame.channel, performative)
        elif frame.channel in self._sessions:
            self._on_session_frame(self._sessions[frame.channel], performative)
        else:
            self.close("amqp:illegal-state", f"Channel {frame.channel} has no session.")

    def _on_header(self, header: bytes) -> None:
        if header == amqp.SASL_HEADER:
            mechanisms = amqp.SASLMechanism(sasl_server_mechanisms=_OPEN_MECHANISMS)
            self._write(header + amqp.encode(0, mechanisms, sasl=True))
        elif header == amqp.AMQP_HEADER:
            self._write(header)
        else:
            self._write(amqp.AMQP_HEADER)
            self._shut()

    def _on_sasl(self, init: Any) -> None:
        known = init.mechanism in _OPEN_MECHANISMS
        outcome = amqp.SASLOutcome(code=0 if known else 1, additional_data=None)
        self._write(amqp.encode(0, outcome, sasl=True))
        if not known:
            self._shut()

    def _on_open(self, peer: Any) -> None:
        self.peer_max_frame_bytes = peer.max_frame_size or MAX_FRAME_BYTES
        self._peer_idle_timeout_s = peer.idle_timeout / 1000 if peer.idle_timeout else None
        answer = amqp.fill(
            amqp.OpenFrame,
            container_id="eventhubs-emulator",
            max_frame_size=MAX_FRAME_BYTES,
            channel_max=CHANNEL_MAX,
            idle_timeout=int(self.idle_timeout_s * 1000),
        )
        self.send(0, answer)
        self._watch()

    def _on_begin(self, channel: int, begin: Any) -> None:
        if channel > CHANNEL_MAX:
            self.close("amqp:connection:framing-error", f"Channel {channel} is over {CHANNEL_MAX}.")
        elif channel in self._sessions:
            self.close("amqp:illegal-state", f"Channel {channel} has a session.")
        else:
            self._sessions[channel] = Session(self, channel, begin)

    def _on_session_frame(self, session: Session, performative: Any) -> None:
        if isinstance(performative, amqp.EndFrame):
            del self._sessions[session.channel]
            session.end()  # unless it is the answer to ours
        elif session.ended:
            return
        elif isinstance(performative, amqp.AttachFrame):
            session.on_attach(performative)
        elif isinstance(performative, amqp.TransferFrame):
            session.on_transfer(performative)
        elif isinstance(performative, amqp.FlowFrame):
            session.on_flow(performative)
        elif isinstance(performative, amqp.DetachFrame):
            session.on_detach(performative)

    def _watch(self) -> None:
        """Send heartbeats where the client wants them, and close what has been silent for too long."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if self._closing:
            return
        now = time.monotonic()
        if now - self._heard_at > self.idle_timeout_s:
            self.close_idle()
            return
        beat_s = min(self.idle_timeout_s, self._peer_idle_timeout_s or self.idle_timeout_s) / 3
        if self._peer_idle_timeout_s and now - self._spoke_at >= beat_s * 0.9:
            self._write(amqp.HEARTBEAT)
        self._heartbeat = asyncio.get_running_loop().call_later(beat_s, self._watch)

    def _shut(self) -> None:
        """Close the TCP connection, once what was written is on its way."""
        self._transport.close()
        self.is_open = False

    def _write(self, data: bytes) -> None:
        if self.is_open:
            self._spoke_at = time.monotonic()
            self._transport.write(data)


class Session:
    """The links of one session, and its windows. Our channel and handles are the client's own numbers."""

    def __init__(self, connection: Connection, channel: int, begin: Any) -> None:
        self.connection = connection
        self.channel = channel
        self.ended = False
        self.links: dict[int, Link] = {}
        self._attaches: dict[int, Any] = {}  # by handle, from the client's attach to its detach
        self.peer_window = int(begin.incoming_window)
        self._next_incoming_id = int(begin.next_outgoing_id)
        self._next_outgoing_id = 0
        self._delivery_id = -1
        self._window = WINDOW
        answer = amqp.fill(
            amqp.BeginFrame,
            remote_channel=channel,
            next_outgoing_id=0,
            incoming_window=WINDOW,
            outgoing_window=WINDOW,
            handle_max=HANDLE_MAX,
        )
        self.send(answer)

    def send(self, performative: Any) -> None:
        if not self.ended:
            self.connection.send(self.channel, performative)

    def attach(self, link: Link) -> None:
        self.links[link.handle] = link
        self.send(link.attach_frame())
        link.attached()

    def refuse(self, attach: Any, condition: str, description: str) -> None:
        """Attach without the terminus the client asked for, then detach and say why."""
        source = None if attach.role else amqp.source(None)
        target = amqp.target(None) if attach.role else None
        self.send(_attach_frame(attach, source, target, None))
        problem = amqp.error(condition, description)
        self.send(amqp.DetachFrame(handle=attach.handle, closed=True, error=problem))

    def detach(self, link: Link, condition: str, description: str) -> None:
        """Close a link from here, and say why; one that is closed already stays so."""
        if self.links.pop(link.handle, None) is None:
            return
        link.closed()
        problem = amqp.error(condition, description)
        self.send(amqp.DetachFrame(handle=link.handle, closed=True, error=problem))

    def awaits(self, attach: Any) -> bool:
        """Whether the client still waits for the answer to an attach."""
        return not self.ended and self._attaches.get(attach.handle) is attach

    def end(self, problem: Any = None) -> None:
        self.send(amqp.EndFrame(error=problem))
        self.let_go()

    def let_go(self) -> None:
        """Nothing is sent any more, and no link has anything to wait for."""
        self.ended = True
        for link in self.links.values():
            link.closed()
        self.links.clear()

    def pump(self) -> None:
        for link in list(self.links.values()):
            if isinstance(link, OutgoingLink):
                link.pump()

    def on_attach(self, attach: Any) -> None:
        if attach.handle > HANDLE_MAX:
            text = f"Handle {attach.handle} is over {HANDLE_MAX}."
            self.connection.close("amqp:connection:framing-error", text)
        elif attach.handle in self._attaches:
            self.end(amqp.error("amqp:session:handle-in-use", f"Handle {attach.handle} has a link."))
        else:
            self._attaches[attach.handle] = attach
            self.connection.on_attach(self, attach)

    def _link_of(self, handle: int) -> Link | None:
        """Give the link of a handle; None where it was closed here.

        One that the client never attached, or has detached, ends the session.
        """
        if handle not in self._attaches:
            self.end(amqp.error("amqp:session:unattached-handle", f"Handle {handle} has no link."))
        return self.links.get(handle)

    def on_transfer(self, transfer: Any) -> None:
        self._next_incoming_id += 1
        self._window -= 1
        link = self._link_of(transfer.handle)
        if isinstance(link, IncomingLink):
            link.on_transfer(transfer)
        if self._window < WINDOW // 2:
            self._window = WINDOW
            self.flow()

    def on_flow(self, flow: Any) -> None:
        # A client that has not seen our begin yet counts from our first id, which is 0.
        self.peer_window = (flow.next_incoming_id or 0) + flow.incoming_window - self._next_outgoing_id
        link = None if flow.handle is None else self._link_of(flow.handle)
        if link is not None:
            link.on_flow(flow)
        self.pump()
        if flow.echo:
            self.flow(**(link.flow_state() if link is not None else {}))

    def on_detach(self, detach: Any) -> None:
        link = self._link_of(detach.handle)
        self._attaches.pop(detach.handle, None)
        if link is not None:
            del self.links[detach.handle]
            link.closed()
            self.send(amqp.DetachFrame(handle=detach.handle, closed=detach.closed, error=None))

    def flow(self, **of_link: int) -> None:
        frame = amqp.fill(
            amqp.FlowFrame,
            next_incoming_id=self._next_incoming_id,
            incoming_window=self._window,
            next_outgoing_id=self._next_outgoing_id,
            outgoing_window=WINDOW,
            **of_link,
        )
        self.send(frame)

    def settle(self, transfer: Transfer, outcome: Any) -> None:
        """Tell the client the outcome of what it sent, unless it has settled that itself."""
        if transfer.settled:
            return
        ids = {"first": transfer.delivery_id, "last": transfer.delivery_id}
        self.send(amqp.fill(amqp.DispositionFrame, role=True, settled=True, state=outcome, **ids))

    def transfer(self, handle: int, message: bytes) -> None:
        """Send a message, settled, in as many frames as the client's frame size asks for."""
        self._delivery_id += 1
        piece_bytes = self.connection.peer_max_frame_bytes - 128  # room for the performative
        for start in range(0, len(message), piece_bytes):
            frame = amqp.fill(
                amqp.TransferFrame,
                handle=handle,
                delivery_id=self._delivery_id,
                delivery_tag=self._delivery_id.to_bytes(4, "big"),
                message_format=0,
                settled=True,
                more=start + piece_bytes < len(message),
                payload=message[start : start + piece_bytes],
            )
            self._next_outgoing_id += 1
            self.peer_window -= 1
            self.send(frame)


class Link:
    """One end of a link; `handle` is the client's."""

    def __init__(self, session: Session, attach: Any) -> None:
        self.session = session
        self.handle = int(attach.handle)
        self._attach = attach

    @property
    def max_message_bytes(self) -> int:
        return MAX_MESSAGE_BYTES

    def attach_frame(self) -> Any:
        source = amqp.source(amqp.address_of(self._attach.source), amqp.selector_of(self._attach.source))
        target = amqp.target(amqp.address_of(self._attach.target))
        return _attach_frame(self._attach, source, target, self.max_message_bytes)

    def attached(self) -> None:
        """Begin, once the client knows the link."""

    def on_flow(self, flow: Any) -> None:
        """Take what the client says of the link's credit."""

    def flow_state(self) -> dict[str, int]:
        """Give what a flow of ours says of the link."""
        raise NotImplementedError

    def closed(self) -> None:
        """Let go; the client, the session or the connection has ended the link."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer that has arrived in full. `message` is empty where `size` is over the link's limit."""

    delivery_id: int
    message_format: int
    message: bytes
    size: int
    settled: bool


class IncomingLink(Link):
    """The client sends. Gives credit and puts transfers of several frames together."""

    def __init__(self, session: Session, attach: Any) -> None:
        super().__init__(session, attach)
        self._delivery_count = int(attach.initial_delivery_count or 0)
        self._credit = 0
        self._first: Any = None
        self._pieces: list[bytes] = []
        self._size = 0

    def receive(self, transfer: Transfer) -> None:
        raise NotImplementedError

    def attached(self) -> None:
        self._grant()

    def on_transfer(self, frame: Any) -> None:
        self._first = self._first or frame
        self._size += len(frame.payload)
        if self._size <= self.max_message_bytes:
            self._pieces.append(bytes(frame.payload))
        if frame.more and not frame.aborted:
            return
        message = b"".join(self._pieces) if self._size <= self.max_message_bytes else b""
        first = self._first
        transfer = Transfer(
            delivery_id=first.delivery_id,
            message_format=first.message_format or 0,
            message=message,
            size=self._size,
            settled=bool(first.settled or frame.settled),
        )
        self._first, self._pieces, self._size = None, [], 0
        self._delivery_count += 1
        self._credit -= 1
        if self._credit < 0:
            self.session.detach(self, "amqp:link:transfer-limit-exceeded", "No credit was left on the link.")
            return
        if self._credit < CREDIT // 2:
            self._grant()
        if not frame.aborted:
            self.receive(transfer)

    def _grant(self) -> None:
        self._credit = CREDIT
        self.session.flow(**self.flow_state())

    def flow_state(self) -> dict[str, int]:
        return {
            "handle": self.handle,
            "delivery_count": self._delivery_count,
            "link_credit": self._credit,
        }


class OutgoingLink(Link):
    """The client receives. Sends while there is credit, window, and room in the socket's buffer."""

    def __init__(self, session: Session, attach: Any) -> None:
        super().__init__(session, attach)
        self._credit = 0
        self._delivery_count = 0
        self._draining = False

    def next_message(self) -> bytes | None:
        """Give the encoded message that is due; None where there is none yet."""
        raise NotImplementedError

    def on_flow(self, flow: Any) -> None:
        if flow.link_credit is not None:
            self._credit = (flow.delivery_count or 0) + flow.link_credit - self._delivery_count
            self._draining = bool(flow.drain)

    def flow_state(self) -> dict[str, int]:
        return {
            "handle": self.handle,
            "delivery_count": self._delivery_count,
            "link_credit": self._credit,
            "available": 0,
            "drain": self._draining,
        }

    def pump(self) -> None:
        session = self.session
        while self._credit > 0 and session.peer_window > 0 and session.connection.writable:
            message = None if session.ended else self.next_message()
            if message is None:
                if self._draining:
                    self._delivery_count += self._credit
                    self._credit = 0
                break
            self._credit -= 1
            self._delivery_count += 1
            session.transfer(self.handle, message)
        if self._draining and self._credit <= 0:
            session.flow(**self.flow_state())
            self._draining = False


def _attach_frame(attach: Any, source: Any, target: Any, max_message_bytes: int | None) -> Any:
    """Answer an attach. To a receiver everything is sent settled; nobody redelivers here."""
    return amqp.fill(
        amqp.AttachFrame,
        name=amqp.text(attach.name),
        handle=attach.handle,
        role=not attach.role,
        send_settle_mode=1 if attach.role else attach.send_settle_mode,
        rcv_settle_mode=0,
        source=source,
        target=target,
        initial_delivery_count=0 if attach.role else None,
        max_message_size=max_message_bytes,
    )
