"""The services' image: its content, how it runs, and that two builds give the same image."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from kit.containers import ROOT, Podman
from kit.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
LISTENS = ":0FA3 00000000:0000 0A"
"""Part of the line of /proc/net/tcp for a socket that listens on port 4003."""
LISTED = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)


def python(podman: Podman, image: str, program: str) -> str:
    return podman.run("run", "--rm", *HARDENED, "--entrypoint", "python", image, "-c", program)


def installed(podman: Podman, image: str) -> dict[str, str]:
    return {normal(name): version for name, version in json.loads(python(podman, image, LISTED)).items()}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    text = (ROOT / "requirements" / "otel.txt").read_text()
    return {
        normal(name): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    }


def test_the_image_holds_the_pinned_packages_and_nothing_of_the_local_stack(podman: Podman, image: str):
    held = installed(podman, image)
    assert held.pop("zmart")
    assert held == pinned()
    for program in ("pip", "node", "postgres", "gcc"):
        lookup = f"import shutil; print(shutil.which({program!r}))"
        assert python(podman, image, lookup).strip() == "None"


def test_the_image_says_what_it_was_made_from(podman: Podman, image: str):
    inspected = json.loads(podman.run("image", "inspect", image))[0]
    config = inspected["Config"]
    head = podman.call("git", "rev-parse", "HEAD", cwd=ROOT)
    labels = config["Labels"]
    assert head.strip().startswith(labels["org.opencontainers.image.revision"].removesuffix("-dirty"))
    committed = podman.call("git", "log", "-1", "--format=%cI", cwd=ROOT).strip()
    assert labels["org.opencontainers.image.created"] == committed
    assert labels["org.opencontainers.image.version"] == installed(podman, image)["zmart"]
    assert config["User"] == "10001:10001"
    assert inspected["Healthcheck"]["Test"][0] == "CMD"


def test_the_bill_of_materials_lists_every_package(podman: Podman, image: str):
    bill = json.loads(podman.run("run", "--rm", "--entrypoint", "cat", image, "/opt/zmart/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {normal(one["name"]): one for one in bill["components"]}
    held = installed(podman, image)
    assert held.keys() - {"zmart"} == listed.keys() - {"zmart"}
    assert {name: one["version"] for name, one in listed.items() if name != "zmart"} == pinned()
    assert all(one["purl"].startswith("pkg:pypi/") for name, one in listed.items() if name != "zmart")


def test_no_layer_holds_how_the_registry_was_reached(podman: Podman, image: str):
    settings = (podman.folder / "pip.conf").read_text().split("\n")[1:]
    values = [value for line in settings for value in line.partition(" = ")[2].split() if "://" in value]
    history = podman.run("history", "--no-trunc", image)
    held = podman.run(
        "run", "--rm", "--user=0", "--entrypoint", "sh", image, "-c", "ls -A /run/secrets 2>/dev/null | wc -l"
    )
    assert held.strip() == "0"
    for value in values:
        assert value not in history
        found = podman.run(
            "run", "--rm", "--user=0", "--entrypoint", "sh", image, "-c",
            f"grep -rlF -- '{value}' /opt /etc /usr/local /root 2>/dev/null | wc -l",
        )  # fmt: skip
        assert found.strip() == "0"


def test_every_command_runs_as_nobody_special_on_a_file_system_that_is_never_written(
    podman: Podman, image: str
):
    assert "indexer" in podman.run("run", "--rm", *HARDENED, image, "run", "--help")
    assert python(podman, image, "import os; print(os.getuid(), os.getgid())").split() == ["10001", "10001"]
    write = (
        "import pathlib, sys\ntry: pathlib.Path('/opt/zmart/x').touch()\nexcept OSError as e: print(e.errno)"
    )
    assert python(podman, image, write).strip() in ("13", "30")


def test_a_service_that_lacks_a_setting_ends_with_one_sentence(podman: Podman, image: str):
    command = ["podman", "run", "--rm", *HARDENED, image, "run", "gateway"]
    done = subprocess.run(
        command, env=podman.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "DATABASE_URL is not set" in done.stdout + done.stderr


@pytest.fixture
def other_build(podman: Podman) -> str:
    """Build the same sources again later, without any cached layer; return the image's name."""
    podman.make_image("image", "--no-cache", IMAGE="localhost/zmart:again")
    return "localhost/zmart:again"


def test_two_builds_of_a_commit_are_the_same_image(podman: Podman, image: str, other_build: str):
    difference = tree(podman, image) ^ tree(podman, other_build)
    assert sorted(difference)[:20] == []
    first, second = (json.loads(podman.run("image", "inspect", name))[0] for name in (image, other_build))
    assert first["Digest"] == second["Digest"]


def tree(podman: Podman, image: str) -> set[str]:
    """Return a line for every file and folder of the image: path, mode, owner, group, and link target or SHA-256."""
    program = Path(__file__).with_name("list_tree.py").read_text()
    return set(
        podman.run("run", "--rm", "--user=0", "--entrypoint", "python", image, "-c", program).splitlines()
    )


def test_the_health_check_of_the_image_asks_the_service_that_runs(podman: Podman, image: str):
    """A small server answers /health on the port of the aggregator, in place of the service that the command names."""
    server = (
        "import http.server as h\n"
        "class Answer(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200 if self.path == '/health' else 404); self.end_headers()\n"
        "h.HTTPServer(('', 4003), Answer).serve_forever()"
    )
    name = "zmart-test-health"
    for service, expected in (("aggregator", 0), ("monitor", 1)):
        podman.run("run", "-d", "--name", name, "--entrypoint", "python", image, "-c", server, "run", service)
        try:
            wait_for(lambda: LISTENS in podman.run("exec", name, "cat", "/proc/net/tcp"))
            checked = subprocess.run(
                ["podman", "healthcheck", "run", name], env=podman.environment, check=False
            )
            assert checked.returncode == expected
        finally:
            podman.run("rm", "-f", "-t", "0", name)
