"""Which proxy stands between this host and another, and how libraries are told of it. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote, urlsplit

from app.settings.connection_strings import authority, is_within
from app.settings.network import shown_proxy
from app.settings.schema import NetworkSettings, Proxy

_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


def proxy_for(network: NetworkSettings, url: str) -> Proxy | None:
    """Give the proxy that a URL is reached through; None where it is reached directly."""
    parts = urlsplit(url)
    proxy = network.https_proxy if parts.scheme in ("https", "wss") else network.http_proxy
    host, port = (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)
    if proxy is None or any(_covers(entry.lower(), host, port) for entry in network.no_proxy):
        return None
    return proxy


def by_proxy(network: NetworkSettings, url: str) -> str:
    """Say for a message which proxy a URL is reached through; nothing where it is reached directly."""
    proxy = proxy_for(network, url)
    return f" through the proxy {shown_proxy(proxy)}" if proxy else ""


def proxy_url(proxy: Proxy) -> str:
    """Write a proxy for a library, with user and password: a secret."""
    credentials = ""
    if proxy.user or proxy.password:
        credentials = f"{quote(proxy.user, safe='')}:{quote(proxy.password, safe='')}@"
    return f"{proxy.scheme}://{credentials}{authority(proxy.host, proxy.port)}"


def proxies_of(network: NetworkSettings, url: str) -> dict[str, str]:
    """Give the proxy for a URL by its scheme, as requests and the SDKs of Azure take it; none is empty."""
    proxy = proxy_for(network, url)
    return {} if proxy is None else {urlsplit(url).scheme: proxy_url(proxy)}


def azure_options(network: NetworkSettings, url: str) -> dict[str, Any]:
    """Give what a client of Azure's that speaks HTTP is told, so that it takes the same way as all else."""
    # Else it would look for proxies in the environment by itself, where `.env` does not count.
    options: dict[str, Any] = {"use_env_settings": False, "proxies": proxies_of(network, url)}
    return options if network.ca_file is None else options | {"connection_verify": network.ca_file}


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means a host: `*`, a name or its end, an address or a net of them."""
    if entry == "*":
        return True
    name, colon, written = entry.rpartition(":")
    if colon and written.isdecimal() and not name.endswith(":") and (":" not in name or name.endswith("]")):
        if int(written) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return is_within(host, entry)
