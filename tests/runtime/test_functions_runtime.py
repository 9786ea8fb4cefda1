"""The function app under Microsoft's own runtime: indexed, invoked and logged as in Azure.

What runs is what a deployment takes along, in an environment with what it and telemetry need alone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from app.base.errors import SettingsError
from app.base.instants import HOUR, floor_to, utc_now
from app.base.program import APP_ROOT
from app.settings.loading import load_settings
from app.settings.scale_out import QUEUE
from emulators.eventhubs import FALSE_KEY
from tests.environments.deployment import publish
from tests.environments.ingestion import Ingestion
from tests.environments.installation import Installation, arrivals, standing_still
from tests.flows.test_snapshots import published as published_snapshots
from tests.flows.test_snapshots import readings_at
from tests.flows.test_stores import table_environment
from tests.promise import breaches
from tests.runtime.host import FunctionsHost, queue_bindings, shard_bindings, timer_bindings
from tools.runtime_venv import VERSION, find_python, runtime_python

# A line for each of the two hubs.
TOOK = ["hub.delivered", "hub.delivered"]
PEOPLE = "people_counter_forwarder"
SNAPSHOT = "hourly_snapshot_forwarder"
# The host has no clock but its own.
NOW = floor_to(utc_now(), HOUR)
BEGIN = NOW - timedelta(hours=24)
CANARY = "canary-password-of-nobody"


class StartHost(Protocol):
    """Give a host, not yet started, whose environment is `environ` and nothing of this process's own."""

    def __call__(self, environ: Mapping[str, str]) -> AbstractContextManager[FunctionsHost]: ...


@pytest.fixture(scope="session")
def runtime() -> Path:
    python = runtime_python()
    if python is None:
        there_is_one = find_python() is not None
        assert not (there_is_one and os.environ.get("CI") == "true"), "make runtime was not run"
        pytest.skip("run `make runtime` first" if there_is_one else f"needs a Python {VERSION}")
    return python


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(APP_ROOT, tmp_path_factory.mktemp("published") / "wwwroot")


