"""Record which releases ran in a ZMART_HOME, and run a recorded release again.

A release is either an installation in a virtual environment of its own, or a commit of a checkout. A commit is run from
a work tree of git below ZMART_HOME/releases, with the virtual environment of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import msgspec

import zmart
from zmart.errors import ConfigError, StoreError
from zmart.local.state_files import DamagedState, write_state
from zmart.market.json_input import JSON_ERRORS
from zmart.store.migrations import HEAD
from zmart.version import UNKNOWN, VERSION, commit

_MOST_RECORDED = 20
_ANSWER_WITHIN_S = 60.0


class StackRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release that ran. `schema` is its newest migration, `python` the interpreter that ran it.

    `checkout` is the folder of the checkout, empty for an installation. `last_started_at` is in Unix seconds.
    """

    version: str
    commit: str
    schema: str
    python: str
    checkout: str
    last_started_at: float

    @property
    def name(self) -> str:
        """Return version and commit, as messages name the release."""
        return f"{self.version} ({self.commit})"


def this_release() -> StackRelease:
    """Return the release of the running code, started now."""
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
    """Record in releases.json of `home` that this release was started now; 20 releases are kept. Raises StoreError.

    A damaged record is renamed, and a new one begun. The start ends a rollback that was killed: its backup is older
    than what the services write from now on.
    """
    this = this_release()
    try:
        others = [release for release in releases(home) if release.commit != this.commit]
    except DamagedState:
        others = []
        _rename_damaged(_file(home))
    write_state(
        _file(home), msgspec.json.format(msgspec.json.encode([*others, this][-_MOST_RECORDED:])).decode()
    )
    rollback_file(home).unlink(missing_ok=True)


def releases(home: Path) -> list[StackRelease]:
    """Return the recorded releases, the last started one last; none if no release was recorded.

    Raises DamagedState if the record cannot be read.
    """
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=list[StackRelease])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (*JSON_ERRORS, OSError) as problem:
        raise DamagedState(
            f"{_file(home)} cannot be read ({problem}), so the releases that ran here are unknown: put it back. The "
            f"next `zmart up` renames it to {_file(home).name}.damaged, and begins a new one."
        ) from None


def _rename_damaged(path: Path) -> None:
    """Rename a damaged record to a name that no other one has. Raises StoreError."""
    names = (f"{path.name}.damaged{number or ''}" for number in count())
    free = next(name for name in names if not os.path.lexists(path.with_name(name)))
    try:
        path.rename(path.with_name(free))
    except OSError as problem:
        raise StoreError(f"{path} cannot be renamed ({problem.strerror}).") from None


def release_before(home: Path, beginning: str = "") -> StackRelease:
    """Return the release that was started last, except this one, and whose commit begins with `beginning`.

    Raises ConfigError if there is none, DamagedState if the record cannot be read.
    """
    mine = commit()
    older = [release for release in releases(home) if release.commit != mine]
    matching = [release for release in older if release.commit.startswith(beginning)]
    if not matching:
        names = ", ".join(release.name for release in older) or "none"
        raise ConfigError(f"No such release ran in {home} before {VERSION} ({mine}): there are {names}.")
    return matching[-1]


class ReleaseCommand(msgspec.Struct, frozen=True):
    """The `zmart` command of a release: its interpreter, and the folder of its sources ("" for an installation)."""

    python: str
    source: str

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, with `settings` in its environment. Raises OSError if there is no `python`."""
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
    """Return the command of a release, after a check that it runs the release's commit.

    For a commit of a checkout its work tree is created if it is missing. Raises ConfigError if the release's code is no
    longer there, its interpreter runs another release, or no commit held it.
    """
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
        # The folder gets its name only when it is complete. Twice --force: a killed git leaves a locked work tree.
        draft = folder.with_name(f"{release.commit}.unfinished")
        shutil.rmtree(draft, ignore_errors=True)
        _git(release.checkout, ["worktree", "prune"])
        options = ["--force", "--force", "--detach"]
        _git(release.checkout, ["worktree", "add", *options, str(draft), release.commit])
        _git(release.checkout, ["worktree", "move", str(draft), str(folder)])
    return folder


def _git(checkout: str, arguments: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            ["git", "-C", checkout, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_WITHIN_S,
        )
    except FileNotFoundError:
        raise ConfigError("A rollback to a commit needs git: install it (Debian: apt install git).") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"git did not provide the release within {_ANSWER_WITHIN_S:.0f} s.") from None
    if done.returncode != 0:
        raise ConfigError(f"git cannot provide the release: {done.stderr.strip()}")


def rollback_file(home: Path) -> Path:
    """Return the file that holds the progress of an unfinished rollback."""
    return home / "run" / "rollback.json"


def _file(home: Path) -> Path:
    return home / "releases.json"
