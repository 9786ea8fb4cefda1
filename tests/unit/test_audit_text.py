"""What `audit` shows: a verdict that claims no more than was compared, and counts that add up."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from app.audit.comparison_file import ComparisonFile
from app.audit.findings import Failing, Finding, HourCount, HubAudit
from app.audit.summary import summarised
from app.base.instants import HOUR
from app.base.readings import Slice
from app.cli.audit_text import show_feed, show_verdicts
from app.cli.audit_verdict import Result, is_all_well, verdict
from app.cli.output import Output, text

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = Slice(NOON - 2 * HOUR, NOON)
MILL, QUAY = "Mill & Lane", "Example Beacon House"
EU, US, OTHER = "eu.example/a", "us.example/a", "us.example/b"
NAMES = {EU: "primary", US: "acme-facilities", OTHER: "people-backup-of-the-north"}
PUBLISHED = 100
FAILING = Failing("hub", "hub acme-facilities: no connection: refused; allow port 5671")


def missing(number: int, cause: str = "lost", **fields: Any) -> Finding:
    place = fields.pop("location", MILL)
    time = WINDOW.start + (WINDOW.end - WINDOW.start) * number / PUBLISHED
    found = Finding("missing", place, time, "as written", f"{number:016}", cause=cause)
    return replace(found, **fields)


def other(number: int, heading: Any, **fields: Any) -> Finding:
    return replace(missing(number, **fields), heading=heading, cause=None, times=2, held="h" * 16)


def result(
    at_hubs: Mapping[str, Sequence[Finding]],
    *,
    published: int = PUBLISHED,
    hours: Sequence[HourCount] | None = None,
    **fields: Any,
) -> Result:
    """A feed of three locations at these hubs, of which half of the published readings lie in each hour."""
    with ComparisonFile(sorted((MILL, QUAY)), list(at_hubs)) as file:
        for hub, findings in at_hubs.items():
            for finding in findings:
                file.find(hub, finding)
        summary = summarised(file.by_reading(), examples=3)
    if hours is None:
        each = published // 2
        hours = [HourCount(MILL, WINDOW.start + at * HOUR, published=each) for at in (0, 1) if each]
    audits = [
        HubAudit(
            "people_counter",
            hub,
            WINDOW,
            published=published,
            compared=published + sum(finding.heading == "unknown" for finding in findings),
            locations=3,
            hours=hours,
            max_delay_s=None if not published else 840.0,
            wrong=sum(finding.is_wrong for finding in findings),
            stuck={finding.location: FAILING for finding in findings if finding.stuck},
        )
        for hub, findings in at_hubs.items()
    ]
    return Result("people_counter", [replace(audit, **fields) for audit in audits], summary, NAMES)


TWO: Mapping[str, Sequence[Finding]] = {EU: [], US: []}
ALL_THERE = "all 100 readings are at both hubs, at most 14 min after their time"
IN_PART = "nothing is wrong in what could be compared"
UNREADABLE = HubAudit(
    "people_counter", US, WINDOW, locations=2, error="hub acme-facilities: no connection: x; y"
)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (result(TWO), f"nothing is wrong: {ALL_THERE}"),
        (
            result(
                {EU: []},
                published=1,
                hours=[HourCount(MILL, NOON - HOUR, 1), HourCount(MILL, NOON - 2 * HOUR, 1)],
            ),
            "nothing is wrong: the only reading is at primary, at most 14 min after its time",
        ),
        (
            result({EU: [missing(1, "behind", due=False)], US: [missing(1, "behind", due=False)], OTHER: []}),
            (
                "nothing is wrong: 99 of 100 readings are at all 3 hubs, at most 14 min after their time, "
                "1 to come"
            ),
        ),
        (
            result({EU: [missing(n, "before start", due=False) for n in range(PUBLISHED)]}),
            "nothing is due: 100 readings from before the start",
        ),
        (
            result(TWO, hours=[HourCount(MILL, WINDOW.start, 100)]),
            f"nothing is wrong: {ALL_THERE}; no readings in 1 of 2 hours",
        ),
        (result(TWO, published=0), "nothing to compare: no readings in this window"),
        (result(TWO, published=0, locations=0), "nothing to compare: no location is forwarded"),
        (
            result(TWO, published=0, failures={MILL: "500"}),
            "nothing to compare: no readings in this window; not compared: Mill & Lane",
        ),
        (
            result(TWO, published=0, failures=dict.fromkeys((MILL, QUAY, "a third"), "500")),
            "nothing could be compared: no location could be asked for",
        ),
        (
            result(TWO, failures={MILL: "500"}),
            f"{IN_PART}: {ALL_THERE}; not compared: Mill & Lane",
        ),
        (
            result(TWO, warnings=["the view does not give all"]),
            f"{IN_PART}: {ALL_THERE}",
        ),
        (
            result(TWO, error="gone"),
            "nothing could be compared: hubs primary, acme-facilities could not be read",
        ),
        (
            result({EU: [missing(1)], US: [missing(1)], OTHER: []}),
            "something is wrong: 1 reading missing at primary and acme-facilities",
        ),
        (
            result(
                {
                    EU: [missing(1), other(3, "repeated")],
                    US: [missing(2, "late"), missing(4, "behind", stuck=True)],
                }
            ),
            (
                "something is wrong: 2 readings missing at some hubs, 1 stuck at acme-facilities, "
                "1 more than once at primary"
            ),
        ),
        (
            result({EU: [missing(1, repaired=True), missing(2, "retention")]}),
            "something is wrong: 1 reading gone by retention at primary; 1 sent now",
        ),
        (
            result({EU: [missing(1, repaired=True)]}),
            "nothing is wrong: all 100 readings are at primary, at most 14 min after their time, 1 sent now",
        ),
        (
            result({EU: [other(1, "unknown")]}, published=0),
            "something is wrong: 1 reading not published at primary",
        ),
    ],
    ids=[
        "well",
        "one reading",
        "to come",
        "before the start",
        "an hour without readings",
        "no readings",
        "no locations",
        "no readings of those that could be asked for",
        "no location could be asked",
        "a location could not be asked",
        "not all could be seen",
        "no hub could be read",
        "one reading at two hubs",
        "several causes",
        "some put right, some not",
        "put right",
        "only what nobody published",
    ],
)
def test_the_verdict_claims_no_more_than_was_compared(found: Result, said: str) -> None:
    assert verdict(found) == said


def test_all_is_well_only_where_that_is_proved_of_everything() -> None:
    well = result(TWO)

    assert is_all_well(well)
    for less in (
        result({EU: [missing(1)]}),
        result({EU: [missing(n, "before start", due=False) for n in range(PUBLISHED)]}),
        result(TWO, published=0),
        result(TWO, failures={MILL: "500"}),
        result(TWO, warnings=["the view does not give all"]),
        replace(well, audits=[*well.audits, UNREADABLE]),
    ):
        assert not is_all_well(less)


def test_a_hub_that_could_not_be_read_is_named_and_not_among_those_that_have_all() -> None:
    found = result({EU: [], OTHER: []})

    said = verdict(replace(found, audits=[*found.audits, UNREADABLE]))

    assert said == (
        f"{IN_PART}: {ALL_THERE.replace('both hubs', 'primary and people-backup-of-the-north')}; "
        "not compared: hub acme-facilities"
    )


# --- the whole of it --------------------------------------------------------------------------------


class Screen(Output):
    """A terminal of some width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.console = Console(
            file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False
        )

    def show(self, *parts: RenderableType) -> None:
        for part in parts:
            self.console.print(text(part) if isinstance(part, str) else part)

    @property
    def lines(self) -> list[str]:
        assert isinstance(self.console.file, io.StringIO)
        return [line.rstrip() for line in self.console.file.getvalue().splitlines()]


