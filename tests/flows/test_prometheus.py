"""What `status --format prometheus` writes: what `status --json` says, under documented names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.base.program import APP_ROOT
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.installation import small_estate
from tests.environments.terminal import Terminal

DOCUMENTED = set(re.findall(r"`(forwarder_\w+)`", (APP_ROOT / "docs" / "metrics.md").read_text()))
RULES = APP_ROOT / "deploy" / "prometheus" / "rules.yml"

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal after a run in which one of two hubs failed."""
    with MicroshareEmulator(small_estate()) as source, EventHubsEmulator(["a", "b"]) as hubs:
        terminal = Terminal(source, hubs, tmp_path_factory.mktemp("terminal"))
        assert terminal.call("run", "people-counter").status == 0
        terminal.b.refuse_attach()
        assert terminal.call("run", "people-counter").status == 1
        yield terminal


def samples(terminal: Terminal, *, status: int = 1) -> Samples:
    ended = terminal.call("status", "--format", "prometheus")
    assert (ended.status, ended.err) == (status, "")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(ended.out)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_its_names_are_those_that_are_documented(terminal: Terminal) -> None:
    assert {name for name, _ in samples(terminal)} == DOCUMENTED


def test_it_says_what_status_says(terminal: Terminal) -> None:
    [people, _] = terminal.call("status", "--json").objects
    found = samples(terminal)

    for verdict in ("healthy", "failing", "stopped"):
        told = of(found, "forwarder_feed_verdict", feed="people_counter", verdict=verdict)
        assert told == (verdict == people["verdict"] == "failing")
    assert of(found, "forwarder_feed_ok", feed="people_counter") == 0
    assert of(found, "forwarder_feed_last_run_ok", feed="people_counter") == 0
    assert of(found, "forwarder_feed_locations", feed="people_counter") == len(people["locations"])
    for key, hub in people["hubs"].items():
        labels = {"feed": "people_counter", "hub": hub["name"]}
        assert of(found, "forwarder_hub_readings_total", **labels) == hub["readings"] > 0, key
        assert of(found, "forwarder_hub_events_total", **labels) == hub["events"]
        assert of(found, "forwarder_hub_locations_failing", **labels) == hub["locations_failing"]
        assert of(found, "forwarder_hub_enabled", **labels) == 1


def test_a_feed_whose_state_cannot_be_read_has_a_verdict_alone(terminal: Terminal) -> None:
    state = terminal.folder / "state" / "peoplecounterstate.json"
    kept = state.read_bytes()
    state.write_bytes(b"damaged")
    try:
        found = samples(terminal)
    finally:
        state.write_bytes(kept)

    assert of(found, "forwarder_feed_verdict", feed="people_counter", verdict="unknown") == 1
    assert of(found, "forwarder_feed_ok", feed="people_counter") == 0
    of_people = {name for name, labels in found if ("feed", "people_counter") in labels}
    assert of_people == {"forwarder_feed_verdict", "forwarder_feed_ok"}


def test_a_feed_that_is_off_is_neither_ok_nor_not(terminal: Terminal) -> None:
    view = "MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"
    kept = terminal.environ[view]
    terminal.environ[view] = ""
    try:
        found = samples(terminal)
    finally:
        terminal.environ[view] = kept

    assert of(found, "forwarder_feed_verdict", feed="hourly_snapshot", verdict="off") == 1
    assert of(found, "forwarder_feed_ok", feed="hourly_snapshot") is None


def test_what_makes_no_sense_with_it_is_refused(terminal: Terminal) -> None:
    for words in (["--json"], ["--all"], ["--brief"], ["--watch"]):
        assert terminal.call("status", "--format", "prometheus", *words).status == 2


def test_format_json_is_json(terminal: Terminal) -> None:
    one, other = terminal.call("status", "--format", "json"), terminal.call("status", "--json")

    assert [found["feed"] for found in one.objects] == [found["feed"] for found in other.objects]


def test_the_alerts_are_of_documented_names() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    used = {name for rule in rules for name in re.findall(r"forwarder_\w+", rule["expr"])}

    assert used
    assert used <= DOCUMENTED
    assert all(rule["annotations"]["summary"] for rule in rules)


@pytest.mark.parametrize("unit", ["metrics", "report"])
def test_what_a_unit_runs_is_a_command_of_ours(unit: str) -> None:
    service = (APP_ROOT / "deploy" / "vm" / "units" / f"microshare-forwarder-{unit}.service").read_text()

    assert re.search(
        r"bin/microshare-forwarder (status --format prometheus|report --from 7d --output)", service
    )
    assert Path(APP_ROOT / "deploy" / "vm" / "units" / f"microshare-forwarder-{unit}.timer").exists()
