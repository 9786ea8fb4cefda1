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
    serve.started   feeds: `serve` runs these, each on its schedule
    settings.refused  feed, problems
    timer.late      feed: the timer fired after its time
    tick.planned    feed, tick, shards, locations, problems: the shards of a feed were put on the queue
    message.refused  problem, message, and feed, shard, shards where they are known: what is none of a tick's
    telemetry.failed  run, feed, error: what the run tells beside its lines was not taken, or not sent
    ping.failed  run, feed, error: the monitor that `ping_url` names did not hear of the run
    error.unexpected  run, feed, location, traceback: a bug; please report it

and for LOG_LEVEL=DEBUG:

    request.made    run, feed, view, location, from, to (or cluster, or login), status, ms, readings, error
    batch.delivered  run, feed, hub, location, readings, bytes, ms: acknowledged
    state.saved     run, feed, locations, ms: of how many locations
    shard.skipped   feed, shard, shards, reason: another run works on it, or its tick is over

A line that would be longer than its readers take has its lists cut, and `cut` says how long each was.
Where nobody else adds them, a line has its time and level too: in JSON as `at` and `level`, after the event.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from app.base.instants import format_time
from app.base.redaction import redact, redact_json
from app.base.text import dashed

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
_LEVEL_WIDTH = len("WARNING")
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

    There lines are JSON, or with `as_text` text for people, with their time and level. `journal_stream` is
    what systemd names the journal by; if that is what standard error leads to, lines carry their priority
    instead: the journal adds the time of each, and what looks for lines rests on how they begin.
    """
    logging.getLogger(LOGGER_NAME).setLevel(level)
    for name, noisy_level in _NOISY.items():
        logging.getLogger(name).setLevel(noisy_level)
    if to_stderr and not logging.getLogger().handlers:
        handler = _ToStderr()
        lines = _JournalLines if _leads_to(journal_stream) else _DatedLines
        handler.setFormatter(lines(as_text=as_text))
        logging.getLogger().addHandler(handler)


def _leads_to(journal_stream: str) -> bool:
    """Whether standard error is the journal: systemd gives its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the moment: while progress is shown, above its bars."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        return


class _DatedLines(logging.Formatter):
    """Writes lines with their time and level, for a terminal, a file, or whoever collects them."""

    def __init__(self, *, as_text: bool) -> None:
        super().__init__("%(message)s")
        self._as_text = as_text

    def format(self, record: logging.LogRecord) -> str:
        said, at = getattr(record, "said", None), datetime.fromtimestamp(record.created, UTC)
        if said is not None and not self._as_text:
            event = {"event": said["event"], "at": format_time(at), "level": record.levelname}
            return _as_json(event | said)
        text = _foreign(super().format(record)) if said is None else _for_people(said, record)
        return _each_line(f"{at:%Y-%m-%dT%H:%M:%SZ} {record.levelname:<{_LEVEL_WIDTH}} ", text)


class _JournalLines(logging.Formatter):
    """Writes lines for the journal, which has the time of each itself."""

    def __init__(self, *, as_text: bool) -> None:
        super().__init__("%(message)s")
        self._as_text = as_text

    def format(self, record: logging.LogRecord) -> str:
        said = getattr(record, "said", None)
        if said is None:
            text = _foreign(super().format(record))
        else:
            text = _as_text(said) if self._as_text else record.getMessage()
        return _each_line(f"<{_PRIORITIES.get(record.levelno, 6)}>", text)


def _foreign(text: str) -> str:
    # What others log says whatever it likes; ours is redacted before it is written.
    return redact(text)


def _each_line(begin: str, text: str) -> str:
    return "\n".join(begin + line for line in text.split("\n"))


def get_log(**fields: object) -> Log:
    """Give a log whose lines all carry `fields`."""
    return Log(fields)


class Log:
    """Writes events of the closed list above, each one line."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._logger = logging.getLogger(LOGGER_NAME)

    @property
    def tells_details(self) -> bool:
        """Whether lines of the level DEBUG are written: what only they need is gathered only then."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, *, briefly: str | None = None, **fields: object) -> None:
        """Write a line; `briefly` is what people read of it in place of its fields."""
        self._write(logging.INFO, event, fields, briefly)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, briefly: str | None = None, **fields: object) -> None:
        """Write a line; `briefly` is what people read of it in place of its fields."""
        self._write(logging.ERROR, event, fields, briefly)

    def _write(
        self, level: int, event: str, fields: Mapping[str, object], briefly: str | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            # Before it is written, so that no secret can change what is JSON. The event and its run are ours.
            said = _fitting({"event": event, **self._fields, **redact_json(fields)})
            # As an argument, since a % in it would be taken for a format.
            extra = {"said": said, "briefly": briefly and redact(briefly)}
            self._logger.log(level, "%s", _as_json(said), extra=extra)


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


def _for_people(said: Mapping[str, Any], record: logging.LogRecord) -> str:
    """Write a line as people read it: the feed as the command line writes it, a long report in short."""
    briefly: str | None = getattr(record, "briefly", None)
    if briefly is not None:
        return _printable(f"{said['event']} {briefly}")
    feed = {"feed": dashed(said["feed"])} if "feed" in said else {}
    return _as_text({**said, **feed})


def _field(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    """Write what JSON has no form for."""
    return redact(str(value))


def _printable(line: str) -> str:
    return line.translate(_CONTROLS)
