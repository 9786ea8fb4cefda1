"""Log lines: an event name in the past tense, then fields, as one JSON object inside the message.

Application Insights keeps the message only, so the fields are in it. The names are a
closed list:

    run.started     run, feed
    run.finished    the report of the run
    run.skipped     feed, reason: the feed is off, or another run holds its lock
    hub.delivered   run, feed, hub, events, readings, position, behind_s: what it took in the run
    hub.failing     run, feed, hub, error: logged once, when it begins
    hub.recovered   run, feed, hub
    location.failing    run, feed, location, error, and hub where that hub takes nothing of the location
    location.recovered  run, feed, location, hub
    settings.refused  feed, problems
    timer.late      feed: the timer fired after its time
    telemetry.failed  run, feed, error: Application Insights did not take what the run tells beside its lines
    error.unexpected  run, feed, location, traceback: a bug; please report it

A line that would be longer than its readers take has its lists cut, and `cut` says how long each was.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from app.base.redaction import redact, redact_json

LOGGER_NAME = "forwarder"
# Application Insights cuts a message after 32,768 characters, journald a line after 48 KiB: the
# object in it could not be read any more.
_LONGEST_BYTES = 30_000
_LISTS_CUT_TO = (100, 10, 1, 0)
# What ends a line, or steers a terminal, for some reader, and half a surrogate pair, which no UTF-8 holds;
# json.dumps escapes only what is below a space.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))}
_BARE = re.compile(r'[^\s"=\\]+')
# sd-daemon(3): what a line begins with to tell the journal its priority.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
# The SDKs log each retry and each disconnect; what matters of it is in our own errors. Not `azure`
# as a whole: under `azure.functions` the platform's worker logs for itself.
_NOISY = {
    "azure.core": logging.ERROR,
    "azure.data": logging.ERROR,
    "azure.eventhub": logging.CRITICAL,
    "azure.identity": logging.CRITICAL,
}


def configure_logging(
    level: str, *, to_stderr: bool, as_text: bool = False, journal_stream: str = ""
) -> None:
    """Set the level, quieten the SDKs, and write to standard error where no host collects the log.

    There lines are JSON, or with `as_text` text for people. `journal_stream` is what systemd names
    the journal by; if that is what standard error leads to, lines carry their priority.
    """
    logging.getLogger(LOGGER_NAME).setLevel(level)
    for name, noisy_level in _NOISY.items():
        logging.getLogger(name).setLevel(noisy_level)
    if to_stderr and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Lines(as_text=as_text, prioritised=_leads_to(journal_stream)))
        logging.getLogger().addHandler(handler)


def _leads_to(journal_stream: str) -> bool:
    """Whether standard error is the journal: systemd gives its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


class _Lines(logging.Formatter):
    """Writes lines for a terminal or the journal, which has the time of each itself."""

    def __init__(self, *, as_text: bool, prioritised: bool) -> None:
        super().__init__("%(message)s")
        self._as_text = as_text
        self._prioritised = prioritised

    def format(self, record: logging.LogRecord) -> str:
        said = getattr(record, "said", None)
        # What others log says whatever it likes; ours is redacted before it is written.
        text = (_as_text(said) if self._as_text else record.getMessage()) if said else self._foreign(record)
        if not self._prioritised:
            return text
        priority = _PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))

    def _foreign(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def get_log(**fields: object) -> Log:
    """Give a log whose lines all carry `fields`."""
    return Log(fields)


class Log:
    """Writes events of the closed list above, each one line."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._logger = logging.getLogger(LOGGER_NAME)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            # Before it is written, so that no secret can change what is JSON. The event and its run are ours.
            said = _fitting({"event": event, **self._fields, **redact_json(fields)})
            # As an argument, since a % in it would be taken for a format.
            self._logger.log(level, "%s", _as_json(said), extra={"said": said})


def _fitting(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a line says, its lists cut as far as the line would be too long."""
    fitting = said
    for most in _LISTS_CUT_TO:
        if len(_as_json(fitting).encode("utf-8", "replace")) <= _LONGEST_BYTES:
            break
        cut = {
            name: len(value) for name, value in said.items() if isinstance(value, list) and len(value) > most
        }
        fitting = {name: value[:most] if name in cut else value for name, value in said.items()} | {
            "cut": cut
        }
    return fitting


def _as_json(said: Mapping[str, Any]) -> str:
    return _printable(json.dumps(said, ensure_ascii=False, default=_text))


def _as_text(said: Mapping[str, Any]) -> str:
    """Write a line for people: its event, then its fields; what is empty is left out."""
    fields = [
        f"{name}={_field(value)}"
        for name, value in said.items()
        if name != "event" and value not in (None, "", [], {})
    ]
    return _printable(" ".join([said["event"], *fields]))


def _field(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    """Write what JSON has no form for."""
    return redact(str(value))


def _printable(line: str) -> str:
    return line.translate(_CONTROLS)
