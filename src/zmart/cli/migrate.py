"""`zmart migrate up|rollback|status`: the database's schema."""

from __future__ import annotations

from typing import Annotated

import typer

from zmart.cli.errors import one_sentence

app = typer.Typer(no_args_is_help=True, help="Bring the database's schema up to date, take it back, or look.")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def _url() -> str:
    from zmart.local.addresses import database_url

    return database_url()


@app.command()
@one_sentence
def up(json: Json = False) -> None:
    """Run every migration that the database lacks; harmless when there is none."""
    from zmart.store import migrate

    _show(migrate.upgrade(_url()), json)


@app.command()
@one_sentence
def rollback(
    to: Annotated[str, typer.Option(help="a revision, -1 for one step, or base for an empty schema")] = "-1",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    json: Json = False,
) -> None:
    """Take back the newest migration (its tables and their rows go)."""
    from zmart.store import migrate

    if not yes:
        typer.confirm("This drops tables with their rows. Go on?", abort=True)
    _show(migrate.rollback(_url(), to), json)


@app.command()
@one_sentence
def status(json: Json = False) -> None:
    """Print which revision the database has and which is the newest; exit status 1 if they differ."""
    import asyncio

    from zmart.store import migrate

    found = asyncio.run(migrate.status(_url()))
    _show(found, json)
    if not found.up_to_date:
        raise typer.Exit(1)


def _show(found: object, json: bool) -> None:
    import msgspec

    from zmart.store.migrate import Status

    assert isinstance(found, Status)
    if json:
        typer.echo(msgspec.json.encode({"current": found.current, "head": found.head}))
    else:
        state = "up to date" if found.up_to_date else "run `zmart migrate up`"
        typer.echo(f"database: {found.current or 'empty'}, newest: {found.head} ({state})")


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="migrate")
