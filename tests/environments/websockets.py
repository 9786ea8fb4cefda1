"""AMQP over WebSockets for what speaks plain AMQP: as Event Hubs has it at port 443."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from aiohttp import WSMsgType, web

from tests.environments.tls import LOOPBACK

# The sub-protocol of AMQP's WebSocket binding, and the path at Event Hubs.
_PROTOCOL, _PATH = "AMQPWSB10", "/$servicebus/websocket"


class WebSocketFront:
    """Takes WebSockets on loopback, and passes on what is said in them to another port."""

    def __init__(self, onward: int) -> None:
        self.met = 0
        self.port = 0
        self._onward = onward
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="websocket-front", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_get(_PATH, self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        return int(self._runner.addresses[0][1])

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        self.met += 1
        found = web.WebSocketResponse(protocols=[_PROTOCOL])
        await found.prepare(request)
        reader, writer = await asyncio.open_connection(LOOPBACK, self._onward)
        passing = asyncio.ensure_future(_pass_back(reader, found))
        try:
            async for message in found:
                if message.type is WSMsgType.BINARY:
                    writer.write(message.data)
                    await writer.drain()
        finally:
            passing.cancel()
            writer.close()
        return found


async def _pass_back(reader: asyncio.StreamReader, found: web.WebSocketResponse) -> None:
    while piece := await reader.read(65_536):
        await found.send_bytes(piece)
    await found.close()
