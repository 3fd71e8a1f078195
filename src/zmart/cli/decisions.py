"""Implement `zmart aggregate`, `zmart finalize` and `zmart decisions`, and include `zmart intents`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli import intents
from zmart.cli.errors import one_sentence
from zmart.cli.intent_output import json_of, line_of, plain, with_pool
from zmart.cli.market_argument import HELP, indexed_market_id, market_ref
from zmart.cli.system_user import system_user
from zmart.cli.text_argument import accepted_text
from zmart.printable import printable

if TYPE_CHECKING:
    from zmart.decisions.context import DecisionContext
    from zmart.market.types import MarketId
    from zmart.settings import Settings
    from zmart.store.pool import Pool

    Work = Callable[[Settings, DecisionContext, MarketId | None], Awaitable[None]]

Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Market = Annotated[str | None, typer.Argument(help=f"{HELP} (default: all markets that are due)")]
_MAX_INTENTS = 1_000
_OTHERS_WITHIN_S = 30.0
_POLL_S = 0.3
decisions = typer.Typer(no_args_is_help=True, help="Review the results of disputes.")


@one_sentence
def aggregate(market: Market = None, json: Json = False) -> None:
    """Decide due proposals once, like the aggregator's next tick: count, record on chain, approve or reject."""
    from zmart.services.aggregator.service import Aggregator

    async def work(settings: Settings, context: DecisionContext, only: MarketId | None) -> None:
        service = Aggregator(settings, context, None)
        await service.decide_due(None if only is None else [only])
        await service.finish()

    _once(market, json, work)


