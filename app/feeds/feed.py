"""What every feed is made of: its query, its readings with their ids, its events.

The id of a reading is 16 base64url characters: 6 bytes of the SHA-256 of its key
(recType, location, tags, and `record`, or else time, category and metric) and 6
bytes of the SHA-256 of its content. The same reading always has the same id; a
correction shares the first half only. Golden tests hold ids across versions:
changing one repeats every reading inside the look-back.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from app.base import exact_json, extended_json
from app.base.checkpoints import Checkpoint
from app.base.errors import BadResponse, SettingsError
from app.base.instants import EPOCH
from app.base.readings import DashboardAnswer, DashboardQuery, Event, JsonObject, Reading, Slice, line_entries
from app.base.text import counted, shown
from app.base.view_text import unfit_for_view
from app.settings.schema import FeedSettings

SOURCE = "microshare-forwarder"

AskDashboard = Callable[[DashboardQuery], DashboardAnswer]


@dataclass(frozen=True, slots=True)
class Feed(ABC):
    """One recType and its way to the hubs.

    `placeholders` are those of its view beside what every query has; configured parameters win over
    them. `merged_by` names the fields of an entry that tell readings apart for a consumer, beside
    their location, tags and time. `fields` says in words what entries were seen to hold, and promises
    nothing. `unused` are settings that mean nothing to such a feed, each with the value that says what
    it does.
    """

    rec_type: str
    state_name: str
    placeholders: Mapping[str, str] = field(default_factory=dict)
    merged_by: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    unused: ClassVar[Mapping[str, Any]] = {}

    def query(self, settings: FeedSettings, location: str, window: Slice) -> DashboardQuery:
        """Give the question to the feed's view for one location and window."""
        return DashboardQuery(
            view_id=settings.view_id,
            rec_type=self.rec_type,
            data_context=settings.data_context,
            loc1=name_in_view(location, settings),
            window=window,
            parameters={**self.placeholders, **settings.parameters},
        )

    def full_coverage(
        self, dashboard: AskDashboard, settings: FeedSettings, location: str, window: Slice
    ) -> DashboardAnswer:
        """Ask for all readings of one building in a window, pages merged."""
        return dashboard(self.query(settings, location, window))

    @abstractmethod
    def events(
        self,
        location: str,
        fresh: Sequence[Reading],
        answer: Sequence[Reading],
        checkpoint: Checkpoint,
        settings: FeedSettings,
    ) -> list[Event]:
        """Turn the readings a hub has not had into events, by time.

        `fresh` are those readings, sorted; `answer` all readings of the answer; `checkpoint` what
        the hub had before.
        """

    def parts(self, event: Event, fits: Callable[[Event], bool]) -> tuple[list[Event], list[Reading]]:  # noqa: ARG002
        """Split an event that is too large into several that fit, and the readings that never will.

        An event of a single reading cannot be split.
        """
        return [], list(event.readings)

    @abstractmethod
    def readings_in(self, location: str, body: bytes) -> list[Reading]:
        """Give the readings that the body of an event stands for, as the source wrote them.

        Their ids are what the content gives. Raises BadResponse for a body that this feed did not write.
        """

    def held_as(self, location: str, reading: Reading) -> str:  # noqa: ARG002
        """Give the id that `readings_in` finds in the event of a reading: its own, nearly always."""
        return reading.id


def load_feed(name: str) -> Feed:
    """Give the feed that `app/feeds/<name>.py` defines. Raises SettingsError where there is none."""
    why = ""
    try:
        feed = importlib.import_module(f"app.feeds.{name}").FEED
        if isinstance(feed, Feed):
            return feed
        why = " as a Feed"
    except ModuleNotFoundError as error:
        # It is there, and asks for a module that is not.
        if error.name != f"app.feeds.{name}":
            why = f" ({error})"
    except (ImportError, AttributeError) as error:
        why = f" ({error})"
    raise SettingsError(
        [f"feeds.{name}: no module app/feeds/{name}.py that defines FEED{why}; add it, or remove the entry"],
        source="config.yaml",
    )


def six_fields(*sub_documents: str) -> dict[str, str]:
    """Give the placeholders `field1` to `field6` of a view, which copies what they name into each line.

    An unused one is its own name, and must be there: a missing placeholder is answered with 503.
    """
    slots = [f"field{number}" for number in range(1, 7)]
    return dict(zip(slots, [*sub_documents, *slots[len(sub_documents) :]], strict=True))


def name_in_view(location: str, settings: FeedSettings) -> str:
    """Give the name under which a feed's view knows a discovered location: a mapped one, or without prefix.

    A wrong name is answered with 200 and nothing.
    """
    mapped = settings.location_names.get(location)
    if mapped is not None:
        return mapped
    prefix = settings.location_prefix
    if not prefix or not location.startswith(prefix):
        return location
    return location.removeprefix(prefix).lstrip() or location


def why_not_asked(location: str, settings: FeedSettings) -> str | None:
    """Say why a feed's view is not asked for a location, and what to do; None where it can be asked.

    A view puts names into its query as text, and whoever names a device in Microshare names a location.
    """
    flaw = unfit_for_view(name_in_view(location, settings))
    if flaw is None:
        return None
    return (
        f"location {shown(location)} {flaw}, and a view takes names as part of its query, so it is not asked "
        "for; rename it in Microshare, or leave it if it is not yours"
    )


