"""Counts of a file: what is read of it, and what is refused with its line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from emulators.counts import Count, read_counts
from emulators.estate import Building, Estate

EIGHT = datetime(2025, 11, 12, 8)  # noqa: DTZ001 - a time of the building's own
HALF_PAST = EIGHT + timedelta(minutes=30)
ROWS = [(EIGHT, 5, 3), (HALF_PAST, 6, 0)]
PLAIN = "time,in,out\n2025-11-12T08:00,5,3\n2025-11-12T08:30,6,0\n"


def read(folder: Path, content: str | bytes) -> list[Count]:
    file = folder / "counts.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_counts(file)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", ";"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",5,3", ",5.0,3.00").replace(",6,", ",6.0,"),
        "time;in;out\n2025-11-12 08:00:00;5,0;3,00\n2025-11-12 08:30:00;6;0\n",
        "door,Out,TIME, In \nA,3,2025-11-12T08:00, 5\nB,0,2025-11-12T08:30,6\n",
        "time,in,out,note\n2025-11-12T08:00,5,3,caf\u00e9\u2026\n2025-11-12T08:30,6,0,\n".encode("cp1252"),
        PLAIN.replace("2025-11-12T08:30", "2025-11-12T08:15,,\n\n,,\n2025-11-12T08:30"),
        "time,in,out\n2025-11-12T08:30,6,0\n2025-11-12T08:00,5,3\n",
    ],
    ids=[
        "plain",
        "Windows",
        "an old Mac",
        "byte order mark",
        "UTF-16",
        "semicolons",
        "Excel's first line",
        "tabs",
        "decimal points",
        "decimal commas",
        "columns in another order",
        "Latin-1",
        "rows without counts",
        "not in order",
    ],
)
def test_what_is_unambiguous_is_read(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == ROWS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("time,in,out\n12/11/2025 08:00,5,3\n", "line 2: '12/11/2025 08:00' is not a time"),
        (PLAIN + "Total,11,3\n", "line 4: 'Total' is not a time"),
        (PLAIN + ",11,3\n", "line 4: '' is not a time"),
        (PLAIN.replace(",6,", ",6.5,"), "line 3: in is '6.5'"),
        (PLAIN.replace(",6,", ",1.000,"), "line 3: in is '1.000'"),
        (PLAIN.replace(",6,", ',"1,000",'), "line 3: in is '1,000'"),
        (PLAIN.replace(",6,", ",1,000,"), "line 3: 4 in place of 3 columns"),
        (PLAIN.replace(",6,", ",-6,"), "line 3: in is '-6'"),
        (PLAIN.replace(",6,", ",,"), "line 3: in is ''"),
        (PLAIN.replace(",6,", f",{'9' * 5000},"), "line 3: in is '999"),
        (
            PLAIN.replace("T08:30", "T08:30Z"),
            "line 3: its time has an offset, or none, other than those above",
        ),
        (PLAIN.replace("2025-11-12T08:30", "0001-01-01"), "line 3: '0001-01-01' is out of range"),
        (PLAIN + '"2025-11-12T09:00,1,1\n', "line 4: is not CSV"),
        ("time,in,out\n", ": no row with counts is under its header"),
        ("", ": no column in, out, time"),
        ("in,out\n5,3\n", ": no column time"),
        ("time,in,in,out\n", ": the column in is there twice"),
        (PLAIN.encode("utf-16-le"), ": is not text, or UTF-16 without a byte order mark"),
        (PLAIN.encode("utf-16") + b"x", ": is cut short"),
    ],
    ids=[
        "day or month first",
        "totals",
        "totals without a word",
        "half a person",
        "a point for thousands",
        "a comma for thousands",
        "a comma for thousands without quotes",
        "fewer than none",
        "one count of two",
        "too many",
        "an offset in one row",
        "before any counter",
        "an open quote",
        "a header alone",
        "nothing",
        "a column lacks",
        "a column twice",
        "UTF-16 without its mark",
        "half a character",
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    with pytest.raises(ValueError, match=r"counts\.csv") as refused:
        read(tmp_path, content)

    said, _, advice = str(refused.value).partition("; ")
    assert f"{tmp_path / 'counts.csv'}{' ' if told.startswith('line') else ''}{told}" in said
    assert advice


def test_every_line_that_is_wrong_is_told_up_to_ten(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2: ") as refused:
        read(tmp_path, "time,in,out\n" + "Total,1,1\n" * 30)

    told = str(refused.value).splitlines()
    assert [line.split(":")[0].rpartition(" ")[2] for line in told[:-1]] == [str(2 + at) for at in range(10)]
    assert told[-1] == "and 20 more"


@pytest.mark.parametrize("written", ["08:00Z", "10:00+02:00", "03:00-05:00"])
@pytest.mark.parametrize("zone", ["Europe/Paris", "Asia/Kolkata", "America/Los_Angeles"])
def test_a_time_with_an_offset_stays_where_it_is_in_utc(tmp_path: Path, written: str, zone: str) -> None:
    counts = read(tmp_path, f"time,in,out\n2025-07-12T{written},5,3\n")
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    building = Building("Tower", zone=zone)
    estate = Estate(buildings=(building,), counts=counts, generated=False)

    found = estate.people("Tower", now - timedelta(days=2), now, now=now)

    times = [entry["time"] for entries in found.values() for entry in entries if entry["change"]["in"] == 5]
    assert times == ["2026-03-01T08:00:00.000Z", "2026-03-02T08:00:00.000Z"]


def test_a_time_without_one_is_the_buildings_own(tmp_path: Path) -> None:
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    estate = Estate(
        buildings=(Building("Tower", zone="Europe/Paris"),), counts=read(tmp_path, PLAIN), generated=False
    )

    found = estate.people("Tower", now - timedelta(days=1), now, now=now)

    local = [
        datetime.fromisoformat(entry["time"]).astimezone(ZoneInfo("Europe/Paris")).time()
        for entries in found.values()
        for entry in entries
    ]
    assert local == [EIGHT.time(), HALF_PAST.time()]