@one_sentence
def finalize(
    market: Market = None,
    as_proposed: Annotated[
        bool,
        typer.Option(
            "--as-proposed",
            help="also if it is back in RESOLVING after a dispute: confirm the outcome that the votes rejected",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
    json: Json = False,
) -> None:
    """Finalize due markets once, like the monitor's next tick. Chain time determines what is due."""
    from zmart.errors import ConfigError
    from zmart.services.monitor.service import Monitor

    if as_proposed and market is None:
        raise ConfigError("--as-proposed is for one market: name it.")
    if as_proposed and not yes:
        typer.confirm(
            "The votes may have rejected the proposed outcome. Finalize the market by it?", abort=True
        )

    async def work(settings: Settings, context: DecisionContext, only: MarketId | None) -> None:
        service = Monitor(settings, context)
        await service.finalize_due(None if only is None else [only], against_votes=as_proposed)
        await service.finish()

    _once(market, json, work)


@decisions.command("release")
@one_sentence
def release(
    market: Annotated[str, typer.Argument(help=HELP)],
    note: Annotated[str, typer.Option(help="reason, stored with the release")],
    by: Annotated[str | None, typer.Option(help="name of the operator (default: the system's user)")] = None,
    json: Json = False,
) -> None:
    """Release a dispute whose result waits for review, or with DISPUTE_REVIEW=alert close the alert about it."""
    ref, reason = market_ref(market), accepted_text("note", note)
    operator = accepted_text("by", by or system_user())

    async def work(pool: Pool) -> None:
        from zmart.votes import reviews

        market_id = await indexed_market_id(pool, ref)
        released = await reviews.release(pool, market_id, f"command line: {operator}", reason)
        if json:
            typer.echo(json_of(released))
        else:
            typer.echo(f"released: the monitor's next tick settles the dispute of market {market_id}")

    with_pool(work)


@decisions.command("reviews")
@one_sentence
def list_reviews(json: Json = False) -> None:
    """List the reviews of disputes' results; those that still wait come first."""

    async def work(pool: Pool) -> None:
        from zmart.store import dispute_reviews

        reviews = await dispute_reviews.newest(pool)
        if json:
            typer.echo(json_of(reviews))
            return
        for row in reviews:
            state = "waits" if row.waits else f"released by {row.released_by}: {row.note}"
            line = f"{row.market_id} {row.raised_at:%Y-%m-%d %H:%M}Z {state}. {' '.join(row.reasons)}"
            typer.echo(printable(line))
        if not reviews:
            typer.echo("no reviews")

    with_pool(work)


def _once(market: str | None, json: bool, work: Work) -> None:
    from zmart.decisions.context import DecisionContext
    from zmart.errors import ConfigError
    from zmart.local import held_decisions
    from zmart.local.addresses import stack_settings

    ref = None if market is None else market_ref(market)

    async def run() -> bool:
        settings = stack_settings()
        if settings.hold_decisions:
            raise ConfigError(
                "HOLD_DECISIONS is set, here or where the stack was started, so nothing is decided: unset it first."
            )
        home = settings.zmart_home
        if held_decisions.is_held(home) and held_decisions.concerns(home, settings.require("database_url")):
            raise ConfigError(
                f"{held_decisions.HELD} Where no stack runs, delete {held_decisions.mark_of(home)}."
            )
        context = await DecisionContext.open(settings)
        try:
            only = None if ref is None else await indexed_market_id(context.pool, ref)
            return await _report(context, only, json, lambda: work(settings, context, only))
        finally:
            await context.aclose()

    if not asyncio.run(run()):
        raise typer.Exit(1)


async def _report(
    context: DecisionContext, only: MarketId | None, json: bool, work: Callable[[], Awaitable[None]]
) -> bool:
    """Run `work`, and print the intents whose state it changed and the jobs that are still open.

    With a market `only`, its jobs are first made due, and what another process is doing about it is waited for. Returns
    False if an open job fails.
    """
    from zmart.store import intents as store
    from zmart.store import market_work

    pool = context.pool
    before = {row.id: row.state for row in await store.recent(pool, _MAX_INTENTS, market_id=only)}
    if only is None:
        await work()
    else:
        await context.market(only)
        await _work_alone(context, only, work)
    after = await store.recent(pool, _MAX_INTENTS, market_id=only)
    changed = [row for row in after if before.get(row.id) is not row.state]
    open_jobs = await (market_work.everything(pool) if only is None else market_work.of_market(pool, only))
    if json:
        typer.echo(json_of({"intents": [plain(row) for row in changed], "open": open_jobs}))
    else:
        lines = [line_of(row) for row in changed]
        lines += [
            f"{job.market_id} {job.job.value}: {job.status} {job.last_error or ''}".rstrip()
            for job in open_jobs
        ]
        typer.echo(printable("\n".join(lines)) if lines else "nothing was due")
    return all(job.status != "failing" for job in open_jobs)


async def _work_alone(
    context: DecisionContext, market_id: MarketId, work: Callable[[], Awaitable[None]]
) -> None:
    """Run `work` on a market whose jobs are made due, after other processes have executed its intents, for which it
    waits 30 s at most. Run it again, at most twice, if a job still has a failure from before.
    """
    from zmart.store import market_work

    deadline = time.monotonic() + _OTHERS_WITHIN_S
    for _ in range(3):
        await _wait_for_others(context, market_id, deadline)
        attempted = {
            job.job: job.last_attempt_at for job in await market_work.of_market(context.pool, market_id)
        }
        await market_work.without_pause(context.pool, market_id)
        await work()
        jobs = await market_work.of_market(context.pool, market_id)
        is_old = any(
            job.status == "failing" and job.last_attempt_at == attempted.get(job.job) for job in jobs
        )
        if not is_old:
            return
        await asyncio.sleep(_POLL_S)


async def _wait_for_others(context: DecisionContext, market_id: MarketId, deadline: float) -> None:
    """Wait until no other process executes an intent of the market, or until `deadline` of the monotonic clock."""
    from zmart.store import intents as store

    assert context.claims is not None  # of a context that was opened
    for row in await store.recent(context.pool, _MAX_INTENTS, market_id=market_id):
        while not row.state.is_done and not await context.claims.is_free(row.id):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_POLL_S)


def register(root: typer.Typer) -> None:
    """Add `zmart aggregate`, `zmart finalize`, `zmart intents` and `zmart decisions` to the root command."""
    root.command()(aggregate)
    root.command()(finalize)
    root.add_typer(intents.app, name="intents")
    root.add_typer(decisions, name="decisions")
