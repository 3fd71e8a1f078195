"""Implement `zmart verify tally` and `zmart verify log`: check this backend's statements without trusting it.

The checks need an RPC of the chain and a copy of the log of votes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.intent_output import json_of
from zmart.cli.market_argument import HELP, market_id_on_chain, market_ref
from zmart.cli.output_file import write_file
from zmart.cli.url_argument import base_url
from zmart.printable import printable

if TYPE_CHECKING:
    from zmart.market.types import MarketId
    from zmart.proofs.verify_receipts import ReceiptsReport
    from zmart.proofs.verify_tally import TallyReport
    from zmart.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Check this backend's statements without trusting it.")
Market = Annotated[str, typer.Argument(help=HELP)]
Api = Annotated[str | None, typer.Option(help="read the log from this API (default: PUBLIC_API_URL)")]
Database = Annotated[bool, typer.Option("--database", help="read the log from DATABASE_URL")]


@app.command()
@one_sentence
def tally(
    market: Market,
    api: Api = None,
    file: Annotated[
        Path | None, typer.Option(help="read the log from a file that `zmart verify log` saved")
    ] = None,
    cid: Annotated[str | None, typer.Option(help="read the saved log with this CID from IPFS")] = None,
    gateway: Annotated[str | None, typer.Option(help="an IPFS gateway (default: IPFS_GATEWAY_URL)")] = None,
    database: Database = False,
    receipt: Annotated[
        list[Path] | None, typer.Option(help="also check this receipt of a vote (a file; may be repeated)")
    ] = None,
    voter_list: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="the signed list of the rule `listed`, from a file (default: from IPFS)",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Count a market's votes again and compare with the chain: signatures, eligibility, one vote per wallet, counts,
    root.

    Exit status 0: every tally on chain, and every receipt, holds; 1: something is broken, or there is neither a
    tally nor a receipt to check.
    """
    from zmart.errors import NotFound

    api, gateway = base_url("api", api), base_url("gateway", gateway)
    market_id = _market_id(market)
    source = _Source(market_id, api, file, cid, gateway, database)
    saved_list = None if voter_list is None else _saved_list(voter_list)
    reports, receipts = asyncio.run(_reports(source, receipt or [], saved_list))
    if not reports and receipts is None:
        raise NotFound(f"No tally of market {market} is on chain yet.")
    printed: list[TallyReport | ReceiptsReport] = [*reports]
    if receipts is not None:
        printed.append(receipts)
    if json:
        typer.echo(json_of([{**_fields(report), "holds": report.holds} for report in printed]))
    else:
        for report in printed:
            _print(report)
    if not all(report.holds for report in printed):
        raise typer.Exit(1)


@app.command()
@one_sentence
def log(
    market: Market,
    file: Annotated[Path, typer.Argument(help="where to save it")],
    api: Api = None,
    database: Database = False,
    pin: Annotated[
        bool, typer.Option("--pin", help="also pin it to IPFS, with PINATA_JWT or its keys")
    ] = False,
) -> None:
    """Save a market's vote log as a file and print its CID. The same log always gives the same file."""
    from zmart.ipfs.cid import cid_of
    from zmart.proofs.log_sources import as_file

    api = base_url("api", api)
    market_id = _market_id(market)
    entries = asyncio.run(_Source(market_id, api, None, None, None, database).read())
    saved = as_file(entries, market_id)
    write_file(file, saved)
    if pin:
        asyncio.run(_pin(saved, file.name))
    typer.echo(f"{cid_of(saved, 1)}  {len(entries)} entries, {len(saved)} bytes")


def _saved_list(path: Path) -> bytes:
    from zmart.bounded_files import read_at_most
    from zmart.errors import Invalid
    from zmart.proofs.voter_list import MAX_BYTES

    try:
        return read_at_most(path, MAX_BYTES)
    except OSError as problem:
        raise Invalid("voter-list", f"{path} cannot be read ({problem.strerror}).") from None


def _market_id(market: str) -> MarketId:
    from zmart.local.addresses import stack_settings

    return asyncio.run(market_id_on_chain(stack_settings(), market_ref(market)))


def register(root: typer.Typer) -> None:
    """Add `zmart verify` and its commands to the root command."""
    root.add_typer(app, name="verify")


@dataclass(frozen=True)
class _Source:
    """The source of a market's log of votes: the first given of file, CID and database; else the API."""

    market_id: MarketId
    api: str | None
    file: Path | None
    cid: str | None
    gateway: str | None
    database: bool

    async def read(self) -> list[bytes]:
        from zmart.local.addresses import stack_settings
        from zmart.proofs import log_sources
        from zmart.votes.vote_log import read_log

        settings = stack_settings()
        if self.file is not None:
            return log_sources.from_file(self.file, self.market_id)
        if self.cid is not None:
            gateway = self.gateway or settings.ipfs_gateway_url
            return await log_sources.from_ipfs(gateway, self.cid, self.market_id)
        if self.database:
            return await read_log(settings.require("database_url"), self.market_id)
        return await log_sources.from_api(self.api or _api(settings), self.market_id)


async def _reports(
    source: _Source, receipt_files: list[Path], saved_list: bytes | None
) -> tuple[list[TallyReport], ReceiptsReport | None]:
    from zmart.chain.program import Program
    from zmart.chain.rpc import Rpc
    from zmart.local.addresses import stack_settings
    from zmart.proofs.tally_evidence import gather
    from zmart.proofs.verify_receipts import ReceiptsReport, read_receipt, verify_receipts
    from zmart.proofs.verify_tally import verify_tally
    from zmart.proofs.voter_evidence import facts_about_voters

    receipts = [read_receipt(path) for path in receipt_files]
    settings = stack_settings()
    program, gateway = Program.from_settings(settings), source.gateway or settings.ipfs_gateway_url
    async with Rpc.from_settings(settings) as rpc:
        evidence = await gather(rpc, program, source.market_id)
        if not evidence.anchors and not receipts:
            return [], None
        entries = await source.read()
        reports = [
            verify_tally(
                evidence,
                anchor,
                entries,
                await facts_about_voters(rpc, program, evidence, anchor, entries, gateway, saved_list),
            )
            for anchor in evidence.anchors.values()
        ]
    if not receipts:
        return reports, None
    authority = evidence.config.backend_authority
    rules = {
        kind: anchor.memo.rule
        for kind, anchor in evidence.anchors.items()
        if anchor.memo and anchor.memo.rule
    }
    findings = verify_receipts(receipts, entries, evidence.program, source.market_id, authority, rules)
    return reports, ReceiptsReport(len(receipts), findings)


async def _pin(saved: bytes, name: str) -> None:
    from zmart.ipfs.pinata import PinataClient
    from zmart.local.addresses import stack_settings

    async with PinataClient.from_settings(stack_settings()) as pins:
        await pins.pin(saved, name)


def _api(settings: Settings) -> str:
    return settings.public_api_url or f"http://{settings.bind_host}:{settings.api_port}"


def _fields(report: TallyReport | ReceiptsReport) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(report)
    return fields


def _print(report: TallyReport | ReceiptsReport) -> None:
    typer.echo(printable(report.title))
    for finding in report.findings:
        typer.echo(printable(f"  {finding.line}"))
    typer.echo(printable(f"  {report.verdict}"))