def screen(found: Result, width: int = 200, **fields: Any) -> list[str]:
    shown = Screen(width)
    show_feed(found, shown, **fields)
    show_verdicts([found], shown)
    return shown.lines


TROUBLED = result(
    {
        EU: [missing(n) for n in range(5)]
        + [missing(n, "behind", due=False, location=QUAY) for n in range(40, 43)]
        + [other(60, "repeated"), other(61, "unknown")],
        US: [
            missing(0),
            missing(5, "late", written=None),
            *(missing(n, "behind", stuck=True) for n in range(6, 26)),
        ],
        OTHER: [missing(6, "before start", due=False), other(62, "changed")],
    },
    failures={"Quay+One": "microshare: query of view v for 'Quay+One', aZ to bZ: 500, <html>; wait"},
)


def numbers_of(line: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?<= )\d+(?= |$)", line)]


def test_a_hubs_numbers_add_up_to_what_is_published() -> None:
    shown = screen(TROUBLED)
    at = next(number for number, line in enumerate(shown) if line.startswith("hub "))
    heads = re.split(r"  +", shown[at])

    assert heads == [
        "hub",
        "published",
        "delivered",
        "missing",
        "other content",
        "to come",
        "before start",
        "more than once",
        "not published",
    ]
    rows = [numbers_of(line) for line in shown[at + 1 : at + 4]]
    assert all(row[0] == sum(row[1:-2]) == PUBLISHED for row in rows)
    assert [row[1:] for row in rows] == [
        [92, 5, 0, 3, 0, 1, 1],
        [78, 2, 0, 20, 0, 0, 0],
        [98, 0, 1, 0, 1, 0, 0],
    ]


