"""Settings, services and ports that deploy/ names exist in the code. `make deploy-test` runs the deployment itself."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tomllib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import zmart
from zmart.services.contract import SERVICES
from zmart.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "zmart"
SETTINGS = {name.upper() for name in Settings.model_fields}
PORTS = {name: Settings.model_fields[setting].default for name, setting in SERVICES.items()}
TRACES = set(re.findall(r"OTEL_\w+", (ROOT / "docs" / "traces.md").read_text()))
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@pytest.fixture(params=["production", "trial"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return the variables of the .env file that make-env.sh writes."""
    script = shutil.copy(DEPLOY / "make-env.sh", tmp_path)
    options = ["--trial"] if request.param == "trial" else []
    subprocess.run([script, *options, "market.example.org"], check=True, capture_output=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def composed(*files: Path) -> dict[str, dict[str, Any]]:
    """Return the services of compose files by name; a later file overrides an earlier one."""
    result: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            known = result.setdefault(name, {})
            environment = known.get("environment", {}) | service.get("environment", {})
            result[name] = {**known, **service, "environment": environment}
    return result


def ours() -> dict[str, dict[str, Any]]:
    """Return the services of compose.yaml that run our image, by name."""
    return {
        name: one for name, one in composed(DEPLOY / "compose.yaml").items() if "ZMART_IMAGE" in one["image"]
    }


def filled(text: str, variables: dict[str, str]) -> str:
    """Substitute ${NAME}, ${NAME:-default} and ${NAME:?error} as compose does."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        given = variables.get(name, "")
        assert given or kind != "?", f"{name}: {rest}"
        return given or (rest if kind == "-" else "")

    return _VARIABLE.sub(value, text)


def test_compose_runs_every_service_two_gateways_two_sockets_and_the_migration():
    commands = [" ".join(one["command"]) for one in ours().values()]
    twice = {"gateway", "websocket"}
    expected = [f"run {name}" for name in SERVICES for _ in range(2 if name in twice else 1)]
    assert sorted(commands) == sorted([*expected, "migrate up"])


def test_every_setting_of_compose_is_one_and_has_a_value_that_the_service_takes(variables: dict[str, str]):
    for name, service in ours().items():
        assert service["environment"].keys() - SETTINGS - TRACES == set(), name
        given = {key.lower(): filled(value, variables) for key, value in service["environment"].items()}
        settings = load_settings(_env_file=None, **{key: value for key, value in given.items() if value})
        assert settings.database_url.get_secret_value().startswith("postgresql://zmart:")


def test_every_variable_of_compose_is_used_once_written_and_every_written_one_is_used(
    variables: dict[str, str],
):
    is_trial = "COMPOSE_FILE" in variables
    files = [DEPLOY / "compose.yaml", *([DEPLOY / "trial" / "compose.yaml"] if is_trial else [])]
    text = "\n".join(file.read_text() for file in files)
    assert [filled(file.read_text(), variables) for file in files]  # fails if a required variable is missing
    assert variables.keys() - {match[1] for match in _VARIABLE.finditer(text)} - {"COMPOSE_FILE"} == set()


def test_no_service_of_compose_may_write_gain_privileges_or_take_all_of_the_machine():
    for name, service in composed(DEPLOY / "compose.yaml", DEPLOY / "trial" / "compose.yaml").items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges"], name
        assert service["restart"], name
        if name != "demo":
            assert service["mem_limit"], name
        if name not in ("caddy", "prometheus", "migrate", "demo"):
            assert service["healthcheck"]["test"], name


def test_only_caddy_has_ports_that_other_machines_reach():
    for name, service in composed(DEPLOY / "compose.yaml", DEPLOY / "trial" / "compose.yaml").items():
        if name != "caddy":
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_prometheus_is_given_every_file_that_its_configuration_names():
    """Among them the operator's own list of Alertmanagers, by ALERTMANAGERS_FILE."""
    volumes = composed(DEPLOY / "compose.yaml")["prometheus"]["volumes"]
    for given in ({}, {"ALERTMANAGERS_FILE": "/etc/ours.yml"}):
        mounted = dict(filled(volume, given).split(":")[1::-1] for volume in volumes)
        config = yaml.safe_load((DEPLOY / mounted["/etc/prometheus/prometheus.yml"]).read_text())
        discovered = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
        files = [file for one in discovered for sd in one["file_sd_configs"] for file in sd["files"]]
        for name in (*config["rule_files"], *files):
            source = mounted[f"/etc/prometheus/{name}"]
            assert source in given.values() or (DEPLOY / source).is_file()
        assert set(given.values()) <= set(mounted.values())


def test_only_who_decides_and_the_gateway_get_the_backend_s_key():
    with_key = {name for name, one in ours().items() if "BACKEND_AUTHORITY_PRIVATE_KEY" in one["environment"]}
    assert with_key == {"gateway-1", "gateway-2", "aggregator", "monitor"}


def test_caddy_passes_on_to_the_ports_of_gateway_and_socket_and_services_trust_it_alone():
    upstreams = set(re.findall(r"\b([a-z]+)-[12]:(\d+)", (DEPLOY / "Caddyfile").read_text()))
    assert upstreams == {(name, str(PORTS[name])) for name in ("gateway", "websocket")}
    caddy = composed(DEPLOY / "compose.yaml")["caddy"]["networks"]["inside"]["ipv4_address"]
    trusted = {
        one["environment"]["TRUSTED_PROXIES"] for name, one in ours().items() if name[-2:] in ("-1", "-2")
    }
    assert trusted == {caddy}


def test_no_other_container_is_given_the_address_that_services_trust():
    """Docker and Podman count up from the network's first address, also while Caddy is down."""
    caddy = composed(DEPLOY / "compose.yaml")["caddy"]["networks"]["inside"]["ipv4_address"]
    network = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]["inside"]["ipam"]["config"][0]
    fixed, subnet = IPv4Address(filled(caddy, {})), IPv4Network(filled(network["subnet"], {}))
    started = composed(DEPLOY / "compose.yaml", DEPLOY / "trial" / "compose.yaml")
    assert fixed in subnet
    assert int(fixed) - int(subnet.network_address) > 10 * len(started)


