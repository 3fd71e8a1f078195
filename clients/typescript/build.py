"""Build the TypeScript client from the OpenAPI and AsyncAPI documents of this version, and pack it for npm.

`python clients/typescript/build.py` writes `zmart-client-<version>.tgz` into dist/, prints the file's path, and renews
the bundle that the gateway's pages load. With a folder as argument, the file is written into that folder and the
pages' bundle does not change. The build runs in .zmart/typescript, with the tools that package-lock.json pins.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from zmart.feed import asyncapi
from zmart.local.chain.node import find_node, npm_script
from zmart.services.gateway.openapi import offline

SOURCE = Path(__file__).parent
ROOT = SOURCE.parents[1]
WORK = ROOT / ".zmart" / "typescript"
LOCAL_SOCKET = "ws://127.0.0.1:4001"
BUNDLE = WORK / "bundle" / "zmart-client.js"
"""The last build's bundle: the client as one JavaScript module for browsers."""
PAGES_BUNDLE = ROOT / "src/zmart/services/gateway/explorer/static/client/zmart-client.js"
"""The committed bundle, which the gateway's pages load. A test compares it with a bundle of the present sources."""
FOLDERS, FILES = ("src", "scripts", "test", "examples"), ("README.md", "tsconfig.json")


def build(into: Path) -> Path:
    """Build the client and pack it into the folder `into`; return the path of the .tgz file.

    Raises CalledProcessError when a tool fails; the output of the tool is printed first.
    """
    node = find_node()
    WORK.mkdir(parents=True, exist_ok=True)
    _install(node)
    _copy()
    (WORK / "openapi.json").write_text(json.dumps(offline.document()), encoding="utf-8")
    (WORK / "asyncapi.json").write_bytes(asyncapi.published(LOCAL_SOCKET))
    shutil.rmtree(WORK / "dist", ignore_errors=True)
    _run(node, "scripts/generate.mjs", "openapi.json", "asyncapi.json")
    _run(node, "node_modules/typescript/bin/tsc", "-p", ".")
    _bundle(node)
    into.mkdir(parents=True, exist_ok=True)
    said = _run(node, npm_script(node), "pack", "--json", "--pack-destination", into.resolve())
    return into / str(json.loads(said)[0]["filename"])


def _bundle(node: Path) -> None:
    options = ("--bundle", "--minify", "--format=esm", "--target=es2022", "--legal-comments=none")
    esbuild = "node_modules/esbuild/bin/esbuild"
    _run(node, esbuild, "dist/index.js", *options, "--log-level=warning", f"--outfile={BUNDLE}")


def _install(node: Path) -> None:
    pinned, done = (SOURCE / "package-lock.json").read_bytes(), WORK / "installed.lock"
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, WORK / name)
    if not done.exists() or done.read_bytes() != pinned:
        _run(node, npm_script(node), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        done.write_bytes(pinned)


def _copy() -> None:
    for name in FOLDERS:
        shutil.rmtree(WORK / name, ignore_errors=True)
        shutil.copytree(SOURCE / name, WORK / name)
    for name in (*FILES, "package.json"):
        shutil.copyfile(SOURCE / name, WORK / name)
    shutil.copyfile(ROOT / "LICENSE", WORK / "LICENSE")


def _run(node: Path, *arguments: object) -> str:
    command = [str(node), *map(str, arguments)]
    done = subprocess.run(command, cwd=WORK, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
    done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(build(Path(sys.argv[1])))
    else:
        print(build(ROOT / "dist"))
        PAGES_BUNDLE.parent.mkdir(exist_ok=True)
        shutil.copyfile(BUNDLE, PAGES_BUNDLE)
