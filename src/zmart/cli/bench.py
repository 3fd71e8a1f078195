"""Implement `zmart bench`: measure speeds as ratios to another server in the same run.

The benchmarks are in the folder bench of a checkout, not in the installed package.
"""

from __future__ import annotations

import json as json_module
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.errors import ConfigError

NAMES = ("indexer", "gateway", "websocket", "workers")
_QUICK = {"indexer": ("--events", "20000", "--growth", "50000", "--seconds", "5")}
"""Options of a short run, by benchmark; a benchmark without an entry gets `--quick`."""


def register(app: typer.Typer) -> None:
    """Add `zmart bench` to the root command."""
    app.command("bench")(bench)


@one_sentence
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"benchmarks to run: {', '.join(NAMES)} (default: all)")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="smaller data and shorter runs")] = False,
    checkout: Annotated[
        Path | None,
        typer.Option(help="gateway only: measure the gateway of another checkout, e.g. of an older commit"),
    ] = None,
) -> None:
    """Measure the speed of this project beside other servers in the same run, one benchmark after the other.

    Run it on an otherwise idle machine. It needs a checkout, Node.js with npm, and wrk for the gateway.

    indexer: events folded per second beside the bare insert of the same rows, how that changes with the data, memory,
    and how soon a webhook is answered and its rows are visible.

    gateway: reads of 500 different clients, from the database, cached, and mixed with writes; beside Express 4,
    Fastify 5 and a bare ASGI answer. For each: requests per second, p50, p99, ratios, and whether the goals are met.

    websocket: the live feed from COMMIT to up to 5,000 clients, beside Node's ws fed by LISTEN/NOTIFY and by logical
    replication; memory of idle connections, slow readers, a reconnect storm.

    workers: gateway and websocket with 1, 2 and 4 processes on one port, without a peer: requests and messages per
    second, and for each second of their processor time.
    """
    folder = _folder()
    selected = names or list(NAMES)
    unknown = [name for name in selected if name not in NAMES]
    if unknown:
        raise ConfigError(f"There is no benchmark {unknown[0]}: choose from {', '.join(NAMES)}.")
    if checkout is not None and selected != ["gateway"]:
        raise ConfigError("--checkout is an option of `zmart bench gateway`.")
    python = _python(folder)
    options = [*(["--json"] if json else []), *(["--checkout", str(checkout)] if checkout else [])]
    results = {name: _run(python, folder, name, options, json=json, quick=quick) for name in selected}
    if json:
        typer.echo(
            json_module.dumps({name: output for name, (_, output) in results.items() if output}, indent=2)
        )
    if any(status for status, _ in results.values()):
        raise typer.Exit(1)


def _python(folder: Path) -> str:
    """Return the Python that runs the benchmarks: an optimised CPython of the distribution if ours is a plain build.

    The packages that it needs are installed on first use.
    """
    typer.echo("Looking for an optimised CPython (its packages are installed the first time) ...", err=True)
    result = subprocess.run(
        [sys.executable, folder / "machine.py"], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def _run(
    python: str, folder: Path, name: str, options: Sequence[str], *, json: bool, quick: bool
) -> tuple[int, object]:
    shorter = _QUICK.get(name, ("--quick",)) if quick else ()
    command = [python, str(folder / f"{name}.py"), *options, *shorter]
    environment = {**os.environ, "PYTHONPATH": str(folder.parent / "src")}
    if not json:
        return subprocess.run(command, check=False, env=environment).returncode, None
    ran = subprocess.run(command, check=False, env=environment, stdout=subprocess.PIPE)
    return ran.returncode, json_module.loads(ran.stdout) if ran.returncode == 0 else None


def _folder() -> Path:
    """Return the folder of the benchmarks. Raises ConfigError outside of a checkout."""
    folder = Path(__file__).resolve().parents[3] / "bench"
    if not (folder / "gateway.py").exists():
        raise ConfigError(
            "The benchmarks are not part of the installed package: run `make bench` in a checkout of the source."
        )
    return folder
