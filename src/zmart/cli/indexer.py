"""Implement `zmart indexer backfill|rebuild|audit|reread|dead-letters`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.text_argument import accepted_text
from zmart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rich.progress import Progress

    from zmart.services.indexer.engine import Engine
    from zmart.store.pool import Pool

app = typer.Typer(no_args_is_help=True, help="Fill, rebuild and check the index.")
letters = typer.Typer(no_args_is_help=True, help="Manage transactions that could not be indexed.")
app.add_typer(letters, name="dead-letters")
_LAST_SLOT = 2**63 - 1
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Which = Annotated[
    str, typer.Argument(help="id or signature of a dead letter, signature of a waiting transaction, or `all`")
]


@app.command()
@one_sentence
def backfill(
    from_slot: Annotated[
        int | None,
        typer.Option(
            "--from",
            "--from-slot",
            min=0,
            max=_LAST_SLOT,
            help="first slot (default: where the last listing ended)",
        ),
    ] = None,
    to_slot: Annotated[
        int | None,
        typer.Option("--to", "--to-slot", min=0, max=_LAST_SLOT, help="last slot (default: the tip)"),
    ] = None,
    json: Json = False,
) -> None:
    """Find every transaction of the program that is not indexed yet, and index it. May run beside the service.

    If it is interrupted (Ctrl-C, kill -9), run the same command again: it continues.
    """
    from zmart.market.types import Slot
    from zmart.services.indexer.backfill import backfill as run

    if to_slot is not None and (from_slot is None or to_slot < from_slot):
        raise typer.BadParameter("--to requires a --from that is not greater")

    async def work(engine: Engine) -> None:
        first, last = (None if slot is None else Slot(slot) for slot in (from_slot, to_slot))
        with _bar(json) as bar:
            tasks = {what: bar.add_task(what, total=None, visible=False) for what in ("listing", "indexing")}
            done = await run(
                engine,
                first,
                last,
                lambda what, n, of: bar.update(tasks[what], completed=n, total=of, visible=True),
            )
        _print(done, json, f"{done.new_count} transactions found; complete through slot {done.gap_free_slot}")
        if done.dead:
            typer.echo(f"{done.dead} dead letters: see `zmart indexer dead-letters list`", err=True)
            raise typer.Exit(1)

    _with_engine(work)


@app.command()
@one_sentence
def rebuild(json: Json = False) -> None:
    """Compute every projection again from the stored events, and compare it byte by byte with the live one.

    Reads and indexing continue. Rows that differ are corrected and announced in the change feed; the exit status is 1
    then.
    """
    from zmart.chain.program import Program
    from zmart.local.addresses import stack_settings
    from zmart.services.indexer.projector import Projector
    from zmart.services.indexer.rebuild import rebuild as run
    from zmart.store import index_progress

    settings = stack_settings()
    program = Program.from_settings(settings)
    projector = Projector(program, settings.pricing_model)

    async def work(pool: Pool) -> None:
        await index_progress.of_program(pool, program.address)
        with _bar(json) as bar:
            task = bar.add_task("folding markets", total=None)
            done = await run(pool, projector, lambda n, of: bar.update(task, completed=n, total=of))
        counted = f"{done.markets} markets folded again, {sum(done.rows.values())} rows"
        wrong = [f"{table}: {n} rows were different" for table, n in done.different.items() if n]
        _print(done, json, "\n".join([f"{counted}; {'not equal' if wrong else 'all equal'}", *wrong]))
        if wrong:
            raise typer.Exit(1)

    _with_pool(work)


@app.command()
@one_sentence
def audit(json: Json = False) -> None:
    """Compare the index with the accounts on chain, field by field; exit status 1 if anything differs."""
    from zmart.services.indexer.audit import audit as run

    async def work(engine: Engine) -> None:
        report = await run(engine.pool, engine.rpc, engine.program, engine.pricing)
        counted = f"{report.markets} markets, {report.positions} positions, {report.votes} votes on chain"
        lines = [
            f"{d.kind} {d.account}: {d.field} is {d.index!r} here and {d.chain!r} on chain"
            for d in report.differences
        ]
        _print(report, json, "\n".join([*lines, f"{counted}; {len(lines)} differences"]))
        if report.differences:
            raise typer.Exit(1)

    _with_engine(work)


@app.command()
@one_sentence
def reread(json: Json = False) -> None:
    """Queue all transactions whose events could not be decoded, so that the indexer reads them again.

    Run this command after an update, or with another IDL.
    """
    from zmart.services.indexer.reread import reread as run

    async def work(engine: Engine) -> None:
        number = await run(engine)
        _print({"reread": number}, json, f"{number} transactions will be read again")

    _with_engine(work)


@letters.command("list")
@one_sentence
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="maximum number of rows")] = 100,
    json: Json = False,
) -> None:
    """List the transactions that could not be indexed (dead letters), the oldest first."""
    from zmart.store import dead_letters

    async def work(pool: Pool) -> None:
        rows = await dead_letters.page(pool, limit=limit)
        lines = [
            f"{one.id:>8}  {one.signature}  slot {one.slot}  {one.attempts} attempts  {one.last_error}"
            for one in rows
        ]
        _print(rows, json, "\n".join(lines) or "no dead letters")

    _with_pool(work)


@letters.command()
@one_sentence
def show(which: Annotated[str, typer.Argument(help="id or signature")], json: Json = False) -> None:
    """Show a dead letter with the payload that was delivered."""
    from zmart.store import dead_letters

    named = accepted_text("which", which)

    async def work(pool: Pool) -> None:
        one = await dead_letters.one(pool, named)
        payload = (one.payload or b"").decode(errors="replace")
        about = f"{one.signature} ({one.source}, slot {one.slot}): {one.last_error}"
        _print({"letter": one, "payload": payload}, json, f"{about}\n{payload}")

    _with_pool(work)


@letters.command()
@one_sentence
def replay(which: Which, json: Json = False) -> None:
    """Try to index dead letters again; a running indexer does it at once. Exit status 1 if there is none."""
    from zmart.store import dead_letters

    named = accepted_text("which", which)

    async def work(pool: Pool) -> None:
        number = await dead_letters.replay(pool, None if named == "all" else named)
        _print({"replayed": number}, json, f"{number} will be tried again")
        _none_is_an_error(number)

    _with_pool(work)


@letters.command()
@one_sentence
def drop(
    which: Which,
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
    json: Json = False,
) -> None:
    """Drop dead letters: their events stay missing from the index, and no alert is raised for them again."""
    from zmart.store import dead_letters

    named = accepted_text("which", which)
    if not yes:
        typer.confirm("These transactions will stay missing from the index. Continue?", abort=True)

    async def work(pool: Pool) -> None:
        number = await dead_letters.drop(pool, None if named == "all" else named)
        _print({"dropped": number}, json, f"{number} dropped")
        _none_is_an_error(number)

    _with_pool(work)


def _none_is_an_error(number: int) -> None:
    if number == 0:
        raise typer.Exit(1)


def _with_engine(work: Callable[[Engine], Coroutine[Any, Any, None]]) -> None:
    from zmart.local.addresses import stack_settings
    from zmart.services.indexer.engine import opened

    async def run() -> None:
        async with opened(stack_settings()) as engine:
            await work(engine)

    asyncio.run(run())


def _with_pool(work: Callable[[Pool], Coroutine[Any, Any, None]]) -> None:
    from zmart.local.addresses import database_url
    from zmart.store.pool import Pool

    async def run() -> None:
        pool = await Pool.open(database_url(), size=1)
        try:
            await work(pool)
        finally:
            await pool.close()

    asyncio.run(run())


def _print(value: object, json: bool, text: str) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode() if json else printable(text))


def _bar(quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def register(root: typer.Typer) -> None:
    """Add `zmart indexer` and its commands to the root command."""
    root.add_typer(app, name="indexer")
