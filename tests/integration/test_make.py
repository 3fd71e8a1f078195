"""Tests of `make` and its installer with a pip and a Python that the user configured for other purposes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kit.waiting import wait_for
from zmart.local.process_group import mark, members

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
assert _spec is not None
assert _spec.loader is not None
install = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(install)


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(folder), *arguments],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("home", [".zmart", "elsewhere # ;"])
def test_clean_stops_the_stacks_of_its_checkout_first(tmp_path: Path, home: str) -> None:
    """P19: `make clean` stops the stacks of its own checkout first, whatever their home, and no others.

    It does so even if the settings are wrong.
    """
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / ".venv").symlink_to(sys.prefix)
    (checkout / ".env").write_text("API_PORT=forty\n")
    folder = checkout / home
    sleeper = "import time; time.sleep(600)"
    ours = subprocess.Popen(
        [checkout / ".venv" / "bin" / "python", "-c", sleeper], env={**os.environ, **mark(folder)}
    )
    other_home = tmp_path / "another"
    other = subprocess.Popen([sys.executable, "-c", sleeper], env={**os.environ, **mark(other_home)})
    try:
        wait_for(lambda: len(members(folder)) == 1 and len(members(other_home)) == 1)
        # a process that has ended counts as running until it is waited for
        with ThreadPoolExecutor(1) as reaper:
            ended = reaper.submit(ours.wait, 60)
            done = make(checkout, "clean")
        assert done.returncode == 0, done.stderr
        assert f"Stopped the stack in {folder}." in done.stdout
        assert ended.result() == -signal.SIGTERM
        assert other.poll() is None
        assert not (checkout / ".venv").exists()
        assert (Path(sys.prefix) / "bin" / "python").exists()
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_clean_works_without_an_installation(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".zmart").mkdir()
    assert make(tmp_path, "clean").returncode == 0
    assert not (tmp_path / ".zmart").exists()


def test_clean_keeps_backups(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    backup = tmp_path / ".zmart" / "backups" / "zmart-20260101T000000Z" / "zmart.dump"
    for path in (backup, tmp_path / ".zmart" / "keys" / "admin.json", tmp_path / ".zmart" / ".starting"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    done = make(tmp_path, "clean")
    assert done.returncode == 0
    assert ".zmart/backups" in done.stdout
    assert [path.name for path in (tmp_path / ".zmart").iterdir()] == ["backups"]
    assert backup.read_text() == "content"


LISTED = """\
:env:.index-url='https://environment.example/simple'
:env:.user='1'
:env:.target='/nowhere'
:env:.require-virtualenv='true'
global.index-url='https://global.example/simple'
global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'
global.cert='/c.pem'
install.user='true'
install.no-deps='true'
install.proxy='http://p.example'
"""


def test_of_pip_s_configuration_only_what_reaches_a_registry_counts() -> None:
    """W25: of pip's configuration the installer keeps only what it needs to reach a registry."""
    assert install.reaching(LISTED) == {
        "index-url": "https://environment.example/simple",
        "extra-index-url": "\nhttps://a.example\nhttps://b.example",
        "cert": "/c.pem",
        "proxy": "http://p.example",
    }


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv") / "v"
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True, timeout=120)
    return folder


@pytest.mark.parametrize("in_a_file", [False, True], ids=["variable", "pip.conf"])
def test_an_installation_goes_into_the_virtual_environment_whatever_pip_is_told(
    tmp_path: Path, venv: Path, in_a_file: bool
) -> None:
    """W25: an installation goes into the virtual environment, whatever pip's variables and pip.conf say.

    Nothing is downloaded: the package is a wheel in the test's folder.
    """
    name = f"nothing{in_a_file:d}"
    wheel = tmp_path / f"{name}-1-py3-none-any.whl"
    _write_wheel(wheel, name)
    hostile = {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}
    if in_a_file:
        (tmp_path / "pip.conf").write_text(
            "[global]\ntarget = /nowhere\n[install]\nuser = true\ndry-run = true\n"
        )
        hostile |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    else:
        hostile |= {
            "PIP_USER": "1",
            "PIP_TARGET": "/nowhere",
            "PIP_DRY_RUN": "1",
            "PIP_REQUIREMENT": "/nowhere",
        }
    python = str(venv / "bin" / "python")
    done = subprocess.run(
        [python, "-I", str(ROOT / "requirements" / "install.py"), "--no-index", str(wheel)],
        env={**os.environ, **hostile}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    subprocess.run([python, "-I", "-c", f"import {name}"], check=True, timeout=60)


def _write_wheel(path: Path, name: str) -> None:
    import zipfile

    meta = f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{meta}/RECORD", f"{name}.py,,\n{meta}/METADATA,,\n{meta}/WHEEL,,\n{meta}/RECORD,,\n")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "PIP_CERT"),
        ("NewConnectionError: Failed to establish a new connection", "HTTPS_PROXY"),
        ("ERROR: Could not find a version that satisfies x (from versions: none)", "HTTPS_PROXY"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "another mirror"),
        ("OSError: [Errno 28] No space left on device", "disk space"),
    ],
)
def test_an_error_of_pip_ends_with_what_helps(line: str, hint: str) -> None:
    """P24: an error of pip ends with a line that names what helps."""
    assert hint in install.explanation([f"{line}\n"]).splitlines()[-1]


def test_progress_names_the_package_and_how_many_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """P24: the progress of an installation names a package, its number and how many packages there are."""
    lines = [
        "Collecting redis==8 (from -r x)\n",
        "Collecting httpx==1\n",
        "Installing collected packages: x\n",
    ]
    assert list(install.show_progress(iter(lines), 2)) == lines
    assert capsys.readouterr().out == "  package 2 of 2: httpx\n  unpacking 2 packages ...\n"