def test_the_health_check_knows_the_port_of_every_service(monkeypatch: pytest.MonkeyPatch):
    check = healthcheck()
    assert {name: (SERVICES[name].upper(), port) for name, port in PORTS.items()} == check.PORTS
    assert check.running_service(b"/opt/zmart/bin/python\0/opt/zmart/bin/zmart\0run\0indexer\0") == "indexer"
    assert check.running_service(b"/opt/zmart/bin/python\0/opt/zmart/bin/zmart\0migrate\0up\0") == ""
    for value, port in (("5001", 5001), ("tcp://10.0.0.1:80", 4002), ("", 4002)):
        monkeypatch.setenv("INDEXER_PORT", value)
        assert check.port_of("indexer") == port


def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_secrets_are_new_each_time_readable_by_their_owner_alone_and_never_overwritten(tmp_path: Path):
    script = shutil.copy(DEPLOY / "make-env.sh", tmp_path)
    file, seen = tmp_path / ".env", set()
    for _ in range(2):
        subprocess.run([script, "example.org"], check=True, capture_output=True)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        seen |= set(re.findall(r"=([0-9a-f]{64})$", file.read_text(), re.MULTILINE))
        again = subprocess.run([script, "example.org"], check=False, capture_output=True, text=True)
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        file.unlink()
    assert len(seen) == 10


@pytest.mark.parametrize(
    "host", ["bad host", "a;b", "a/b", "$(id)", "a\nb", "fd00::1", "[fd00::1]", "zmart.test:443", "::1"]
)
def test_a_host_that_is_no_name_makes_no_settings(tmp_path: Path, host: str) -> None:
    script = shutil.copy(DEPLOY / "make-env.sh", tmp_path)
    made = subprocess.run([script, host], check=False, capture_output=True, text=True)
    assert (made.returncode, "is not a host name" in made.stderr, (tmp_path / ".env").exists()) == (
        2,
        True,
        False,
    )