@pytest.fixture
def start(runtime: Path, app_folder: Path) -> StartHost:
    def start(environ: Mapping[str, str]) -> FunctionsHost:
        return FunctionsHost(runtime, app_folder, environ)

    return start


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose source stands still at the hour that has begun, with one day to forward."""
    with standing_still(NOW, BEGIN, tmp_path, password=CANARY) as installation:
        yield installation


def secrets_in(transcript: str, installation: Installation) -> list[str]:
    known = [CANARY, FALSE_KEY, installation.source.api_key, *installation.source._tokens]
    return [secret for secret in known if secret in transcript]


@pytest.mark.parametrize(
    ("environ", "people", "snapshot"),
    [
        ({}, "0 */15 * * * *", "0 0 * * * *"),
        (
            {"PEOPLE_COUNTER_SCHEDULE": "30 */5 * * * *", "HOURLY_SNAPSHOT_SCHEDULE": "0 20 * * * *"},
            "30 */5 * * * *",
            "0 20 * * * *",
        ),
    ],
    ids=["nothing set", "both schedules set"],
)
def test_both_timers_are_indexed_with_their_schedules(
    start: StartHost, environ: Mapping[str, str], people: str, snapshot: str
) -> None:
    with start(environ) as host:
        assert host.indexing_error is None
        assert host.functions == {PEOPLE: timer_bindings(people), SNAPSHOT: timer_bindings(snapshot)}


def test_both_timers_at_once_deliver_all_and_each_logs_under_its_own_invocation(
    start: StartHost, installation: Installation
) -> None:
    with start(installation.environ) as host:
        people, snapshot = host.fire(PEOPLE, SNAPSHOT)

    assert (people.ok, people.error, people.returned) == (True, None, None)
    assert (snapshot.ok, snapshot.error, snapshot.returned) == (True, None, None)
    for hub in (installation.a, installation.b):
        of_people = arrivals(event for event in hub.received() if "hour" not in event.properties)
        assert breaches(installation.published(BEGIN), of_people) == []
    assert people.events() == snapshot.events() == ["run.started", *TOOK, "run.finished"]
    # An app without HTTP functions is warned of its auth level while it is indexed, outside any invocation.
    of_the_app = [line for line in host.log if line.category == "User" and line.logger != "root"]
    assert {(line.invocation, line.fields()["feed"], line.level, line.logger) for line in of_the_app} == {
        (people.id, "people_counter", "INFO", "forwarder"),
        (snapshot.id, "hourly_snapshot", "INFO", "forwarder"),
    }
    assert secrets_in(host.transcript, installation) == []


def test_snapshots_arrive_whole_and_a_timer_that_is_late_says_so(
    start: StartHost, installation: Installation
) -> None:
    with start(installation.environ) as host:
        (late,) = host.fire(SNAPSHOT, past_due=True)

    assert late.ok, late.error
    assert late.events() == ["timer.late", "run.started", *TOOK, "run.finished"]
    for hub in (installation.a, installation.b):
        assert readings_at(hub) == published_snapshots(installation, BEGIN)


def test_a_second_invocation_of_the_same_function_is_skipped_and_succeeds(
    start: StartHost, installation: Installation
) -> None:
    installation.source.faults.slow(1.0, on="login")
    with start(installation.environ) as host:
        both = host.fire(PEOPLE, PEOPLE)

    assert [invocation.error for invocation in both] == [None, None]
    worked, skipped = sorted(both, key=lambda invocation: invocation.events(), reverse=True)
    assert worked.events() == ["run.started", *TOOK, "run.finished"], worked
    assert skipped.events() == ["run.skipped"]
    assert "lock" in skipped.said("run.skipped")["reason"]
    assert installation.breaches(installation.a, BEGIN) == []


def test_a_warm_process_goes_on_with_its_token_and_sends_nothing_twice(
    start: StartHost, installation: Installation
) -> None:
    with start(installation.environ) as host:
        first, second = host.fire(PEOPLE) + host.fire(PEOPLE)

    assert (first.ok, second.ok) == (True, True)
    assert installation.source.logins == 1
    assert installation.breaches(installation.b, BEGIN) == []


def test_the_platforms_own_lines_are_not_silenced(start: StartHost) -> None:
    with start({}) as host:
        for _ in range(2):
            host.fire(PEOPLE)

    of_the_platform = [line.message for line in host.log if line.category == "System"]
    assert sum(message.startswith(f"Function name: {PEOPLE}") for message in of_the_platform) == 2


def test_a_hub_that_is_down_fails_the_invocation_by_name_and_the_other_hub_has_all(
    start: StartHost, installation: Installation
) -> None:
    installation.b.refuse_attach()
    with start(installation.environ) as host:
        (failed,) = host.fire(PEOPLE)
        installation.b.clear_faults()
        (recovered,) = host.fire(PEOPLE)

    assert not failed.ok
    assert failed.error is not None
    assert failed.error.startswith("RunFailed: ")
    assert "hub b: " in failed.error
    assert failed.events() == ["run.started", "hub.failing", *TOOK, "run.finished"]
    assert failed.said("run.finished")["hubs"][installation.key("a")]["error"] is None
    assert recovered.events() == ["run.started", "hub.recovered", *TOOK, "run.finished"]
    assert recovered.ok
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, BEGIN) == []
    assert secrets_in(host.transcript, installation) == []


def test_without_settings_the_app_is_indexed_and_an_invocation_names_every_problem(
    start: StartHost, app_folder: Path
) -> None:
    environ = {
        "MICROSHARE_PASSWORD": CANARY,
        "MICROSHARE_AUTH": "none",
        "EVENT_HUB_CONNECTION_STRINGS": f'["Endpoint=sb://hub.example.test/;SharedAccessKey={FALSE_KEY}',
        "PEOPLE_COUNTER_SCHEDULE": "every now and then",
    }
    with pytest.raises(SettingsError) as refused:
        load_settings(environ, config_file=app_folder / "config.yaml")

    with start(environ) as host:
        (failed,) = host.fire(PEOPLE)

    problems = list(refused.value.problems)
    assert len(problems) > 5
    assert host.functions == {
        PEOPLE: timer_bindings("0 */15 * * * *"),
        SNAPSHOT: timer_bindings("0 0 * * * *"),
    }
    assert failed.events() == ["settings.refused"]
    assert failed.said("settings.refused") == {
        "event": "settings.refused",
        "feed": "people_counter",
        "problems": problems,
    }
    assert failed.error == f"SettingsError: {refused.value}"
    assert not any(secret in host.transcript for secret in (CANARY, FALSE_KEY))


def test_a_feed_without_a_view_succeeds_and_says_that_it_is_off(
    start: StartHost, installation: Installation
) -> None:
    installation.environ["MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"] = ""
    with start(installation.environ) as host:
        (off,) = host.fire(SNAPSHOT)

    assert off.ok
    assert off.events() == ["run.skipped"]
    assert "off" in off.said("run.skipped")["reason"]
    assert installation.source.requests == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to end"])
def test_a_copy_of_app_onto_a_host_that_reloads_by_itself_loses_nothing(
    runtime: Path, installation: Installation, tmp_path: Path, number: int
) -> None:
    folder = publish(APP_ROOT, tmp_path / "wwwroot")
    begun = threading.Event()
    installation.a.on_store(lambda _: begun.set())
    # A second for each batch: it is not done before the worker ends.
    installation.a.delay(1.0)
    with FunctionsHost(runtime, folder, installation.environ) as host:
        host.begin(PEOPLE)
        assert begun.wait(60)
        publish(APP_ROOT, folder)
        host.end(number)
    installation.a.clear_faults()
    came = {hub: len(hub.received()) for hub in (installation.a, installation.b)}
    unfinished = installation.breaches(installation.a, BEGIN)

    with FunctionsHost(runtime, folder, installation.environ) as host:
        (ended,) = host.fire(PEOPLE, past_due=True)

    assert unfinished != []
    assert ended.ok, ended.error
    for hub, sent in came.items():
        # What comes again comes under its id.
        assert installation.breaches(hub, BEGIN, repeats=sent) == []


@pytest.fixture
def by_queue(installation: Installation, azurite_port: int) -> dict[str, str]:
    """Give an environment in queue mode, with three shards."""
    of_queue = {"SCALE_OUT": "queue", "SCALE_OUT_SHARDS": "3"}
    return {**installation.environ, **table_environment(azurite_port), **of_queue}


def test_in_queue_mode_timers_have_a_queue_to_put_shards_on_and_a_function_takes_them(
    start: StartHost, by_queue: Mapping[str, str]
) -> None:
    with start(by_queue) as host:
        assert host.indexing_error is None
        assert host.functions == {
            PEOPLE: queue_bindings("0 */15 * * * *", QUEUE),
            SNAPSHOT: queue_bindings("0 0 * * * *", QUEUE),
            "forward_shard": shard_bindings(QUEUE),
        }


def test_what_a_timer_puts_on_the_queue_delivers_all_when_it_is_taken(
    start: StartHost, installation: Installation, by_queue: Mapping[str, str]
) -> None:
    with start(by_queue) as host:
        (planned,) = host.fire(PEOPLE)
        messages = planned.outputs["shards"]
        # One instance takes one at a time, and there are several.
        taken = host.deliver(*messages, to="forward_shard")
        again = host.deliver(*messages, to="forward_shard")

    assert planned.ok, planned.error
    assert planned.events() == ["tick.planned"]
    assert [type(message) for message in messages] == [str] * 3
    assert [(each.ok, each.error) for each in (*taken, *again)] == [(True, None)] * 6
    assert {each.said("run.finished")["ok"] for each in (*taken, *again)} == {True}
    assert {each.said("run.finished")["shard"] for each in taken} == {1, 2, 3}
    for hub in (installation.a, installation.b):
        assert installation.breaches(hub, BEGIN) == []
    assert secrets_in(host.transcript, installation) == []


def test_a_shard_that_fails_and_a_message_of_nobody_are_reported_and_are_no_poison(
    start: StartHost, installation: Installation, by_queue: Mapping[str, str]
) -> None:
    installation.b.refuse_attach()
    with start(by_queue) as host:
        (planned,) = host.fire(PEOPLE)
        taken = host.deliver(*planned.outputs["shards"], "{}", to="forward_shard")

    assert [(each.ok, each.error) for each in taken] == [(True, None)] * 4
    failed = [each for each in taken if "run.finished" in each.events()]
    assert {each.said("run.finished")["ok"] for each in failed if each.said("run.finished")["locations"]} == {
        False
    }
    assert taken[-1].events() == ["message.refused"]


def test_in_queue_mode_a_feed_that_is_off_puts_nothing_on_the_queue(
    start: StartHost, by_queue: dict[str, str]
) -> None:
    with start(by_queue | {"MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID": ""}) as host:
        (off,) = host.fire(SNAPSHOT)

    assert (off.ok, off.outputs, off.events()) == (True, {}, ["run.skipped"])


def test_settings_that_are_refused_fail_the_timer_and_not_the_messages(
    start: StartHost, by_queue: dict[str, str]
) -> None:
    with start(by_queue) as host:
        (planned,) = host.fire(PEOPLE)
    with start(by_queue | {"STATE_STORE": "json"}) as host:
        (refused,) = host.fire(PEOPLE)
        (taken,) = host.deliver(planned.outputs["shards"][0], to="forward_shard")

    assert (refused.ok, refused.outputs) == (False, {})
    assert taken.ok
    assert refused.events() == taken.events() == ["settings.refused"]
    assert "STATE_STORE=table" in taken.said("settings.refused")["problems"][0]


def test_a_run_that_is_watched_is_found_under_its_invocation(
    start: StartHost, installation: Installation
) -> None:
    invocation = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with Ingestion() as ingestion:
        watched = {
            "TELEMETRY": "azure-monitor",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": ingestion.connection_string,
            "WEBSITE_SITE_NAME": "example-app",
        }
        with start(installation.environ | watched) as host:
            (ended,) = host.fire(PEOPLE, traceparent=invocation)

        assert ended.ok, ended.error
        assert "telemetry.failed" not in ended.events()
        spans = ingestion.data("RemoteDependencyData")
        assert {span["tags"]["ai.operation.id"] for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
        [run] = [span for span in spans if span["name"] == "run people_counter"]
        assert run["tags"]["ai.operation.parentId"] == "b7ad6b7169203331"
        sent = ended.said("run.finished")["hubs"][installation.key("a")]["readings"]
        assert ingestion.metrics()["forwarder.readings", "people_counter", installation.key("a")] == sent


def test_no_secret_reaches_the_host_even_with_the_platforms_debug_logging(
    start: StartHost, installation: Installation, tmp_path: Path
) -> None:
    config = tmp_path / "query.yaml"
    config.write_text(
        (APP_ROOT / "config.yaml").read_text().replace("oauth2_form: body", "oauth2_form: query")
    )
    environ = {
        **installation.environ,
        "PYTHON_ENABLE_DEBUG_LOGGING": "1",
        "MICROSHARE_AUTH": "oauth2",
        "FORWARDER_CONFIG": str(config),
    }
    # The login has the password in its URL, and an error repeats what it was sent.
    installation.source.faults.status(
        404, f'{{"error": "no such view for password {CANARY}"}}', location="Mill & Lane"
    )
    with start(environ) as host:
        (failed,) = host.fire(PEOPLE)

    assert any("username" in request.query for request in installation.source.requests)
    assert failed.error is not None
    assert "no such view for password ***" in failed.error
    assert any(line.level == "DEBUG" for line in host.log)
    assert secrets_in(host.transcript, installation) == []
