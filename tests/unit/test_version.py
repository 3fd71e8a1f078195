"""The version of the installed release, and the commit from which it was built."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import zmart
from zmart import cli, version

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *options, "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a separate git repository that has this package's version module; return its folder."""
    package = tmp_path / "src" / "zmart"
    package.mkdir(parents=True)
    shutil.copy(version.__file__, package)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "A commit")
    return tmp_path


def test_a_checkout_names_its_commit_and_whether_files_were_changed(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "--short=12", "HEAD").strip()
    assert version._commit_of(checkout) == commit
    (checkout / "src" / "zmart" / "version.py").write_text("")
    assert version._commit_of(checkout) == f"{commit}-dirty"


def test_a_repository_that_merely_holds_the_installation_is_not_asked(checkout: Path) -> None:
    shutil.rmtree(checkout / "src")
    assert version._commit_of(checkout) == "unknown"


def test_without_git_the_commit_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert version._commit_of(checkout) == "unknown"


def test_an_installed_wheel_says_what_its_build_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "commit.txt").write_text("0123456789ab\n")
    monkeypatch.setattr(zmart, "__file__", str(tmp_path / "__init__.py"))
    assert version.commit.__wrapped__() == "0123456789ab"


def test_the_command_prints_the_version_with_its_commit() -> None:
    done = CliRunner().invoke(cli.app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"zmart {zmart.__version__} (commit {version.commit()})\n")
