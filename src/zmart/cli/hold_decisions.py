"""Define the options of the commands that start services about holding decisions."""

from __future__ import annotations

import os
from typing import Annotated

import typer

HoldDecisions = Annotated[
    bool,
    typer.Option(
        "--hold-decisions", help="aggregator, monitor: decide nothing, as after a restore (HOLD_DECISIONS)"
    ),
]
HoldOrRelease = Annotated[
    bool | None,
    typer.Option(
        "--hold-decisions/--release-decisions",
        help="aggregator, monitor: decide nothing, as after a restore, until a start that releases them",
        show_default=False,
    ),
]


def hold(is_given: bool) -> None:
    """Set HOLD_DECISIONS for this process and the processes that it starts, if the option was given."""
    if is_given:
        os.environ["HOLD_DECISIONS"] = "true"
