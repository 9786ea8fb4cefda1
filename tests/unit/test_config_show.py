"""`config show`: each setting with its value, its variable, where it came from and what that covers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.base.program import APP_ROOT
from app.settings.effective import take_inventory
from tests.commands import ENVIRONMENT, FALSE_KEY, FEEDS, Call, Ended

CONFIG = (APP_ROOT / "config.yaml").read_text().splitlines()


def line_of(text: str) -> int:
    return next(at for at, line in enumerate(CONFIG, start=1) if line.strip().startswith(text))


def settings(ended: Ended) -> dict[str, dict[str, Any]]:
    """Give what is told of each setting, by its key, or its variable where it has none."""
    told = [found for found in ended.objects if "variables" in found]
    return {found["key"] or found["variables"][-1]: found for found in told}


def test_each_value_has_its_place_and_its_variable(call: Call, environ: dict[str, str]) -> None:
    env_file = Path(environ["FORWARDER_CONFIG"]).with_name(".env")
    env_file.write_text("LOG_FORMAT=text\nMICROSHARE_USERNAME=of-the-file\n")

    ended = call("config", "show", "--json")

    told = settings(ended)
    assert ended.status == 0
    assert ended.objects[0] == {"config_file": environ["FORWARDER_CONFIG"], "env_file": str(env_file)}
    assert told["log_format"] == {
        "key": "log_format",
        "variables": ["LOG_FORMAT"],
        "value": "text",
        "set": True,
        "secret": False,
        "summary": None,
        "from": {"kind": "env file", "where": str(env_file), "variable": "LOG_FORMAT"},
        "covers": [],
    }
    assert told["microshare.username"]["from"]["kind"] == "environment"
    assert told["microshare.username"]["covers"] == [
        {
            "kind": "env file",
            "where": str(env_file),
            "variable": "MICROSHARE_USERNAME",
            "value": "of-the-file",
        }
    ]
    line = f"config.yaml:{line_of('attempts:')}"
    assert told["microshare.attempts"]["from"] == {"kind": "config", "where": line, "variable": None}
    assert told["microshare.auth"]["from"]["kind"] == "config default"
    assert told["feeds.people_counter.late"]["from"]["kind"] == "default"
    assert told["feeds.people_counter.late"]["value"] == "reading"


def test_every_key_of_the_settings_file_is_told(call: Call) -> None:
    told = settings(call("config", "show", "--json"))

    for name in FEEDS:
        assert f"feeds.{name}.look_back" in told
    for key in ("microshare.identity", "event_hubs.others", "state.directory", "run.budget", "ca_file"):
        assert key in told


def test_a_variable_that_stands_for_a_default_is_covered_by_the_one_before_it(call: Call) -> None:
    told = settings(
        call(
            "config",
            "show",
            "--json",
            MICROSHARE_PC_DATA_CONTEXT='["people"]',
            MICROSHARE_DATA_CONTEXT='["all"]',
        )
    )

    context = told["feeds.people_counter.data_context"]
    assert context["from"]["variable"] == "MICROSHARE_PC_DATA_CONTEXT"
    assert [(found["variable"], found["value"]) for found in context["covers"]] == [
        ("MICROSHARE_DATA_CONTEXT", '["all"]')
    ]


@pytest.mark.parametrize("words", [("config", "show"), ("config", "show", "--json")], ids=" ".join)
def test_of_secrets_only_that_they_are_set_and_where_they_lead_is_shown(
    call: Call, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    Path(environ["FORWARDER_CONFIG"]).with_name(".env").write_text(
        "MICROSHARE_PASSWORD=another-canary\nMICROSHARE_API_KEY=api-canary\n"
    )
    storage = "AccountName=examplestate;AccountKey=Q2FuYXJ5QWNjb3VudEtleQ=="

    ended = call(*words, AzureWebJobsStorage=storage, HTTPS_PROXY="http://user:proxy-canary@proxy.test:3128")

    assert ended.status == 0
    for said in (
        "example.servicebus.windows.net/counts, key of policy sender",
        "https://examplestate.table.core.windows.net",
        "http://proxy.test:3128",
    ):
        assert said in ended.out
    shown = ended.out + ended.err
    passwords = [ENVIRONMENT["MICROSHARE_PASSWORD"], "another-canary", "api-canary", "proxy-canary"]
    assert [secret for secret in (*passwords, FALSE_KEY, "Q2FuYXJ5") if secret in shown] == []
    assert "MICROSHARE_PASSWORD" in shown


def test_a_secret_has_no_value_for_programs(call: Call) -> None:
    told = settings(call("config", "show", "--json", HTTPS_PROXY="http://user:canary@proxy.test:3128"))

    secret = {name: found for name, found in told.items() if found["secret"]}
    assert {"microshare.password", "event_hubs.primary", "HTTPS_PROXY"} <= secret.keys()
    assert {found["value"] for found in secret.values()} == {None}
    assert secret["microshare.password"]["summary"] == "set"


def test_a_secret_from_a_file_is_told_with_the_files_path(call: Call, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary-in-a-file\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "MICROSHARE_API_KEY").write_text("canary-of-systemd")

    ended = call(
        "config",
        "show",
        "--json",
        MICROSHARE_PASSWORD="",
        MICROSHARE_PASSWORD_FILE=str(tmp_path / "password"),
        CREDENTIALS_DIRECTORY=str(credentials),
    )

    told = settings(ended)
    assert told["microshare.password"]["from"] == {
        "kind": "secret file",
        "where": str(tmp_path / "password"),
        "variable": "MICROSHARE_PASSWORD_FILE",
    }
    assert told["microshare.api_key"]["from"]["kind"] == "credentials directory"
    assert "canary" not in ended.out + ended.err


def test_hubs_are_told_without_their_keys(call: Call) -> None:
    form = {"body": "with_ids", "properties": {"Table": "readings"}}
    hub = {"name": "second", "namespace": "other", "event_hub": "counts", "enabled": False}
    others = json.dumps([hub | form])

    ended = call("config", "show", "--json", EVENT_HUB_CONNECTION_STRINGS=others)
    for_people = call("config", "show", EVENT_HUB_CONNECTION_STRINGS=others).out

    assert "paused; body: with_ids; properties: Table" in " ".join(for_people.split())
    assert [found for found in ended.objects if "hub" in found] == [
        {
            "hub": "primary",
            "key": "example.servicebus.windows.net/counts",
            "enabled": True,
            "transport": "amqp",
            "signs_in_with": "key of policy sender",
            "body": "plain",
            "properties": {},
        },
        {
            "hub": "second",
            "key": "other.servicebus.windows.net/counts",
            "enabled": False,
            "transport": "amqp",
            "signs_in_with": "an identity",
            "body": "with_ids",
            "properties": {"Table": "readings"},
        },
    ]


def test_a_key_in_the_place_of_its_name_is_not_shown(call: Call) -> None:
    key = "b2J2aW91c2x5IGZhbHNlIGNhbmFyeSwgMzIgYnl0ZXM="  # obviously false, of the shape of one
    hub = f"Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName={key};SharedAccessKey=sender"
    others = json.dumps([f"{hub};EntityPath=swapped"])

    shown = call("config", "show", EVENT_HUB_CONNECTION_STRINGS=others)
    told = call("config", "show", "--json", EVENT_HUB_CONNECTION_STRINGS=others)

    assert "example.servicebus.windows.net/swapped" in shown.out
    assert key not in shown.out + shown.err + told.out + told.err


def test_refused_settings_are_shown_as_far_as_they_can_be(call: Call) -> None:
    ended = call("config", "show", MICROSHARE_IDENTITY="", START_FROM="5", EVENT_HUB_CONNECTION_STRINGS="[")

    assert ended.status == 2
    assert "svc@example.test" in ended.out
    assert "example.servicebus.windows.net/counts" in ended.out
    assert "set, and cannot be read" in ended.out
    for problem in ("MICROSHARE_IDENTITY: not set", "START_FROM: '5'", "EVENT_HUB_CONNECTION_STRINGS: "):
        assert problem in ended.err


def test_a_file_of_variables_that_cannot_be_read_hides_nothing_else(
    call: Call, environ: dict[str, str]
) -> None:
    Path(environ["FORWARDER_CONFIG"]).with_name(".env").write_text("canary: on a line\n")

    ended = call("config", "show", "--json")

    assert ended.status == 2
    assert settings(ended)["microshare.username"]["value"] == "svc@example.test"
    assert [found["problem"] for found in ended.objects if "problem" in found] == [
        problem.removeprefix("  - ") for problem in ended.err.splitlines()[1:]
    ]
    assert ".env line 1: sets nothing" in ended.err


def test_secrets_that_are_set_twice_are_refused_and_the_others_are_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary-in-a-file")

    ended = call("config", "show", "--json", MICROSHARE_PASSWORD_FILE=str(tmp_path / "password"))

    assert ended.status == 2
    assert "MICROSHARE_PASSWORD and MICROSHARE_PASSWORD_FILE: both are set; keep one" in ended.err
    assert settings(ended)["microshare.username"]["set"]


def test_text_says_what_covers_what_on_one_line_of_a_pipe(call: Call, environ: dict[str, str]) -> None:
    env_file = Path(environ["FORWARDER_CONFIG"]).with_name(".env")
    env_file.write_text("MICROSHARE_USERNAME=of-the-file\n")

    lines = call("config", "show").out.splitlines()

    [username] = [line for line in lines if line.startswith("username")]
    assert username.split("  ", 1)[1].strip() == (
        f"svc@example.test  (MICROSHARE_USERNAME in the environment; covers {env_file} (of-the-file))"
    )


def test_a_settings_file_of_ones_own_without_variables_is_told(tmp_path: Path) -> None:
    shutil.copy(APP_ROOT / "config.yaml", tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("${MICROSHARE_USERNAME}", "svc@example.test"))

    found = take_inventory({"FORWARDER_CONFIG": str(tmp_path / "config.yaml")})

    told = {setting.name: setting for setting in found.settings}
    assert told["microshare.username"].place is not None
    assert told["microshare.username"].place.kind == "config"
    assert told["microshare.identity"].place is None
    assert found.error is not None
