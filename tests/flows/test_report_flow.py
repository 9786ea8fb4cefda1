"""`report` as people use it: a process of its own, against the emulators."""

from __future__ import annotations

import html
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.base.instants import utc_now
from app.base.program import APP_ROOT
from app.settings.loading import load_settings
from app.state.opening import open_store
from emulators.microshare import Request, Response
from tests.environments.installation import small_estate
from tests.environments.terminal import Terminal, words

# Readings of the last minutes come with the next run, so the window ends before.
_WINDOW = ("--from", "3h", "--to", "20m")


@pytest.fixture
def page(terminal: Terminal) -> Path:
    return terminal.folder / "report.html"


def headline(page: Path) -> str:
    found = re.search(r'<h2 id="verdict">(.*?)</h2>', page.read_text())
    assert found is not None
    return html.unescape(found[1])


def test_the_page_says_that_every_hub_has_all_that_was_published(terminal: Terminal, page: Path) -> None:
    terminal.call("run", "all")

    ended = terminal.call("report", *_WINDOW, "--output", str(page))

    published = re.search(r"([\d,]+) of ([\d,]+) published readings are at every hub", words(page))
    assert (ended.status, headline(page)) == (0, "Every reading arrived")
    assert published is not None
    assert published[1] == published[2] != "0"
    assert f"written to {page}" in ended.out
    assert all(name in words(page) for name in ("50% Annex", "Mill & Lane", "Quay+One", "Tour Été"))


def test_a_page_for_standard_output_is_all_that_stands_there(terminal: Terminal) -> None:
    terminal.call("run", "all")
    before = sorted(terminal.folder.iterdir())

    ended = terminal.call("report", *_WINDOW, "--output", "-")

    assert (ended.status, ended.out[:15], ended.out.rstrip()[-7:]) == (0, "<!doctype html>", "</html>")
    assert "Every reading arrived" in ended.err
    assert sorted(terminal.folder.iterdir()) == before


def test_the_page_is_for_its_owner_alone_and_holds_no_secret(terminal: Terminal, page: Path) -> None:
    page.write_text("an older page")
    terminal.call("run", "all")

    terminal.call("report", *_WINDOW, "--output", str(page), MICROSHARE_PASSWORD="obviously-false-secret")

    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert [path.name for path in terminal.folder.iterdir() if "report" in path.name] == ["report.html"]
    shown = page.read_text()
    assert "an older page" not in shown
    assert "obviously-false-secret" not in shown
    assert "SharedAccessKey=" not in shown.replace("SharedAccessKey=***", "")


def test_a_hub_that_cannot_be_read_is_named_on_the_page_and_the_other_is_compared(
    terminal: Terminal, page: Path
) -> None:
    terminal.call("run", "people-counter")
    terminal.b.go_down()

    ended = terminal.call("report", *_WINDOW, "--feed", "people-counter", "--output", str(page))

    assert (ended.status, headline(page)) == (1, "Hub second could not be compared")
    assert "people-counter: hub second could not be compared: no connection" in words(page)
    assert "published readings that could be compared are at primary" in words(page)
    assert "not compared: second could not be read" in words(page)
    assert "at every hub" not in words(page)
    assert "hub second could not be compared" in ended.err


def test_without_the_source_the_page_shows_what_is_kept_of_the_runs(terminal: Terminal, page: Path) -> None:
    terminal.call("run", "all")

    def refuse(request: Request) -> Response | None:
        return Response(503, b"") if request.kind == "login" else None

    terminal.source.intercept = refuse
    ended = terminal.call("report", "--from", "3h", "--output", str(page))

    assert (ended.status, headline(page)) == (1, "Nothing could be compared")
    assert "people-counter and hourly-snapshot: the API answers with 503" in words(page)
    assert "1 run; a bar is" in words(page)


def test_the_page_counts_runs_of_shards_that_were_begun_together_as_one(
    terminal: Terminal, page: Path
) -> None:
    terminal.call("run", "all")
    store = open_store(load_settings(terminal.environ, dotenv=terminal.folder / "none").state)
    [report] = store.history("peoplecounterstate", utc_now() - timedelta(hours=1))
    for index in (1, 2):
        of_shard = {"run": f"part{index}", "shard": {"index": index, "of": 2}, "tick": "one"}
        store.keep_report("peoplecounterstate", {**report, **of_shard})

    terminal.call("report", *_WINDOW[:2], "--output", str(page))

    assert "2 runs; a bar is" in words(page)
    assert "1 run; a bar is" in words(page)


