"""What systemd runs on a VM: units that it understands, with no more rights than they need, and who is told.

That they do their work under these rights is in deploy/test_units_live.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from app.settings.document import fill_in
from app.settings.yaml_file import read_yaml
from tests.commands import Ended

VM = APP_ROOT / "deploy" / "vm"
UNITS = sorted(
    path for path in VM.glob("*/*") if path.suffix in {".service", ".timer", ".target", ".socket", ".path"}
)
SERVICES = [path for path in UNITS if path.suffix == ".service"]
OUR_COMMAND = "/opt/microshare-forwarder/current/bin/microshare-forwarder"
OF_OURS = [path for path in SERVICES if OUR_COMMAND in path.read_text()]
# As `systemd-analyze security --threshold` counts: in tenths.
MOST_EXPOSED = 20


def named(paths: Sequence[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("unit", paths, ids=[path.name for path in paths])


@pytest.fixture(scope="session")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        assert os.environ.get("CI") != "true", "systemd-analyze is not installed"
        pytest.skip("systemd-analyze is not installed")
    return found


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Give a folder with all units, in which what they call is there."""
    folder = tmp_path / "system"
    folder.mkdir()
    for unit in UNITS:
        called = re.sub(r"(?m)^(Exec\w+=-?)\S+", r"\1/bin/true", unit.read_text())
        (folder / unit.name).write_text(called)
    return folder


def test_a_backup_starts_the_timers_again_that_it_stops_and_no_other() -> None:
    page = (APP_ROOT / "docs" / "install-vm.md").read_text("utf-8")
    block = page.partition("## Back up and restore")[2].partition("```sh\n")[2].partition("```")[0]
    patterns, named_ones = (
        re.findall(r"[\w@*-]+\.timer", found)
        for found in re.findall(r"systemctl (?:stop|start) (.*)", block.replace("\\\n", " "))
    )

    timers = [path.name for path in UNITS if path.suffix == ".timer"]
    stopped = [name for name in timers if any(fnmatch(name, pattern) for pattern in patterns)]

    # Of those that are on in some installations only, none is touched.
    assert sorted(named_ones) == stopped != timers


def verify(analyze: str, unit: Path) -> str:
    """Give all that systemd says of a unit; of an unknown key it says so, and ends with 0."""
    # With the units that every system has, not with those of this machine.
    alone = {**os.environ, "SYSTEMD_UNIT_PATH": f"{unit.parent}:/usr/lib/systemd/system:/lib/systemd/system"}
    done = subprocess.run(
        [analyze, "verify", "--man=no", unit], env=alone, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"status {done.returncode}")


@named(UNITS)
def test_systemd_has_nothing_to_say_of_a_unit(analyze: str, etc: Path, unit: Path) -> None:
    assert verify(analyze, etc / unit.name) == ""


def test_systemd_would_say_something_of_a_misspelt_key(analyze: str, etc: Path) -> None:
    unit = etc / "microshare-forwarder-status.service"
    unit.write_text(unit.read_text().replace("ProtectClock=", "ProtectClocks="))

    assert re.search("Unknown key.* 'ProtectClocks'", verify(analyze, unit))


