"""The units of deploy/vm under a running systemd: what they may do is enough for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import HOUR, floor_to, utc_now
from app.base.program import APP_ROOT
from app.settings.env_file import quoted
from tests.deploy.test_guides import blocks_of
from tests.environments.installation import Installation, standing_still
from tests.environments.live_systemd import LiveSystemd, LiveSystemdMissing, running_systemd

pytestmark = pytest.mark.deploy

VM = APP_ROOT / "deploy" / "vm"
UNITS = [path for path in VM.glob("*/*") if path.suffix in {".service", ".timer"}]
ETC = "/etc/microshare-forwarder"
STATE = "/var/lib/microshare-forwarder"
RUN = "microshare-forwarder@people-counter.service"
STATUS = "microshare-forwarder-status.service"
STATUS_TIMER = "microshare-forwarder-status.timer"
RELEASE = "/opt/microshare-forwarder/releases/lab"
# Where this Python and its packages lie inside: not in a home, which units cannot see.
PYTHON, PACKAGES, WHEEL, WHEELHOUSE, TREE = (
    "/opt/python",
    "/opt/packages",
    "/opt/wheel",
    "/opt/wheels",
    "/opt/tree",
)
INTERPRETER = f"{PYTHON}/bin/python3.{sys.version_info[1]}"
ACCOUNT = "microshare-forwarder"
OF_RELEASE = f"""#!{RELEASE}/bin/python
from microshare_forwarder import main
main()
"""
# What another run has, while this one is tried.
WITH_THE_LOCK_HELD = f"""[Service]
ExecStart=
ExecStart=/usr/bin/flock {STATE}/peoplecounterstate.lock {RELEASE}/bin/microshare-forwarder run people-counter
"""
# The host has no clock but its own.
NOW = floor_to(utc_now(), HOUR)
BEGIN = NOW - timedelta(hours=24)
PASSWORD = "obviously-false-password"


@dataclass(frozen=True, slots=True)
class Host:
    """A VM with the forwarder installed, and what it forwards from and to."""

    systemd: LiveSystemd
    installation: Installation

    def write_env(self, **changed: str) -> None:
        """Write `env` as the install script does, with some variables changed; an empty one is left out."""
        given = self.installation.environ | {"STATE_DIR": "", "REQUESTS_CA_BUNDLE": ""} | changed
        values = {name: value for name, value in given.items() if value}
        text = "".join(f"{name}={quoted(value)}\n" for name, value in values.items())
        self.systemd.write(f"{ETC}/env", text, mode="0640", group="microshare-forwarder")

    def start(self, unit: str, *, fails: bool = False) -> None:
        """Start a unit, and wait until it has ended."""
        self.systemd.call("systemctl", "start", unit, fails=fails)

    def failed(self) -> str:
        """Give the units that failed, and were not started since."""
        return self.systemd.call("systemctl", "list-units", "--state=failed", "--no-legend", "--plain")

    def breaches(self, **allowed: int) -> list[str]:
        return self.installation.breaches(self.installation.a, BEGIN, **allowed)


@pytest.fixture
def machine(tmp_path: Path, packed: Path, wheelhouse: Path) -> Iterator[LiveSystemd]:
    """A systemd with the units, and this Python; no account, no program."""
    binds = {
        Path(sys.base_prefix): PYTHON,
        Path(sysconfig.get_path("purelib")): PACKAGES,
        packed: WHEEL,
        wheelhouse: WHEELHOUSE,
        APP_ROOT: TREE,
    }
    try:
        with running_systemd(tmp_path / "lab", UNITS, binds) as found:
            found.write("/etc/ld.so.conf.d/lab.conf", f"{PYTHON}/lib\n")
            found.call("ldconfig")
            yield found
    except LiveSystemdMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Give a folder with what the wheel installs, and nothing that it needs."""
    # Made by pip, so that every account can read it.
    folder = tmp_path_factory.mktemp("packed") / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def systemd(machine: LiveSystemd) -> LiveSystemd:
    """The same with the program where the units expect it, sooner than it can be installed; no settings."""
    machine.call("useradd", "--system", "--home-dir", STATE, "--shell", "/usr/sbin/nologin", ACCOUNT)
    machine.call(INTERPRETER, "-m", "venv", "--without-pip", RELEASE)
    site = f"{RELEASE}/lib/python3.{sys.version_info[1]}/site-packages"
    machine.write(f"{site}/lab.pth", f"{PACKAGES}\n{WHEEL}\n")
    machine.write(f"{RELEASE}/bin/microshare-forwarder", OF_RELEASE, mode="0755")
    machine.call("ln", "-s", "releases/lab", "/opt/microshare-forwarder/current")
    script = (VM / "units" / "on-failure.sh").read_text()
    machine.write(f"{RELEASE}/units/on-failure.sh", script, mode="0755")
    return machine


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with standing_still(NOW, BEGIN, tmp_path, password=PASSWORD) as installation:
        yield installation