def test_a_feed_whose_state_is_damaged_is_named_and_the_other_is_compared(
    terminal: Terminal, page: Path
) -> None:
    terminal.call("run", "all")
    (terminal.folder / "state" / "peoplecounterstate.json").write_text("not JSON")

    ended = terminal.call("report", *_WINDOW, "--output", str(page))

    assert (ended.status, headline(page)) == (1, "People-counter could not be compared")
    assert "cannot be read as state" in words(page)
    assert "published readings that could be compared are" in words(page)


def test_readings_that_a_hub_lacks_are_counted_by_hub_and_location(terminal: Terminal, page: Path) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    terminal.source.estate.hide("Quay+One", hour, hour + timedelta(hours=1), feed="people")
    terminal.call("run", "people-counter")
    # Shown now, and older than the look-back: no run reads them again.
    terminal.source.estate = small_estate()

    ended = terminal.call(
        "report", "--from", "5h", "--to", "20m", "--feed", "people-counter", "--output", str(page)
    )

    assert ended.status == 1
    missing = re.fullmatch(r"(\d+) readings missing", headline(page))
    assert missing is not None
    each = int(missing[1])
    assert f"each counted once: {each} at primary and second ({each} in Quay+One)" in words(page)
    assert "missing: published after the look-back" in words(page)


def test_without_a_file_named_a_page_gets_one_of_its_own_in_the_current_folder(terminal: Terminal) -> None:
    """What nobody named is not replaced: it may be of another window, or of one hub."""
    terminal.call("run", "people-counter")
    day = datetime.now(UTC) - timedelta(minutes=20)
    name = f"report-people-counter-{day:%Y-%m-%d}"
    (terminal.folder / f"{name}.html").write_text("of this morning")
    terminal.environ["PYTHONPATH"] = str(APP_ROOT)

    ended = terminal.call_in_folder("-m", "app", "report", *_WINDOW, "--feed", "people-counter")

    written = terminal.folder / f"{name}-2.html"
    assert (ended.status, f"written to {written.name}" in ended.out) == (0, True)
    assert (headline(written), stat.S_IMODE(written.stat().st_mode)) == ("Every reading arrived", 0o600)
    assert (terminal.folder / f"{name}.html").read_text() == "of this morning"


def test_a_page_of_one_hub_tells_of_no_other(terminal: Terminal, page: Path) -> None:
    terminal.b.go_down()
    terminal.call("run", "people-counter")
    asked = ("report", *_WINDOW, "--feed", "people-counter", "--hub", "primary", "--title", "Ours <b>")

    ended = terminal.call(*asked, "--output", str(page))

    assert (ended.status, headline(page)) == (0, "Every reading arrived")
    assert "<h1>Ours &lt;b&gt;</h1>" in page.read_text()
    assert re.search(r"Organisation: com\.example\.\w+\. Hub: primary\.", words(page))
    assert "published readings are at primary" in words(page)
    assert "second" not in words(page)
    assert "/b" not in words(page)


def test_a_page_without_names_names_no_building_anywhere(terminal: Terminal, page: Path) -> None:
    terminal.call("run", "people-counter")
    terminal.source.faults.status(404, location="Quay+One")
    terminal.call("run", "people-counter")

    ended = terminal.call(
        "report", *_WINDOW, "--feed", "people-counter", "--without-names", "--output", str(page)
    )

    everything = html.unescape(page.read_text()) + ended.out + ended.err
    assert ended.status == 1
    assert headline(page).startswith("Building 4 could not be compared")
    assert "Building 4" in words(page)
    assert "Organisation" not in words(page)
    assert [
        name
        for name in ("Annex", "Mill", "Lane", "Quay", "Tour", "Été")
        if name.lower() in everything.lower()
    ] == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--from", "1h", "--to", "2h"), "is not before --to"),
        (("--from", "yesterday"), "'yesterday' is not a time"),
        (("--feed", "people"), "'people' is not a feed"),
        (("--hub", "third"), "'third' is not one of the hubs"),
    ],
    ids=["an end before its start", "no time", "no feed", "no hub"],
)
def test_words_that_mean_nothing_are_refused_before_anything_is_asked(
    terminal: Terminal, page: Path, asked: tuple[str, ...], said: str
) -> None:
    ended = terminal.call("report", *asked, "--output", str(page))

    assert ended.status == 2
    assert said in ended.err
    assert not page.exists()


def test_a_page_that_cannot_be_written_is_told_before_the_work_is_done(terminal: Terminal) -> None:
    (terminal.folder / "file").write_text("")

    ended = terminal.call("report", "--output", str(terminal.folder / "file" / "report.html"))

    assert ended.status == 1
    assert "name another file" in ended.err
    assert "reading hub" not in ended.err
