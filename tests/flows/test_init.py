"""`init` at a terminal, against a source and hubs: what it asks, tries and writes, and how one leaves it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.settings.env_file import read_env_file
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.dialogue import Dialogue
from tests.environments.forked import forked_commands
from tests.environments.installation import small_estate

PASSWORD = "it's \\ a canary"
HUB = (
    "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=canary-hub-key;"
    "EntityPath=counts"
)


@dataclass(slots=True)
class Desk:
    """Somebody with a settings file in a folder, and no variables in it yet."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def values(self) -> dict[str, str]:
        return dict(read_env_file(self.env_file))

    def init(self, *words: str) -> Dialogue:
        return Dialogue(["init", *words], self.environ, self.folder)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    config = str(tmp_path / "config.yaml")
    return Desk(tmp_path, {"PATH": os.environ["PATH"], "FORWARDER_CONFIG": config, "NO_PROXY": "*"})


@pytest.fixture
def source() -> Iterator[MicroshareEmulator]:
    with MicroshareEmulator(small_estate(), password=PASSWORD) as source:
        yield source


@pytest.fixture
def hubs() -> Iterator[EventHubsEmulator]:
    with EventHubsEmulator(["a", "b"]) as hubs:
        yield hubs


def answer_account(talk: Dialogue, user: str, password: str) -> None:
    talk.answer("The settings are written to", "")
    talk.answer("Is Microshare at", "")
    talk.answer("Login of the web page", "")
    talk.answer("User name", user)
    talk.answer("Password, not shown", password)


def answer_buildings(talk: Dialogue, cluster: str) -> None:
    talk.answer("Id of the people counter device cluster", cluster)
    talk.answer("Organisation whose clusters count", "com.example.NORTH")
    talk.answer("Id of its dashboard view", "ffffffffffffffffffffff0a")
    talk.answer("Tags of its records", "")
    talk.answer("Id of its dashboard view", "")


def test_an_installation_is_set_up_each_answer_is_tried_and_check_finds_it_well(
    desk: Desk, source: MicroshareEmulator, hubs: EventHubsEmulator
) -> None:
    known = source.environment()
    talk = desk.init("--appsettings", "azure.json")

    talk.answer("The settings are written to", "")
    talk.answer("Is Microshare at", "n")
    for page in ("the web page", "OAuth2 logins", "the API"):
        talk.answer(f"URL of {page}", source.url)
    talk.answer("Login of the web page", "")
    talk.answer("User name", source.username)
    talk.answer("Password, not shown", "a-wrong-canary")
    talk.wait_for("login refused")
    talk.answer("Correct it?", "")
    talk.answer("Is Microshare at", "")
    talk.answer("Login of the web page", "")
    talk.answer("User name", "")
    talk.answer("Password, not shown", PASSWORD)
    talk.wait_for("has a token")
    clusters = [*source.cluster_ids, source.foreign_cluster_id]
    talk.answer("Id of the people counter device cluster", json.dumps(clusters))
    talk.wait_for("com.example.NORTH")
    talk.answer("Organisation whose clusters count: its number", "1")
    talk.wait_for("Quay+One")
    talk.answer("Id of its dashboard view", known["MICROSHARE_PC_DASHBOARD_VIEW_ID"])
    talk.answer("Tags of its records", "")
    talk.wait_for("answers for")
    talk.answer("Id of its dashboard view", known["MICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID"])
    talk.answer("Tags of its records", known["MICROSHARE_SNAPSHOT_DATA_CONTEXT"])
    talk.wait_for("hourly-snapshot: 1 of 5 locations asked for give nothing of")
    talk.answer("Correct it?", "")
    talk.answer("Id of its dashboard view", "")
    talk.answer("Tags of its records", "")
    talk.answer("Start of building names that this view leaves out", known["MICROSHARE_LOCATION_PREFIX"])
    talk.wait_for("answers for")
    talk.answer("Primary hub", hubs.connection_string("a").replace("EntityPath", "Entity"))
    talk.wait_for("refused: EVENT_HUB_CONNECTION_STRING: holds the unknown key")
    talk.answer("Primary hub", hubs.connection_string("a"))
    talk.wait_for("can be sent to")
    talk.answer("Add a further hub?", "y")
    talk.answer("Its name", "second")
    talk.answer("Connection string", hubs.connection_string("b"))
    talk.answer("Further hubs", "")
    talk.answer("Files, Azure Table storage", "json")
    talk.answer("Folder", str(desk.folder / "state"))
    status = talk.end()

    assert status == 0, talk.shown
    assert stat.S_IMODE(desk.env_file.stat().st_mode) == 0o600
    assert desk.values["MICROSHARE_PASSWORD"] == PASSWORD
    assert desk.values["MICROSHARE_IDENTITY"] == "=com.example.NORTH"
    assert json.loads(desk.values["EVENT_HUB_CONNECTION_STRINGS"])[0]["name"] == "second"
    secrets = ["canary", hubs.connection_string("a").split("SharedAccessKey=")[1].split(";")[0]]
    assert [secret for secret in secrets if secret in talk.shown] == []
    check_well(desk)
    azure = desk.folder / "azure.json"
    settings = {one["name"]: one["value"] for one in json.loads(azure.read_text())}
    assert stat.S_IMODE(azure.stat().st_mode) == 0o600
    assert settings["MICROSHARE_PASSWORD"] == PASSWORD
    assert [name for name in settings if name.startswith(("STATE_", "AzureWebJobs"))] == []
    assert f"appsettings set --name APP --resource-group GROUP --settings @{azure}" in talk.shown