def read_answer(rec_type: str, location: str, answer: DashboardAnswer) -> list[Reading]:
    """Give the readings of an answer, each once, sorted by time and id.

    A reading that cannot be forwarded (no time, no JSON) has a `flaw` and comes first; so does an
    object without a list of lines, which counts as one reading. Raises BadResponse where no object is
    anything like those of a dashboard view: then it is another view, or its form has changed.
    """
    if answer.objs and not any(map(_is_of_a_view, answer.objs)):
        flaw = _frame_flaw({"first": answer.objs[0]})
        raise BadResponse(
            f"answer for {location}: none of {counted(len(answer.objs), 'object')} has data with tags or "
            f"lines{f', the first {flaw}' if flaw else ''}; check that the feed's view id is that of its "
            f"dashboard view"
        )
    readings = (reading for obj in answer.objs for reading in _readings_of(rec_type, location, obj))
    return sorted({reading.id: reading for reading in readings}.values(), key=reading_order)


def reading_order(reading: Reading) -> tuple[datetime, str]:
    """Give what readings are sorted by: time, then id; those without a time come first."""
    return reading.time or EPOCH, reading.id


def read_objects(rec_type: str, location: str, objs: Any) -> list[Reading]:
    """Give the readings in an event's objects. Raises BadResponse where no feed writes them so."""
    if not isinstance(objs, list) or not all(line_entries(obj) is not None for obj in objs):
        raise BadResponse(f"an event of {location} has no list of objects with lines")
    return read_answer(rec_type, location, DashboardAnswer(tuple(objs)))


def read_body(location: str, body: bytes) -> JsonObject:
    """Read the body of an event. Raises BadResponse where it is not a JSON object."""
    try:
        found = exact_json.loads(body)
    except exact_json.NotJson as error:
        raise BadResponse(f"an event of {location} is not JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise BadResponse(f"an event of {location} is not a JSON object")
    return found


def count_lines(answer: DashboardAnswer) -> int:
    """Count the line entries of an answer: what a view's record limit is about."""
    return sum(1 if (lines := line_entries(obj)) is None else len(lines) for obj in answer.objs)


def joint_id(ids: Sequence[str]) -> str:
    """Give the message id of an event with several readings: the hash of their sorted ids."""
    digest = hashlib.sha256("".join(sorted(ids)).encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


def _is_of_a_view(obj: Any) -> bool:
    data = obj.get("data") if isinstance(obj, Mapping) else None
    return isinstance(data, Mapping) and ("line" in data or _tags(data)[1] is None)


def _readings_of(rec_type: str, location: str, obj: Any) -> Iterator[Reading]:
    lines = line_entries(obj)
    if lines is None:
        reading_id, content_flaw = _reading_id(_begin_of_keys(rec_type, location, ()), obj)
        yield Reading(
            reading_id, None, (), obj, {}, content_flaw or "it is an object without a list of lines"
        )
        return
    data = obj["data"]
    frame_flaw = _frame_flaw(data)
    tags, tags_flaw = _tags(data)
    begin = _begin_of_keys(rec_type, location, tags)
    for entry in lines:
        time, time_flaw = _time(entry)
        reading_id, content_flaw = _reading_id(begin, entry)
        yield Reading(
            reading_id, time, tags, entry, data, content_flaw or tags_flaw or time_flaw or frame_flaw
        )


def _frame_flaw(data: JsonObject) -> str | None:
    """Say what keeps an object, its lines left out, from being written as it came."""
    try:
        exact_json.dumps({name: value for name, value in data.items() if name != "line"})
    except exact_json.NotJson as error:
        return str(error)
    return None


def _tags(data: JsonObject) -> tuple[tuple[str, ...], str | None]:
    found = data.get("_id")
    tags = found.get("tags") if isinstance(found, Mapping) else None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return (), "its object has no list of tags"
    return tuple(tags), None


def _time(entry: Any) -> tuple[datetime | None, str | None]:
    if not isinstance(entry, dict):
        return None, "it is not a JSON object"
    written = entry.get("time")
    if written is None:
        return None, "it has no time"
    try:
        return extended_json.instant(written), None
    except ValueError:
        return None, f"its time {shown(written)} is not an ISO time, and no number of milliseconds since 1970"


def _begin_of_keys(rec_type: str, location: str, tags: tuple[str, ...]) -> bytes:
    """Give what the keys of all readings of an object begin with, as JSON that is not at its end."""
    return exact_json.dumps_with_flaws([rec_type, location, list(tags)])[:-1] + b","


def _reading_id(begin_of_key: bytes, entry: Any) -> tuple[str, str | None]:
    flaw = None
    try:
        content = exact_json.dumps(entry, sort_keys=True)
    except exact_json.NotJson as error:
        content, flaw = exact_json.dumps_with_flaws(entry), str(error)
    fields = entry if isinstance(entry, dict) else {}
    record = fields.get("record")
    own = [record] if record else [fields.get("time"), fields.get("category"), fields.get("metric")]
    key = begin_of_key + exact_json.dumps_with_flaws(own)[1:]
    halves = _digest(key) + _digest(content)
    return base64.urlsafe_b64encode(halves).decode(), flaw


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:6]
