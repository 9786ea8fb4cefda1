"""What is loaded, and what is not: by the Functions host as it lists the functions, and by help."""

from __future__ import annotations

from tests.environments.loaded import loaded_by


def of_ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "app"}


def test_listing_the_functions_loads_what_reads_schedules_and_nothing_of_a_run() -> None:
    loaded = set(loaded_by("import function_app"))

    assert {name.split(".")[1] for name in of_ours(loaded) - {"app"}} == {"base", "settings"}
    assert {"app.settings.schema", "app.settings.document", "app.settings.rules"} & loaded == set()
    of_a_run = ("azure.eventhub", "azure.core", "azure.data", "azure.identity", "aiohttp", "requests")
    others = ("urllib3", "click", "rich", "jinja2", "opentelemetry", "filelock")
    assert {*of_a_run, *others, "msgspec", "simplejson", "dotenv"} & loaded == set()


def test_what_asks_and_what_sends_is_loaded_as_a_run_comes_to_it() -> None:
    loaded = set(loaded_by("import app.cli.run, app.timer"))

    assert "app.run.forwarder" in loaded
    assert {"azure.eventhub", "requests", "urllib3"} & loaded == set()


def test_help_loads_its_texts_and_click() -> None:
    program = "import runpy, sys; sys.argv = ['app', '--help']; runpy.run_module('app', run_name='__main__')"

    loaded = set(loaded_by(program))

    assert of_ours(loaded) == {
        "app",
        "app.base",
        "app.base.program",
        "app.base.version",
        "app.cli",
        "app.cli.common_options",
    }
    assert {"azure", "yaml", "rich", "logging", "json", "asyncio"} & loaded == set()
