"""F: the settings. Refused as a whole before anything is asked, by `check` and by a run alike."""

from __future__ import annotations

from collections.abc import Callable

from tests.environments.faulty import RUN, FaultyInstallation, Outcome, run_command
from tests.faults.case import Case

ALL_AT_ONCE = "every problem at once: key, value seen, what to write; nothing is asked"
NAMED = "named, and nothing is asked"
ALIKE = "refused by check and by a run alike; nothing is asked"


def written(**variables: str) -> Callable[[FaultyInstallation], None]:
    """Set variables; one that is None in spirit is given as an empty text."""

    def inject(faulty: FaultyInstallation) -> None:
        faulty.environ |= variables
        refused_unasked(faulty)

    return inject


def refused_unasked(faulty: FaultyInstallation) -> None:
    asked, connections = len(faulty.source.requests), faulty.a.connections + faulty.b.connections
    faulty.proof("nothing was asked", lambda: len(faulty.source.requests) == asked)
    faulty.proof("nothing was connected", lambda: faulty.a.connections + faulty.b.connections == connections)


def missing(name: str) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        del faulty.environ[name]
        refused_unasked(faulty)

    return inject


def misspelt(right: str, wrong: str) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        faulty.environ[wrong] = faulty.environ.pop(right)
        refused_unasked(faulty)

    return inject


def without_entity(faulty: FaultyInstallation) -> None:
    text = faulty.hubs.connection_string("a").partition(";EntityPath")[0]
    written(EVENT_HUB_CONNECTION_STRING=text)(faulty)


def listed_twice(faulty: FaultyInstallation) -> None:
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = f'["{faulty.hubs.connection_string("a")}"]'
    refused_unasked(faulty)


def unknown_key(faulty: FaultyInstallation) -> None:
    path = faulty.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("  concurrency: 4", "  concurrencey: 4"))
    faulty.after(lambda: path.write_text(text))
    refused_unasked(faulty)


def open_quote(faulty: FaultyInstallation) -> None:
    """Leave a line in `.env` that python-dotenv passes over: no second hub, and not a word of it."""
    path = faulty.folder / ".env"
    second = faulty.environ.pop("EVENT_HUB_CONNECTION_STRINGS")
    path.write_text(f"LOG_LEVEL=INFO\nEVENT_HUB_CONNECTION_STRINGS='{second}';\n")
    faulty.after(path.unlink)
    refused_unasked(faulty)


def check_and_run(faulty: FaultyInstallation) -> Outcome:
    checking = faulty.start("check", "--offline", "--json")
    outcome = faulty.command(*RUN)
    found = faulty.finish(checking)
    assert found.status == 2
    assert [word for word in faulty.case.says if word.lower() not in found.text.lower()] == [], found.text
    return outcome


def refused(
    name: str, key: str, expects: str, inject: Callable[[FaultyInstallation], None], *says: str
) -> Case:
    return Case(key, name, expects, inject, 2, says, act=check_and_run, live=True)


def password(text: str) -> Callable[[FaultyInstallation], None]:
    def inject(faulty: FaultyInstallation) -> None:
        before = faulty.source.password
        faulty.after(lambda: setattr(faulty.source, "password", before))
        faulty.source.password = text
        faulty.secrets.add(text)
        faulty.environ["MICROSHARE_PASSWORD"] = text
        faulty.proof("it was taken", lambda: faulty.since("logins") == 1)

    return inject


def proxy(url: str) -> Callable[[FaultyInstallation], None]:
    """Name a proxy that cannot be used, with a password of a kind that breaks URLs."""

    def inject(faulty: FaultyInstallation) -> None:
        secret = "canary[pass]/of#proxy?"
        faulty.secrets.add(secret)
        faulty.environ["HTTPS_PROXY"] = url.format(secret)
        refused_unasked(faulty)

    return inject


def literal(name: str, text: str) -> Case:
    return Case("F4", name, "taken literally", password(text), act=run_command(*RUN), live=True)


CASES = (
    refused(
        "proxy with a password in its URL and no such port",
        "F1",
        "refused with the host, never with the password, in whatever form; nothing is asked",
        proxy("http://svc:{}@proxy.example.test:99999"),
        "HTTPS_PROXY",
        "proxy.example.test",
    ),
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
        "JSON array whose quotes are escaped once too often",
        "F1",
        ALL_AT_ONCE,
        written(MICROSHARE_PC_DATA_CONTEXT=r"[\"people\"]"),
        "MICROSHARE_PC_DATA_CONTEXT",
        "escaped once too often",
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
        "password that a deployment did not replace",
        "F2",
        NAMED,
        written(MICROSHARE_PASSWORD="#{MicrosharePassword}#"),
        "MICROSHARE_PASSWORD",
        "Replace Tokens",
    ),
    refused("line of .env that sets nothing", "F2", NAMED, open_quote, ".env line 2", "quote"),
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
    literal("password in the brackets of a placeholder", "<Canary2024>"),
    literal("password with characters that shells and URLs know", "canary#3 $HOME & %41 ${START_FROM}"),
)
