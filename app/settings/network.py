"""The way to the network, as the environment names it: proxies, authorities, an identity. Pure.

The variables are those that curl, requests and the SDKs of Azure know, in small letters too, which
count first as they do there; here they count where they stand in `.env` as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from app.base.redaction import register_secret
from app.base.text import shown
from app.settings.connection_strings import authority
from app.settings.rules import authorities
from app.settings.schema import NetworkSettings, Proxy
from app.settings.sources import SET_BY_AZURE

if TYPE_CHECKING:
    from app.settings.problems import Problems

# Of proxies, where none is written.
_PORTS = {"http": 80, "https": 443}
# Set where there is an identity to ask for: in such an app, and beside the agent of Azure Arc.
_IDENTITY_ENDPOINTS = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT")
# The first is what `ca_file` of config.yaml names, unless somebody's own file has no such line.
_CA_FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# What people set of all this that has no key in config.yaml; of the first four small letters count, too.
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
VARIABLES = (
    *PROXIES,
    "NO_PROXY",
    *_CA_FILES[1:],
    "AZURE_CLIENT_ID",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
)
_WRITE = "write http://host:port, or http://user:password@host:port"


def read_network(
    environment: Mapping[str, str], problems: Problems, *, ca_file: str | None, client_id: str | None
) -> NetworkSettings:
    """Give the way that all parts take; what is wrong with it is noted.

    `client_id` is the identity of the storage, which counts where AZURE_CLIENT_ID names none.
    """
    https_proxy, http_proxy = (_proxy(name, environment, problems) for name in ("HTTPS_PROXY", "HTTP_PROXY"))
    # Desktops set it to a SOCKS proxy beside the two others, where it says nothing to HTTP.
    everything = None if https_proxy and http_proxy else _proxy("ALL_PROXY", environment, problems)
    return NetworkSettings(
        https_proxy=https_proxy or everything,
        http_proxy=http_proxy or everything,
        no_proxy=tuple(_value("NO_PROXY", environment).replace(",", " ").split()),
        ca_file=ca_file or _ca_file(environment, problems),
        client_id=environment.get("AZURE_CLIENT_ID") or client_id or None,
        in_azure=any(environment.get(name) for name in (*SET_BY_AZURE, *_IDENTITY_ENDPOINTS)),
    )


def telemetry_network(environment: Mapping[str, str], network: NetworkSettings) -> NetworkSettings | None:
    """Give the way of telemetry with the identity that signs in there; None where the key alone does.

    `APPLICATIONINSIGHTS_AUTHENTICATION_STRING` says it, as to the Functions host:
    `ClientId=...;Authorization=AAD`.
    """
    written = environment.get("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "")
    parts = {name.strip().lower(): value.strip() for name, _, value in _pairs(written)}
    if parts.get("authorization", "").upper() != "AAD":
        return None
    return replace(network, client_id=parts.get("clientid") or network.client_id)


def read_proxy(text: str) -> Proxy:
    """Read the URL of a proxy; one without a scheme is http. Raises ValueError, without what may be secret.

    What stands before the last @ is taken for the user and password, whatever characters are in it.
    """
    scheme, separator, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", text)
    credentials, _, place = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    for secret in (password, unquote(password)):
        register_secret(secret)
    if scheme not in _PORTS:
        raise ValueError(f"names a proxy of the kind {scheme[:20]!r}, which is none for HTTP; {_WRITE}")
    host, port = _host_and_port(place.partition("/")[0], _PORTS[scheme])
    return Proxy(scheme, host, port, unquote(user), unquote(password))


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        host, written = host if closed else "", rest.removeprefix(":")
    else:
        host, _, written = place.partition(":")
    if not _names_a_host(host):
        raise ValueError(f"names no host of a proxy; {_WRITE}")
    if not written:
        return host, default
    if not (written.isascii() and written.isdecimal() and len(written) <= 5 and 0 < int(written) < 65_536):
        raise ValueError(f"names no port between 1 and 65535 after the proxy's host {shown(host)}; {_WRITE}")
    return host, int(written)


def _names_a_host(text: str) -> bool:
    """Whether `text` can be looked up: what does that puts names into IDNA, which some cannot be put into."""
    with contextlib.suppress(UnicodeError):
        text.encode("idna")
        return text != "" and not any(character.isspace() or character in "[]?#" for character in text)
    return False


def _pairs(written: str) -> list[tuple[str, str, str]]:
    return [pair.partition("=") for pair in written.split(";")]


def _proxy(name: str, environment: Mapping[str, str], problems: Problems) -> Proxy | None:
    text = _value(name, environment).strip()
    if not text:
        return None
    try:
        return read_proxy(text)
    except ValueError as error:
        problems.note(f"{name}: {error}")
        return None


def _ca_file(environment: Mapping[str, str], problems: Problems) -> str | None:
    name = next((name for name in _CA_FILES if environment.get(name)), "")
    try:
        return authorities(environment.get(name, ""))
    except ValueError as error:
        problems.note(f"{name}: {error}")
        return None


def _value(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name.lower()) or environment.get(name) or ""


def shown_proxy(proxy: Proxy) -> str:
    """Write a proxy for people, without its user and password."""
    return f"{proxy.scheme}://{authority(proxy.host, proxy.port)}"
