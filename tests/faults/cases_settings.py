"""F: the settings. Refused as a whole before anything is asked, by `check` and by a run alike."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.case import Case
from tests.faults.scene import RUN, Outcome, Scene, run_command

ALL_AT_ONCE = "every problem at once: key, value seen, what to write; nothing is asked"
NAMED = "named, and nothing is asked"
ALIKE = "refused by check and by a run alike; nothing is asked"


def written(**variables: str) -> Callable[[Scene], None]:
    """Set variables; one that is None in spirit is given as an empty text."""

    def inject(scene: Scene) -> None:
        scene.environ |= variables
        refused_unasked(scene)

    return inject


def refused_unasked(scene: Scene) -> None:
    asked, connections = len(scene.source.requests), scene.a.connections + scene.b.connections
    scene.proof("nothing was asked", lambda: len(scene.source.requests) == asked)
    scene.proof("nothing was connected", lambda: scene.a.connections + scene.b.connections == connections)


def missing(name: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        del scene.environ[name]
        refused_unasked(scene)

    return inject


def misspelt(right: str, wrong: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        scene.environ[wrong] = scene.environ.pop(right)
        refused_unasked(scene)

    return inject


def without_entity(scene: Scene) -> None:
    text = scene.hubs.connection_string("a").partition(";EntityPath")[0]
    written(EVENT_HUB_CONNECTION_STRING=text)(scene)


def listed_twice(scene: Scene) -> None:
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = f'["{scene.hubs.connection_string("a")}"]'
    refused_unasked(scene)


def unknown_key(scene: Scene) -> None:
    path = scene.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("  concurrency: 4", "  concurrencey: 4"))
    scene.after(lambda: path.write_text(text))
    refused_unasked(scene)


def check_and_run(scene: Scene) -> Outcome:
    checking = scene.start("check", "--offline", "--json")
    outcome = scene.command(*RUN)
    found = scene.finish(checking)
    assert found.status == 2
    assert [word for word in scene.case.says if word.lower() not in found.text.lower()] == [], found.text
    return outcome


def refused(name: str, id: str, expects: str, inject: Callable[[Scene], None], *says: str) -> Case:  # noqa: A002
    return Case(id, name, expects, inject, 2, says, act=check_and_run, live=True)


def password(text: str) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        before = scene.source.password
        scene.after(lambda: setattr(scene.source, "password", before))
        scene.source.password = text
        scene.secrets.add(text)
        scene.environ["MICROSHARE_PASSWORD"] = text
        scene.proof("it was taken", lambda: scene.since("logins") == 1)

    return inject


def literal(name: str, text: str) -> Case:
    return Case("F4", name, "taken literally", password(text), act=run_command(*RUN), live=True)


CASES = (
    refused(
        "three settings wrong at once",
        "F1",
        ALL_AT_ONCE,
        written(MICROSHARE_PC_DATA_CONTEXT="[people]", START_FROM="24", MICROSHARE_LOCATIONS="Mill & Lane"),
        "MICROSHARE_PC_DATA_CONTEXT",
        "[people]",
        "START_FROM",
        "'24'",
        "MICROSHARE_LOCATIONS",
        "3 problems",
    ),
    refused(
        "JSON array whose quotes a shell ate",
        "F1",
        ALL_AT_ONCE,
        written(MICROSHARE_PC_DATA_CONTEXT="[people]"),
        "MICROSHARE_PC_DATA_CONTEXT",
        "[people]",
    ),
    refused(
        "bare text for a list",
        "F1",
        ALL_AT_ONCE,
        written(MICROSHARE_LOCATIONS="Mill & Lane"),
        "MICROSHARE_LOCATIONS",
        "Mill & Lane",
    ),
    refused(
        "duration with a wrong unit",
        "F1",
        ALL_AT_ONCE,
        written(START_FROM="24 parsecs"),
        "START_FROM",
        "24 parsecs",
    ),
    refused(
        "password missing", "F2", NAMED, missing("MICROSHARE_PASSWORD"), "MICROSHARE_PASSWORD", "not set"
    ),
    refused("password empty", "F2", NAMED, written(MICROSHARE_PASSWORD=""), "MICROSHARE_PASSWORD"),
    *(
        refused(
            f"password {how}", "F2", NAMED, written(MICROSHARE_PASSWORD=text), "MICROSHARE_PASSWORD", says
        )
        for how, text, says in (
            ("with a stray newline", "canary-stray\n", "newline"),
            ("with a byte order mark", "\ufeffcanary-stray", "byte order mark"),
        )
    ),
    refused(
        "placeholder left in place",
        "F2",
        NAMED,
        written(MICROSHARE_PASSWORD="<your password>"),
        "MICROSHARE_PASSWORD",
    ),
    refused(
        "name of a variable misspelt",
        "F2",
        "the near miss is suggested",
        misspelt("MICROSHARE_PASSWORD", "MICROSHARE_PASWORD"),
        "MICROSHARE_PASWORD",
        "MICROSHARE_PASSWORD",
    ),
    refused("hub listed twice", "F3", ALIKE, listed_twice, "EVENT_HUB_CONNECTION_STRINGS"),
    refused(
        "hub without EntityPath", "F3", ALIKE, without_entity, "EVENT_HUB_CONNECTION_STRING", "EntityPath"
    ),
    refused(
        "API without TLS",
        "F3",
        ALIKE,
        written(MICROSHARE_API_URL="http://api.example.test"),
        "MICROSHARE_API_URL",
        "https",
    ),
    refused("key that is unknown", "F3", ALIKE, unknown_key, "concurrencey", "concurrency"),
    refused(
        "schedule that is none",
        "F3",
        ALIKE,
        written(PEOPLE_COUNTER_SCHEDULE="every quarter"),
        "PEOPLE_COUNTER_SCHEDULE",
        "every quarter",
    ),
    literal("password that begins like a list", "[canary-one]"),
    literal("password that begins like an object", '{"canary": "two"}'),
    literal("password with characters that shells and URLs know", "canary#3 $HOME & %41 ${START_FROM}"),
)
