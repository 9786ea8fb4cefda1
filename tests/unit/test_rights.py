"""What other accounts of this machine could read or change is told, with the command that closes it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.settings.rights import too_open
from app.settings.schema import StateSettings
from app.state.json_file import JsonFileStore
from tests.commands import Call

NAME = "peoplecounterstate"


def written(path: Path, mode: int) -> Path:
    path.write_text("")
    path.chmod(mode)
    return path


def state_in(tmp_path: Path, mode: int = 0o700) -> StateSettings:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    return StateSettings("json", str(folder))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660], ids=oct)
def test_a_file_of_secrets_for_its_owner_or_a_group_is_well(tmp_path: Path, mode: int) -> None:
    assert list(too_open(written(tmp_path / ".env", mode), state_in(tmp_path))) == []


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666], ids=oct)
def test_a_file_of_secrets_that_all_can_read_is_told(tmp_path: Path, mode: int) -> None:
    env_file = written(tmp_path / ".env", mode)

    assert list(too_open(env_file, state_in(tmp_path))) == [
        f"{env_file} has secrets in it, and every account on this host can read it; chmod o-rwx {env_file}"
    ]


@pytest.mark.parametrize(("mode", "told"), [(0o755, 0), (0o770, 0), (0o777, 1), (0o1777, 1)])
def test_a_state_folder_that_all_can_write_is_told(tmp_path: Path, mode: int, told: int) -> None:
    state = state_in(tmp_path, mode)

    expected = f"every account on this host can change the state in {state.directory}; chmod o-rwx "
    assert list(too_open(tmp_path / ".env", state)) == [f"{expected}{state.directory}"] * told


def test_a_state_that_all_can_read_is_told_once_with_how_much_of_it(tmp_path: Path) -> None:
    state = state_in(tmp_path, 0o755)
    written(Path(state.directory) / f"{NAME}.json", 0o644)
    written(Path(state.directory) / f"{NAME}.json.bak", 0o604)
    written(Path(state.directory) / f"{NAME}.lock", 0o644)
    (Path(state.directory) / "history").mkdir(mode=0o755)

    (told,) = too_open(tmp_path / ".env", state)
    assert told.startswith(f"every account on this host can read history, and 2 more in {state.directory}; ")
    assert told.endswith(f"; chmod -R o-rwx {state.directory}")


def test_what_is_not_there_is_not_told_nor_a_folder_beside_tables(tmp_path: Path) -> None:
    state = state_in(tmp_path, 0o777)

    assert list(too_open(tmp_path / ".env", StateSettings("json", str(tmp_path / "none")))) == []
    assert list(too_open(tmp_path / ".env", StateSettings("table", state.directory))) == []


def test_what_the_store_makes_is_closed(tmp_path: Path) -> None:
    store = JsonFileStore(tmp_path / "state")
    store.keep_report(NAME, {"run": "r1", "started": "2026-03-02T12:00:00.000Z"})
    with store.lock(NAME, "run"):
        store.save(NAME, store.load(NAME), [])

    assert list(too_open(tmp_path / ".env", StateSettings("json", str(tmp_path / "state")))) == []


def test_check_tells_it(call: Call, environ: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    env_file = written(tmp_path / ".env", 0o644)
    Path(environ["STATE_DIR"]).mkdir(parents=True)
    Path(environ["STATE_DIR"]).chmod(0o777)

    found = call("check", "--offline", "--json", FORWARDER_CONFIG=str(tmp_path / "config.yaml")).objects

    warned = {finding["said"]: finding["do"] for finding in found if finding["warning"]}
    closed = "every account on this host can"
    assert warned[f"{env_file} has secrets in it, and {closed} read it"] == f"chmod o-rwx {env_file}"
    assert f"{closed} change the state in {environ['STATE_DIR']}" in warned


def test_a_run_warns_of_it(call: Call, environ: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(APP_ROOT / "config.yaml", tmp_path)
    # A state that cannot be read ends it before anything is asked.
    Path(environ["STATE_DIR"]).mkdir(parents=True)
    written(Path(environ["STATE_DIR"]) / f"{NAME}.json", 0o600)
    env_file = written(tmp_path / ".env", 0o644)

    ended = call("run", "people-counter", "--json", FORWARDER_CONFIG=str(tmp_path / "config.yaml"))

    warnings = ended.objects[0]["warnings"]
    told = f"{env_file} has secrets in it, and every account on this host can read it; chmod o-rwx {env_file}"
    assert warnings.count(told) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("words", [("check", "--offline"), ("run", "people-counter")], ids=" ".join)
def test_what_root_does_once_leaves_nothing_of_roots_in_the_folder_of_a_service(
    call: Call, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    folder = Path(environ["STATE_DIR"])
    folder.mkdir(parents=True)
    os.chown(folder, 54321, 54321)

    # A source that answers nobody ends the run early.
    call(*words, MICROSHARE_API_URL="https://127.0.0.1:9")

    left = list(folder.rglob("*"))
    assert {path.name for path in left} >= {f"{NAME}.lock"}
    assert {path.stat().st_uid for path in left} == {54321}
