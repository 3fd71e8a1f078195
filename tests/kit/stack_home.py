"""A ZMART_HOME in which a test runs `zmart up` and the other commands of the local stack, as a user does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from kit import commands
from kit.waiting import wait_for
from zmart.cli import stack_output
from zmart.local.ports import NAMES
from zmart.services.contract import SERVICES
from zmart.settings import Settings

READY_SECONDS = 90


class Home:
    """A ZMART_HOME with the installed chain addon in it, and the `zmart` command for it."""

    def __init__(self, folder: Path, addon: Path, **settings: str) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(exist_ok=True)
        (self.folder / "node").symlink_to(addon)
        ours = {name.upper() for name in Settings.model_fields}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ours},
            **{name.upper(): "0" for name in NAMES},
            "ZMART_HOME": str(self.folder),
            "ZMART_ENV_FILE": os.devnull,
            **settings,
        }
        self.ups = 0

    def zmart(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*commands.ZMART, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
        )

    def up(self, *options: str) -> Up:
        self.ups += 1
        return Up(self, self.folder / f"up{self.ups}.txt", *options)

    def ps(self) -> dict[str, Any]:
        return {row["name"]: row for row in json.loads(self.zmart("ps", "--json").stdout or "[]")}

    def processes(self) -> dict[str, stack_output.ProcessRow]:
        """Return the rows of `zmart ps` by process, without starting the command, which would take longer."""
        return {row.name: row for row in stack_output.rows(self.folder)}

    def all_ready(self) -> bool:
        found = self.processes()
        running = all(row.state == "running" for row in found.values())
        return len(found) == 10 and running and all(found[name].ready for name in SERVICES)

    def record(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "run" / "stack.json").read_text())
        return result

    def slot(self) -> int:
        question = b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"commitment":"processed"}]}'
        request = urllib.request.Request(
            self.record()["environment"]["SOLANA_RPC_URL"], question, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(json.load(answer)["result"])


class Up:
    """A running `zmart up`, whose output goes to the file `output`."""

    def __init__(self, home: Home, output: Path, *options: str) -> None:
        self.home = home
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [*commands.ZMART, "up", *options],
                env=home.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ready(self) -> Up:
        wait_for(lambda: "WebSocket" in self.said or self.process.poll() is not None, READY_SECONDS)
        assert self.process.poll() is None, self.said
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)
