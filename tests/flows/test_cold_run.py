"""What a run in a process of its own loads, and what it does without."""

from __future__ import annotations

from tests.environments.loaded import loaded_by
from tests.environments.terminal import Terminal

_OF_OTHER_COMMANDS = {"app.page", "app.audit", "app.health", "app.telemetry", "app.settings.json_schema"}
# Tables and identities, telemetry, WebSockets, what lays out text and pages, and what reads `.env`.
_OF_OTHER_SETTINGS = {
    *("azure.data", "azure.identity", "azure.monitor", "opentelemetry", "aiohttp", "dotenv"),
    *("rich", "jinja2", "prometheus_client", "sqlite3", "azure.functions"),
}

_RUN = "from app.__main__ import main; main(['run', 'people-counter', '--json'])"


def test_a_run_loads_nothing_of_other_commands_and_of_what_its_settings_do_not_ask_for(
    terminal: Terminal,
) -> None:
    loaded = set(loaded_by(_RUN, terminal.environ))

    assert {"app.run.forwarder", "azure.eventhub.aio", "requests"} <= loaded
    assert (_OF_OTHER_COMMANDS | _OF_OTHER_SETTINGS) & loaded == set()


def test_what_asks_the_source_is_loaded_while_hubs_are_being_connected_to(terminal: Terminal) -> None:
    loaded = loaded_by(_RUN, terminal.environ)

    assert loaded.index("azure.eventhub.aio") < loaded.index("requests")