def check_well(desk: Desk) -> None:
    checked = forked_commands().call(["check", "--json"], desk.environ, APP_ROOT)

    assert [found["said"] for found in checked.objects if not found["ok"]] == []
    assert checked.status == 0


def test_who_leaves_finds_the_answers_again_and_a_value_is_replaced_only_where_that_is_agreed_to(
    desk: Desk,
) -> None:
    desk.env_file.write_text(
        "# of my own\nMICROSHARE_USERNAME=earlier@example.test # kept\nLOG_LEVEL=DEBUG\n"
    )
    left = desk.init("--offline")
    answer_account(left, "svc@example.test", PASSWORD)
    left.answer("Id of the people counter device cluster", "aaaaaaaaaaaaaaaaaaaaaa01")
    left.interrupt("Organisation whose clusters count")
    assert left.end() == 130
    kept = desk.values
    text = desk.env_file.read_text()

    again = desk.init("--offline")
    answer_account(again, "svc@example.test", "")
    answer_buildings(again, "")
    again.answer("Primary hub", HUB)
    again.answer("Add a further hub?", "")
    again.answer("Files, Azure Table storage", "")
    again.answer("Folder", "")
    again.wait_for("MICROSHARE_USERNAME")
    again.answer("Replace 1 value", "")
    assert again.end() == 0

    assert "not kept, as the file has other values: MICROSHARE_USERNAME" in left.shown
    assert kept["MICROSHARE_USERNAME"] == "earlier@example.test"
    assert (kept["MICROSHARE_PASSWORD"], kept["MICROSHARE_PC_DEVICE_CLUSTER_ID"]) == (
        PASSWORD,
        "aaaaaaaaaaaaaaaaaaaaaa01",
    )
    assert text.startswith("# of my own\nMICROSHARE_USERNAME=earlier@example.test # kept\nLOG_LEVEL=DEBUG\n")
    assert desk.values["MICROSHARE_USERNAME"] == "earlier@example.test"
    assert desk.values["EVENT_HUB_CONNECTION_STRING"] == HUB
    assert "canary" not in left.shown + again.shown


def test_what_the_environment_sets_is_not_asked_for_and_what_is_wrong_can_be_kept(
    desk: Desk, source: MicroshareEmulator
) -> None:
    desk.environ |= {"MICROSHARE_USERNAME": "svc@example.test", "MICROSHARE_PASSWORD": "a-wrong-canary"}
    urls = ("MICROSHARE_APP_URL", "MICROSHARE_API_URL", "MICROSHARE_AUTH_URL")
    desk.environ |= dict.fromkeys(urls, source.url)
    elsewhere = desk.folder / "outside" / "env"
    talk = desk.init("--env-file", str(elsewhere), "--verbose")

    talk.answer("Login of the web page", "")
    talk.wait_for("not asked: MICROSHARE_USERNAME is set in the environment, which counts")
    talk.wait_for("request.made login=web status=")
    talk.wait_for("login refused")
    talk.answer("Correct it?", "n")
    talk.answer("Id of the people counter device cluster", "aaaaaaaaaaaaaaaaaaaaaa01")
    talk.wait_for("not tried: there is no login")
    talk.answer("Organisation whose clusters count", "NORTH")
    talk.answer("Id of its dashboard view", "two words")
    talk.wait_for("refused: MICROSHARE_PC_DASHBOARD_VIEW_ID: 'two words' is not an id")
    talk.interrupt("Id of its dashboard view")

    assert talk.end() == 130
    assert read_env_file(elsewhere) == {
        "MICROSHARE_PC_DEVICE_CLUSTER_ID": "aaaaaaaaaaaaaaaaaaaaaa01",
        "MICROSHARE_IDENTITY": "NORTH",
    }
    assert stat.S_IMODE(elsewhere.parent.stat().st_mode) == 0o700
    assert "canary" not in talk.shown


