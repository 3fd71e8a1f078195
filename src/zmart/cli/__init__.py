"""Define the `zmart` command: one module per group of commands."""

from __future__ import annotations

from importlib import import_module

import typer

# Each module registers its own commands; they import what they need only when they run.
MODULES = (
    "run",
    "migrate",
    "stack",
    "servers",
    "clock",
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
    add_completion=False,
    help="The backend of ZMART, a prediction market on Solana.",
)


@app.callback()
def root() -> None:
    """The backend of ZMART, a prediction market on Solana."""


def main() -> None:
    """Run the `zmart` command."""
    for name in MODULES:
        import_module(f"zmart.cli.{name}").register(app)
    app()
