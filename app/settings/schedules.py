"""When the timers of the Functions host fire: read from the settings, of which nothing else is looked at."""

from __future__ import annotations

from collections.abc import Mapping

from app.base.errors import SettingsError
from app.settings.ncrontab import schedule_problem
from app.settings.places import find_config_file, given_or_own
from app.settings.variables import filled_text, read_environment, variables_of
from app.settings.yaml_file import feeds_in, read_yaml

# When a timer fires whose schedule cannot be read: its run then says what is wrong.
_LAST_RESORT = "0 0 * * * *"


def schedule(feed_name: str, environ: Mapping[str, str] | None = None) -> str:
    """Give the six-field schedule of a feed's timer, cheaply and without ever raising.

    Where the configured one is missing or wrong, it is the default of config.yaml, else every
    hour: the function must be there, so that its run can say what is wrong.
    """
    environ = given_or_own(environ)
    try:
        config_file = find_config_file(environ, None)
        feed = feeds_in(read_yaml(config_file)).get(feed_name)
    except SettingsError:
        return _LAST_RESORT
    written = feed.get("schedule") if isinstance(feed, dict) else None
    if not isinstance(written, str):
        return _LAST_RESORT
    try:
        environment = read_environment(environ, config_file, None)
    except SettingsError:
        environment = variables_of({}, environ)
    return _usable(written, environment) or _usable(written, {}) or _LAST_RESORT


def _usable(written: str, environment: Mapping[str, str]) -> str | None:
    try:
        found = filled_text(written, environment, [])
    except ValueError:
        return None
    return None if found is None or schedule_problem(found) else " ".join(found.split())
