"""What `status` costs beyond reading the state: 1,000 locations, 3 hubs, 2 days of runs.

    python -m benchmarks.status

One hub is behind everywhere and a tenth of the locations fail, so that there is much to say. The
baseline is the loading of the same state in the same process, which `looking` does too; the ratio is
what counts, since machines differ. Seconds are those of the processor after start-up.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from functools import partial

from app.base.checkpoints import Checkpoint, FeedState, HubRecord, LocationState, Seal, Sensor
from app.base.instants import format_time, hour_of, utc_now
from app.cli.output import Output
from app.cli.status import Screens, _look
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.state.json_file import JsonFileStore
from benchmarks.results import Result

LOCATIONS = 1_000
HUBS = ("one", "two", "three")
SENSORS = 4
READINGS_AN_HOUR = 16
RUNS = 2 * 96
TIMES = 5
NAME = "peoplecounterstate"
HOUR = timedelta(hours=1)


def settings() -> Settings:
    strings = [
        f"Endpoint=sb://{hub}.example.test/;SharedAccessKeyName=sender;SharedAccessKey=obviously-false;"
        f"EntityPath={hub}"
        for hub in HUBS
    ]
    return load_settings(
        {
            "MICROSHARE_USERNAME": "svc@example.test",
            "MICROSHARE_PASSWORD": "obviously-false-password",
            "MICROSHARE_IDENTITY": "com.example.NORTH",
            "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
            "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
            "EVENT_HUB_CONNECTION_STRINGS": str(strings).replace("'", '"'),
        }
    )


def example_state() -> FeedState:
    now = utc_now()
    keys = [hub.key for hub in settings().hubs]

    def location(number: int) -> LocationState:
        hours = [hour_of(now) - HOUR * back for back in range(25)]
        ids = {
            hour: frozenset(f"{number:06}{hour:%d%H}{at:06}" for at in range(READINGS_AN_HOUR))
            for hour in hours
        }
        seals = {hour_of(now) - HOUR * back: Seal(READINGS_AN_HOUR, number, back) for back in range(26, 50)}
        sensors: dict[tuple[str, ...], Sensor] = {
            (f"Building {number}", "1", f"Door {at}"): Sensor(now, HOUR) for at in range(SENSORS)
        }
        done = Checkpoint(now, now - 24 * HOUR, ids, now)
        late = Checkpoint(now - 3 * HOUR, now - 27 * HOUR, ids, now)
        error = f"microshare: query for 'Building {number}': 503; try again" if number % 10 == 0 else None
        return LocationState(
            last_listed=now,
            newest=now,
            checkpoints={keys[0]: done, keys[1]: done, keys[2]: late},
            hubs={key: HubRecord(400, 400, 4_000, last_success=now) for key in keys},
            seals=dict.fromkeys(keys, seals),
            sensors=sensors,
            error=error,
            since=now if error else None,
        )

    run = {"run": "r", "started": format_time(now), "ended": format_time(now), "ok": False, "error": "503"}
    return FeedState({f"Building {number}": location(number) for number in range(LOCATIONS)}, last_run=run)


def reports() -> list[dict[str, object]]:
    hubs = {hub.key: {"readings": 1_000, "events": 1_000} for hub in settings().hubs}
    begins = [utc_now() - timedelta(minutes=15) * back for back in range(RUNS)]
    failures = [
        {"location": f"Building {n}", "hub": None, "error": "microshare: 503; try again"} for n in range(100)
    ]
    rest = {"ok": False, "warnings": [], "failures": failures, "left": 0, "forecast_s": None, "hubs": hubs}
    return [{"run": "r", "started": format_time(began), **rest} for began in reversed(begins)]


def seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return statistics.median(once() for _ in range(TIMES))


def results(long: bool) -> Iterator[Result]:  # noqa: ARG001
    configured = settings()
    feed = configured.feeds["people_counter"]
    with tempfile.TemporaryDirectory() as folder:
        store = JsonFileStore(folder)
        state = example_state()
        store.save(NAME, state, list(state.locations))
        for report in reports():
            store.keep_report(NAME, report)
        found = _look(feed, configured, store, None)

        def shown(*, as_json: bool) -> None:
            with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")):
                out = Output(as_json=as_json)
                Screens(out, everything=False, briefly=False, verbose=False).tell([found])

        against, loading = "loading the state", seconds(lambda: store.load(NAME))
        looking = seconds(lambda: _look(feed, configured, store, None))
        of = f"status of {LOCATIONS:,} locations and {len(HUBS)} hubs"
        for what, as_json in (("for people", False), ("as JSON", True)):
            took = looking + seconds(partial(shown, as_json=as_json))
            yield Result(f"{of}, {what}", took, "s", 4, against, loading)


if __name__ == "__main__":
    print(*results(long=False), sep="\n")
