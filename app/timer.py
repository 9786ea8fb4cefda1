"""What surrounds a run in the Functions host: settings, log, and which endings are failures.

A run logs from the invocation's own thread only, so that every line carries the
invocation's id in Application Insights without anything being done for it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from app.base.errors import FeedOff, LockHeld, SettingsError
from app.base.instants import format_time, utc_now
from app.base.log import configure_logging, get_log
from app.base.text import shown
from app.run.feed_checks import check_feeds
from app.run.forwarder import run_forwarder
from app.run.ports import Wiring
from app.run.report import RunFailed
from app.run.shard_message import ShardMessage
from app.settings.loading import load_settings
from app.settings.rights import with_rights_told
from app.settings.schema import Settings
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


def run_message(text: str, context: Context | None = None, now: Callable[[], datetime] = utc_now) -> None:
    """Run the shard that a message of the queue asks for.

    Nothing is raised, whatever comes of it, but logged: what raises goes to the poison queue, which is to
    hold only what killed instances left. A shard that another run works on, and a message that the next
    tick of its feed has overtaken, are told of with LOG_LEVEL=DEBUG only.
    """
    configure_logging("INFO", to_stderr=False)
    try:
        message = ShardMessage.parse(text)
    except ValueError as error:
        get_log().error("message.refused", problem=f"a message of the queue {error}", message=shown(text))
        return
    shard = message.shard
    log = get_log(feed=message.feed, shard=shard.number, shards=shard.of)
    try:
        settings = with_rights_told(check_feeds(load_settings()))
        configure_logging(settings.log_level, to_stderr=False)
        if message.feed not in settings.feeds:
            problem = f"the settings file has no entry feeds.{message.feed}"
            log.error("message.refused", problem=problem, message=shown(text))
        elif reason := _why_skipped(message, settings, now()):
            log.debug("shard.skipped", reason=reason)
        else:
            wiring = wire(settings, traceparent=_traceparent(context))
            run_forwarder(message.feed, wiring, shard=shard, tick=format_time(message.tick))
    except FeedOff:
        log.debug("shard.skipped", reason="the feed has no view id, so it is off")
    except LockHeld as error:
        log.debug("shard.skipped", reason=str(error))
    except SettingsError as error:
        log.error("settings.refused", problems=list(error.problems))
    except RunFailed:
        return  # told by the run itself
    except Exception:  # noqa: BLE001 - a bug, too, would be tried again by the next tick, and is no poison
        log.error("error.unexpected", traceback=traceback.format_exc())


def _why_skipped(message: ShardMessage, settings: Settings, now: datetime) -> str | None:
    """Say why a message that can be read is left alone; None where its shard is to be run."""
    shards = settings.scale_out.shards if settings.scale_out else 1
    if message.shard.of != shards:
        return f"feeds are run in {shards} shards now"
    if message.is_over(now, settings.feeds[message.feed].schedule):
        return f"its tick of {format_time(message.tick)} is over"
    return None


def _traceparent(context: Context | None) -> str:
    """Give what the host calls the invocation, in W3C's form; "" where it does not say."""
    return str(getattr(getattr(context, "trace_context", None), "trace_parent", None) or "")
