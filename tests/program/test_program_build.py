"""The shipped program equals, byte for byte, what its sources build, in whatever folder they are built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path("programs") / "zmart_core"
DATA = Path("src") / "zmart" / "chain" / "data"


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / SOURCES / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a folder with a copy of the files that the build reads."""
    for folder in (SOURCES, DATA):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_a_rebuild_equals_the_shipped_file() -> None:
    done = build(ROOT, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The shipped program equals its sources")


def test_another_folder_builds_the_same_bytes(elsewhere: Path) -> None:
    (elsewhere / DATA / "zmart_core.so").unlink()
    done = build(elsewhere)
    assert done.stdout.startswith("CHANGED: ")
    assert (elsewhere / DATA / "zmart_core.so").read_bytes() == (ROOT / DATA / "zmart_core.so").read_bytes()
    assert build(elsewhere).stdout.startswith("Unchanged: ")


def test_a_shipped_file_that_differs_is_reported(elsewhere: Path) -> None:
    shipped = elsewhere / DATA / "zmart_core.so"
    shipped.write_bytes(shipped.read_bytes()[:-8] + bytes(8))
    done = build(elsewhere, "--check")
    assert done.returncode == 1
    assert done.stderr.startswith("The shipped program differs from its sources: ")


def test_an_interface_that_is_not_the_idls_is_reported(elsewhere: Path) -> None:
    interface = elsewhere / SOURCES / "interface.h"
    interface.write_text(interface.read_text().replace("ErrUnauthorized = 6029", "ErrUnauthorized = 6030"))
    done = build(elsewhere, "--check")
    assert done.returncode == 1
    assert done.stderr.startswith("interface.h is not what the IDL says")


def test_a_source_that_does_not_compile_is_reported(elsewhere: Path) -> None:
    (elsewhere / SOURCES / "config.c").write_text(
        "static int counter = 1; int next(void) { return counter++ }\n"
    )
    done = build(elsewhere)
    assert done.returncode == 1
    assert done.stderr.startswith("The compiler refused prog.c:")
