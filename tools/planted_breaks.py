"""The code broken on purpose, in ways that would lose or repeat readings; each must be noticed.

`python -m tools.planted_breaks [--only NAME] [--jobs N] [--write]` breaks a copy of the tree in one way
after another, simulates, and where no invariant notices runs the tests named for it. With
`--write` the table goes into docs/faults.md. A break that nothing notices is a test that is missing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools import faults_document

ROOT = Path(__file__).parents[1]
# All but what is made, and what does not belong to the code.
_NOT_COPIED = (
    ".git",
    ".venv*",
    "node_modules",
    ".*_cache",
    "__pycache__",
    ".hypothesis",
    ".demo",
    ".scenario",
)
_RUNS = 2_000
# Enough to see that the simulation starts and ends in a copy; `make simulate` says whether the code holds.
_RUNS_UNBROKEN = 200
_MINUTES = 8.0
_TIMEOUT_S = 900
_TESTS = (
    "tests/unit/test_planning.py",
    "tests/unit/test_fetching.py",
    "tests/unit/test_feeds.py",
    "tests/unit/test_state_document.py",
    "tests/unit/test_slicing_properties.py",
    "tests/flows/test_regressions.py",
    "tests/flows/test_forwarding.py",
    "tests/flows/test_failures.py",
    "tests/flows/test_stores.py",
)


@dataclass(frozen=True, slots=True)
class PlantedBreak:
    """`old` stands once in `file` and becomes `new`; `tests` are tried where the simulation is content.

    A break that is not `simulated` sits where the simulation has a stand-in, or nothing.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = _TESTS
    simulated: bool = True


