"""The local chain's addon counts as installed only when npm has written all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zmart.local.chain import node

# Stands for Node.js, which runs npm in the folder in which it is started.
NPM = f"""#!/bin/sh
mkdir -p "$(dirname {node.ADDON})"
printf {{written}} > {node.ADDON}
{{then}}
"""


def fake_node(folder: Path, written: str, then: str) -> Path:
    program = folder / "bin" / "node"
    program.parent.mkdir(exist_ok=True)
    (program.parent / "npm").write_text("")
    for path in (program, program.parent / "npm"):
        path.touch()
        path.chmod(0o755)
    program.write_text(NPM.format(written=written, then=then))
    return program


def install(folder: Path, program: Path) -> int:
    paths = f"Path({str(folder)!r}), Path({str(program)!r})"
    code = f"from pathlib import Path; from zmart.local.chain.node import install; install({paths})"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode


@pytest.mark.parametrize("then", ["kill -9 $PPID", "exit 1"])
def test_an_installation_that_was_broken_off_is_begun_again(tmp_path: Path, then: str) -> None:
    folder = tmp_path / "node"
    assert install(folder, fake_node(tmp_path, "part", then)) != 0
    assert not node.is_installed(folder)
    assert install(folder, fake_node(tmp_path, "whole", "exit 0")) == 0
    assert node.is_installed(folder)
    assert (folder / node.ADDON).read_text() == "whole"


def test_a_failed_update_leaves_the_addon_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    assert install(folder, fake_node(tmp_path, "older", "exit 0")) == 0
    (folder / "package-lock.json").write_text("{}")
    assert install(folder, fake_node(tmp_path, "part", "exit 1")) != 0
    assert (folder / node.ADDON).read_text() == "older"
