"""Feeds whose events hold one reading each: the entry as it came, its recType, and the tags above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from app.base import exact_json
from app.base.checkpoints import Checkpoint
from app.base.readings import Event, Reading
from app.base.wire_forms import wire_text, without_ids
from app.feeds.feed import SOURCE, Feed, read_body, read_objects
from app.settings.schema import FeedSettings

# What an event adds to its entry, in place of what the entry has under these names.
_TAGS = "_location_tags"
_OURS = frozenset({"recType", _TAGS})


@dataclass(frozen=True, slots=True)
class FlatFeed(Feed):
    """A feed that is its parameters: a recType, a state name, and the placeholders of its view."""

    unused: ClassVar[Mapping[str, Any]] = {"late": "reading"}

    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],  # noqa: ARG002 - an event holds its own reading only
        checkpoint: Checkpoint,  # noqa: ARG002
        settings: FeedSettings,
    ) -> list[Event]:
        # One for all of them: what is the same is encoded once.
        properties = {"recType": self.rec_type, "location": wire_text(location), "source": SOURCE}
        return [self._event(location, reading, properties, settings.name) for reading in fresh]

    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        said = without_ids(read_body(location, body))
        return self._read_without_ours(location, said.get(_TAGS), said)

    def held_as(self, location: str, reading: Reading) -> str:
        entry = without_ids(reading.entry)
        if entry is reading.entry and _OURS.isdisjoint(entry):
            return reading.id
        return self._read_without_ours(location, list(reading.tags), entry)[0].id

    def _read_without_ours(self, location: str, tags: Any, entry: Mapping[str, Any]) -> list[Reading]:
        line = [{name: value for name, value in entry.items() if name not in _OURS}]
        return read_objects(self.rec_type, location, [{"data": {"_id": {"tags": tags}, "line": line}}])

    def _event(
        self, location: str, reading: Reading, properties: Mapping[str, str | int | bool], feed: str
    ) -> Event:
        # First of all what it is, whatever the entry says under that name.
        body = {"recType": self.rec_type, **reading.entry}
        body["recType"], body[_TAGS] = self.rec_type, reading.tags
        return Event(reading.id, location, exact_json.dumps(body), properties, (reading,), feed)