def two_machines(folder: Path, private: str, second: str) -> subprocess.CompletedProcess[str]:
    script = shutil.copy(DEPLOY / "make-env.sh", folder)
    command = [script, "--private", private, "--second", second, "zmart.test"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    "address",
    ["fd00::1", "[fd00::1]", "::1", "::ffff:10.0.0.1", "first.internal", "10.0.0", "10.0.0.256", "10.0.0.1:5432", "a b",
     "10.0.0.1\n10.0.0.2", "10.0.0.1/24", "..."],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--private", "--second"])
def test_an_address_that_compose_or_a_service_would_refuse_later_is_refused_at_once(
    tmp_path: Path, option: str, address: str
) -> None:
    """Ports are bound to it, proxies are trusted by it, and it is the host in DATABASE_URL."""
    given = {"--private": "10.0.0.1", "--second": "10.0.0.2", option: address}
    made = two_machines(tmp_path, given["--private"], given["--second"])
    assert (made.returncode, (tmp_path / ".env").exists()) == (2, False)
    assert f"is not an IPv4 address: {option} takes one" in made.stderr


@pytest.mark.parametrize(("private", "second"), [("10.0.0.1", "10.0.0.2"), ("192.168.250.1", "172.16.0.199")])
def test_the_second_machine_reaches_the_servers_at_the_first_ones_address(
    tmp_path: Path, private: str, second: str
) -> None:
    made = two_machines(tmp_path, private, second)
    assert made.returncode == 0, made.stderr
    subprocess.run([tmp_path / "make-env.sh", "--for-second"], check=True, capture_output=True)
    lines = (tmp_path / ".env.second").read_text().splitlines()
    written = dict(line.split("=", 1) for line in lines if "=" in line)
    for name in ("FIRST_ADDRESS", "DATABASE_HOST", "REDIS_HOST"):
        assert written[name] == private
    assert written["PRIVATE_ADDRESS"] == second
    database = filled(composed(DEPLOY / "compose.yaml")["indexer"]["environment"]["DATABASE_URL"], written)
    assert Settings(_env_file=None, database_url=database).require("database_url") == database


def test_the_keys_of_a_trial_are_readable_by_their_owner_alone_on_the_way_and_are_removed_after(
    tmp_path: Path,
):
    """The README's commands with keys.tar, run with the umask of most shells, and a `docker` that prints an archive."""
    lines = (DEPLOY / "README.md").read_text().partition("\n## On two machines\n")[2].splitlines()
    written, removed, unpacked = [line.partition(" #")[0] for line in lines if "keys.tar" in line]
    (tmp_path / "docker").write_text(
        "#!/bin/sh\nmkdir -p keys && echo secret > keys/admin.json && tar -c keys\n"
    )
    (tmp_path / "docker").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    archive = tmp_path / "keys.tar"

    def run(line: str) -> None:
        command = ["sh", "-ec", f"umask 022; {line}"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)

    run(written)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    run(unpacked)
    assert not archive.exists()
    run(written)
    run(removed)
    assert not archive.exists()


# ------------------------------------------------------------------------------------------------------------- chart


def table() -> dict[str, dict[str, Any]]:
    """Return the table of services in the Helm chart."""
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    body = re.search(r'define "zmart.table" -}}\n(.*?){{- end', helpers, re.DOTALL)
    assert body is not None
    result: dict[str, dict[str, Any]] = yaml.safe_load(body[1])
    return result


def test_the_chart_knows_every_service_and_its_port():
    assert {name: (row["setting"], row["port"]) for name, row in table().items()} == {
        name: (SERVICES[name].upper(), port) for name, port in PORTS.items()
    }
    assert values()["services"].keys() == SERVICES.keys()


def test_every_setting_of_the_chart_is_one():
    named = {name for row in table().values() for name in row["secrets"]}
    named |= set(re.findall(r"^  (?:# )?([A-Z][A-Z_]+): ", (CHART / "values.yaml").read_text(), re.MULTILINE))
    assert named - SETTINGS - TRACES == set()
    assert {"ZMART_ENV", "REDIS_URL", "TRUSTED_PROXIES"} <= named


def test_the_chart_gives_each_service_the_secrets_that_compose_gives_it():
    secret = {name for row in table().values() for name in row["secrets"]}
    for service, row in table().items():
        [environment] = [
            one["environment"] for name, one in ours().items() if name.removesuffix("-1") == service
        ]
        assert set(row["secrets"]) == environment.keys() & secret, service


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == zmart.__version__


def values() -> dict[str, Any]:
    result: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return result


def test_the_build_reads_what_its_copies_name():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for file in (DEPLOY / "Containerfile", DEPLOY / "trial" / "Containerfile"):
        for line in re.findall(r"^COPY (?!--from)(.+)$", file.read_text(), re.MULTILINE):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(f"!{part}" in ignored for part in (source, source.partition("/")[0])), source
    assert os.access(DEPLOY / "make-env.sh", os.X_OK)


def test_the_build_copies_all_that_the_wheel_is_made_of():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        *wheel["packages"],
        *wheel.get("force-include", {}),
        *(one["path"] for one in wheel["hooks"].values()),
    ]
    copied = re.findall(
        r"^COPY (?!--from)(.+) /build/source/", (DEPLOY / "Containerfile").read_text(), re.MULTILINE
    )
    sources = [source for line in copied for source in line.split()]
    assert [
        path for path in needed if not any(f"{path}/".startswith(f"{source}/") for source in sources)
    ] == []
