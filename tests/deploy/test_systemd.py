"""The units of deploy/systemd are valid for systemd, confine their processes, and both in the same way."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from kit.installed import ROOT, program
from kit.runbook import OPERATIONS
from zmart.services.contract import SERVICES

UNITS = ROOT / "deploy" / "systemd"
RUNS = ("zmart@.service", "zmart-migrate.service")
_MOST_EXPOSURE = 30  # tenths: 3.0 of 10
pytestmark = pytest.mark.slow


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units as installed, with this checkout's command in place of /opt/zmart/bin/zmart."""
    for name in (*RUNS, "zmart.target"):
        text = (
            (UNITS / name).read_text("utf-8").replace("/opt/zmart/bin/zmart", str(ROOT / ".venv/bin/zmart"))
        )
        (tmp_path / name).write_text(text, "utf-8")
    for service in SERVICES:
        shutil.copyfile(tmp_path / RUNS[0], tmp_path / f"zmart@{service}.service")
    return tmp_path


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    binary = program("systemd-analyze", "systemd")
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    return subprocess.run(
        [binary, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_systemd_understands_every_line_of_the_units(units: Path) -> None:
    names = [f"./zmart@{service}.service" for service in SERVICES]
    done = analyze(units, "verify", *names, "./zmart-migrate.service", "./zmart.target")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_line_that_systemd_does_not_understand_is_found(units: Path) -> None:
    unit = units / "zmart@gateway.service"
    unit.write_text(unit.read_text("utf-8").replace("NoNewPrivileges=", "NoNewPrivilege="), "utf-8")
    assert "NoNewPrivilege" in analyze(units, "verify", "./zmart@gateway.service").stderr


@pytest.mark.parametrize("name", ["zmart@gateway.service", "zmart-migrate.service"])
def test_the_exposure_of_a_unit_is_below_3_of_10(units: Path, name: str) -> None:
    done = analyze(units, "security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", f"./{name}")
    assert done.returncode == 0, done.stdout + done.stderr
    score = re.search(r"Overall exposure level for .+: (\d+\.\d)", done.stdout)
    assert score is not None
    assert float(score[1]) < _MOST_EXPOSURE / 10


def test_both_units_confine_what_they_run_in_the_same_way() -> None:
    confined = [(UNITS / name).read_text("utf-8").partition("CapabilityBoundingSet=")[2] for name in RUNS]
    assert confined[0].partition("\n[Install]")[0].strip() == confined[1].strip()
    assert len(confined[1].splitlines()) > 20


class Installation:
    """A root folder with the units installed, in which units are enabled and disabled as an operator does it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._units = root / "etc" / "systemd" / "system"
        self._units.mkdir(parents=True)
        for name in (*RUNS, "zmart.target"):
            shutil.copyfile(UNITS / name, self._units / name)

    def systemctl(self, *words: str) -> None:
        command = [program("systemctl", "systemd"), f"--root={self._root}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def _wanted_by(self, target: str) -> set[str]:
        text = self._units / target
        fixed = re.findall(r"^Wants=(.*)$", text.read_text("utf-8"), re.MULTILINE) if text.exists() else []
        links = (self._units / f"{target}.wants").glob("*")
        return {name for names in fixed for name in names.split()} | {link.name for link in links}

    def started_with(self, target: str) -> set[str]:
        """Return the services that are started with a target, by all targets that it wants."""
        wanted, services = {target}, set()
        while wanted:
            more = self._wanted_by(wanted.pop())
            wanted |= {name for name in more if name.endswith(".target")}
            services |= {match[1] for name in more if (match := re.fullmatch(r"zmart@(\w+)\.service", name))}
        return services


@pytest.mark.parametrize("with_target", [True, False], ids=["with the target", "without the target"])
@pytest.mark.parametrize("chosen", [SERVICES, ("gateway",), ("gateway", "websocket")], ids=" ".join)
def test_the_services_that_are_enabled_start_at_boot_and_no_others(
    tmp_path: Path, chosen: Iterable[str], *, with_target: bool
) -> None:
    machine = Installation(tmp_path)
    machine.systemctl("enable", *["zmart.target"] * with_target, *(f"zmart@{name}" for name in chosen))
    assert machine.started_with("multi-user.target") == set(chosen)
    assert machine.started_with("zmart.target") == set(chosen)


def test_the_target_alone_starts_no_service(tmp_path: Path) -> None:
    machine = Installation(tmp_path)
    machine.systemctl("enable", "zmart.target")
    assert machine.started_with("multi-user.target") == set()


def test_a_service_that_is_disabled_is_the_only_one_that_starts_no_more(tmp_path: Path) -> None:
    machine = Installation(tmp_path)
    machine.systemctl("enable", "zmart.target", *(f"zmart@{name}" for name in SERVICES))
    machine.systemctl("disable", "zmart@monitor")
    for target in ("multi-user.target", "zmart.target"):
        assert machine.started_with(target) == set(SERVICES) - {"monitor"}


def test_the_runbook_and_the_target_name_the_command_that_enables_all_services() -> None:
    command = f"systemctl enable --now zmart.target zmart@{{{','.join(SERVICES)}}}"
    for text in (OPERATIONS, UNITS / "zmart.target"):
        assert command in text.read_text("utf-8"), text


def test_the_user_and_the_folders_are_made_with_their_modes(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("Only root may make users and folders of others.")
    users, files = program("systemd-sysusers", "systemd"), program("systemd-tmpfiles", "systemd")
    (tmp_path / "etc" / "zmart").mkdir(parents=True)
    (tmp_path / "etc" / "zmart" / "zmart.env").write_text("DATABASE_URL=x\n")
    for command in (
        [users, f"--root={tmp_path}", str(UNITS / "sysusers.conf")],
        [files, "--create", f"--root={tmp_path}", str(UNITS / "tmpfiles.conf")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    entries = dict(line.split(":", 1) for line in (tmp_path / "etc" / "passwd").read_text().splitlines())
    uid = int(entries["zmart"].split(":")[1])
    assert "nologin" in entries["zmart"]
    home, settings = tmp_path / "var" / "lib" / "zmart", tmp_path / "etc" / "zmart" / "zmart.env"
    assert (home.stat().st_mode & 0o777, home.stat().st_uid) == (0o750, uid)
    assert (settings.stat().st_mode & 0o777, pwd.getpwuid(settings.stat().st_uid).pw_name) == (0o640, "root")
