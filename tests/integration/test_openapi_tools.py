"""Tests of the published description with other people's software: linters, and generators with their defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.gateway import add_market, site
from kit.installed import ROOT, npm_packages, python_packages
from zmart.local.chain.node import find_node
from zmart.services.gateway.openapi import offline

TOOLS = ROOT / "tests" / "kit" / "openapi_tools"
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(json.dumps(offline.document()), encoding="utf-8")
    return path


def node(script: str, *arguments: object, folder: Path) -> str:
    """Run a program of the pinned npm packages and return its output; an AssertionError has the output if it fails."""
    path = npm_packages(TOOLS) / "node_modules" / script
    command = [find_node(), str(path), *map(str, arguments)]
    return run(command, folder, QUIET)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    values = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_redocly_finds_nothing(document: Path) -> None:
    said = node(
        "@redocly/cli/bin/cli.js", "lint", document, "--extends", "recommended", folder=document.parent
    )
    assert "Your API description is valid" in said, said
    assert "warning" not in said.replace("Deprecation warning", ""), said


def test_spectral_finds_nothing(document: Path) -> None:
    ruleset = TOOLS / "ruleset.yaml"
    script = "@stoplight/spectral-cli/dist/index.js"
    said = node(
        script, "lint", document, "--ruleset", ruleset, "--fail-severity", "warn", folder=document.parent
    )
    assert "No results with a severity of 'warn' or higher found" in said, said


def test_generated_typescript_compiles_and_leaves_optional_fields_optional(
    document: Path, tmp_path: Path
) -> None:
    node("openapi-typescript/bin/cli.js", document, "-o", tmp_path / "api.d.ts", folder=tmp_path)
    (tmp_path / "client.ts").write_bytes((TOOLS / "client.ts").read_bytes())
    node("typescript/bin/tsc", "--noEmit", "--strict", "client.ts", folder=tmp_path)


async def test_the_generated_python_client_reads_a_gateway(
    document: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = str(python_packages(ROOT / "requirements" / "client-generator.txt"))
    command = [
        sys.executable,
        "-m",
        "openapi_python_client",
        "generate",
        "--path",
        str(document),
        "--meta",
        "none",
    ]
    environment = {"PYTHONPATH": packages, "PATH": f"{packages}/bin:{os.environ['PATH']}"}
    said = run([*command, "--output-path", str(tmp_path / "zmart_generated")], tmp_path, environment)
    assert "Warning" not in said, said
    assert "rror" not in said, said
    monkeypatch.syspath_prepend(packages)
    monkeypatch.syspath_prepend(str(tmp_path))
    from zmart_generated import Client
    from zmart_generated.api.markets import get_market, list_markets

    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        client = Client("http://gateway").set_async_httpx_client(here.http)
        listed = await list_markets.asyncio(client=client)
        assert [market.id for market in listed.markets] == [key]
        found = await get_market.asyncio(key, client=client)
        assert found.question == "Will it rain tomorrow?"
