"""Implement `zmart migrate up|rollback|status`: the database's schema."""

from __future__ import annotations

from typing import Annotated

import typer

from zmart.cli.errors import one_sentence

app = typer.Typer(no_args_is_help=True, help="Update, revert or inspect the database's schema.")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def _url() -> str:
    from zmart.local.addresses import database_url

    return database_url()


@app.command()
@one_sentence
def up(json: Json = False) -> None:
    """Run every migration that the database lacks; harmless if there is none."""
    from zmart.store import migrate

    _show(migrate.upgrade(_url()), json)


@app.command()
@one_sentence
def rollback(
    to: Annotated[str, typer.Option(help="a revision, -1 for one step, or base for an empty schema")] = "-1",
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
    json: Json = False,
) -> None:
    """Revert the newest migration. Its tables are dropped with their rows."""
    from zmart.store import migrate

    if not yes:
        typer.confirm("This drops tables with their rows. Continue?", abort=True)
    _show(migrate.rollback(_url(), to), json)


@app.command()
@one_sentence
def status(json: Json = False) -> None:
    """Print the database's revision and the newest one; exit status 1 if they differ, or if other migrations made the
    database."""
    import asyncio

    from zmart.store import migrate

    schema = asyncio.run(migrate.status(_url()))
    _show(schema, json)
    if not schema.up_to_date:
        raise typer.Exit(1)


def _show(schema: object, json: bool) -> None:
    import msgspec

    from zmart.store.migrate import SchemaStatus

    assert isinstance(schema, SchemaStatus)
    if json:
        typer.echo(msgspec.json.encode(schema))
    else:
        state = "up to date" if schema.up_to_date else schema.problem or "run `zmart migrate up`"
        typer.echo(f"database: {schema.current or 'empty'}, newest: {schema.head} ({state})")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="migrate")
