"""Log lines: an event name in the past tense, then fields, as one JSON object inside the message.

Application Insights keeps the message only, so the fields are in it. The names are a
closed list:

    run.started     run, feed
    run.finished    the report of the run
    run.skipped     feed, reason: the feed is off, or another run holds its lock
    hub.failing     run, feed, hub, error: logged once, when it begins
    hub.recovered   run, feed, hub
    location.failing, location.recovered   run, feed, location, error
    settings.refused  feed, problems
    timer.late      feed: the timer fired after its time
    error.unexpected  run, feed, location, traceback: a bug; please report it
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from app.redaction import redact

LOGGER_NAME = "forwarder"
# The SDKs log each retry and each disconnect; what matters of it is in our own errors.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
_NOISY = {"azure": logging.ERROR, "azure.eventhub": logging.CRITICAL, "azure.identity": logging.CRITICAL}


def configure_logging(level: str, *, to_stderr: bool) -> None:
    """Set the level, quieten the SDKs, and write to standard error where no host collects the log."""
    logging.getLogger(LOGGER_NAME).setLevel(level)
    for name, noisy_level in _NOISY.items():
        logging.getLogger(name).setLevel(noisy_level)
    if to_stderr and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logging.getLogger().addHandler(handler)


def get_log(**fields: object) -> structlog.typing.FilteringBoundLogger:
    """Give a logger whose lines all carry `fields`."""
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(LOGGER_NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            _event_first,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            _redact_line,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    ).bind(**fields)
    return log


def _event_first(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {"event": line.pop("event"), **line}


def _redact_line(_logger: Any, _method: str, line: Any) -> str:
    """Mask secrets, and escape what JSON leaves but some readers take for the end of a line."""
    return redact(str(line)).translate(_LINE_ENDS)
