"""What each setting may be: pydantic models of the sections of config.yaml.

A validator's message says what is wrong with the value and what to write; the caller adds where
it stands. Values of secrets are never in a message.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from app.base.instants import format_time, parse_time, read_duration, utc_now
from app.base.text import shown
from app.settings.connection_strings import is_loopback
from app.settings.document import Document, Keys, is_secret
from app.settings.ncrontab import schedule_problem

_LONGEST_START = timedelta(days=3650)
# What the query says by itself.
_OWN_PARAMETERS = {"id", "recType", "dataContext", "loc1", "from", "to", "page", "perPage"}
_WHAT_TO_WRITE = {
    "username": "write the user name of the Microshare account",
    "password": "write the password of the Microshare account",
    "identity": "write the organisation whose clusters count, like com.example.NORTH",
    "schedule": "write six fields, like '0 */15 * * * *'",
}

Rules = TypeVar("Rules", bound=BaseModel)


def plain_text(value: object) -> str:
    """Give a text that is used as it is. Raises ValueError for what strays into one; shows nothing."""
    text = _text(value)
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    if text != text.rstrip("\r\n"):
        raise ValueError("ends with a newline; remove it")
    if text != text.strip():
        raise ValueError("begins or ends with a space; remove it")
    if not text.isprintable():
        raise ValueError("holds a line break or another control character; remove it")
    return text


def json_array(text: str, *, secret: bool = False) -> list[object]:
    """Read a JSON array. Raises ValueError, naming the usual reasons; a secret text is not shown."""
    seen = "" if secret else f"{shown(text)} "
    words = [word.strip(" \"'“”") for word in text.strip().strip("[]").split(",")]
    example = '["...","..."]' if secret else json.dumps(words, ensure_ascii=False, separators=(",", ":"))
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        if text.startswith("[") and '"' not in text:
            raise ValueError(
                f"{seen}had its quotes eaten by a shell; write '{example}' in single quotes"
            ) from None
        raise ValueError(f"{seen}is no JSON array; write '{example}'") from None
    if not isinstance(parsed, list):
        raise ValueError(f"{seen}is no JSON array; write '{example}'")
    return parsed


def _text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError(f"is {_kind(value)} and no text; put it in quotes")
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a mapping"


def _trimmed(value: object) -> str:
    return _text(value).lstrip("\ufeff").strip()


def _lower(value: object) -> str:
    return _trimmed(value).lower()


def _upper(value: object) -> str:
    return _trimmed(value).upper()


def _word(value: object) -> str:
    text = plain_text(value)
    if re.search(r"[\s/,\"'\[\]{}]", text):
        raise ValueError(
            f"{shown(text)} is no id; write one word without spaces, commas, slashes or brackets"
        )
    return text


def _between(least: str, most: str) -> Callable[[object], timedelta]:
    def read(value: object) -> timedelta:
        found = read_duration(str(value) if isinstance(value, int) else _trimmed(value))
        if not read_duration(least) <= found <= read_duration(most):
            raise ValueError(f"{shown(value)} is out of range; write {least} to {most}")
        return found

    return read


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        written = value.strip() if isinstance(value, str) else value
        if isinstance(written, str) and re.fullmatch(r"-?[0-9]{1,18}", written):
            written = int(written)
        if not isinstance(written, int) or isinstance(written, bool):
            raise ValueError(f"{shown(value)} is no whole number; write {least} to {most}")
        if not least <= written <= most:
            raise ValueError(f"{shown(value)} is out of range; write {least} to {most}")
        return written

    return read


def _texts(kind: str, *, one: bool) -> Callable[[object], tuple[str, ...]]:
    """Read a list of texts, from YAML or as a JSON array; with `one` a bare text is a list of itself."""

    def read(value: object) -> tuple[str, ...]:
        if isinstance(value, list | tuple):
            entries = list(value)
        else:
            text = _trimmed(value)
            bare = one and not text.startswith(("[", "{")) and "," not in text
            entries = ([text] if text else []) if bare else json_array(text or "[]")
        for at, entry in enumerate(entries):
            if not isinstance(entry, str) or not entry.strip() or not entry.isprintable():
                raise ValueError(f"entry {at} is {shown(entry)}; write {kind}, a text that is not empty")
        return tuple(dict.fromkeys(entry.strip() for entry in entries))

    return read


def _url(value: object) -> str:
    """Give a base URL without a trailing slash. What could be a secret in it is not shown."""
    text = plain_text(value)
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("is no URL; write it like https://api.example.com") from None
    if "@" in url.netloc:
        raise ValueError("holds a user or password before the host; remove it")
    if "?" in text or "#" in text:
        raise ValueError(f"holds more than {url.scheme}://{url.netloc}{url.path}; remove what follows ? or #")
    if url.scheme not in ("https", "http") or not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or " " in text:
        raise ValueError(f"{shown(text)} is no URL; write it like https://api.example.com")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{shown(text)} is not encrypted; write https://")
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port is None else f"{bracketed}:{port}"
    return f"{url.scheme}://{authority}{url.path.rstrip('/')}"


def _file(value: object) -> str:
    text = plain_text(value)
    if text and not Path(text).is_file():
        raise ValueError(f"{shown(text)} is no file; write the path of a file of certificates, or remove it")
    return text


def _schedule(value: object) -> str:
    text = " ".join(_trimmed(value).split())
    problem = schedule_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


def _start(value: object) -> timedelta | datetime:
    text = _trimmed(value)
    if re.match(r"[0-9]+([smhd]|$)", text):
        return _between("0s", "3650d")(text)
    try:
        instant = parse_time(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{shown(text)} is no time; write 24h, or a time like 2026-03-01T00:00:00Z"
        ) from None
    if instant > utc_now():
        raise ValueError(f"{format_time(instant)} is in the future; write a time that is past, or 0s for now")
    if instant < utc_now() - _LONGEST_START:
        raise ValueError(f"{format_time(instant)} is more than 3650 days ago; write a later one")
    return instant


def _names(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {_kind(value)}; write name: other name")
    for name, other in value.items():
        if not isinstance(other, str) or not other.strip():
            raise ValueError(f"{shown(name)} has the value {shown(other)}; write a text that is not empty")
    return value


Text = Annotated[str, BeforeValidator(plain_text)]
Word = Annotated[str, BeforeValidator(_word)]
Url = Annotated[str, BeforeValidator(_url)]
Names = Annotated[dict[str, str], BeforeValidator(_names)]


class _Section(BaseModel):
    """Absent numbers and durations stay None: their defaults are those of app/settings/schema.py."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class MicroshareRules(_Section):
    """`microshare:` of config.yaml."""

    username: Annotated[Text, Field(min_length=1)]
    password: Annotated[Text, Field(min_length=1)]
    auth: Annotated[Literal["web", "oauth2"], BeforeValidator(_lower)] = "web"
    api_key: Annotated[Text, Field(validate_default=True)] = ""
    app_url: Url = "https://app.microshare.io"
    auth_url: Url = "https://auth.microshare.io"
    api_url: Url = "https://api.microshare.io"
    identity: Annotated[tuple[str, ...], BeforeValidator(_texts("an organisation", one=True))]
    timeout: Annotated[timedelta | None, BeforeValidator(_between("1s", "10m"))] = None
    attempts: Annotated[int | None, BeforeValidator(_whole(1, 10))] = None
    largest_answer_bytes: Annotated[int | None, BeforeValidator(_whole(65_536, 2**30))] = None

    @field_validator("api_key")
    @classmethod
    def _key_for_oauth2(cls, api_key: str, info: ValidationInfo) -> str:
        if not api_key and info.data.get("auth") == "oauth2":
            raise ValueError("not set, and MICROSHARE_AUTH is oauth2; write the API key, or web there")
        return api_key

    @field_validator("identity")
    @classmethod
    def _some_identity(cls, identity: tuple[str, ...]) -> tuple[str, ...]:
        if not identity:
            raise ValueError(f"not set; {_WHAT_TO_WRITE['identity']}")
        for organisation in identity:
            if organisation.strip(".") != organisation or "*" in organisation:
                raise ValueError(
                    f"{shown(organisation)} is no organisation; write it whole, or its last segments: NORTH"
                )
        return identity


