"""Implement `zmart up|stop|restart|ps|monit|logs|doctor|setup`, the commands of the local stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zmart.cli.errors import needs_local_stack, one_sentence
from zmart.cli.hold_decisions import HoldOrRelease

Json = Annotated[bool, typer.Option("--json", help="print JSON for a script")]


def _names(beginning: str) -> list[str]:
    """Return the names of processes that begin with `beginning`, for completion in a shell."""
    from zmart.services.contract import SERVICES

    processes = ("postgres", "valkey", "chain", "providers", *SERVICES)
    return [name for name in processes if name.startswith(beginning)]


def _names_and_all(beginning: str) -> list[str]:
    return [*_names(beginning), *(["all"] if "all".startswith(beginning) else [])]


@needs_local_stack
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="start in the background")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="delete all data of an earlier stack first; backups stay")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="play a market's whole life once the stack is ready")
    ] = False,
    hold_decisions: HoldOrRelease = None,
    json: Json = False,
) -> None:
    """Start everything on this machine and wait until it is ready; Ctrl-C stops it.

    PostgreSQL, Valkey, a Solana chain and stand-ins for Pinata and Helius are embedded, unless DATABASE_URL,
    REDIS_URL, SOLANA_RPC_URL or the keys of those services are set.

    Decisions that a restore or --hold-decisions holds are held by each later start until --release-decisions.
    """
    from zmart.cli.stack_up import run

    raise typer.Exit(run(detach=detach, fresh=fresh, hold=hold_decisions, demo=demo, as_json=json))


@needs_local_stack
def stop(
    every: Annotated[
        bool,
        typer.Option("--all", help="every stack that this installation started, whatever its ZMART_HOME"),
    ] = False,
) -> None:
    """Stop the stack of ZMART_HOME, no matter in which terminal or folder it was started."""
    from zmart.local.process_group import homes_of, members
    from zmart.local.startup import stop_stack

    if every:
        for home in homes_of(Path(sys.prefix)):
            stop_stack(home)
            typer.echo(f"Stopped the stack in {home}.")
        return
    home = _home()
    if not members(home):
        typer.echo("No stack runs here.")
        return
    stop_stack(home)
    typer.echo("Stopped.")


@needs_local_stack
def restart(
    service: Annotated[
        str,
        typer.Argument(
            help="a name from `zmart ps`, or `all` for the six services", autocompletion=_names_and_all
        ),
    ],
) -> None:
    """Restart one process, or all services. No data is lost."""
    from zmart.cli.stack_output import full_names
    from zmart.local.held_decisions import HELD, is_held, require_holding
    from zmart.local.stack import supervisor_of
    from zmart.local.stack_locks import working

    supervisor = supervisor_of(home := _home())
    names = full_names(supervisor, service)
    if is_held(home) and {"services:aggregator", "services:monitor"} & set(names):
        require_holding(home)
    with working(home, alone=False):
        supervisor.stop(*names)
        supervisor.start(*names)
    typer.echo(f"Restarted {', '.join(name.partition(':')[2] for name in names)}.")
    if is_held(home):
        typer.echo(HELD)


@needs_local_stack
def ps(json: Json = False) -> None:
    """Show every process: state, uptime, restarts, memory, and whether it is ready or why not.

    Exit status 1 if a process does not run or is not ready.
    """
    from zmart.cli.stack_output import print_processes

    raise typer.Exit(print_processes(_home(), as_json=json))


@needs_local_stack
def monit(
    every: Annotated[float, typer.Option(help="refresh interval in seconds", min=0.2, max=86_400)] = 1.0,
) -> None:
    """Show the processes like `zmart ps`, and refresh the view; Ctrl-C ends the view, not the stack."""
    from zmart.cli.stack_output import watch

    watch(_home(), every)


@needs_local_stack
def logs(
    service: Annotated[
        str, typer.Argument(help="a name from `zmart ps` (default: all)", autocompletion=_names)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep printing new lines")] = False,
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", help="number of last lines to print of each process", min=0, max=1_000_000
        ),
    ] = 50,
    level: Annotated[str, typer.Option("--level", help="lines of this level or above: warning, error")] = "",
    market: Annotated[str, typer.Option("--market", help="lines that name this market")] = "",
    request: Annotated[str, typer.Option("--request", help="lines of the request with this id")] = "",
) -> None:
    """Print the last lines that the processes logged, in the order of time; -f keeps printing new ones."""
    from zmart.cli.log_filter import checked
    from zmart.cli.stack_logs import show

    show(_home() / "logs", service, lines, checked(level, market, request), follow=follow)


@one_sentence
def doctor(json: Json = False) -> None:
    """Check settings, programs, ports, disk and a running stack; exit status 1 if anything is wrong."""
    from zmart.cli.findings import print_findings
    from zmart.local.doctor import examine

    raise typer.Exit(print_findings(examine(), as_json=json))


@needs_local_stack
def setup() -> None:
    """Install the native addon that the local chain needs, pinned by its hash, into ZMART_HOME."""
    from zmart.local.chain import node
    from zmart.local.processes import private_folder
    from zmart.local.stack import addon_folder
    from zmart.settings import settings

    private_folder(settings().zmart_home)
    folder = addon_folder(settings())
    if not node.is_installed(folder):  # npm is silent while it waits for a registry
        typer.echo(f"npm installs the local chain into {folder} ...", err=True)
    done = node.is_installed(folder) or node.install(folder, node.find_node(settings().local_node_bin))
    typer.echo(f"The local chain is installed in {folder}." if done else f"{folder} is complete.")


def _home() -> Path:
    from zmart.local.processes import require_readable
    from zmart.settings import settings

    return require_readable(settings().zmart_home.resolve())


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the root command."""
    for command in (up, stop, restart, ps, monit, logs, doctor, setup):
        app.command()(command)
