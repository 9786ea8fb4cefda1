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
    error.unexpected  run, feed, location, traceback: a bug; please report it
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping

from app.redaction import redact

LOGGER_NAME = "forwarder"
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
# The SDKs log each retry and each disconnect; what matters of it is in our own errors. Not `azure`
# as a whole: under `azure.functions` the platform's worker logs for itself.
_NOISY = {
    "azure.core": logging.ERROR,
    "azure.data": logging.ERROR,
    "azure.eventhub": logging.CRITICAL,
    "azure.identity": logging.CRITICAL,
}


def configure_logging(level: str, *, to_stderr: bool) -> None:
    """Set the level, quieten the SDKs, and write to standard error where no host collects the log."""
    logging.getLogger(LOGGER_NAME).setLevel(level)
    for name, noisy_level in _NOISY.items():
        logging.getLogger(name).setLevel(noisy_level)
    if to_stderr and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logging.getLogger().addHandler(handler)


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
            said = {"event": event, **self._fields, **fields}
            line = redact(json.dumps(said, ensure_ascii=False, default=str))
            # As an argument, since a % in it would be taken for a format.
            self._logger.log(level, "%s", line.translate(_LINE_ENDS))
