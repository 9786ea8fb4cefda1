from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.base.errors import SettingsError
from app.base.program import APP_ROOT
from app.base.redaction import redact
from app.settings.document import fill_in
from app.settings.loading import load_settings
from app.settings.schema import Settings
from app.settings.sources import differs_from_local_settings
from app.settings.yaml_file import read_yaml

HUB = "Endpoint=sb://a.example.test/;SharedAccessKeyName=send;SharedAccessKey=canary-hub-key-a=;EntityPath=counts"
STORAGE = "AccountName=examplestate;AccountKey=Q2FuYXJ5QWNjb3VudEtleQ=="
INSIGHTS = "InstrumentationKey=0bad0bad-0000-4000-8000-0000000fa15e;IngestionEndpoint=https://i.example.test/"
# What the settings are, apart from the variable that a test is about.
ALL = {
    "MICROSHARE_USERNAME": "svc@example.test",
    "MICROSHARE_PASSWORD": "canary-password",
    "MICROSHARE_API_KEY": "canary-api-key",
    "MICROSHARE_IDENTITY": "com.example.NORTH",
    "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
    "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff0a",
    "EVENT_HUB_CONNECTION_STRING": HUB,
    "EVENT_HUB_CONNECTION_STRINGS": f'["{HUB.replace("sb://a", "sb://b")}"]',
    "AzureWebJobsStorage": STORAGE,
    "TELEMETRY": "azure-monitor",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS,
    "PEOPLE_COUNTER_PING_URL": "https://hc.example.test/canary-of-people",
    "HOURLY_SNAPSHOT_PING_URL": "https://hc.example.test/canary-of-rooms",
}
SECRET = [
    "MICROSHARE_PASSWORD",
    "MICROSHARE_API_KEY",
    "EVENT_HUB_CONNECTION_STRING",
    "EVENT_HUB_CONNECTION_STRINGS",
    "AzureWebJobsStorage",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "PEOPLE_COUNTER_PING_URL",
    "HOURLY_SNAPSHOT_PING_URL",
]

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load config.yaml with all secrets but `without`, and what is given beside it."""

    def load(*, without: str = "", dotenv: str = "", **environ: str) -> Settings:
        (tmp_path / "the.env").write_text(dotenv)
        known = {name: value for name, value in ALL.items() if name != without}
        config_file = APP_ROOT / "config.yaml"
        return load_settings(known | environ, config_file=config_file, dotenv=tmp_path / "the.env")

    return load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


def keep(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


def refused(load: Load, **given: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        load(**given)
    return error.value.problems


def test_what_is_secret_in_config_yaml_is_tested_here_and_documented() -> None:
    secret = fill_in(read_yaml(APP_ROOT / "config.yaml"), {}).secret_variables
    section = (APP_ROOT / "docs" / "settings.md").read_text().partition("\n## Secrets in files\n")[2]

    assert secret == set(SECRET)
    assert set(re.findall(r"`(\w+)`", section.partition("\n## ")[0])) >= secret - {"MICROSHARE_PASSWORD"}


@pytest.mark.parametrize("variable", SECRET)
def test_each_secret_can_be_in_a_file_that_a_variable_names(load: Load, folder: Path, variable: str) -> None:
    path = keep(folder, "anything", ALL[variable])

    assert load(without=variable, **{f"{variable}_FILE": path}) == load()


@pytest.mark.parametrize("variable", SECRET)
def test_each_secret_can_be_a_credential_of_its_unit(load: Load, folder: Path, variable: str) -> None:
    keep(folder, variable, ALL[variable])

    assert load(without=variable, CREDENTIALS_DIRECTORY=str(folder)) == load()


def test_the_name_of_a_file_can_stand_in_the_env_file(load: Load, folder: Path) -> None:
    path = keep(folder, "password", "canary-from-file")

    settings = load(without="MICROSHARE_PASSWORD", dotenv=f"MICROSHARE_PASSWORD_FILE='{path}'\n")

    assert settings.microshare.password == "canary-from-file"


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("canary-1\n", "canary-1"),
        ("canary-1\r\n", "canary-1"),
        ("\ufeffcanary-1", "canary-1"),
        ("canary-é", "canary-é"),
    ],
    ids=["newline", "Windows", "byte order mark", "accent"],
)
def test_a_newline_at_the_end_is_cut(load: Load, folder: Path, content: str, password: str) -> None:
    path = keep(folder, "password", content)

    settings = load(without="MICROSHARE_PASSWORD", MICROSHARE_PASSWORD_FILE=path)

    assert settings.microshare.password == password


def test_an_empty_file_and_an_empty_name_are_unset(load: Load, folder: Path) -> None:
    path = keep(folder, "MICROSHARE_PASSWORD", "\n")

    settings = load(MICROSHARE_PASSWORD_FILE=path, CREDENTIALS_DIRECTORY=str(folder))

    assert settings == load(MICROSHARE_PASSWORD_FILE="", CREDENTIALS_DIRECTORY="")


def test_a_credential_that_the_unit_was_not_given_is_no_trouble(load: Load, folder: Path) -> None:
    keep(folder, "some-other-credential", "canary")

    assert load(CREDENTIALS_DIRECTORY=str(folder)) == load()


def test_a_secret_that_is_set_in_two_ways_is_refused_with_both_names(load: Load, folder: Path) -> None:
    path = keep(folder, "MICROSHARE_PASSWORD", "canary-from-file")
    key = keep(folder, "key", "canary-key-from-file")

    found = refused(load, MICROSHARE_PASSWORD_FILE=path, MICROSHARE_API_KEY_FILE=key)
    all_three = refused(load, MICROSHARE_PASSWORD_FILE=path, CREDENTIALS_DIRECTORY=str(folder))

    assert found == (
        "MICROSHARE_API_KEY and MICROSHARE_API_KEY_FILE: both are set; keep one",
        "MICROSHARE_PASSWORD and MICROSHARE_PASSWORD_FILE: both are set; keep one",
    )
    [problem] = all_three
    assert problem.startswith("MICROSHARE_PASSWORD and MICROSHARE_PASSWORD_FILE and $CREDENTIALS_DIRECTORY/")
    assert problem.endswith("MICROSHARE_PASSWORD: all three are set; keep one")


def test_a_file_that_cannot_be_a_secret_is_named_with_what_to_write(load: Load, folder: Path) -> None:
    given = {
        "MICROSHARE_PASSWORD_FILE": str(folder / "missing"),
        "MICROSHARE_API_KEY_FILE": str(folder),
        "EVENT_HUB_CONNECTION_STRING_FILE": keep(folder, "bytes", b"\xff\xfe canary"),
        "EVENT_HUB_CONNECTION_STRINGS_FILE": keep(folder, "long", "canary " * 2**18),
    }

    hub, hubs, key, password = refused(load, **given)

    assert "MICROSHARE_PASSWORD_FILE" in password
    assert "missing' is not a file; write the path" in password
    assert key.startswith("MICROSHARE_API_KEY_FILE: ")
    assert "is not a file" in key
    assert "bytes' cannot be read (it is not UTF-8); save it as UTF-8" in hub
    assert "long' is larger than 1,048,576 bytes" in hubs
    assert "canary" not in key + hub + hubs + password


@pytest.mark.parametrize("written", ["canary-of-a-slip", "/canary/of/a/slip", "Endpoint=sb://canary/;x=y"])
def test_a_secret_in_the_place_of_a_path_is_not_shown(load: Load, written: str) -> None:
    [problem] = refused(load, without="MICROSHARE_PASSWORD", MICROSHARE_PASSWORD_FILE=written)

    assert "canary" not in problem
    assert "is not a file" in problem


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every file can be read here")
def test_a_file_of_another_account_is_named_as_one(load: Load, folder: Path) -> None:
    path = keep(folder, "password", "canary")
    Path(path).chmod(0)

    [problem] = refused(load, without="MICROSHARE_PASSWORD", MICROSHARE_PASSWORD_FILE=path)

    assert "Permission denied" in problem


def test_what_a_file_held_is_redacted_like_any_secret(load: Load, folder: Path) -> None:
    path = keep(folder, "password", "canary-of-a-file-7")

    load(without="MICROSHARE_PASSWORD", MICROSHARE_PASSWORD_FILE=path)

    assert "canary-of-a-file-7" not in redact("it says canary-of-a-file-7")


def test_a_problem_of_what_a_file_held_names_the_file_s_variable(load: Load, folder: Path) -> None:
    path = keep(folder, "hub", '"Endpoint=sb://a.example.test/"')

    [problem] = refused(load, without="EVENT_HUB_CONNECTION_STRING", EVENT_HUB_CONNECTION_STRING_FILE=path)

    assert problem == "EVENT_HUB_CONNECTION_STRING_FILE: is wrapped in quotes; remove them"


def test_only_a_secret_can_be_in_a_file(load: Load, folder: Path) -> None:
    path = keep(folder, "user", "other@example.test")

    settings = load(MICROSHARE_USERNAME_FILE=path)

    assert settings.microshare.username == "svc@example.test"
    assert ["MICROSHARE_USERNAME_FILE" in warning for warning in settings.warnings] == [True]


def test_a_name_near_to_that_of_a_file_s_variable_is_told(load: Load, folder: Path) -> None:
    path = keep(folder, "password", "canary-from-file")

    problems = refused(load, without="MICROSHARE_PASSWORD", MICROSHARE_PASWORD_FILE=path)

    assert (
        "MICROSHARE_PASWORD_FILE: is not a known variable; did you mean MICROSHARE_PASSWORD_FILE?" in problems
    )


def test_the_host_s_own_settings_are_compared_with_what_the_file_held(tmp_path: Path, folder: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text((APP_ROOT / "config.yaml").read_text())
    (tmp_path / "local.settings.json").write_text('{"Values": {"MICROSHARE_PASSWORD": "canary-one"}}')
    environ = {"FORWARDER_CONFIG": str(config), "MICROSHARE_PASSWORD_FILE": keep(folder, "p", "canary-one")}

    same = differs_from_local_settings(environ)
    keep(folder, "p", "canary-two")

    assert same == []
    assert differs_from_local_settings(environ) == ["MICROSHARE_PASSWORD"]


def test_the_page_on_security_says_what_each_secret_can_be_used_for() -> None:
    section = (APP_ROOT / "docs" / "security.md").read_text().partition("\n## Secrets\n")[2]
    rows = [line.split(" | ")[0] for line in section.partition("\n## ")[0].splitlines() if line[:1] == "|"]

    assert [name for name in SECRET if not any(f"`{name}`" in row for row in rows)] == []
