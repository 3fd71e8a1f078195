"""Implement `zmart rollback`, which rolls back code and migrations of a local stack together."""

from __future__ import annotations

from typing import Annotated

import typer

from zmart.cli.errors import needs_local_stack


@needs_local_stack
def rollback(
    to: Annotated[
        str, typer.Option(help="the commit of a release that ran here (default: the one before)")
    ] = "",
    plan: Annotated[bool, typer.Option("--plan", help="only say what would be done")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
) -> None:
    """Roll the running stack back to the release that ran before: start its code, and revert the migrations since.

    If the command is killed at any moment, run the same command again: it continues.
    """
    from zmart.cli.backup import bundled_programs
    from zmart.local.addresses import database_url
    from zmart.local.held_decisions import starts_held
    from zmart.local.processes import require_readable
    from zmart.local.releases import release_before, this_release
    from zmart.local.rollback import progress_of, roll_back
    from zmart.settings import settings

    home = require_readable(settings().zmart_home.resolve())
    begun = progress_of(home)
    target = begun.target if begun else release_before(home, to)
    this = this_release()
    typer.echo(f"From {this.name}, schema {this.schema}, to {target.name}, schema {target.schema}:")
    typer.echo(f"  1. stop the services\n  2. back up the database into {home / 'backups'}")
    if this.schema > target.schema:
        typer.echo(
            f"  3. revert the migrations after {target.schema}: what they added is dropped with its rows"
        )
    else:
        typer.echo("  3. revert no migration: the schema is the same")
    typer.echo("  4. ask the older release whether it knows the database; if not, all is put back")
    held = ", with its decisions held as now" if starts_held(home) else ""
    typer.echo(f"  5. stop the stack and start the older release, in the background{held}")
    if plan:
        return
    if not yes:
        typer.confirm("Continue?", abort=True)
    backup = roll_back(home, database_url(), target, bundled_programs(), typer.echo)
    typer.echo(f"{target.name} runs. The backup of before: {backup}")


def register(app: typer.Typer) -> None:
    """Add `zmart rollback` to the root command."""
    app.command()(rollback)
