"""The `zmart` command: one module per group of commands."""

from __future__ import annotations

import typer

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
    """Entry point of the `zmart` script."""
    app()
