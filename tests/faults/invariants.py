"""What must be so after every case, whatever the fault was."""

from __future__ import annotations

import json
from collections import Counter

from app.base.instants import parse_time
from tests.canaries import shown_in
from tests.environments.faulty import FaultyInstallation, Outcome, entry_text


def check_fault(faulty: FaultyInstallation, outcome: Outcome) -> None:
    """Check the run under the fault: it was there, and the run ended and spoke as it should."""
    case = faulty.case
    assert faulty.unproven() == []
    assert outcome.status == case.ends, outcome.text
    if outcome.report is not None:
        assert outcome.report.as_json()["ok"] == (case.ends == 0)
    said = outcome.text.lower()
    assert [word for word in case.says if word.lower() not in said] == [], outcome.text


def check_healed(faulty: FaultyInstallation, outcome: Outcome) -> None:
    """Check the first run without the fault: all well, nothing left to do."""
    assert outcome.status == 0, outcome.text
    assert outcome.report is not None
    assert outcome.report.left == 0


def check_hubs(faulty: FaultyInstallation) -> None:
    """Check both hubs against the source: nothing lost, nothing invented, repeated or out of order."""
    shown = faulty.shown_now()
    for hub in ("a", "b"):
        events = faulty.arrived(hub)
        arrived = {text for event in events for text in event.readings}
        owed = {text for text in shown if entry_text(text) not in faulty.unsendable[hub]}
        assert sorted(owed - arrived) == [], f"lost at {hub}"
        if not faulty.case.alters:
            assert sorted(arrived - faulty.issued) == [], f"invented at {hub}"
        kept = {text for text in arrived if entry_text(text) in faulty.unsendable[hub]}
        assert sorted(kept) == [], f"should not be at {hub}"
        repeated = len(events) - len({event.message_id for event in events})
        assert repeated <= faulty.repeats, f"{repeated} repeats at {hub}"
        assert len({(event.message_id, event.body) for event in events}) == len(events) - repeated
        twice = [text for text, count in _times(events).items() if count > 1]
        assert twice == [], f"one reading under several ids at {hub}"
        assert _disorder(faulty, hub) == []


def _times(events: list) -> Counter[str]:  # type: ignore[type-arg]  # Arrived
    """Count the message ids under which each reading came."""
    pairs = {(event.message_id, text) for event in events for text in event.readings}
    return Counter(text for _, text in pairs)


def _disorder(faulty: FaultyInstallation, hub: str) -> list[str]:
    """Give the first arrivals that came behind a later one of their location, late ones left out."""
    newest: dict[str, str] = {}
    seen: set[str] = set()
    found = []
    for event in faulty.arrived(hub):
        if event.message_id in seen:
            continue
        seen.add(event.message_id)
        if any(entry_text(text) in faulty.late for text in event.readings):
            continue
        when = parse_time(event.when).isoformat()
        if when < newest.get(event.location, ""):
            found.append(f"{hub}: {event.location} {when}")
        newest[event.location] = max(when, newest.get(event.location, ""))
    return found


def check_secrets(faulty: FaultyInstallation, log: str) -> None:
    """Check that no secret is in anything said, logged or stored."""
    said = "\n".join(outcome.text for outcome in faulty.outcomes)
    assert shown_in(f"{said}\n{log}\n{faulty.stored_texts()}", faulty.secrets) == []


def check_log(log: str) -> None:
    """Check that every line the forwarder logged is one JSON object."""
    for line in log.splitlines():
        assert json.loads(line)["event"]