def test_causes_add_up_to_their_total_the_worst_first_and_harmless_ones_last() -> None:
    shown = screen(TROUBLED)
    at = next(number for number, line in enumerate(shown) if line.startswith("cause "))
    rows = [re.split(r"  +", line) for line in shown[at + 1 : at + 10]]

    assert rows == [
        ["lost", "5", "Mill & Lane", "primary 5, acme-facilities 1"],
        ["late", "1", "Mill & Lane", "acme-facilities"],
        ["other content", "1", "Mill & Lane", "people-backup-of-the-north"],
        ["stuck", "20", "Mill & Lane", "acme-facilities"],
        ["not published", "1", "Mill & Lane", "primary"],
        ["more than once", "1", "Mill & Lane", "primary"],
        ["to come", "3", "Example Beacon House", "primary"],
        ["total", "32", "all 2", "all 3 hubs"],
        [""],
    ]
    assert sum(int(row[1]) for row in rows[:-2]) == int(rows[-2][1])
    assert "1 reading with several causes counts under the worst" in shown


def test_what_is_stuck_says_what_fails_in_our_words_and_is_not_listed() -> None:
    shown = "\n".join(screen(TROUBLED))

    assert re.search(
        r"^stuck +hub acme-facilities failed at Mill & Lane: no connection$", shown, re.MULTILINE
    )
    assert "Quay+One could not be compared: the API answers with 500; see `check`" in shown
    assert "<html>" not in shown
    assert f"{6:016}" not in shown


def test_losses_are_named_up_to_three_a_cause_and_what_is_left_is_counted() -> None:
    shown = "\n".join(screen(TROUBLED))

    assert [f"{number:016}" in shown for number in range(6)] == [True, True, True, False, False, True]
    assert "and 2 more; --all names each" in shown
    assert f"Mill & Lane, no time, {5:016}" in shown


def test_where_nothing_is_wrong_there_are_no_causes_to_read() -> None:
    shown = screen(result({EU: [missing(1, "behind", due=False)]}))

    assert shown == [
        "people-counter, 2026-03-02 10:00 to 2026-03-02 12:00 UTC, 3 locations, 1 hub",
        "",
        "hub      published  delivered  to come",
        "primary        100         99        1",
        "",
        "nothing is wrong: 99 of 100 readings are at primary, at most 14 min after their time, 1 to come",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_name_is_cut_and_no_word_torn(width: int) -> None:
    shown = screen(TROUBLED, width)

    assert max(map(len, shown)) <= width
    words = set(" ".join(shown).split())
    assert {*NAMES.values(), "acknowledged", "published", f"{5:016}"} <= {word.strip(",;") for word in words}
    assert {word for name in (MILL, QUAY) for word in name.split()} <= {word.strip(",:") for word in words}


def test_feeds_whose_verdicts_are_the_same_have_it_once() -> None:
    shown, nothing = Screen(200), result(TWO, published=0)
    apart = Screen(200)

    show_verdicts([nothing, replace(nothing, feed="hourly_snapshot")], shown)
    show_verdicts([nothing, replace(result(TWO), feed="hourly_snapshot")], apart)

    assert shown.lines == ["nothing to compare: no readings in this window"]
    assert [line.split(": ")[0] for line in apart.lines] == ["people-counter", "hourly-snapshot"]