@pytest.fixture
def host(systemd: LiveSystemd, installation: Installation) -> Host:
    host = Host(systemd, installation)
    host.write_env()
    return host


def pipe(systemd: LiveSystemd, name: str) -> Path:
    """Make what anybody inside can write to as /srv/lab/NAME, and whose reader waits for that."""
    path = systemd.folder / name
    os.mkfifo(path)
    path.chmod(0o666)
    return path


def test_a_run_delivers_all_and_keeps_its_state_for_its_account_alone(host: Host) -> None:
    host.start(RUN)

    assert host.breaches() == []
    assert host.failed() == ""
    assert "run.finished" in host.systemd.journal("-u", RUN, "-o", "cat")
    # A call that the filter forbids is an error, which would be told.
    assert "not permitted" not in host.systemd.journal("-u", RUN)
    listed = host.systemd.call("stat", "-c", "%U %a", STATE, f"{STATE}/peoplecounterstate.json").split("\n")
    assert listed[:2] == ["microshare-forwarder 700", "microshare-forwarder 600"]


def test_a_run_that_is_stopped_ends_in_success_and_the_next_one_goes_on(host: Host) -> None:
    hub, begun = host.installation.a, threading.Event()
    hub.on_store(lambda _: begun.set())
    hub.delay(0.2)
    host.systemd.call("systemctl", "start", "--no-block", RUN)
    assert begun.wait(60)

    host.systemd.call("systemctl", "stop", RUN)

    assert host.failed() == ""
    assert host.breaches() != []
    hub.clear_faults()
    host.start(RUN)
    assert host.breaches() == []


def test_a_run_that_finds_another_one_under_way_is_no_failure(host: Host) -> None:
    host.systemd.write("/etc/systemd/system/microshare-forwarder@.service.d/x.conf", WITH_THE_LOCK_HELD)
    host.systemd.call("systemctl", "daemon-reload")

    host.start(RUN)

    assert host.failed() == ""
    assert "another run works on this feed" in host.systemd.journal("-u", RUN)
    assert host.installation.a.received() == []


def test_a_secret_may_be_a_file_for_root_alone(host: Host) -> None:
    host.write_env(MICROSHARE_PASSWORD="")
    host.start(RUN, fails=True)
    assert "MICROSHARE_PASSWORD" in host.systemd.journal("-u", RUN)

    host.systemd.write(f"{ETC}/credentials/MICROSHARE_PASSWORD", f"{PASSWORD}\n", mode="0600")
    host.start(RUN)

    assert host.breaches() == []
    assert PASSWORD not in host.systemd.journal()


def test_a_secret_may_be_encrypted(host: Host) -> None:
    host.write_env(MICROSHARE_PASSWORD="")
    file = f"{ETC}/credentials/MICROSHARE_PASSWORD"
    name = "--name=MICROSHARE_PASSWORD"
    encrypted = host.systemd.call(
        "systemd-creds", "encrypt", "--with-key=host", name, "-", "-", text=PASSWORD
    )
    host.systemd.write(file, encrypted, mode="0600")
    drop_in = f"[Service]\nLoadCredentialEncrypted=MICROSHARE_PASSWORD:{file}\n"
    host.systemd.write("/etc/systemd/system/microshare-forwarder@.service.d/secrets.conf", drop_in)
    host.systemd.call("systemctl", "daemon-reload")

    host.start(RUN)

    assert host.breaches() == []


