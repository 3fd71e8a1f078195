"""Implement `zmart intents list|show|resolve`: planned effects on chain and their outcomes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.intent_output import json_of, line_of, plain, with_pool
from zmart.cli.market_argument import HELP, indexed_market_id, market_ref
from zmart.cli.text_argument import accepted_text

if TYPE_CHECKING:
    from zmart.store.pool import Pool

app = typer.Typer(no_args_is_help=True, help="List and resolve planned effects on chain.")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
IntentId = Annotated[UUID, typer.Argument(help="the intent's id, from `zmart intents list`")]


class IntentStateName(StrEnum):
    """The states of an intent, as values of the option --state."""

    planned = "planned"
    signed = "signed"
    sent = "sent"
    landed = "landed"
    already_done = "already_done"
    dead = "dead"
    failed = "failed"
    uncertain = "uncertain"


class ResolvedState(StrEnum):
    """The outcomes of an uncertain intent that a person can find out, as values of the option --as."""

    landed = "landed"
    already_done = "already_done"
    dead = "dead"


@app.command("list")
@one_sentence
def list_intents(
    state: Annotated[IntentStateName | None, typer.Option(help="only this state, such as uncertain")] = None,
    market: Annotated[str | None, typer.Option(help=f"only this market: {HELP}")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="maximum number of rows")] = 50,
    json: Json = False,
) -> None:
    """List the newest intents, which are planned effects on chain."""
    ref = None if market is None else market_ref(market)

    async def work(pool: Pool) -> None:
        from zmart.store import intents

        requested = None if state is None else intents.IntentState(state.value)
        market_id = None if ref is None else await indexed_market_id(pool, ref)
        rows = await intents.recent(pool, limit, state=requested, market_id=market_id)
        if json:
            typer.echo(json_of([plain(row) for row in rows]))
        else:
            typer.echo("\n".join(line_of(row) for row in rows) if rows else "no intents")

    with_pool(work)


@app.command()
@one_sentence
def show(intent: IntentId, json: Json = False) -> None:
    """Show an intent with every signature that was made for it."""

    async def work(pool: Pool) -> None:
        from zmart.store import intents

        row = await intents.one(pool, intent)
        signatures = await intents.signatures(pool, intent)
        if json:
            typer.echo(json_of({**plain(row), "signatures": signatures}))
            return
        typer.echo(line_of(row))
        typer.echo(f"  arguments: {json_of(row.arguments)}")
        for made in signatures:
            typer.echo(
                f"  signing {made.attempt} at {made.signed_at:%Y-%m-%d %H:%M:%S}: {made.signature}, valid through "
                f"block {made.last_valid_block_height}: {made.verdict or 'not judged'}"
            )

    with_pool(work)


@app.command()
@one_sentence
def resolve(
    intent: IntentId,
    outcome: Annotated[
        ResolvedState, typer.Option("--as", help="dead: it never landed and may be signed again")
    ],
    reason: Annotated[str, typer.Option(help="what you found, stored with the intent")],
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
) -> None:
    """Record the outcome of an intent that could not be judged (state uncertain)."""
    finding = accepted_text("reason", reason)
    if outcome is ResolvedState.dead and not yes:
        typer.confirm(
            "If a signature did land, the effect may be sent twice. Are all of them dead?", abort=True
        )

    async def work(pool: Pool) -> None:
        from zmart.decisions.findings import resolve_intent
        from zmart.store.intents import IntentState

        typer.echo(line_of(await resolve_intent(pool, intent, IntentState(outcome.value), finding)))

    with_pool(work)
