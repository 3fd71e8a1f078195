"""`zmart rollback`: the release that ran before runs again with its schema, and users' data is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from zmart.errors import ConfigError
from zmart.local.ports import NAMES
from zmart.local.process_group import members
from zmart.local.releases import (
    StackRelease,
    command_of,
    record_release,
    release_before,
    releases,
    this_release,
)
from zmart.ops.backup.files import read_manifest
from zmart.settings import Settings
from zmart.store.migrations import HEAD, VERSIONS

ROOT = Path(__file__).parents[2]
COMMENT = (
    "INSERT INTO discussions (market_id, wallet, content) VALUES (repeat('ab', 32), repeat('1', 32), 'kept')"
)


class Checkout:
    """A git repository of its own with a copy of this package, and the commands of that copy."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src" / "zmart", folder / "src" / "zmart", ignore=ignored)
        shutil.copytree(ROOT / "docs", folder / "docs")
        ours = {name.upper() for name in Settings.model_fields}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ours},
            **{name.upper(): "0" for name in NAMES},
            "PYTHONPATH": str(folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZMART_HOME": str(home),
            "ZMART_ENV_FILE": os.devnull,
        }
        self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(self.folder)]
        return subprocess.run(
            ["git", *options, *arguments], check=True, capture_output=True, text=True
        ).stdout

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "A commit")
        return self.git("rev-parse", "--short=12", "HEAD").strip()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "zmart.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def zmart(self, *arguments: str) -> str:
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        return output

    def record(self, home: Path) -> None:
        code = f"from pathlib import Path; from zmart.local.releases import *; record_release(Path({str(home)!r}))"
        subprocess.run([sys.executable, "-P", "-c", code], env=self.environment, check=True)


def test_a_release_is_run_again_only_if_it_is_the_one_that_ran(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", tmp_path)
    first = checkout.commit()
    checkout.record(tmp_path)
    record_release(tmp_path)
    assert [release.commit for release in releases(tmp_path)] == [first, this_release().commit]
    target = release_before(tmp_path)
    (checkout.folder / "src" / "zmart" / "version.py").write_text("broken")
    checkout.commit()
    assert first in command_of(tmp_path, target).run("--version").stdout
    with pytest.raises(ConfigError, match="No such release ran"):
        release_before(tmp_path, "ffffffff")
    for changed, said in (
        ({"commit": f"{first}-dirty"}, "no commit holds"),
        ({"commit": "ffffffffffff"}, "git cannot provide"),
        ({"checkout": "", "commit": "ffffffffffff"}, "not 0.1.0"),
        ({"checkout": "", "python": "/nowhere/python"}, "is gone"),
    ):
        other = StackRelease(
            **{**{name: getattr(target, name) for name in target.__struct_fields__}, **changed}
        )
        with pytest.raises(ConfigError, match=said):
            command_of(tmp_path, other)


# What a `git worktree add` leaves that was killed: a part of the files, and a lock.
KILLED_GIT = """#!/bin/sh
{git} "$@" || exit
case "$*" in *"worktree add"*)
    for tree in {checkout}/.git/worktrees/*; do echo initializing > "$tree/locked"; done
    rm -r {home}/releases/*/src/zmart/votes
    kill -9 $$
esac
"""


def test_a_work_tree_that_git_did_not_finish_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    checkout = Checkout(tmp_path / "checkout", home)
    checkout.commit()
    checkout.record(home)
    target = releases(home)[-1]
    killed = tmp_path / "bin" / "git"
    killed.parent.mkdir()
    killed.write_text(KILLED_GIT.format(git=shutil.which("git"), home=home, checkout=checkout.folder))
    killed.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{killed.parent}:{os.environ['PATH']}")
        with pytest.raises(ConfigError, match="git cannot provide"):
            command_of(home, target)
    assert (Path(command_of(home, target).source) / "zmart" / "votes" / "__init__.py").exists()


def test_a_machine_without_git_is_told_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    target = StackRelease(
        version="0.1.0", commit="f" * 12, schema=HEAD, python=sys.executable, checkout="/x", last_started_at=0
    )
    with pytest.raises(ConfigError, match="needs git"):
        command_of(tmp_path, target)


@pytest.mark.slow
def test_a_stack_goes_back_to_the_release_before_though_the_rollback_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "node").symlink_to(request.config.rootpath / ".zmart" / "node")
    checkout = Checkout(tmp_path / "checkout", home)
    older = checkout.commit()
    checkout.record(home)
    migration = checkout.folder / "src" / "zmart" / "store" / "migrations" / "versions"
    (script,) = VERSIONS.glob(f"{HEAD}_*.py")
    before = sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*/"))[-2]
    text = script.read_text().replace(f'"{HEAD}"', '"9999"').replace(f'"{before}"', f'"{HEAD}"')
    (migration / "9999_added.py").write_text(text)
    (migration / "9999_added").mkdir()
    (migration / "9999_added" / "up.sql").write_text("CREATE TABLE added (id int);\n")
    (migration / "9999_added" / "down.sql").write_text("DROP TABLE added;\n")
    newer = checkout.commit()
    try:
        checkout.zmart("up", "--detach", "--hold-decisions")
        checkout.zmart("psql", "-c", COMMENT)
        assert f"revert the migrations after {HEAD}" in checkout.zmart("rollback", "--plan")
        with checkout.start("rollback", "--yes") as process:
            deadline = time.monotonic() + 120
            while not (home / "run" / "rollback.json").exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        said = checkout.zmart("rollback", "--yes")
        assert f"({older}) runs" in said
        record = json.loads((home / "run" / "stack.json").read_text())
        health = httpx.get(f"http://127.0.0.1:{record['ports']['api_port']}/health", trust_env=False).json()
        assert health["commit"] == older
        aggregator = httpx.get(record["ready_paths"]["aggregator"], trust_env=False).json()
        assert aggregator["details"]["decisions_held"], "as before the rollback"
        (backup,) = (home / "backups").glob("zmart-*")
        manifest = read_manifest(backup)
        assert (manifest.commit, manifest.state.revision) == (newer, "9999")
        left = "SELECT (SELECT version_num FROM alembic_version), to_regclass('added'), min(content) FROM discussions"
        assert f"{HEAD}||kept" in checkout.zmart("psql", "-At", "-c", left)
    finally:
        checkout.zmart("stop")
    assert members(home) == []