def test_a_status_check_that_fails_is_told_of_by_mail_once_and_when_it_succeeds(host: Host) -> None:
    mails = pipe(host.systemd, "mails")
    host.systemd.write("/usr/local/sbin/sendmail", "#!/bin/sh\ncat >/srv/lab/mails\n", mode="0755")

    host.installation.b.refuse_attach()
    host.start(RUN, fails=True)

    host.start(STATUS, fails=True)
    failed = mails.read_text()
    host.start(STATUS, fails=True)
    host.installation.b.clear_faults()
    host.start(RUN)
    # The source stands still at the hour: by the machine's clock that may be too far behind.
    drop_in = f"[Service]\nExecStart=\nExecStart={RELEASE}/bin/microshare-forwarder status\n"
    host.systemd.write(f"/etc/systemd/system/{STATUS}.d/limits.conf", drop_in)
    host.systemd.call("systemctl", "daemon-reload")
    host.start(STATUS)
    recovered = mails.read_text()

    assert "Subject: microshare-forwarder-status failed on " in failed
    assert "It said:\n\npeople-counter: failing: " in failed
    assert "Subject: microshare-forwarder-status succeeds again on " in recovered


def test_metrics_are_where_another_account_can_read_them(host: Host) -> None:
    host.systemd.call("install", "-d", "-o", "microshare-forwarder", "/var/lib/node_exporter")
    host.start(RUN)

    host.start("microshare-forwarder-metrics.service")

    file = "/var/lib/node_exporter/forwarder.prom"
    assert "forwarder_feed_ok" in host.systemd.call("cat", file)
    assert host.systemd.call("stat", "-c", "%a", file) == "644\n"
    assert host.systemd.call("ls", "/var/lib/node_exporter") == "forwarder.prom\n"


def test_of_the_page_thirty_are_kept(host: Host) -> None:
    host.start(RUN)
    reports = f"{STATE}/reports"
    old = [f"{reports}/report-2026-01-{day:02}T0020.html" for day in range(1, 32)]
    host.systemd.call("install", "-d", "-o", "microshare-forwarder", reports)
    host.systemd.call("touch", *old)

    host.start("microshare-forwarder-report.service")

    there = host.systemd.call("ls", reports).split()
    assert len(there) == 30
    assert there[0] == "report-2026-01-03T0020.html"
    assert "people" in host.systemd.call("cat", f"{reports}/{there[-1]}")


def test_timers_run_within_a_minute_of_their_schedule(host: Host) -> None:
    timers = [path.name for path in UNITS if path.suffix == ".timer"]
    host.systemd.call("systemctl", "enable", "--now", *timers)

    listed = host.systemd.call("systemctl", "list-timers", "--all", "--no-legend", "--no-pager")

    assert all(timer in listed for timer in timers)
    for timer, seconds in {"microshare-forwarder@people-counter.timer": 900, STATUS_TIMER: 900}.items():
        due = host.systemd.show(timer, "NextElapseUSecRealtime")
        when = host.systemd.call("date", "-u", "-d", due, "+%s")
        assert 0 <= int(when) - utc_now().timestamp() <= seconds + 60


def stand_in(systemd: LiveSystemd, program: str, version: str) -> Path:
    """Install a program that says where and how it was called, in the pipe that is given, and stays."""
    said = pipe(systemd, program)
    script = f"""#!/bin/sh
[ $1 = --version ] && {{ echo {version}; exit; }}
echo "$PWD $*, $AzureWebJobsStorage $MICROSHARE_USERNAME" >/srv/lab/{program}
exec sleep 60
"""
    systemd.write(f"/usr/local/bin/{program}", script, mode="0755")
    return said


