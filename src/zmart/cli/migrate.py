"""Implement `zmart migrate up|rollback|status`, which change and show the schema of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import one_sentence

if TYPE_CHECKING:
    from zmart.store.migrate import SchemaStatus

app = typer.Typer(no_args_is_help=True, help="Update, revert or inspect the database's schema.")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def _url() -> str:
    from zmart.local.addresses import database_url

    return database_url()


@app.command()
@one_sentence
def up(json: Json = False) -> None:
    """Run every migration that the database lacks. If it lacks none, nothing changes.

    Services may run meanwhile: a migration that waits for a lock of theirs is tried again, for a minute.
    """
    from zmart.store import migrate

    _show(migrate.upgrade(_url()), json)


@app.command()
@one_sentence
def rollback(
    to: Annotated[str, typer.Option(help="a revision, -1 for one step, or base for an empty schema")] = "-1",
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
    json: Json = False,
) -> None:
    """Revert the newest migration, or all migrations after the one of --to. Their tables are dropped with all rows."""
    from zmart.store import migrate

    if not yes:
        typer.confirm("This drops tables with their rows. Continue?", abort=True)
    _show(migrate.rollback(_url(), to), json)


@app.command()
@one_sentence
def status(json: Json = False) -> None:
    """Print the revision of the database, and the newest revision of this version.

    Exit status 1 if this version does not work in the database: its schema is older, or newer without what this version
    needs, or was made by other migrations.
    """
    import asyncio

    from zmart.store import migrate

    schema = asyncio.run(migrate.status(_url()))
    _show(schema, json)
    if not schema.works:
        raise typer.Exit(1)


def _state(schema: SchemaStatus) -> str:
    if schema.is_newer:
        return "newer, and this version works on it"
    return "up to date" if schema.up_to_date else schema.problem or "run `zmart migrate up`"


def _show(schema: object, json: bool) -> None:
    import msgspec

    from zmart.store.migrate import SchemaStatus

    assert isinstance(schema, SchemaStatus)
    if json:
        typer.echo(msgspec.json.encode(schema))
    else:
        state = _state(schema)
        typer.echo(f"database: {schema.current or 'empty'}, newest: {schema.head} ({state})")


def register(root: typer.Typer) -> None:
    """Add `zmart migrate` and its commands to the root command."""
    root.add_typer(app, name="migrate")
