"""Remember which releases ran in a ZMART_HOME, and run one of them again.

A release is an installation in a virtual environment of its own, or a commit of a checkout: that is run from a work
tree of git below ZMART_HOME/releases, with the environment of the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

import zmart
from zmart.errors import ConfigError
from zmart.local.state_files import write_state
from zmart.market.json_input import JSON_ERRORS
from zmart.store.migrations import HEAD
from zmart.version import UNKNOWN, VERSION, commit

_MOST_RECORDED = 20
_ANSWER_WITHIN_S = 60.0


class StackRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release as it last ran: `schema` is its newest migration, `checkout` is empty for an installation."""

    version: str
    commit: str
    schema: str
    python: str
    checkout: str
    last_started_at: float

    @property
    def name(self) -> str:
        """Return what a person calls it."""
        return f"{self.version} ({self.commit})"


def this_release() -> StackRelease:
    """Return the release of this code."""
    root = Path(zmart.__file__).resolve().parents[2]
    return StackRelease(
        version=VERSION,
        commit=commit(),
        schema=HEAD,
        python=sys.executable,
        checkout=str(root) if (root / ".git").exists() else "",
        last_started_at=time.time(),
    )


def record_release(home: Path) -> None:
    """Remember that this release was started."""
    this = this_release()
    others = [release for release in releases(home) if release.commit != this.commit]
    write_state(
        _file(home), msgspec.json.format(msgspec.json.encode([*others, this][-_MOST_RECORDED:])).decode()
    )


def releases(home: Path) -> list[StackRelease]:
    """Return the releases that ran, the newest last."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=list[StackRelease])
    except (*JSON_ERRORS, OSError):
        return []


def release_before(home: Path, beginning: str = "") -> StackRelease:
    """Return the release that ran before this one, or the one of a commit. Raises ConfigError if there is none."""
    mine = commit()
    older = [release for release in releases(home) if release.commit != mine]
    matching = [release for release in older if release.commit.startswith(beginning)]
    if not matching:
        names = ", ".join(release.name for release in older) or "none"
        raise ConfigError(f"No such release ran in {home} before {VERSION} ({mine}): there are {names}.")
    return matching[-1]


class ReleaseCommand(msgspec.Struct, frozen=True):
    """The `zmart` command of a release."""

    python: str
    source: str

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end with these settings."""
        path = {"PYTHONPATH": self.source} if self.source else {}
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.python, "-P", "-m", "zmart.cli", *arguments],
            env={**ours, **path, **settings},
            capture_output=True,
            text=True,
            check=False,
        )


def command_of(home: Path, release: StackRelease) -> ReleaseCommand:
    """Return the command of a release, once it has said that it is that one. Raises ConfigError if its code is gone."""
    if release.commit == UNKNOWN or release.commit.endswith("-dirty"):
        raise ConfigError(
            f"Release {release.name} ran from files that no commit holds: it cannot be started again from here."
        )
    source = str(_work_tree(home, release) / "src") if release.checkout else ""
    command = ReleaseCommand(release.python, source)
    try:
        answer = command.run("--version").stdout
    except OSError as problem:
        raise ConfigError(f"Release {release.name} is gone ({problem}): install it there again.") from None
    if release.commit not in answer:
        raise ConfigError(
            f"{release.python} runs {answer.strip() or 'nothing'} now, not {release.name}: give each release a virtual "
            "environment of its own (docs/operations.md)."
        )
    return command


def _work_tree(home: Path, release: StackRelease) -> Path:
    folder = home / "releases" / release.commit
    if not (folder / "src").exists():
        _git(release.checkout, ["worktree", "prune"])
        _git(release.checkout, ["worktree", "add", "--force", "--detach", str(folder), release.commit])
    return folder


def _git(checkout: str, arguments: Sequence[str]) -> None:
    done = subprocess.run(
        ["git", "-C", checkout, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_ANSWER_WITHIN_S,
    )
    if done.returncode != 0:
        raise ConfigError(f"git cannot provide the release: {done.stderr.strip()}")


def _file(home: Path) -> Path:
    return home / "releases.json"