def test_hubs_by_identity_and_a_table_are_asked_for_and_a_hub_that_is_refused_is_left_out(desk: Desk) -> None:
    desk.env_file.write_text("EVENT_HUB_CONNECTION_STRINGS='[canary'\n")
    talk = desk.init("--offline")

    answer_account(talk, "svc@example.test", PASSWORD)
    answer_buildings(talk, "aaaaaaaaaaaaaaaaaaaaaa01")
    talk.answer("Primary hub", "")
    talk.wait_for("refused: EVENT_HUB_CONNECTION_STRINGS: ")
    talk.answer("Begin a new list", "y")
    for namespace, event_hub in (("example.test", "counts"), ("example", "counts")):
        talk.answer("Add a further hub?", "y")
        talk.answer("Its name", "")
        talk.answer("Connection string", "")
        talk.answer("Namespace", namespace)
        talk.answer("Event hub", event_hub)
    talk.answer("Further hubs", "")
    talk.answer("Files, Azure Table storage", "table")
    talk.answer("Connection string of the storage account", "")
    talk.answer("Name of the storage account", "examplestate")
    talk.answer("Replace 1 value", "y")

    assert talk.end() == 0, talk.shown
    assert json.loads(desk.values["EVENT_HUB_CONNECTION_STRINGS"]) == [
        {"namespace": "example", "event_hub": "counts"}
    ]
    assert desk.values["AzureWebJobsStorage__accountName"] == "examplestate"
    assert desk.values["STATE_STORE"] == "table"


def test_what_was_answered_can_be_taken_back_and_a_hub_removed(desk: Desk) -> None:
    others = [{"name": name, "namespace": "example", "event_hub": name} for name in ("first", "Second")]
    desk.env_file.write_text(
        f"EVENT_HUB_CONNECTION_STRING='{HUB}'\nEVENT_HUB_CONNECTION_STRINGS='{json.dumps(others)}'\n"
        "MICROSHARE_LOCATION_PREFIX=Example\nMICROSHARE_SNAPSHOT_DASHBOARD_VIEW_ID=ffffffffffffffffffffff0b\n"
        "MICROSHARE_SNAPSHOT_DATA_CONTEXT=room\n"
    )
    talk = desk.init("--offline")

    answer_account(talk, "svc@example.test", PASSWORD)
    talk.answer("Id of the people counter device cluster", "aaaaaaaaaaaaaaaaaaaaaa01")
    talk.answer("Organisation whose clusters count", "com.example.NORTH")
    talk.answer("Id of its dashboard view", "ffffffffffffffffffffff0a")
    talk.answer("Tags of its records", "")
    talk.answer("Id of its dashboard view (nothing: the feed is off) [ffffffffffffffffffffff0b", "")
    talk.answer("Tags of its records", "")
    talk.answer("Start of building names that this view leaves out", "-")
    talk.answer(
        "Primary hub: connection string with EntityPath, not shown (set; Enter keeps it, - removes", "-"
    )
    talk.answer("Further hubs: add one, remove one, or done", "remove")
    talk.wait_for("2  Second")
    talk.answer("Which is to be removed", "1")
    talk.answer("Further hubs: add one, remove one, or done", "")
    talk.answer("Files, Azure Table storage", "json")
    talk.answer("Folder", "~/state")
    talk.answer("Replace 3 values", "y")

    assert talk.end() == 0, talk.shown
    assert json.loads(desk.values["EVENT_HUB_CONNECTION_STRINGS"]) == others[1:]
    assert not desk.values.get("EVENT_HUB_CONNECTION_STRING")
    assert not desk.values.get("MICROSHARE_LOCATION_PREFIX")
    assert desk.values["STATE_DIR"] == str(Path("~/state").expanduser())
    assert "not asked: schedules" in talk.shown
    assert "canary" not in talk.shown


def test_without_a_terminal_it_refuses_and_says_what_to_do(desk: Desk) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app", "init"],
        cwd=APP_ROOT,
        env=desk.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no terminal to ask at; write the variables of docs/settings.md" in ended.stderr
    assert not desk.env_file.exists()
