"""Reads the connection strings of Event Hubs, storage and Application Insights: `Key=value;Key=value`.

Keys are read without regard to case, as the SDKs read them. No message holds a value that could
be secret.
"""

from __future__ import annotations

import base64
import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"
# The storage emulator's: documented, the same everywhere, and no secret.
_DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_HUB_KEYS = (
    "Endpoint",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "EntityPath",
    "UseDevelopmentEmulator",
)
_INSIGHTS_KEYS = (
    "InstrumentationKey",
    "IngestionEndpoint",
    "LiveEndpoint",
    "EndpointSuffix",
    "Location",
    "ApplicationId",
    "AADAudience",
    "Authorization",
)
_STORAGE_KEYS = (
    "DefaultEndpointsProtocol",
    "AccountName",
    "AccountKey",
    "EndpointSuffix",
    "BlobEndpoint",
    "QueueEndpoint",
    "TableEndpoint",
    "FileEndpoint",
    "SharedAccessSignature",
    "UseDevelopmentStorage",
    "DevelopmentStorageProxyUri",
)
_UUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# IPv6 addresses among them.
_HOST = re.compile(r"[a-z0-9:]([a-z0-9.:_-]*[a-z0-9])?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_KEYS_IN_TEXT = re.compile(
    r"(?i)(?:SharedAccessKey|AccountKey|SharedAccessSignature|InstrumentationKey)\s*=\s*"
    r"(?:SharedAccessSignature )?(?P<key>[^;\"'\\\s\]}]+)"
)
# A key that somebody put in the place of its policy's name, which has no = at its end.
_KEYS_AS_NAMES = re.compile(r"(?i)SharedAccessKeyName\s*=\s*(?P<key>[^;\"'\s]{20,}=)(?=[;\"'\s]|$)")
_SIGNATURES_IN_TEXT = re.compile(r"[?&;]sig=(?P<key>[^&;\"'\s]+)")


class HubAddress(NamedTuple):
    """Where an Event Hub is: `host` lower-case, with `:port` only where one was written."""

    host: str
    entity: str

    @property
    def key(self) -> str:
        return f"{self.host}/{self.entity}"


def secrets_in(text: str) -> list[str]:
    """Give the keys and signatures that stand in `text`, whether or not it can be read as a whole."""
    shapes = (_KEYS_IN_TEXT, _KEYS_AS_NAMES, _SIGNATURES_IN_TEXT)
    return [match["key"] for shape in shapes for match in shape.finditer(text)]


def is_loopback(host: str) -> bool:
    """Whether `host`, without a port, is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authority(host: str, port: int | None) -> str:
    """Write a host and its port as URLs do; an IPv6 address goes in brackets."""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def hub_address(connection_string: str) -> HubAddress:
    """Read where a connection string points to. Raises ValueError, saying what to write."""
    parts = _parts(connection_string, _HUB_KEYS)
    endpoint = parts.get("endpoint")
    if endpoint is None:
        raise ValueError("has no Endpoint; copy the whole connection string, it begins with Endpoint=sb://")
    host = _endpoint_host(endpoint)
    _require_credential(parts)
    _require_real_or_loopback(parts, host)
    entity = parts.get("entitypath")
    if entity is None:
        raise ValueError("has no EntityPath; append ;EntityPath=<name of the event hub>")
    return HubAddress(host, _hub_name(entity, "EntityPath"))


def policy_of(connection_string: str) -> str | None:
    """Give the name of the policy whose key a hub's connection string holds, if it holds one."""
    return _parts(connection_string, ()).get("sharedaccesskeyname")


def is_emulated(connection_string: str) -> bool:
    """Whether a hub's connection string, which may be empty, names an emulator on this machine."""
    return bool(connection_string) and _parts(connection_string, ()).get("usedevelopmentemulator") == "true"


def signature_end(connection_string: str) -> datetime | None:
    """Give when the signature in a hub's connection string ends; None where there is none, or no end."""
    signature = _parts(connection_string, ()).get("sharedaccesssignature", "")
    match = re.search(r"(?:^|[ &])se=(\d{1,11})(?:&|$)", signature)
    return datetime.fromtimestamp(int(match[1]), UTC) if match else None


