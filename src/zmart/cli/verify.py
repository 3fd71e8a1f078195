"""`zmart verify ...`: check what this backend says, with an RPC and a copy of its data; no trust needed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.intent_views import json_of, market_id_of

if TYPE_CHECKING:
    from zmart.market.types import MarketId
    from zmart.proofs.verify_tally import TallyReport
    from zmart.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Check what this backend says, without trusting it.")
_MARKS = {"holds": "ok  ", "note": "note", "broken": "BAD "}


@app.command()
@one_sentence
def tally(
    market: Annotated[str, typer.Argument(help="the market's id, 64 hex characters")],
    api: Annotated[
        str | None, typer.Option(help="take the log from this API (default: PUBLIC_API_URL)")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="take the log from a file, as GET /api/votes/<market>/log answers")
    ] = None,
    database: Annotated[bool, typer.Option("--database", help="take the log from DATABASE_URL")] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Count a market's votes again and compare with the chain: signatures, one vote per wallet, counts, root.

    Exit status 0: every tally on chain holds; 1: something is broken, or there is no tally to check.
    """
    from zmart.errors import NotFound

    market_id = market_id_of(market)
    reports = asyncio.run(_reports(market_id, api, file, database))
    if not reports:
        raise NotFound(f"No tally of market {market_id} is on chain yet.")
    if json:
        typer.echo(json_of([{**_fields(report), "holds": report.holds} for report in reports]))
    else:
        for report in reports:
            _print(report)
    if not all(report.holds for report in reports):
        raise typer.Exit(1)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="verify")


async def _reports(
    market_id: MarketId, api: str | None, file: Path | None, database: bool
) -> list[TallyReport]:
    from zmart.chain.program import Program
    from zmart.chain.rpc import Rpc
    from zmart.local.addresses import stack_settings
    from zmart.proofs import log_sources
    from zmart.proofs.tally_evidence import gather
    from zmart.proofs.verify_tally import verify_tally

    settings = stack_settings()
    async with Rpc.from_settings(settings) as rpc:
        evidence = await gather(rpc, Program.from_settings(settings), market_id)
    if not evidence.anchors:
        return []
    if file is not None:
        log = log_sources.from_file(file, market_id)
    elif database:
        log = await log_sources.from_database(settings.require("database_url"), market_id)
    else:
        log = await log_sources.from_api(api or _api(settings), market_id)
    return [verify_tally(evidence, anchor, log) for anchor in evidence.anchors.values()]


def _api(settings: Settings) -> str:
    return settings.public_api_url or f"http://{settings.bind_host}:{settings.api_port}"


def _fields(report: TallyReport) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(report)
    return fields


def _print(report: TallyReport) -> None:
    counts = f"{report.tally.votes_for} for, {report.tally.votes_against} against"
    typer.echo(f"{report.kind.value} votes: {counts}, transaction {report.transaction}")
    for finding in report.findings:
        typer.echo(f"  {_MARKS[finding.verdict.value]} {finding.text}")
    typer.echo("  The tally holds." if report.holds else "  THE TALLY DOES NOT HOLD.")
