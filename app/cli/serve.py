"""`serve`: runs all feeds on their schedules, in one process, until it is told to stop."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import datetime

import click

from app.base.budget import Budget
from app.base.errors import FeedOff, LockHeld, SettingsError
from app.base.instants import utc_now
from app.base.log import get_log
from app.cli import COMMANDS
from app.cli.session import ALL_WELL, begin
from app.cli.stop import Stop
from app.feeds.feed import load_feed
from app.run.feed_checks import check_feeds
from app.run.forwarder import run_forwarder
from app.run.report import RunFailed
from app.settings.loading import load_settings
from app.settings.ncrontab import times_after
from app.settings.rights import with_rights_told
from app.wiring import wire

# How soon it is noticed that the clock was set, or that the host slept: a wait goes by neither.
_LONGEST_WAIT_S = 60.0


@click.command("serve", short_help=COMMANDS["serve"])
def command() -> int:
    """Run all feeds that are on, each at once and then on its schedule, until SIGTERM or Ctrl-C.

    For a container, or any host without timers. Feeds run side by side, each once at a time; a time that
    comes while its feed runs is left out. Settings files and secret files are read again for each run.
    A run that fails does not end the command, and what `run` would print is in the log.

    SIGTERM ends runs early and in order, in 30 seconds at most, and the command with 0; a second one ends
    it at once. It ends with 2 where settings are refused as it begins.

    \b
    python -m app serve
    """  # noqa: D301 - \b keeps click from filling the lines after it
    stop = Stop()
    with stop.on_signals():
        settings = begin(only_logs=True)
        feeds = {name: feed for name, feed in settings.feeds.items() if feed.view_id}
        for name in feeds:
            load_feed(name)
        if not feeds:
            raise SettingsError(["feeds: all are off, so there is nothing to run; set the view id of one"])
        get_log().info("serve.started", feeds={name: feed.schedule for name, feed in feeds.items()})
        with ThreadPoolExecutor(len(feeds), thread_name_prefix="feed") as threads:
            served = [
                threads.submit(keep_on_schedule, ServedFeed(name, feed.schedule, stop).run, stop.wait)
                for name, feed in feeds.items()
            ]
            # Only a bug ends one of them before it is told to; who looks after the process starts it again.
            wait(served, return_when=FIRST_COMPLETED)
            stop.now()
        for feed in served:
            feed.result()
    return ALL_WELL


def keep_on_schedule(
    run: Callable[[], str], wait: Callable[[float], bool], now: Callable[[], datetime] = utc_now
) -> None:
    """Call `run` at once, and then at each time of the schedule that it last gave, until told to stop.

    `wait` waits for so many seconds at most, and says whether to stop. A time that comes while a run is
    under way is left out, as the Functions host does it. Where the clock was set forward, or the host
    slept, over some times, they make one run; where it was set back, the next time is by the new clock.
    """
    while not wait(0):
        schedule = run()
        due = None
        seen = now()
        while due is None or due > seen:
            due = next(times_after(schedule, seen), None)
            left = _LONGEST_WAIT_S if due is None else (due - now()).total_seconds()
            if wait(min(max(left, 0), _LONGEST_WAIT_S)):
                return
            seen = now()


class ServedFeed:
    """A feed whose runs are made one after the other in one process."""

    def __init__(self, name: str, schedule: str, stop: Stop) -> None:
        self._name = name
        self._schedule = schedule
        self._stop = stop

    def run(self) -> str:
        """Run the feed once, by the settings as they are now; give its schedule. What fails is logged."""
        log = get_log(feed=self._name)
        try:
            settings = with_rights_told(check_feeds(load_settings()))
            if self._name in settings.feeds:
                self._schedule = settings.feeds[self._name].schedule
            budget = self._stop.watch(Budget(settings.run.budget))
            run_forwarder(self._name, wire(settings), budget=budget)
        except FeedOff:
            log.info("run.skipped", reason="the feed has no view id any more, so it is off")
        except LockHeld as error:
            log.warning("run.skipped", reason=str(error))
        except SettingsError as error:
            log.error("settings.refused", problems=list(error.problems))
        except RunFailed:
            pass  # told by the run itself
        except Exception:  # noqa: BLE001 - a bug, too, must keep neither the next run nor the other feed
            log.error("error.unexpected", traceback=traceback.format_exc())
        # What a run leaves refers to itself, and to its whole state. Having lived so long it counts as old:
        # there Python looks after a hundred times as many objects as among new ones, which is many runs.
        gc.collect()
        return self._schedule
