"""Opens the state store that the settings name, and imports no other: the table's SDK is slow to load."""

from __future__ import annotations

from app.settings.schema import StateSettings
from app.state.store import MendableStore


def open_store(settings: StateSettings) -> MendableStore:
    """Give the state store that the settings name; nothing is asked or written yet.

    Raises StateError where it cannot be reached.
    """
    if settings.store == "table":
        from app.state.azure_table import AzureTableStore

        return AzureTableStore.connect(settings)
    from app.state.json_file import JsonFileStore

    return JsonFileStore(settings.directory)
