"""What surrounds a run in the Functions host: settings, log, and which endings are failures.

A run logs from the invocation's own thread only, so that every line carries the
invocation's id in Application Insights without anything being done for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.base.errors import FeedOff, LockHeld, SettingsError
from app.base.log import configure_logging, get_log
from app.run.feed_checks import check_feeds
from app.run.ports import Wiring
from app.settings.loading import load_settings
from app.settings.rights import with_rights_told
from app.wiring import wire

if TYPE_CHECKING:
    from azure.functions import Context, TimerRequest


@contextmanager
def wired_for_timer(feed: str, timer: TimerRequest, context: Context | None = None) -> Iterator[Wiring]:
    """Give the parts of a run of `feed`, and judge how it ends.

    The run's trace is to be found under the invocation that `context` tells of; a host need not give it.

    A feed that is off, and one that another run works on, is no failure. Raises SettingsError
    with every problem, and lets RunFailed pass where something was not delivered: the host then
    shows the invocation as failed. Their texts hold no secret.
    """
    configure_logging("INFO", to_stderr=False)
    log = get_log(feed=feed)
    try:
        settings = with_rights_told(check_feeds(load_settings()))
    except SettingsError as error:
        log.error("settings.refused", problems=list(error.problems))
        raise
    configure_logging(settings.log_level, to_stderr=False)
    if timer.past_due:
        log.info("timer.late")
    try:
        yield wire(settings, traceparent=_traceparent(context))
    except FeedOff:
        if feed in settings.feeds:
            log.info("run.skipped", reason="the feed has no view id, so it is off")
        else:
            log.warning("run.skipped", reason=f"the settings file has no entry feeds.{feed}, so it is off")
    except LockHeld as error:
        log.warning("run.skipped", reason=str(error))


def _traceparent(context: Context | None) -> str:
    """Give what the host calls the invocation, in W3C's form; "" where it does not say."""
    return str(getattr(getattr(context, "trace_context", None), "trace_parent", None) or "")
