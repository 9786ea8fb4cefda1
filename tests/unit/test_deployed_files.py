"""What of the tree is published or committed: what runs, and nothing that lies beside it."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from tests.environments.deployment import in_context, published
from tools.package import let_in

# What commands and people leave in the tree, at its root and inside what is published.
SECRETS = [
    f"{folder}{name}"
    for folder in ("", "app/", "app/cli/", "app/page/templates/")
    for name in (
        ".env",
        ".env.local",
        ".env.bak",
        "demo.env",
        "prod.env",
        "local.settings.json",
        "prod.settings.json",
        "authorities.pem",
        "client.key",
        "client.pfx",
        "client.p12",
        "id_ed25519",
        "forwarder.PublishSettings",
    )
]
WRITTEN = [
    "settings.json",
    "deploy/container/settings.json",
    "people.json",
    "report.html",
    "report-people-counter-2026-11-29.html",
    "docs/report-all-2026-11-29-2.html",
    "app/page/templates/report-all-2026-11-29.html",
    "week.html",
    "counts.csv",
    "config.yaml.bak",
    "state/peoplecounterstate.json",
    "state/peoplecounterstate.json.bak",
    "state/history/peoplecounterstate-2026-03-02.jsonl",
    "state/quarantine/x.json",
    "quarantine.jsonl",
    ".demo/state/snapshotstate.json",
    ".scenario/.env",
    "__azurite_db_table__.json",
    "exports/people.json.bak",
    "dist/microshare-forwarder-functions-python3.12.zip",
    ".azure/forwarder/.env",
    ".azure/forwarder/config.json",
    "microshare_env/lib/x.py",
    "node_modules/x/index.js",
    ".venv/lib/x.py",
]
COMMITTED = [
    ".env.example",
    ".funcignore",
    "host.json",
    "package.json",
    "local.settings.json.example",
    "app/page/templates/page.html",
    "deploy/azure/workbook.json",
    "infra/main.parameters.json",
    "tools/azure_models.json",
    "tests/golden/1.0.0/files/history/snapshotstate-2026-03-02.jsonl",
    "tests/golden/1.0.0/files/.env",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give what runs, with the rules of what is published and committed, and with all that is planted."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(APP_ROOT / "app", tmp_path / "app", ignore=ignored)
    for name in (
        "function_app.py",
        "host.json",
        "requirements.txt",
        "requirements-telemetry.txt",
        "config.yaml",
        ".funcignore",
        ".dockerignore",
        ".gitignore",
    ):
        shutil.copy(APP_ROOT / name, tmp_path / name)
    for name in (*SECRETS, *WRITTEN, "tests/test_x.py", "docs/x.md", "app/__pycache__/x.pyc", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("canary")
    return tmp_path


def what_runs() -> list[str]:
    files = [path for path in (APP_ROOT / "app").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    parts = ["config.yaml", "function_app.py", "host.json", "requirements.txt", "requirements-telemetry.txt"]
    return sorted([*parts, *(str(path.relative_to(APP_ROOT)) for path in files)])


def unignored(tree: Path, rules: str) -> list[str]:
    """Give the files that git's rules, read from a file of that name, leave."""
    git = ["git", "-c", f"core.excludesFile={tree / 'none'}", "-C", str(tree)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    if rules != ".gitignore":
        shutil.copy(tree / rules, tree / ".gitignore")
    found = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard", "-z"], check=True, capture_output=True, text=True
    )
    return sorted(path for path in found.stdout.split("\0") if path)


def test_what_runs_is_published_and_nothing_secret(tree: Path) -> None:
    # No line can end a path, so what begins like something that runs goes with it.
    beside = ["app/__pycache__/x.pyc", "config.yaml.bak"]

    assert published(tree) == sorted([*what_runs(), *beside])


def test_by_gits_rules_what_runs_is_published_and_nothing_else(tree: Path) -> None:
    assert unignored(tree, ".funcignore") == what_runs()


def test_an_image_is_built_of_what_the_wheel_is_made_of_and_nothing_else(tree: Path) -> None:
    tables = tomllib.loads((APP_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    beside = [name for name in tables["wheel"]["force-include"] if name not in ("app", "config.yaml")]
    beside += ["requirements.lock", "requirements-telemetry.lock"]
    for name in ("pyproject.toml", *beside):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(APP_ROOT / name, tree / name)

    of_image = {"pyproject.toml", "README.md", *beside, *what_runs()} - {"function_app.py", "host.json"}
    assert in_context(tree) == sorted(of_image)


def test_a_package_holds_what_runs_and_nothing_else(tree: Path) -> None:
    (tree / "app" / ".cache").mkdir()
    (tree / "app" / ".cache" / "x.py").touch()
    (tree / "app" / "linked.py").symlink_to(tree / ".env")

    assert let_in(tree) == what_runs()


def test_nothing_that_is_secret_or_written_by_a_command_is_committed(tree: Path) -> None:
    for name in COMMITTED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()

    left = unignored(tree, ".gitignore")

    assert [name for name in (*SECRETS, *WRITTEN) if name in left] == []
    assert [name for name in COMMITTED if name not in left] == []


def test_nothing_is_committed_that_is_to_be_left_out() -> None:
    if not (APP_ROOT / ".git").exists():
        pytest.skip("the tree is not a clone")
    listed = ["git", "-C", str(APP_ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]

    assert subprocess.run(listed, check=True, capture_output=True, text=True).stdout == ""
