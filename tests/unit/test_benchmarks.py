"""The harness of the benchmarks: what it calls met, what it writes, what it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cold_start, profiling
from benchmarks.__main__ import BEGIN, BENCHMARKS, DOCUMENT, END, replaced, with_table
from benchmarks.processes import MEBIBYTE, run
from benchmarks.results import Result, table
from benchmarks.services import services

MEASURED = Result("one hub", 3.0, "s", 1.15, "the SDK alone", 2.0)


@pytest.mark.parametrize(
    ("result", "measured", "is_met"),
    [
        (Result("ratio", 2.3, "s", 1.15, "x", 2.0), 1.15, True),
        (Result("ratio", 2.4, "s", 1.15, "x", 2.0), 1.2, False),
        (Result("rate", 3.2, "a second", 1.6, "x", 2.0, at_least=True), 1.6, True),
        (Result("rate", 3.0, "a second", 1.6, "x", 2.0, at_least=True), 1.5, False),
        (Result("more", 90.0, "MiB", 20, "x", 70.0, of="difference"), 20.0, True),
        (Result("more", 91.0, "MiB", 20, "x", 70.0, of="difference"), 21.0, False),
        (Result("alone", 151.0, "MiB", 150, of="ours"), 151.0, False),
    ],
)
def test_a_bound_is_on_the_ratio_the_difference_or_ours_alone(
    result: Result, measured: float, is_met: bool
) -> None:
    assert result.measured == pytest.approx(measured)
    assert result.is_met == is_met


def test_a_row_says_goal_baseline_ours_ratio_and_whether_it_is_met() -> None:
    *_, row = table([MEASURED])

    assert row == "| one hub | the SDK alone: 2.00 s | 3.00 s | 1.50 | ≤ 1.15 | **not met** |"


def test_results_take_the_place_of_those_before_and_nothing_else() -> None:
    once = replaced(f"# Page\n\n{BEGIN}\n{END}\n\nLast.\n", ["new"])

    assert once == f"# Page\n\n{BEGIN}\n\nnew\n\n{END}\n\nLast.\n"
    assert replaced(once, ["newer"]) == once.replace("new", "newer")


def test_the_table_of_a_heading_takes_the_place_of_the_one_before() -> None:
    page = replaced(f"{BEGIN}\n{END}\n", ["### One", "", "| 1 |", "", "### Two", "", "| 2 |"])

    assert with_table(page, "One", ["| 3 |"]) == page.replace("| 1 |", "| 3 |")
    assert with_table(page, "Two", ["| 3 |"]) == page.replace("| 2 |", "| 3 |")
    with pytest.raises(ValueError, match="no heading 'Three'"):
        with_table(page, "Three", [])


def test_the_page_has_every_heading_that_is_measured() -> None:
    headings = [line.removeprefix("### ") for line in DOCUMENT.read_text().splitlines() if line[:4] == "### "]

    assert [heading for heading in headings if heading != "Profile"] == list(BENCHMARKS)


def test_a_process_is_told_of_by_what_it_took() -> None:
    work = "import time\nx = bytearray(64 << 20)\nwhile time.process_time() < 0.2: pass\nprint(len(x))"

    took = run(["-c", work])

    assert took.stdout == b"67108864\n"
    assert took.cpu_s >= 0.2
    assert took.peak_bytes > 64 << 20
    assert took.wall_s > 0


def test_what_the_benchmark_holds_does_not_count_in_what_it_starts() -> None:
    held = b"x" * (64 * MEBIBYTE)
    assert run(["-c", ""]).peak_bytes < len(held)


def test_a_process_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        run(["-c", "raise SystemExit(3)"])


def test_the_least_program_sends_what_ours_sent(tmp_path: Path) -> None:
    with services(buildings=1, hubs=("a", "b")) as served:
        run(["-m", "app", "run", "people-counter"], served.environment(tmp_path, 1, START_FROM="2h"))
        count = served.ask("save", str(tmp_path / "events"))
        run(["-m", "benchmarks.least", "send", str(tmp_path / "events"), served.connection_strings[1]])
        received = served.ask("received")

    assert count > 0
    assert received == {"a": count, "b": count}


@pytest.mark.parametrize("program", ["forward", "forward_with_libraries"])
def test_the_least_programs_of_a_cold_run_make_the_same_calls_and_send_the_same(
    program: str, tmp_path: Path
) -> None:
    with services(buildings=1, hubs=("a",)) as served:
        cold_start.forward(served)
        sent, questions = served.ask("received"), served.ask("questions")
        served.ask("clear")
        cold_start.least(served, program, questions)
        received, asked = served.ask("received"), served.ask("questions")

    assert sent["a"] > 0
    assert (received, asked) == (sent, questions * 2)


def test_a_profile_tells_samples_by_part_and_by_function() -> None:
    start = "<module> (app/__main__.py:1)"
    found = profiling.read(
        [
            f"{start};loads (app/base/fast_json.py:27) 3",
            f"{start};loads (app/base/fast_json.py:29) 1",
            f"{start};encode_value (eventhub/_pyamqp/_encode.py:9) 2",
            f"{start};_find (<frozen importlib._bootstrap>:1);x (requests/api.py:1) 4",
            f"{start};add (app/eventhub/encoding.py:45) 5",
        ]
    )

    assert found.parts == {
        "JSON (msgspec, simplejson)": 4,
        "Event Hubs SDK, asyncio": 2,
        "imports": 4,
        "the forwarder: encoding": 5,
    }
    assert found.functions["loads (app/base/fast_json.py)"] == 4
    assert "| JSON (msgspec, simplejson) | 27% |" in list(found.lines())


def test_the_command_names_what_can_be_measured() -> None:
    found = " ".join(run(["-m", "benchmarks", "--help"]).stdout.decode().split())

    assert all(heading in found for heading in BENCHMARKS)
