"""A feed that is run in shards, as its readers see it: what shards did together is told as one run's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from app.base.readings import JsonObject
from app.base.shards import Shard
from app.health.ticks import ticks
from app.wiring import wire
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import START, Clock, Installation, small_estate
from tests.environments.terminal import Terminal, words
from tests.flows.test_stores import table_environment

THIRDS = tuple(Shard(index, 3) for index in range(3))
NAMES = ("ok", "started", "until", "locations", "slices", "left", "left_s", "gaps", "warnings", "failures")


def told(installation: Installation) -> list[JsonObject]:
    """Give what a reader of the history is told of each tick."""
    reports = wire(installation.settings()).store.history("peoplecounterstate", START - timedelta(days=1))
    return [tick.report for tick in ticks(reports, "0 */15 * * * *")]


def by_hub(installation: Installation, report: JsonObject) -> list[dict[str, Any]]:
    return [report["hubs"][installation.key(name)] for name in ("a", "b")]


def test_a_tick_of_shards_says_what_a_run_without_shards_says(
    azurite_port: int, tmp_path: Path, clock: Clock
) -> None:
    with (
        MicroshareEmulator(small_estate(), clock=clock) as source,
        EventHubsEmulator(["a", "b"]) as first,
        EventHubsEmulator(["a", "b"]) as second,
    ):
        in_table = table_environment(azurite_port)
        in_shards = Installation(source, first, clock, tmp_path / "shards", in_table)
        without = Installation(source, second, clock, tmp_path / "without")
        for _ in range(3):
            without.run()
            for shard in THIRDS:
                in_shards.run(shard=shard)
            clock.move(minutes=15)
        together, alone = told(in_shards), told(without)

    assert len(together) == len(alone) == 3
    for one, other in zip(together[1:], alone[1:], strict=True):
        assert {name: one[name] for name in NAMES} == {name: other[name] for name in NAMES}
        assert by_hub(in_shards, one) == by_hub(without, other)
        assert one["missing"] == []
        events = [[day["events"] for day in each["per_day"]["hubs"].values()] for each in (one, other)]
        assert events[0] == events[1]
    assert by_hub(in_shards, together[0]) == by_hub(without, alone[0])


def test_who_reads_a_feed_that_is_run_in_shards_sees_one_run(azurite_port: int, tmp_path: Path) -> None:
    environ = table_environment(azurite_port)
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path)
        # No time of the schedule comes between the runs.
        terminal.environ |= {**environ, "PEOPLE_COUNTER_SCHEDULE": "0 0 0 1 1 *"}
        parts = [terminal.call("run", "people-counter", "--shard", f"{n}/2", "--json") for n in (1, 2)]
        [one] = terminal.call("runs", "people-counter", "--json").objects
        by_shard = terminal.call("runs", "people-counter", "--json", "--shards").objects
        shown = terminal.call("runs", "people-counter", "--shards")
        status = terminal.call("status", "--json").objects[0]
        metrics = terminal.call("status", "--format", "prometheus")
        terminal.call("report", "--from", "3h", "--output", str(tmp_path / "page.html"))

    assert by_shard == [part.objects[0] for part in parts]
    assert (one["shards"], one["missing"], one["ok"]) == (2, [], True)
    delivered = {
        key: sum(report["hubs"][key]["readings"] for report in by_shard) for key in by_shard[0]["hubs"]
    }
    assert {key: hub["readings"] for key, hub in one["hubs"].items()} == delivered
    assert "people-counter: 1 run, 0 failed" in shown.out
    assert [line.split()[1] for line in shown.out.splitlines()[2:]] == ["1/2", "2/2"]
    assert (status["trend"]["runs"], status["trend"]["readings"]) == (1, delivered)
    assert (status["ok"], status["last_run"]["started"]) == (True, one["started"])
    assert 'forwarder_feed_last_run_ok{feed="people_counter"} 1.0' in metrics.out
    assert "1 run; a bar is" in words(tmp_path / "page.html")
