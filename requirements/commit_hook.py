"""Write the commit into the wheel, so that an installation without git can tell what it was made from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add zmart/commit.txt. ZMART_COMMIT names the commit where no git is, as in the build of a container."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file before the wheel is built; an editable installation asks git each time instead."""
        commit = os.environ.get("ZMART_COMMIT", "") or self._from_git()
        if version == "editable" or not commit:
            return
        file = Path(self.directory) / "commit.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{commit}\n", "ascii")
        build_data["force_include"][str(file)] = "zmart/commit.txt"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file again."""
        (Path(self.directory) / "commit.txt").unlink(missing_ok=True)

    def _from_git(self) -> str:
        if not (Path(self.root) / ".git").exists():
            return ""
        options = ["--no-optional-locks", "-c", f"safe.directory={self.root}", "-C", self.root]
        describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        try:
            done = subprocess.run(
                ["git", *options, *describe], capture_output=True, text=True, check=False, timeout=5
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()
