"""The checkout whose gateway is measured: this one or another, used only by its commands and settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import machine

from zmart.errors import ConfigError, ZmartError

_SETTING = re.compile(r"^#? ?([A-Z][A-Z0-9_]*)=", re.MULTILINE)


@dataclass(frozen=True)
class Checkout:
    """A checkout of this project and the Python that runs it."""

    folder: Path
    python: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder / "src")}

    @property
    def commit(self) -> str:
        """The short hash and the subject of its commit, and "(with changes)" when files differ from it."""
        described = _git(self.folder, "log", "-1", "--format=%h %s") or "not under version control"
        return described + (" (with changes)" if _git(self.folder, "status", "--porcelain") else "")

    @property
    def market_data(self) -> Path:
        """The SQL file that fills a database of its schema."""
        return self.folder / "bench" / "market_data.sql"

    @property
    def cache_setting(self) -> str:
        """The name of the setting that limits the response cache in bytes; 0 switches it off. Raises ConfigError."""
        return cache_setting((self.folder / ".env.example").read_text("utf-8"))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of its `zmart` with these arguments."""
        return [str(self.python), "-m", "zmart.cli", *arguments]

    def migrate(self, database_url: str) -> None:
        self._run(self.command("migrate", "up"), {"DATABASE_URL": database_url, "ZMART_ENV": "local"})

    def statements(self) -> dict[str, str]:
        """Return the SQL of its gateway by name, by its own bench/statements.py, or by this checkout's."""
        own = self.folder / "bench" / "statements.py"
        script = own if own.exists() else Path(__file__).with_name("statements.py")
        result: dict[str, str] = json.loads(self._run([str(self.python), str(script)], {}))
        return result

    def _run(self, command: list[str], settings: Mapping[str, str]) -> str:
        ran = subprocess.run(
            command, env={**self.environment, **settings}, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise ZmartError(
                f"`{' '.join(command[1:])}` failed in {self.folder}: {ran.stderr.strip()[-400:]}"
            )
        return str(ran.stdout)


def find(folder: Path | None) -> Checkout:
    """Return the checkout in `folder`, by default this one. Raises ConfigError when the folder is no checkout."""
    root = machine.CHECKOUT if folder is None else folder.resolve()
    if not (root / "src" / "zmart" / "cli").is_dir():
        raise ConfigError(f"{root} is no checkout of this project: it has no src/zmart/cli.")
    return Checkout(root, machine.fast_python(root))


def cache_setting(example: str) -> str:
    """Return the one setting in the text of .env.example whose name ends in CACHE_BYTES. Raises ConfigError."""
    result: list[str] = [name for name in _SETTING.findall(example) if name.endswith("CACHE_BYTES")]
    if len(result) != 1:
        raise ConfigError(f"Expected one setting *_CACHE_BYTES in .env.example, found {result or 'none'}.")
    return result[0]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ran.returncode else str(ran.stdout).strip()
