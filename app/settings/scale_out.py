"""Whether feeds are run in shards from a storage queue, and which queue: what the Functions host is told.

Read from the settings, of which nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.base.errors import SettingsError
from app.settings.places import find_config_file, given_or_own
from app.settings.variables import filled_text, read_environment
from app.settings.yaml_file import read_yaml

QUEUE: Final = "forwarder-shards"
# The host looks for it in the app's settings, as it stands or with `__accountName` and so on behind it.
CONNECTION: Final = "AzureWebJobsStorage"
# Where the host puts a message whose instance was killed.
POISON: Final = f"{QUEUE}-poison"


def is_by_queue(environ: Mapping[str, str] | None = None) -> bool:
    """Whether SCALE_OUT is `queue`, cheaply and without ever raising; a run says what is wrong elsewhere."""
    environ = given_or_own(environ)
    try:
        config_file = find_config_file(environ, None)
        section = read_yaml(config_file).get("scale_out")
        written = section.get("by") if isinstance(section, Mapping) else None
        if not isinstance(written, str):
            return False
        found = filled_text(written, read_environment(environ, config_file, None), [])
    except (SettingsError, ValueError):
        return False
    return (found or "").strip().lower() == "queue"
