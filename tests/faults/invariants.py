"""What must be so after every case, whatever the fault was."""

from __future__ import annotations

import json

from tests.canaries import shown_in
from tests.environments.consuming import kept_of
from tests.environments.faulty import FaultyInstallation, Outcome
from tests.promise import breaches, lost, not_merged


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
    """Check both hubs against the source: nothing lost, nothing invented, repeated or out of order.

    And the consumer's table of each hub: of every reading the last version, once, and what the source shows.
    """
    shown = faulty.shown_now()
    for hub in ("a", "b"):
        arrived = faulty.arrived(hub)
        at_hub = {reading for event in arrived for reading in event.readings}
        known = shown | faulty.issued | at_hub
        withheld = {reading for reading in known if reading.entry in faulty.unsendable[hub]}
        wrong = breaches(
            shown,
            arrived,
            also=at_hub if faulty.case.alters else faulty.issued,
            withheld=withheld,
            late={reading for reading in known if reading.entry in faulty.late},
            repeats=faulty.repeats,
        )
        assert wrong == [], f"at {hub}"
        kept = kept_of(faulty.events(hub))
        assert not_merged(arrived, kept) == [], f"at {hub}"
        assert lost(shown - withheld, kept) == [], f"in the consumer's table of {hub}"


def check_secrets(faulty: FaultyInstallation, log: str) -> None:
    """Check that no secret is in anything said, logged or stored."""
    said = "\n".join(outcome.text for outcome in faulty.outcomes)
    assert shown_in(f"{said}\n{log}\n{faulty.stored_texts()}", faulty.secrets) == []


def check_log(log: str) -> None:
    """Check that every line the forwarder logged is one JSON object."""
    for line in log.splitlines():
        assert json.loads(line)["event"]
