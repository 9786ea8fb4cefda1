"""One Event Hub through the SDK: batches, deadlines, and its errors by what to do about them.

The asyncio client is used because only it can be cancelled: a stall at connect, sign-in,
attach or outcome hangs the SDK for ever, whatever timeouts it is given (seen with
azure-eventhub 5.15.1). A call past its deadline is cancelled and its connection closed,
so that nothing is sent later.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any

from app.base.certificates import why_untrusted
from app.base.errors import BatchRejected, HubBusy, HubError, HubRefused, HubUnreachable, MessageTooLarge
from app.base.text import cut_short
from app.base.unknown_host import why_unknown
from app.eventhub.batches import Batch
from app.eventhub.connecting import Closing, bypassed_proxy, hub_proxy, producer_client, through
from app.eventhub.deadlines import until
from app.settings.schema import HubSettings

# What is closed needs nothing more of the hub; a courtesy must not hold up the end of a run.
_CLOSE_TIMEOUT_S = 3.0
# One repeat, on a new connection: enough for a link that was detached, or closed for being idle.
_RETRIES = 1
# Conditions that stay until someone acts, as the service names them after the colon.
_REFUSALS = {
    "unauthorized-access": "the key or identity may not send here; grant the Send right, or renew the key",
    "not-found": "there is no such event hub; check EntityPath and the namespace",
    "entity-disabled": "the event hub is disabled; enable it",
}
_ITS_END = "its namespace, the host in its connection string"
# Of a hub that is not reached where others are: the way is open, its port too.
BESIDE_OTHERS = "check its namespace, and that its firewall lets this host in: other hubs are reached"
_BUSY = ("server-busy", "resource-limit-exceeded", "50002")
_TOO_LARGE = "message-size-exceeded"


class Hub:
    """One producer of one hub, kept open for a run. Used from one event loop only.

    Every method ends within its deadline, in seconds, whatever the service does.
    """

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self._client: Any = None
        self._closing: Closing = ()

    async def open(self, deadline_s: float) -> int:
        """Connect; give the largest message that the hub takes, in bytes. Raises HubError."""
        return int(await self._within(deadline_s, "open", self._open()))

    async def send(self, batch: Batch, deadline_s: float) -> bool:
        """Send and wait for the acknowledgement; give whether the hub may have the batch twice.

        Raises HubError; after a deadline, or a lost connection, whether the hub has it is unknown.
        """
        # The SDK's own timeout would repeat the send; only the deadline may end it.
        sending = self._client.send_batch(batch.encoded, timeout=max(deadline_s * 2, 60))
        link = self._link()
        await self._within(deadline_s, "send", sending)
        return self._link() is not link

    async def properties(self, deadline_s: float) -> dict[str, Any]:
        """Ask the hub for its name and partitions. Raises HubError."""
        return dict(await self._within(deadline_s, "properties", self._properties()))

    async def close(self) -> None:
        """Close the connection; give up after a few seconds."""
        closing, self._client, self._closing = self._closing, None, ()
        for close in closing:
            with contextlib.suppress(Exception):
                await until(_CLOSE_TIMEOUT_S, close())

    def _link(self) -> object:
        """Give the link that batches go over, None where the SDK does not show it.

        Where a connection is lost before the acknowledgement the SDK sends again over a new link, and
        says nothing of it, though the hub may have stored the batch the first time.
        """
        producers = getattr(self._client, "_producers", {}).values()
        handlers = [getattr(producer, "_handler", None) for producer in producers if producer is not None]
        return next((getattr(handler, "_link", None) for handler in handlers), None)

    def _connect(self) -> None:
        if self._client is None:
            # The SDK's own retries are kept down: each of them is two attempts as it is.
            self._client, self._closing = producer_client(self.settings, retry_total=_RETRIES)

    async def _open(self) -> int:
        self._connect()
        empty = await self._client.create_batch()
        return int(empty.max_size_in_bytes)

    async def _properties(self) -> Any:
        self._connect()
        return await self._client.get_eventhub_properties()

    async def _within(self, deadline_s: float, doing: str, call: Any) -> Any:
        try:
            return await until(deadline_s, call)
        except TimeoutError as error:
            await self.close()
            where = f"hub {self.settings.name}"
            if doing == "open":
                # A firewall that drops what it does not let through answers nothing at all.
                said = f"{where}: no connection{through(self.settings)} within {deadline_s:.0f} s"
                raise _unreachable(self.settings, said) from error
            raise HubUnreachable(
                f"{where}: no answer to {doing} within {deadline_s:.0f} s; "
                "the connection was closed, and what was under way is sent again by the next run"
            ) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception as error:  # the SDK raises its own, OSError, ValueError and azure.core's
            raise translate(self.settings, error) from error


def translate(settings: HubSettings, error: Exception) -> HubError:
    """Give what the SDK raised as one of ours, by what the caller should do."""
    from azure.eventhub.exceptions import EventDataSendError

    where, condition, text = f"hub {settings.name}", _condition(error), one_line(error)
    if any(mark in f"{condition} {error}" for mark in _BUSY):
        return HubBusy(f"{where}: busy: {text}")
    refused = refusal(settings, error, _REFUSALS)
    if refused is not None:
        return refused
    if _TOO_LARGE in condition or (isinstance(error, ValueError) and "size" in text):
        return MessageTooLarge(f"{where}: message refused as too large: {text}")
    if isinstance(error, EventDataSendError):
        return BatchRejected(f"{where}: batch rejected: {condition or text}")
    untrusted = why_untrusted(error)
    if untrusted is not None:
        return HubUnreachable(
            f"{where}: the certificate of {settings.host} is not trusted ({untrusted}); if a proxy inspects "
            f"TLS here, name its authority's file in REQUESTS_CA_BUNDLE"
        )
    defect = _defect(error)
    if defect is not None:
        return HubUnreachable(
            f"{where}: the client of the hub failed ({type(defect).__name__}: {text}), which says nothing of "
            "the network; report it, with what LOG_LEVEL=DEBUG shows"
        )
    said = f"{where}: no connection{through(settings)}"
    unknown = why_unknown(error)
    if unknown is not None:
        host, advice = _first_host(settings)
        return HubUnreachable(f"{said}: there is no host {host} ({unknown}); {advice}")
    if _fails_in_tls(error):
        return HubUnreachable(f"{said}: {text}; check {_ITS_END}, and what inspects TLS on the way")
    return _unreachable(settings, f"{said}: {text}")


def _fails_in_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_host(settings: HubSettings) -> tuple[str, str]:
    """Give the host whose name has to be known, and what to do where it is not."""
    proxy = hub_proxy(settings)
    if proxy is not None:
        return proxy.host, "check the proxy of HTTPS_PROXY"
    return settings.host, f"check {_ITS_END}"


def _unreachable(settings: HubSettings, said: str) -> HubUnreachable:
    beside = None if hub_proxy(settings) else f"{said}; {BESIDE_OTHERS}"
    return HubUnreachable(f"{said}; {_network_advice(settings)}", beside_others=beside)


def _defect(error: Exception) -> BaseException | None:
    """Give what the SDK, or code of ours within it, failed with; None where it is of the way to the hub."""
    root: BaseException = error
    # The SDK wraps what it does not expect, and keeps it as the context only.
    while type(error).__name__ == "EventHubError" and root.__context__ is not None:
        root = root.__context__
    known = type(root).__module__.startswith(("azure.", "aiohttp."))
    told = known or isinstance(root, OSError | EOFError | ValueError)
    return None if told else root


def refusal(settings: HubSettings, error: Exception, advice: Mapping[str, str]) -> HubRefused | None:
    """Give the refusal that an error means, with the advice for its condition; None where it is none."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.eventhub.exceptions import AuthenticationError

    whole = f"{_condition(error)} {error}"
    found = next(((condition, advice[condition]) for condition in advice if condition in whole), None)
    if found is None and isinstance(error, AuthenticationError | ClientAuthenticationError):
        found = "sign-in refused", advice["unauthorized-access"]
    return found and HubRefused(f"hub {settings.name}: {found[0]}: {found[1]} ({one_line(error)})")


def _condition(error: Exception) -> str:
    return str(getattr(error, "error", None) or "")


def _network_advice(settings: HubSettings) -> str:
    if hub_proxy(settings):
        return "check the proxy of HTTPS_PROXY, its user and password, and that it lets this host through"
    if bypassed_proxy(settings):
        return (
            "check the network; to go through the proxy, set EVENT_HUB_TRANSPORT=websockets: it carries no "
            "AMQP over TCP"
        )
    if settings.transport == "amqp":
        return "check the network; where only port 443 is open, set EVENT_HUB_TRANSPORT=websockets"
    return "check the network"


def one_line(error: Exception) -> str:
    """Give what the SDK says, which it says again after the condition."""
    text = " ".join(f"{error}".split()).partition(" Error condition:")[0]
    return cut_short(text, 300) or type(error).__name__