def identity_address(namespace: str, event_hub: str) -> HubAddress:
    """Give the address of a hub reached with a managed identity. Raises ValueError."""
    host = namespace.lower()
    if not is_host(host) or ":" in host:
        raise ValueError(
            f"namespace {namespace!r} is not a host name; write 'example' or 'example.servicebus.windows.net'"
        )
    return HubAddress(
        host if "." in host else f"{host}.servicebus.windows.net", _hub_name(event_hub, "event_hub")
    )


def table_connection(connection_string: str) -> str | None:
    """Give a storage connection string with which tables can be reached; None without account and key.

    Azurite at its default port is `DEVELOPMENT_STORAGE`, in exactly that form. Raises ValueError
    where it cannot be read, or would send the key unencrypted over a network.
    """
    # The host's other services and later ones have keys of their own, of which no list is whole.
    parts = _parts(connection_string, _STORAGE_KEYS, others_too=True)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return DEVELOPMENT_STORAGE
    if "accountname" not in parts or "accountkey" not in parts:
        return None
    _require_base64(parts["accountkey"])
    _require_tls(parts)
    _require_host(parts)
    return connection_string


def table_url(connection_string: str) -> str:
    """Give where the tables of a storage connection string are, as its SDK finds them. Raises ValueError."""
    parts = _parts(connection_string, ())
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return "http://127.0.0.1:10002/devstoreaccount1"
    suffix = parts.get("endpointsuffix", "core.windows.net")
    account = f"https://{parts.get('accountname', '')}.table.{suffix}"
    return parts.get("tableendpoint", account)


@dataclass(frozen=True, slots=True)
class QueueAccount:
    """Where the queues of a storage account are, and the key that requests are signed with."""

    url: str
    name: str
    key: str = field(repr=False)


def queue_account(connection_string: str) -> QueueAccount:
    """Read the queues of a connection string that `table_connection` takes. Raises ValueError."""
    parts = _parts(connection_string, ())
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        name = "devstoreaccount1"
        return QueueAccount(f"http://127.0.0.1:10001/{name}", name, _DEVELOPMENT_KEY)
    name, suffix = parts.get("accountname", ""), parts.get("endpointsuffix", "core.windows.net")
    url = parts.get("queueendpoint", f"https://{name}.queue.{suffix}")
    if not _stays_private(url):
        raise ValueError("has a QueueEndpoint that is not an https URL; write https:// and a host")
    return QueueAccount(url.rstrip("/"), name, parts.get("accountkey", ""))


def insights_url(connection_string: str) -> str:
    """Give where telemetry goes, as the SDK of Application Insights finds it."""
    parts = _parts(connection_string, ())
    return parts.get("ingestionendpoint", "https://dc.services.visualstudio.com")


def insights_connection(connection_string: str) -> str:
    """Give an Application Insights connection string as its SDK takes it, the key in small letters.

    Raises ValueError where it cannot be read, or would send telemetry unencrypted over a network.
    """
    parts = dict(_parts(connection_string, _INSIGHTS_KEYS))
    key = parts.get("instrumentationkey", "")
    if not _UUID.fullmatch(key):
        raise ValueError("has no InstrumentationKey that is one; copy the whole connection string")
    parts["instrumentationkey"] = key.lower()
    for name in ("IngestionEndpoint", "LiveEndpoint"):
        endpoint = parts.get(name.lower())
        if endpoint is not None and not _stays_private(endpoint):
            raise ValueError(f"has the {name} {endpoint[:60]!r}; write https:// and a host")
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _parts(connection_string: str, known: tuple[str, ...], *, others_too: bool = False) -> Mapping[str, str]:
    """Give the values by their keys in small letters; with `others_too` only near misses are refused."""
    parts: dict[str, str] = {}
    for written in connection_string.rstrip(";").split(";"):
        name, equals, value = written.partition("=")
        if not equals or not name:
            raise ValueError("is not a connection string; write Key=value pairs with ; between them")
        if not value:
            raise ValueError(f"has nothing after {_key_name(name)}=; copy the whole connection string")
        if name.lower() in parts:
            raise ValueError(f"holds {_key_name(name)} twice; keep one of them")
        parts[name.lower()] = value
    for name in parts:
        if known and name not in map(str.lower, known):
            cutoff = 0.85 if others_too else 0.6
            near = difflib.get_close_matches(name, map(str.lower, known), 1, cutoff)
            if others_too and not near:
                continue
            meant = next((f"; did you mean {key}?" for key in known if [key.lower()] == near), "; remove it")
            raise ValueError(f"holds the unknown key {_key_name(name)!r}{meant}")
    return parts


