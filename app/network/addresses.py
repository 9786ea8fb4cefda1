"""Connects to a name that has several addresses: the first that answers counts, none uses up the time.

Attempts begin a quarter of a second apart, or as soon as one fails, and go on side by side (RFC 8305).
One after the other, an address that drops packets would take the whole deadline at each try.
"""

from __future__ import annotations

import asyncio
import errno
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, zip_longest
from typing import Any, TypeVar

T = TypeVar("T")

# RFC 8305, section 5, recommends it.
_NEXT_ADDRESS_S = 0.25
# A run that is told to stop shortens the deadlines of calls under way: looked at this often.
_WATCH_S = 1.0

Address = tuple[int, int, int, str, Any]


class EveryAddressLoop(asyncio.SelectorEventLoop):
    """An event loop in which the addresses of a name are tried side by side.

    The Event Hubs SDK asks for them one after the other, and the system gives each some two minutes.
    """

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        if options.get("sock") is None:
            options.setdefault("happy_eyeballs_delay", _NEXT_ADDRESS_S)
        return await super().create_connection(*args, **options)

    def __del__(self) -> None:
        # Ctrl-C while it is made leaves a part of it, which asyncio cannot close and complains of.
        with suppress(AttributeError):
            super().__del__()


def run_async(call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a loop of its own of that kind."""
    with asyncio.Runner(loop_factory=EveryAddressLoop) as runner:
        return runner.run(call)


def connected(host: str, port: int, left: Callable[[], float]) -> socket.socket:
    """Give a socket connected to a host, its addresses tried side by side until `left()` reaches zero.

    Raises OSError: where all fail what the first said, TimeoutError where none answered in time.
    """
    return connect_to_any(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), left)


def connect_to_any(addresses: Sequence[Address], left: Callable[[], float]) -> socket.socket:
    """As `connected`, for addresses as `getaddrinfo` gives them."""
    waiting, failure = _by_turns(addresses), None
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        untried = True
        while untried or selector.get_map():
            if left() <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "no address answered in time")
            address = next(waiting, None)
            untried = address is not None
            if address is not None:
                sock = stack.enter_context(socket.socket(*address[:3]))
                failure = _begin(sock, address, selector) or failure
            patience = _NEXT_ADDRESS_S if untried else _WATCH_S
            for key, _ in selector.select(max(0.0, min(patience, left()))) if selector.get_map() else ():
                selector.unregister(key.fileobj)
                found: Any = key.fileobj
                code = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return _kept(found)
                failure = failure or OSError(code, os.strerror(code))
    raise failure or OSError("the name has no address")


def _begin(sock: socket.socket, address: Address, selector: selectors.BaseSelector) -> OSError | None:
    """Begin to connect; give why it cannot even begin."""
    sock.setblocking(False)
    try:
        sock.connect(address[4])
    except BlockingIOError:
        pass
    except OSError as error:
        return error
    selector.register(sock, selectors.EVENT_WRITE)
    return None


def _kept(sock: socket.socket) -> socket.socket:
    """Give the connection as a socket of its own, which stays open when the attempts are closed."""
    kept = sock.dup()
    kept.setblocking(True)
    return kept


def _by_turns(addresses: Sequence[Address]) -> Iterator[Address]:
    """Give addresses of the two families in turns: often one family is dead as a whole."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return (address for address in chain(*zip_longest(first, others)) if address is not None)
