"""Define the `zmart` command. Each module of this package defines one group of its commands."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

# Each module registers its own commands. A command imports most modules only when it runs.
MODULES = (
    "run",
    "migrate",
    "stack",
    "servers",
    "clock",
    "backup",
    "stack_rollback",
    "demo",
    "indexer",
    "decisions",
    "verify",
    "votes",
    "snapshots",
    "webhook",
    "openapi",
    "bench",
)

app = typer.Typer(
    name="zmart",
    no_args_is_help=True,
    help="The backend of ZMART, a prediction market on Solana.",
)


def _print_release(is_given: bool) -> None:
    if is_given:
        from zmart.version import release

        typer.echo(f"zmart {release()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_release, is_eager=True, help="print the version and its commit"
        ),
    ] = False,
) -> None:
    """The backend of ZMART, a prediction market on Solana."""
    from zmart.cli.command_logs import configure_command

    configure_command()


def main() -> None:
    """Run the `zmart` command. For `zmart run` no other command is defined: that saves a tenth of a service's start."""
    for name in ("run",) if sys.argv[1:2] == ["run"] else MODULES:
        import_module(f"zmart.cli.{name}").register(app)
    app()