def test_the_functions_host_listens_for_this_host_alone_and_has_the_settings(host: Host) -> None:
    said = stand_in(host.systemd, "func", "4.13.0")
    folder, account = "/opt/microshare-forwarder-func", host.installation.environ["MICROSHARE_USERNAME"]
    host.systemd.call("mkdir", folder)

    host.start("microshare-forwarder-func.service")

    storage = "UseDevelopmentStorage=true"
    assert said.read_text() == f"{folder} start --address 127.0.0.1 --port 7071, {storage} {account}\n"


@pytest.mark.parametrize("version", ["4.0.5455", "4.12.0", ""], ids=["years old", "the last", "none"])
def test_a_functions_host_that_would_listen_for_everybody_is_not_started(host: Host, version: str) -> None:
    if version:
        stand_in(host.systemd, "func", version)
    host.systemd.call("mkdir", "/opt/microshare-forwarder-func")

    host.start("microshare-forwarder-func.service", fails=True)

    journal = host.systemd.journal("-u", "microshare-forwarder-func", "-p", "err", "-o", "cat")
    assert f"func is {version or 'missing'}, and 4.13.0 is needed: sudo npm install" in journal


def test_the_page_of_the_functions_host_leads_to_units_that_run(host: Host) -> None:
    """With stand-ins for what is asked of other machines: apt-get, npm and what that installs."""
    said = stand_in(host.systemd, "func", "4.13.0"), stand_in(host.systemd, "azurite-blob", "")
    for name, body in {
        "sudo": 'exec "$@"',
        "apt-get": "",
        "npm": "",
        "python3": f'exec {INTERPRETER} "$@"',
    }.items():
        host.systemd.write(f"/usr/local/bin/{name}", f"#!/bin/sh\n{body}\n", mode="0755")
    install, upgrade = blocks_of("docs/func-start.md", "Install it", "Upgrade it")
    path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    typed = ["env", path, "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={WHEELHOUSE}", "bash", "-euc"]

    host.systemd.call(*typed, f"cd {TREE}\n{install.text}")
    started = [pipe.read_text() for pipe in said]
    host.systemd.call(*typed, f"cd {TREE}\n{upgrade.text}")
    started.append(said[0].read_text())

    assert [call.split()[1] for call in started] == ["start", "--blobHost", "start"]
    folder = "/opt/microshare-forwarder-func"
    listed = "from function_app import app; print(*[one.get_function_name() for one in app.get_functions()])"
    inside = f"cd {folder}; .venv/bin/python -c '{listed}'; grep -c extensionBundle host.json || true"
    functions, bundles = host.systemd.call("bash", "-euc", inside).split("\n")[:2]
    assert functions == "people_counter_forwarder hourly_snapshot_forwarder"
    assert bundles == "0"


def test_azurite_answers_this_host_alone(systemd: LiveSystemd) -> None:
    said = stand_in(systemd, "azurite-blob", "")

    systemd.call("systemctl", "start", "microshare-forwarder-azurite.service")

    folder = "/var/lib/microshare-forwarder-azurite"
    assert said.read_text().startswith(f"{folder} --blobHost 127.0.0.1 --blobPort 10000 --location {folder} ")


def test_what_the_install_script_makes_is_what_the_units_need(
    machine: LiveSystemd, installation: Installation
) -> None:
    packages = ["--python", INTERPRETER, "--wheelhouse", WHEELHOUSE]
    machine.call(f"{TREE}/deploy/vm/install.sh", *packages, "--yes")
    host = Host(machine, installation)
    host.write_env()

    # The timers are turned on if `check` finds nothing wrong, and so no clock that stands still.
    installation.clock.now = floor_to(utc_now(), timedelta(minutes=1))
    machine.call(f"{TREE}/deploy/vm/install.sh", *packages, "--yes", "--enable")
    host.start(RUN)

    assert host.breaches() == []
    timers = machine.call("systemctl", "list-timers", "--no-legend", "--no-pager")
    assert RUN.replace(".service", ".timer") in timers
    assert STATUS_TIMER in timers
    assert host.failed() == ""
    by_hand = ["runuser", "-u", ACCOUNT, "--", "/usr/local/bin/microshare-forwarder"]
    assert "people-counter: healthy" in machine.call(*by_hand, "status")