class FeedRules(_Section):
    """One entry of `feeds:`."""

    view_id: Word = ""
    schedule: Annotated[str, BeforeValidator(_schedule)]
    data_context: Annotated[
        tuple[str, ...], BeforeValidator(_texts("a tag", one=True)), Field(validate_default=True)
    ] = ()
    parameters: Names = Field(default_factory=dict)
    locations: Annotated[tuple[str, ...], BeforeValidator(_texts("a location", one=False))] = ()
    cluster_ids: Annotated[
        tuple[Word, ...], BeforeValidator(_texts("a cluster id", one=True)), Field(validate_default=True)
    ] = ()
    location_prefix: str = ""
    location_names: Names = Field(default_factory=dict)
    look_back: Annotated[timedelta, BeforeValidator(_between("0s", "7d"))] = timedelta(hours=1)
    settle: Annotated[timedelta | None, BeforeValidator(_between("0s", "24h"))] = None
    slice_length: Annotated[timedelta | None, BeforeValidator(_between("1m", "24h"))] = None
    record_limit: Annotated[int | None, BeforeValidator(_whole(10, 1_000_000))] = None
    late: Annotated[Literal["reading", "hour"], BeforeValidator(_lower)] = "reading"

    @field_validator("data_context")
    @classmethod
    def _context_of_a_feed_that_is_on(cls, context: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not context and info.data.get("view_id"):
            raise ValueError("not set; write the tags the view asks for as a JSON array, like '[\"room\"]'")
        return context

    @field_validator("parameters")
    @classmethod
    def _further_parameters_only(cls, parameters: dict[str, str]) -> dict[str, str]:
        for name in _OWN_PARAMETERS.intersection(parameters):
            raise ValueError(f"{name} is written by the forwarder itself; remove it")
        return parameters

    @field_validator("cluster_ids")
    @classmethod
    def _somewhere_to_ask(cls, clusters: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not clusters and info.data.get("view_id") and info.data.get("locations") == ():
            raise ValueError(
                "not set, and no MICROSHARE_LOCATIONS; write the device cluster's id, or a JSON array of ids"
            )
        return clusters


class HubRules(_Section):
    """A hub that is written as an object."""

    name: Annotated[str | None, BeforeValidator(plain_text)] = None
    connection_string: Annotated[str | None, BeforeValidator(plain_text)] = None
    namespace: Annotated[str | None, BeforeValidator(plain_text)] = None
    event_hub: Annotated[str | None, BeforeValidator(plain_text)] = None
    enabled: bool = True


class EventHubsRules(_Section):
    """`event_hubs:` of config.yaml; the hubs themselves are read entry by entry."""

    primary: Any = ""
    others: Any = ()
    names: Names = Field(default_factory=dict)
    transport: Annotated[Literal["amqp", "websockets"], BeforeValidator(_lower)] = "amqp"


class StateRules(_Section):
    """`state:` of config.yaml."""

    store: Annotated[Literal["auto", "json", "table"], BeforeValidator(_lower)] = "auto"
    directory: Annotated[Text, Field(min_length=1)] = "/var/lib/microshare-forwarder"
    connection_string: Text = ""
    account_name: Annotated[str, BeforeValidator(plain_text), Field(pattern="^([a-z0-9]{3,24})?$")] = ""
    table_url: Annotated[str, BeforeValidator(lambda value: _url(value) if value else "")] = ""
    client_id: Word = ""


class RunRules(_Section):
    """`run:` of config.yaml."""

    start_from: Annotated[timedelta | datetime | None, BeforeValidator(_start)] = None
    budget: Annotated[timedelta | None, BeforeValidator(_between("10s", "1h"))] = None
    concurrency: Annotated[int | None, BeforeValidator(_whole(1, 32))] = None
    send_timeout: Annotated[timedelta | None, BeforeValidator(_between("1s", "10m"))] = None
    lane_bytes: Annotated[int | None, BeforeValidator(_whole(2**20, 2**28))] = None


class TelemetryRules(_Section):
    """`telemetry:` of config.yaml; the connection string is read only where it is used."""

    export: Annotated[Literal["none", "azure-monitor"], BeforeValidator(_lower)] = "none"
    connection_string: Any = ""


class RootRules(_Section):
    """The top level of config.yaml."""

    microshare: dict[str, Any] = Field(default_factory=dict)
    feeds: dict[str, Any] = Field(default_factory=dict)
    event_hubs: dict[str, Any] = Field(default_factory=dict)
    state: dict[str, Any] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)
    telemetry: dict[str, Any] = Field(default_factory=dict)
    ca_file: Annotated[str, BeforeValidator(_file)] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "INFO"
    log_format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = "json"


class Problems:
    """Gathers what is wrong with a document, each problem once, with the place where it stands."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[str, None] = {}
        for keys, flaw in document.flaws.items():
            self._found[f"{document.name(keys)}: {flaw}"] = None

    def add(self, keys: Keys, problem: str) -> None:
        """Note a problem; not of a value that is known to be no value at all."""
        if not self._document.is_flawed(keys):
            self._found[f"{self._document.name(keys)}: {problem}"] = None

    def note(self, problem: str) -> None:
        self._found[problem] = None

    def all(self) -> list[str]:
        return list(self._found)

    def check(self, rules: type[Rules], values: object, keys: Keys) -> Rules | None:
        """Give the section that `values` are, or note everything that is wrong with them."""
        try:
            return rules.model_validate(values)
        except ValidationError as error:
            for found in error.errors(include_url=False):
                self.add((*keys, *found["loc"]), _say(found, rules, (*keys, *found["loc"])))
            return None


def _say(error: ErrorDetails, rules: type[BaseModel], keys: Keys) -> str:
    context: Mapping[str, Any] = error.get("ctx", {})
    seen = "" if is_secret(keys) else f"{shown(error['input'])} "
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "missing" | "string_too_short" | "too_short":
            return f"not set; {_WHAT_TO_WRITE.get(str(keys[-1]), 'write it')}"
        case "extra_forbidden":
            near = difflib.get_close_matches(str(keys[-1]), rules.model_fields, 1)
            return f"is no known key; did you mean {near[0]}?" if near else "is no known key; remove it"
        case "literal_error":
            return f"{seen}is not known; write {str(context['expected']).replace(chr(39), '')}"
        case "dict_type" | "model_type":
            return f"is {_kind(error['input'])}; write `key: value` lines under it"
        case "bool_parsing" | "bool_type":
            return f"{seen}is neither true nor false; write one of them"
        case "string_pattern_mismatch":
            return f"{seen}is no name of a storage account; write its 3 to 24 small letters and digits"
        case "string_type":
            return f"{seen}is no text; put it in quotes"
        case _:
            return f"{seen}is refused: {error['msg'].lower()}"