BREAKS = (
    PlantedBreak(
        "a rejected batch counts as delivered",
        "app/run/forwarder.py",
        "self._handover.rejected(hub, delivery, str(error))\n",
        "self._handover.delivered(hub, delivery, maybe_twice=False)\n",
    ),
    PlantedBreak(
        "a slice is closed by its first batch",
        "app/run/delivery.py",
        "            closes=done_until,\n            newest=newest,\n            duplicates=duplicates,\n"
        "        )\n        deliveries |=",
        "        )\n"
        "        queue[0] = replace(queue[0], closes=done_until, newest=newest, duplicates=duplicates)\n"
        "        deliveries |=",
    ),
    PlantedBreak(
        "no look-back",
        "app/run/planning.py",
        "floor = max(spoken - limits.look_back, furthest)",
        "floor = max(spoken, furthest)",
    ),
    PlantedBreak(
        "questions go before known_from",
        "app/run/fetching.py",
        "asked = Slice(max(window.start - OVERLAP, earliest), window.end)",
        "asked = Slice(window.start - OVERLAP, window.end)",
    ),
    PlantedBreak(
        "slices are planned from before known_from",
        "app/run/planning.py",
        "return max(floor, checkpoint.known_from)",
        "return floor",
    ),
    PlantedBreak(
        "the newest reading is the location's, not the hub's",
        "app/run/ledger.py",
        "_Plan(checkpoint, read_floor(checkpoint, self._limits))",
        "_Plan(checkpoint, max(read_floor(checkpoint, self._limits), min(checkpoint.delivered_until, "
        "self.location(name).newest or checkpoint.delivered_until) - self._limits.look_back))",
    ),
    PlantedBreak(
        "the newest reading counts, whichever slice of a run shows it",
        "app/run/ledger.py",
        "return before.newest if before else None",
        "return LATEST",
    ),
    PlantedBreak(
        "the horizon is the host's clock",
        "app/base/clocks.py",
        "return self.host if self.api is None else min(self.host, self.api)",
        "return self.host",
    ),
    PlantedBreak(
        "what is put into a lane counts as acknowledged",
        "app/run/handover.py",
        "                self._lanes.put(hub, delivery)\n",
        "                self._lanes.put(hub, delivery)\n"
        "                self._ledger.delivered(hub, delivery, self._now())\n",
    ),
    PlantedBreak(
        "ids are forgotten within the reach",
        "app/base/checkpoints.py",
        "for hour, ids in self.ids.items() if hour >= oldest}",
        "for hour, ids in self.ids.items() if hour > position - timedelta(hours=2)}",
    ),
    PlantedBreak(
        "ids are forgotten without raising known_from, at half the reach",
        "app/base/checkpoints.py",
        "        ids = {hour: ids for hour, ids in self.ids.items() if hour >= oldest}\n"
        "        return Checkpoint(position, oldest, ids, seen)\n",
        "        ids = {hour: ids for hour, ids in self.ids.items() if hour >= oldest + reach / 2}\n"
        "        return Checkpoint(position, self.known_from, ids, seen)\n",
    ),
    PlantedBreak(
        "the first checkpoint is computed anew while nothing was delivered",
        "app/run/locations.py",
        "            if checkpoint is None:\n",
        "            if checkpoint is None or not checkpoint.ids:\n",
    ),
    PlantedBreak(
        "first checkpoints are not saved before sending",
        "app/run/forwarder.py",
        "        self._saving.save(self._ledger)\n        self._await_lanes()\n",
        "        self._await_lanes()\n",
    ),
    PlantedBreak(
        "no save at the end of a run",
        "app/run/forwarder.py",
        "            self._ledger.update(last_run=self._telling.last_run(self._available))\n"
        "            self._saving.save(self._ledger)\n",
        "            self._ledger.update(last_run=self._telling.last_run(self._available))\n",
    ),
    PlantedBreak(
        "sending goes on after a failed save",
        "app/run/saving.py",
        "                self._unsaved = str(error)\n",
        "                self._unsaved = None\n",
    ),
    PlantedBreak(
        "sending goes on without the run lock",
        "app/run/saving.py",
        'return "the run lock was lost" if lost else self._unsaved',
        "return self._unsaved",
    ),
    PlantedBreak(
        "a location that another run changed goes on",
        "app/run/saving.py",
        "            self._give_up(error)\n",
        "            pass\n",
    ),
    PlantedBreak(
        "readings are told apart by time, not by id",
        "app/run/delivery.py",
        "if not _is_known(feed, group, found)]",
        "if found.time is None or found.time >= group.checkpoint.delivered_until]",
    ),
    PlantedBreak(
        "a full answer counts as complete",
        "app/run/fetching.py",
        "full = lines >= record_limit * _FULL_SHARE",
        "full = lines < 0",
    ),
    PlantedBreak(
        "what a halved slice left over is skipped",
        "app/run/fetching.py",
        "done = Slice(window.start, asked.end)",
        "done = window",
    ),
    PlantedBreak(
        "a full millisecond is not kept as a gap",
        "app/run/ledger.py",
        "        self._set(name, replace(location, gaps=gaps_kept((*location.gaps, gap))))\n"
        "        return True\n",
        "        return True\n",
    ),
    PlantedBreak(
        "all hubs of a location share one position",
        "app/run/ledger.py",
        "                checkpoints={**location.checkpoints, hub: checkpoint},\n",
        "                checkpoints=dict.fromkeys(location.checkpoints, checkpoint),\n",
    ),
    PlantedBreak(
        "a reading that could not be quarantined is passed over",
        "app/run/handover.py",
        "                    self._available.refused(name, hub, "
        'f"a reading could not be quarantined: {error}")\n'
        "                return False\n",
        "                    _ = hub\n                continue\n",
    ),
    PlantedBreak(
        "a position goes back",
        "app/base/checkpoints.py",
        "position = max(self.delivered_until, end)",
        "position = end",
    ),
    PlantedBreak(
        "known_from goes down",
        "app/base/checkpoints.py",
        "        if oldest <= self.known_from:\n",
        "        if oldest == self.known_from:\n",
    ),
    PlantedBreak(
        "a position that is ahead of the horizon is asked for",
        "app/run/planning.py",
        "if group.cursor >= horizon or is_ahead:",
        "if group.cursor >= horizon:",
        ("tests/flows/test_clocks.py",),
    ),
    PlantedBreak(
        "clocks that are far apart fail no run",
        "app/run/horizon.py",
        "    clocks.require_agreement(last_run)\n",
        "",
    ),
    PlantedBreak(
        "a run whose clocks are far apart changes the state",
        "app/run/forwarder.py",
        "        self._knows_the_time = False\n",
        "        self._knows_the_time = True\n",
    ),
    PlantedBreak(
        "a process that kept its token believes its host's clock",
        "app/run/horizon.py",
        "    client.learn_time(cluster_ids)\n",
        "",
    ),
    PlantedBreak(
        "a time far from the host's counts in mid-run",
        "app/base/clocks.py",
        "if self._told is not None and clocks.are_apart:",
        "if self._told is None and clocks.are_apart:",
    ),
    PlantedBreak(
        "a second wrong time in a row goes on",
        "app/run/horizon.py",
        "if found.in_a_row == 2]",
        "if found.in_a_row < 0]",
    ),
    PlantedBreak(
        "any answer tells the API's clock",
        "app/microshare/client.py",
        "        check_status(question, answer, self._clock())\n",
        "        self._saw_time(answer)\n        check_status(question, answer, self._clock())\n",
        ("tests/unit/test_microshare_client.py",),
        simulated=False,
    ),
    PlantedBreak(
        "the age of an answer from a cache does not count",
        "app/microshare/retries.py",
        "return date + timedelta(seconds=int(age))",
        "return date",
        ("tests/unit/test_microshare_client.py",),
        simulated=False,
    ),
    PlantedBreak(
        "a part that fits no message vanishes",
        "app/eventhub/batches.py",
        "                oversize += part.readings\n",
        "                continue\n",
        ("tests/unit/test_hub_batches.py",),
        simulated=False,
    ),
    PlantedBreak(
        "a save that does not fit as a whole is passed over",
        "app/run/saving.py",
        "if not isinstance(error, StateConflict | StateTooLarge) or not error.locations:",
        "if not isinstance(error, StateConflict | StateTooLarge):",
    ),
    PlantedBreak(
        "a repair saves over the run that came before it",
        "app/audit/repair.py",
        "before = after = self.wiring.store.load(name)",
        "before = after = self.compared.state",
        ("tests/flows/test_repair_beside_runs.py",),
        simulated=False,
    ),
    PlantedBreak(
        "plain HTTP with a port is taken",
        "app/settings/rules.py",
        'if url.scheme == "http" and not is_loopback(host):',
        'if url.scheme == "http" and not is_loopback(host) and not url.port:',
        ("tests/unit/test_settings.py",),
        simulated=False,
    ),
    PlantedBreak(
        "a slice may end before it begins",
        "app/run/fetching.py",
        "if shared > max(asked.start, window.start):",
        "if shared > asked.start:",
        ("tests/unit/test_slicing_properties.py",),
    ),
    PlantedBreak(
        "refusals are counted in a run, not in a row",
        "app/eventhub/broadcaster.py",
        "            self._refused_in_a_row = 0\n        self._tell(",
        "        self._tell(",
        ("tests/flows/test_failures.py",),
        simulated=False,
    ),
    PlantedBreak(
        "a lock that is held covers a feed that failed",
        "app/cli/session.py",
        "(ALL_WELL, LOCKED, FOUND_WANTING, REFUSED)",
        "(ALL_WELL, FOUND_WANTING, LOCKED, REFUSED)",
        ("tests/unit/test_cli.py",),
        simulated=False,
    ),
    PlantedBreak(
        "two feeds share one state",
        "app/run/feed_checks.py",
        "if a.state_name.lower() == b.state_name.lower():",
        "if a.state_name == b.state_name.upper():",
        ("tests/unit/test_feed_checks.py",),
        simulated=False,
    ),
    PlantedBreak(
        "what is planned for a hub is not counted as had",
        "app/run/ledger.py",
        "after = before.with_ids(pairs).done_until(",
        "after = before.done_until(",
    ),
    PlantedBreak(
        "one hub's failure ends the run for all",
        "app/run/forwarder.py",
        "        self._handover.closed(hub)\n",
        "        self._handover.closed(hub)\n        self._opens_no_more = True\n",
    ),
    PlantedBreak(
        "one location's failure ends the run for all",
        "app/run/forwarder.py",
        "        if isinstance(error, AuthError | Interrupted):\n",
        "        if isinstance(error, ForwarderError):\n",
    ),
    PlantedBreak(
        "a building that discovery no longer lists is left at once",
        "app/base/checkpoints.py",
        "LOCATION_KEPT = timedelta(hours=48)",
        "LOCATION_KEPT = timedelta(0)",
    ),
    PlantedBreak(
        "a repeat has another message id",
        "app/feeds/flat.py",
        "return Event(reading.id, location,",
        'return Event(f"{reading.id}{id(reading)}", location,',
    ),
    PlantedBreak(
        "readings are sent in the order of their ids",
        "app/feeds/feed.py",
        "    return reading.time or EPOCH, reading.id\n",
        "    return EPOCH, reading.id\n",
    ),
    PlantedBreak(
        "a correction has the id of what it corrects",
        "app/feeds/feed.py",
        "halves = _digest(exact_json.dumps_with_flaws(key)) + _digest(content)",
        "halves = _digest(exact_json.dumps_with_flaws(key)) * 2",
    ),
    PlantedBreak(
        "the horizon does not follow the API's clock back",
        "app/run/forwarder.py",
        "            self._horizon.follow()\n            self._note_fetched(",
        "            self._note_fetched(",
    ),
    PlantedBreak(
        "a query that failed counts as an empty answer",
        "app/run/fetching.py",
        "        except WindowTooWide as error:\n"
        "            asked = _shorter_after(error, asked, window)\n"
        "            too_wide = True\n"
        "            continue\n",
        "        except WindowTooWide as error:\n            return Fetched(window, (), 0, (str(error),))\n",
    ),
    PlantedBreak(
        "pages that do not add up count as a whole",
        "app/microshare/paging.py",
        "return Pages(second.objs, None if same else _flaw(second), _warnings(second))",
        "return Pages(second.objs, None, _warnings(second))",
    ),
    PlantedBreak(
        "the first page counts as all of them",
        "app/microshare/paging.py",
        "        return len(pages) >= page.total_pages\n",
        "        return True\n",
    ),
    PlantedBreak(
        "an hour that is sent again is sent in part",
        "app/feeds/hourly_snapshot.py",
        'whole[hour] if settings.late == "hour" else readings',
        "readings",
    ),
    PlantedBreak(
        "a reading beside its slice is remembered under the slice's end",
        "app/run/delivery.py",
        "kept = Slice(group.checkpoint.known_from, fetched.window.end)",
        "kept = Slice(fetched.window.start, max(done_until, fetched.window.start))",
        ("tests/unit/test_delivery.py",),
    ),
    PlantedBreak(
        "an hour that leaves the reach gets no seal",
        "app/run/ledger.py",
        "seals = sealed(seals, full, checkpoint)",
        "_ = sealed",
    ),
    PlantedBreak(
        "hours are sealed as if they were empty",
        "app/quality/hourly_digests.py",
        "kept.setdefault(hour, seal(before.ids.get(hour, ())))",
        "kept.setdefault(hour, seal(()))",
    ),
    PlantedBreak(
        "no hour ever differs from the source",
        "app/quality/hourly_digests.py",
        "        return MISSED\n",
        "        return None\n",
    ),
    PlantedBreak(
        "an hour that differs is no gap",
        "app/quality/hourly_digests.py",
        "            gaps.append(Gap(window, MISSED, found, difference.hubs))",
        "            _ = found",
    ),
    PlantedBreak(
        "an hour that differs is told every day",
        "app/quality/hourly_digests.py",
        "if kind and not _in_gap(location.gaps, hub, hour):",
        "if kind:",
        ("tests/unit/test_proof.py",),
    ),
    PlantedBreak(
        "a seal does not follow the source",
        "app/quality/hourly_digests.py",
        "seals[hub] = {**had, **shown}",
        "seals[hub] = {**had}",
        ("tests/unit/test_proof.py",),
    ),
    PlantedBreak(
        "one comparison is enough for ever",
        "app/quality/hourly_digests.py",
        "    return now - location.compared >= DAY\n",
        "    return False\n",
    ),
    PlantedBreak(
        "a comparison sees the hours of the first hub only",
        "app/quality/hourly_digests.py",
        "    for hub in hubs:\n        had = location.seals.get(hub)\n",
        "    for hub in list(hubs)[:1]:\n        had = location.seals.get(hub)\n",
    ),
    PlantedBreak(
        "a reading that is in every answer is forgotten after a day",
        "app/run/delivery.py",
        "    strays = _strays(group.checkpoint, fetched, done_until, settings.look_back)\n",
        "    strays = _Remembered((), kept)\n",
    ),
    PlantedBreak(
        "halves that are full count as complete",
        "app/run/fetching.py",
        "        if any(count_lines(half) >= record_limit * _FULL_SHARE for half in halves):\n",
        "        if count_lines(answer) < 0:\n",
        ("tests/unit/test_fetching.py",),
    ),
    PlantedBreak(
        "what differs is not asked for again",
        "app/run/observer.py",
        "for hour in sorted({difference.hour for difference in suspected}):",
        "for hour in sorted({difference.hour for difference in suspected})[:0]:",
        ("tests/flows/test_proof_flow.py",),
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What noticed a planted: an invariant, a test, or, where `by` is empty, nothing."""

    planted: PlantedBreak
    by: str
    seconds: float


def unbroken(breaks: Sequence[PlantedBreak]) -> str:
    """Give what complains of a copy in which nothing is broken, which would complain of every break."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder)
        _copy_to(tree)
        tests = sorted({test for planted in breaks for test in planted.tests})
        simulated = any(planted.simulated for planted in breaks)
        return (_by_simulation(tree, _RUNS_UNBROKEN) if simulated else "") or _by_tests(
            tree, tuple(tests), "6"
        )


def check(planted: PlantedBreak) -> Verdict:
    """Break a copy of the tree and see what notices."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder)
        _copy_to(tree)
        file = tree / planted.file
        text = file.read_text()
        if text.count(planted.old) != 1:
            return Verdict(planted, "", 0.0)
        file.write_text(text.replace(planted.old, planted.new))
        by = (_by_simulation(tree) if planted.simulated else "") or _by_tests(tree, planted.tests)
    return Verdict(planted, by, time.monotonic() - began)


def fits(planted: PlantedBreak) -> bool:
    """Whether the text that a planted replaces is still in the code, once."""
    return (ROOT / planted.file).read_text().count(planted.old) == 1


def _copy_to(tree: Path) -> None:
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True)
    # Azurite, for the tests of the table store.
    (tree / "node_modules").symlink_to(ROOT / "node_modules")


def _by_simulation(tree: Path, runs: int = _RUNS) -> str:
    # Bounded by the clock too: a busy machine is slow, which is no sign of a break.
    bounds = ("--runs", str(runs), "--minutes", str(_MINUTES), "--seed", "0", "--workers", "1")
    found = _run(tree, "-m", "tests.simulation", *bounds)
    if found is None:
        return "simulation: it does not end"
    broken = re.search(r"^broken: (seed \d+: .*)$", found.stdout, re.MULTILINE)
    if broken:
        return broken[1]
    if found.returncode:
        return f"simulation: {found.stderr.strip().splitlines()[-1][:120]}"
    return ""


def _by_tests(tree: Path, tests: tuple[str, ...], workers: str = "2") -> str:
    found = _run(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", workers, *tests)
    if found is None:
        return "tests: they do not end"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", found.stdout, re.MULTILINE)
    return failed[1] if failed else ""


def _run(tree: Path, *command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _account(verdicts: list[Verdict]) -> str:
    rows = [
        (f"{found.planted.name} (`{found.planted.file}`)", found.by or "**nothing**", round(found.seconds))
        for found in verdicts
    ]
    return (
        "The code is broken on purpose, in a copy, in one way at a time, and must not get away\n"
        "with it: `python -m tools.planted_breaks --write` makes this table. A seed is a simulated\n"
        "world in which an invariant does not hold; else the name is that of a test which fails.\n\n"
        + faults_document.table(("break", "noticed by", "seconds"), rows)
    )


def main() -> int:
    """Try all breaks, or those whose name holds a text.

    Gives 1 where nothing noticed one, 2 where even the code as it is does not pass.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.planted_breaks", description=__doc__)
    parser.add_argument("--only", default="", help="only those whose name holds this text")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    options = parser.parse_args()
    chosen = [planted for planted in BREAKS if options.only in planted.name]
    amiss = unbroken(chosen)
    if amiss:
        print(f"nothing is broken yet, and there is a complaint: {amiss}; see to that first", file=sys.stderr)
        return 2
    verdicts = []
    with ThreadPoolExecutor(options.jobs) as jobs:
        for verdict in jobs.map(check, chosen):
            verdicts.append(verdict)
            print(f"{verdict.seconds:6.1f} s  {verdict.planted.name}: {verdict.by or 'NOTHING'}", flush=True)
    if options.write:
        faults_document.write("planted breaks", _account(verdicts))
    return 1 if any(not verdict.by for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