@named(OF_OURS)
def test_what_runs_our_command_is_exposed_by_no_more_than_2_0(analyze: str, unit: Path) -> None:
    threshold = [f"--threshold={MOST_EXPOSED}", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [analyze, "security", *threshold, unit], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_run_and_all_that_tells_of_it_are_such_units() -> None:
    assert {path.name for path in OF_OURS} == {
        "microshare-forwarder@.service",
        "microshare-forwarder-status.service",
        "microshare-forwarder-metrics.service",
        "microshare-forwarder-report.service",
    }


def lines_from(unit: Path, heading: str) -> list[str]:
    """Give the lines below a comment of a unit, without comments, up to the end."""
    below = unit.read_text().split(heading)[1].splitlines()[1:]
    return [line for line in below if line and not line.startswith(("#", "UMask="))]


@named(OF_OURS)
def test_they_have_the_same_rights_and_credentials(unit: Path) -> None:
    first = OF_OURS[0]

    assert lines_from(unit, "# A secret may be") == lines_from(first, "# A secret may be")


@named(OF_OURS)
def test_each_secret_may_be_a_credential_and_need_not_be_there(unit: Path) -> None:
    secrets = fill_in(read_yaml(APP_ROOT / "config.yaml"), {}).secret_variables
    text = unit.read_text()

    assert secrets
    # A file that is not there fails the unit, unless there is a default; systemd takes no empty one.
    assert [
        name
        for name in sorted(secrets)
        if f"SetCredential={name}:\\n\n"
        f"LoadCredential={name}:/etc/microshare-forwarder/credentials/{name}\n" not in text
    ] == []
    assert text.count("LoadCredential=") == len(secrets)


@named([path for path in UNITS if path.suffix == ".timer"])
def test_a_timer_is_exact_and_has_its_service(unit: Path) -> None:
    service = re.sub(r"@.*", "@", unit.stem) + ".service"

    assert "\nAccuracySec=1s\n" in unit.read_text()
    assert (unit.parent / service).exists()


@named([path for path in UNITS if path.suffix == ".timer" and "@" in path.name])
def test_a_feeds_timer_makes_up_for_a_run_that_was_missed(unit: Path) -> None:
    assert "\nPersistent=yes\n" in unit.read_text()


@named(SERVICES)
def test_what_a_unit_logs_is_in_the_journal(unit: Path) -> None:
    """Where standard output goes elsewhere, standard error goes with it unless it is told not to."""
    text = unit.read_text()

    assert ("\nStandardOutput=" in text) is ("\nStandardError=journal\n" in text)


def test_what_is_behind_is_told_and_a_single_run_that_failed_is_not() -> None:
    telling = [path.name for path in SERVICES if "\nOnFailure=" in path.read_text()]

    assert telling == ["microshare-forwarder-status.service"]


def test_the_metrics_may_be_written_where_the_unit_writes_them() -> None:
    text = (VM / "units" / "microshare-forwarder-metrics.service").read_text()
    [file] = re.findall(r"TEXTFILE=(\S+)", text)

    assert f"\nReadWritePaths=-{Path(file).parent}\n" in text


def _lines_for_metrics() -> dict[str, str]:
    """Give what writes the file of metrics on a VM, and by cron; the file is $0 of the shell."""
    text = (VM / "units" / "microshare-forwarder-metrics.service").read_text()
    [by_timer] = re.findall(r"^ExecStart=/bin/sh -c '(.*)'", text, re.MULTILINE)
    page = (APP_ROOT / "docs" / "metrics.md").read_text("utf-8")
    [by_cron] = re.findall(r"^\* \* \* \* \* F=\S+; (.*)$", page, re.MULTILINE)
    return {"timer": by_timer, "cron": f"F=$0; {by_cron}"}


@pytest.mark.parametrize("line", _lines_for_metrics().values(), ids=_lines_for_metrics().keys())
@pytest.mark.parametrize(
    ("said", "status", "room", "written"),
    [
        pytest.param("new", 0, "unlimited", "new\n", id="well"),
        pytest.param("new", 1, "unlimited", "new\n", id="not well"),
        pytest.param("", 2, "unlimited", "old\n", id="refused"),
        pytest.param("new" * 1000, 0, "1", "old\n", id="no room for all of it"),
    ],
)
def test_a_file_of_metrics_is_replaced_by_a_whole_one_only(
    line: str, said: str, status: int, room: str, written: str, tmp_path: Path
) -> None:
    program, file = tmp_path / "program", tmp_path / "forwarder.prom"
    program.write_text(f"#!/bin/sh\n{f'echo {said}' if said else ':'}\nexit {status}\n")
    program.chmod(0o755)
    file.write_text("old\n")
    command = re.sub(r"/\S+/microshare-forwarder ", f"{program} ", line)

    subprocess.run(
        ["sh", "-c", f"trap '' XFSZ; ulimit -f {room}; {command}", file],
        check=False,
        capture_output=True,
    )

    assert file.read_text() == written


def test_the_hosts_settings_for_a_vm_download_nothing_and_are_those_of_azure_otherwise() -> None:
    of_azure = json.loads((APP_ROOT / "host.json").read_text())

    assert of_azure.pop("extensionBundle")
    assert json.loads((VM / "func" / "host.json").read_text()) == of_azure


def test_what_listens_on_a_port_does_so_for_this_host_alone() -> None:
    listening = {path.name: path.read_text() for path in (VM / "func").glob("*.service")}

    assert len(listening) == 2
    assert [name for name, text in listening.items() if "127.0.0.1" not in text or "0.0.0.0" in text] == []


def test_a_shell_script_has_no_faults_that_shellcheck_knows() -> None:
    scripts = sorted(VM.glob("**/*.sh"))
    done = subprocess.run(
        [shutil.which("shellcheck") or APP_ROOT / ".venv/bin/shellcheck", *scripts],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


@dataclass(frozen=True, slots=True)
class Told:
    """on-failure.sh, with a folder in place of the machine's programs, and what they were given."""

    programs: Path
    folder: Path

    def program(self, name: str, body: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.programs / name).chmod(0o755)

    def tell(self, what: str = "failed", **settings: str) -> Ended:
        runtime = self.folder / "run"
        runtime.mkdir(exist_ok=True)
        done = subprocess.run(
            ["/bin/sh", VM / "units" / "on-failure.sh", what, "x-status"],
            env={"PATH": str(self.programs), "RUNTIME_DIRECTORY": str(runtime), **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def mails(self) -> list[str]:
        """Give what was mailed, and forget it."""
        found = sorted(self.folder.glob("mail.*"), key=lambda path: int(path.suffix[1:]))
        texts = [path.read_text() for path in found]
        for path in found:
            path.unlink()
        return texts

    def age(self, hours: int) -> None:
        """Let what was told have been told so long ago."""
        [stamp] = (self.folder / "run").iterdir()
        then = stamp.stat().st_mtime - hours * 3600
        os.utime(stamp, (then, then))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    found = Told(tmp_path / "bin", tmp_path)
    found.programs.mkdir()
    for name in ("sh", "sed", "find", "touch", "rm", "cat", "grep", "ls", "wc"):
        (found.programs / name).symlink_to(str(shutil.which(name)))
    found.program("uname", "echo vm.example.test")
    found.program("systemctl", 'echo "$*" | grep -q x-status; echo 00ff')
    found.program("journalctl", 'case "$*" in *_SYSTEMD_INVOCATION_ID=00ff) echo "hub b: 2 h behind" ;; esac')
    found.program("sendmail", f'cat > "{tmp_path}/mail.$(ls {tmp_path} | wc -l)"')
    return found


def test_a_unit_that_failed_is_told_of_by_mail_to_root_with_what_it_said(told: Told) -> None:
    assert told.tell().status == 0

    [mail] = told.mails()
    head, _, text = mail.partition("\n\n")
    assert "To: root\nSubject: x-status failed on vm.example.test\n" in head
    assert text.startswith("x-status on vm.example.test failed. It said:\n\nhub b: 2 h behind\n")
    assert "microshare-forwarder status" in text
    assert "docs/runbook.md#x-status\n" in text


def test_one_that_keeps_failing_is_told_of_once_and_again_after_a_day(told: Told) -> None:
    told.tell()
    told.mails()

    told.tell()
    told.age(hours=23)
    told.tell()
    assert told.mails() == []

    told.age(hours=2)
    told.tell()
    assert len(told.mails()) == 1


def test_how_soon_it_is_told_again_can_be_set(told: Told) -> None:
    told.tell()
    told.age(hours=2)

    told.tell(AGAIN_AFTER_HOURS="1")

    assert len(told.mails()) == 2


def test_one_that_succeeds_again_is_told_of_and_its_next_failure_too(told: Told) -> None:
    told.tell()
    told.tell("recovered", MAIL_TO="ops@example.test")
    told.tell()

    _, recovered, failed = told.mails()
    assert "To: ops@example.test\nSubject: x-status succeeds again on vm.example.test\n" in recovered
    assert "x-status failed" in failed


def test_without_sendmail_it_is_mailed_by_mail(told: Told) -> None:
    (told.programs / "sendmail").unlink()
    told.program("mail", f'echo "$*" > {told.folder}/mail.1; cat >> {told.folder}/mail.1')

    told.tell()

    [mail] = told.mails()
    assert mail.startswith("-s x-status failed on vm.example.test root\nx-status on vm.example.test failed.")


def test_a_command_of_ones_own_is_given_the_message_and_its_subject_instead(told: Told) -> None:
    done = told.tell(COMMAND='echo "[$SUBJECT]"; cat')

    assert done.status == 0
    assert done.out.startswith("[x-status failed on vm.example.test]\nx-status on vm.example.test failed.")
    assert told.mails() == []


def test_where_nothing_can_send_mail_the_journal_has_it_as_an_error_with_what_to_do(told: Told) -> None:
    (told.programs / "sendmail").unlink()

    done = told.tell()

    lines = done.err.splitlines()
    assert done.status == 0
    assert "<3>hub b: 2 h behind" in lines
    assert all(line.startswith("<3>") for line in lines)
    assert "COMMAND=" in lines[-1]


def test_where_telling_fails_the_journal_has_it_and_the_next_failure_is_told_of(told: Told) -> None:
    done = told.tell(COMMAND="cat >/dev/null; echo no route >&2; exit 7")

    assert done.status == 1
    assert "no route\n<3>x-status on vm.example.test failed." in done.err
    told.tell()
    assert len(told.mails()) == 1