def _key_name(written: str) -> str:
    """Give what stands before an equals sign, if it can be the name of a key: it may be a key itself."""
    return written if re.fullmatch(r"[A-Za-z]{1,40}", written) else "***"


def _endpoint_host(endpoint: str) -> str:
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if (
        url.scheme != "sb"
        or not host
        or not is_host(host)
        or url.path not in ("", "/")
        or "@" in url.netloc
        or url.query
    ):
        raise ValueError("has no usable Endpoint; write Endpoint=sb://<namespace>.servicebus.windows.net/")
    return authority(host, port)


def _require_credential(parts: Mapping[str, str]) -> None:
    key, name = "sharedaccesskey" in parts, "sharedaccesskeyname" in parts
    if "sharedaccesssignature" in parts:
        if key or name:
            raise ValueError("holds both SharedAccessSignature and SharedAccessKey; keep one of them")
        return
    if not name:
        raise ValueError("has no SharedAccessKeyName; copy the whole connection string")
    if not key:
        raise ValueError("has no SharedAccessKey; copy the whole connection string")


def _require_real_or_loopback(parts: Mapping[str, str], host: str) -> None:
    emulated = parts.get("usedevelopmentemulator")
    if emulated is None:
        return
    if emulated not in ("true", "false"):
        raise ValueError("UseDevelopmentEmulator is neither true nor false, in small letters; remove it")
    # With this flag the SDK speaks AMQP without TLS.
    if emulated == "true" and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise ValueError(
            f"UseDevelopmentEmulator=true would send unencrypted to {host}; remove it, it is for an emulator "
            "on this host (localhost)"
        )


def _hub_name(entity: str, key: str) -> str:
    if not _HUB_NAME.fullmatch(entity):
        raise ValueError(
            f"{key} {entity[:60]!r} is not the name of an event hub; write letters, digits and . _ -"
        )
    return entity


def is_host(host: str) -> bool:
    """Whether a text in small letters can name a host: what looks up names raises for some that cannot."""
    labels = host.removesuffix(".").split(".")
    return _HOST.fullmatch(host) is not None and all(0 < len(label) <= 63 for label in labels)


def is_within(host: str, domain: str) -> bool:
    """Whether a host in small letters is of a domain, which may begin with `.` or `*.`, too."""
    end = domain.lower().lstrip("*").lstrip(".")
    return bool(end) and (host == end or host.endswith(f".{end}"))


def _stays_private(endpoint: str) -> bool:
    try:
        url = urlsplit(endpoint)
        host, _ = (url.hostname or "").lower(), url.port
    except ValueError:
        return False
    if not is_host(host) or url.username is not None:
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(host))


def _require_base64(account_key: str) -> None:
    try:
        base64.b64decode(account_key, validate=True)
    except ValueError:
        raise ValueError("has an AccountKey that is not base64; copy the whole connection string") from None


def _require_host(parts: Mapping[str, str]) -> None:
    suffix = parts.get("endpointsuffix", "core.windows.net")
    if "tableendpoint" not in parts and not is_host(f"{parts['accountname'].lower()}.table.{suffix.lower()}"):
        raise ValueError(
            "has an AccountName or EndpointSuffix that makes no host name; copy the whole connection string"
        )


def _require_tls(parts: Mapping[str, str]) -> None:
    endpoint = parts.get("tableendpoint")
    if endpoint is None:
        if parts.get("defaultendpointsprotocol", "https").lower() != "https":
            raise ValueError("would send unencrypted; write DefaultEndpointsProtocol=https")
        return
    if not _stays_private(endpoint):
        raise ValueError("has a TableEndpoint that is not an https URL; write https:// and a host")
