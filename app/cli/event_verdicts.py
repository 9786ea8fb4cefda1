"""Whether the events of a hub fit their JSON Schemas, and how that is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.base.text import counted
from app.eventhub.received import Received
from app.feeds.feed import Feed
from app.feeds.validation import EventValidator, Flaw, Validated
from app.run.hub_events import is_ours


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking an event; None where it has no schema."""

    found: Validated | None = None

    @property
    def word(self) -> Literal["fits", "wrong", "-"]:
        if self.found is None:
            return "-"
        return "wrong" if self.found.flaws else "fits"

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        return self.found.flaws if self.found else ()

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": self.found and self.found.schema,
            "fits": self.found and not self.flaws,
            "flaws": [flaw._asdict() for flaw in self.flaws],
        }


class Verdicts:
    """Judges events of these feeds, by their names; `count` has how many there were of each word.

    Raises SettingsError where the package is missing that it takes.
    """

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._validator = EventValidator(feeds)
        self.count: Counter[str] = Counter()

    def of(self, event: Received) -> Verdict:
        said = event.properties.get("recType")
        found = self._validator.check(said, event.content_type, event.body) if is_ours(event) else None
        verdict = Verdict(found)
        self.count[verdict.word] += 1
        return verdict

    def summary(self) -> str:
        fit, wrong, none = (self.count[word] for word in ("fits", "wrong", "-"))
        others = f"; {none} of others or tests, which have no schema" if none else ""
        return f"{counted(fit + wrong, 'event')} checked: {fit} fit, {wrong} wrong{others}"
