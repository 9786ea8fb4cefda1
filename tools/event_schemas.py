"""Writes docs/schemas: the JSON Schema of what a hub gets of each feed of config.yaml, in each form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from app.feeds.event_schema import BODIES, VERSION, event_schema
from app.feeds.feed import load_feed
from app.settings.sources import written_feeds

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas" / f"v{VERSION}"


def texts() -> Mapping[str, str]:
    """Give the texts of the files by their names."""
    feeds = {name: load_feed(name) for name in written_feeds()}
    return {
        f"{name}.{body}.json": json.dumps(event_schema(name, feed, body), indent=2, ensure_ascii=False) + "\n"
        for name, feed in feeds.items()
        for body in BODIES
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
