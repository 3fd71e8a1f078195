"""Implement `zmart snapshot`, which takes snapshots, and `zmart verify snapshot`.

The latter checks a snapshot and its predecessors without trusting this backend.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.market_argument import HELP
from zmart.cli.url_argument import base_url, http_url
from zmart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from zmart.proofs.snapshot import MarketSnapshot
    from zmart.proofs.verify_snapshot import SnapshotReport
    from zmart.proofs.verify_tally import ProofFinding
    from zmart.services.snapshots.runs import SnapshotResult

Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@one_sentence
def snapshot(
    market: Annotated[str | None, typer.Option(help=f"{HELP} (default: all markets)")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="day of the snapshot (default: today, UTC)"),
    ] = None,
    json: Json = False,
) -> None:
    """Take the day's snapshots, pin them to IPFS and read them back. If they exist already, nothing changes.

    Exit status 1 if a snapshot could not be pinned or read back; the snapshots service retries it.
    """
    results = asyncio.run(_take(market, day.date() if day else None, quiet=json))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(results))
    else:
        for each in results:
            word = "new" if each.is_new else "unchanged"
            line = f"{each.market_id}  {each.cid}  {word}, {each.error or 'pinned and read back'}"
            typer.echo(printable(line))
        typer.echo(f"{len(results)} snapshot(s).")
    if not all(each.verified for each in results):
        raise typer.Exit(1)


@one_sentence
def verify(
    cid: Annotated[str, typer.Argument(help="the snapshot's CID")],
    gateway: Annotated[str | None, typer.Option(help="an IPFS gateway (default: IPFS_GATEWAY_URL)")] = None,
    rpc: Annotated[str | None, typer.Option(help="also compare with the chain, through this RPC")] = None,
    api: Annotated[
        str | None, typer.Option(help="also compare with the log of votes, as this API has it")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="the same with a file that `zmart verify log` saved")
    ] = None,
    history: Annotated[
        int, typer.Option(min=1, max=10_000, help="maximum number of snapshots to check")
    ] = 10,
    json: Json = False,
) -> None:
    """Fetch a snapshot and its predecessors from a gateway and check them: CIDs, canonical form, nothing removed.

    If a predecessor cannot be fetched, this is reported and the check ends there.

    Exit status 0: every requested check holds; 1: something is broken, or could not be checked.
    """
    import msgspec

    compared = _Compared(http_url("rpc", rpc), base_url("api", api), log)
    reports = asyncio.run(_verify(cid, base_url("gateway", gateway), compared, history))
    if json:
        typer.echo(
            msgspec.json.encode([{**msgspec.to_builtins(each), "holds": each.holds} for each in reports])
        )
    else:
        for each in reports:
            _print(each)
    if not all(each.holds and each.is_whole for each in reports):
        raise typer.Exit(1)


def register(root: typer.Typer) -> None:
    """Add `zmart snapshot` to the root command, and `snapshot` to `zmart verify`."""
    from zmart.cli.verify import app as verify_app

    root.command()(snapshot)
    verify_app.command("snapshot")(verify)


async def _take(market: str | None, day: date | None, *, quiet: bool) -> list[SnapshotResult]:
    from zmart.ipfs.pinata import PinataClient
    from zmart.local.addresses import stack_settings
    from zmart.services.snapshots.runs import SnapshotRuns
    from zmart.store.pool import Pool

    settings = stack_settings()
    async with PinataClient.from_settings(settings) as pins:
        pool = await Pool.open(settings.require("database_url"), wait_s=30)
        try:
            runs = SnapshotRuns.with_provider(pool, pins, settings)
            if market is not None:
                return [await runs.run_one(market, day)]
            with _progress(quiet) as on_progress:
                return await runs.run_all(day, on_progress)
        finally:
            await pool.close()


class _progress:  # noqa: N801  # used like a function
    """Show a progress bar on standard error during a block, unless `quiet`. The block gets its update function."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), disable=quiet, transient=True)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        task = self._bar.add_task("storing snapshots", total=None)
        return lambda done, of: self._bar.update(task, completed=done, total=of)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


@dataclass(frozen=True)
class _Compared:
    """With what snapshots are compared besides each other; None: not."""

    rpc_url: str | None
    api_url: str | None
    log: Path | None

    async def findings(self, snapshots: list[MarketSnapshot]) -> list[list[ProofFinding]]:
        """Return the findings about each of the snapshots, which are of one market."""
        import msgspec

        from zmart.chain.program import Program
        from zmart.chain.rpc import Rpc
        from zmart.local.addresses import stack_settings
        from zmart.market.types import MarketId
        from zmart.proofs import log_sources
        from zmart.proofs.tally_evidence import gather
        from zmart.proofs.verify_snapshot import against_chain, against_log

        market_id = MarketId(snapshots[0].market_id)
        findings: list[list[ProofFinding]] = [[] for _ in snapshots]
        if self.log is not None or self.api_url is not None:
            if self.log is not None:
                log = log_sources.from_file(self.log, market_id)
            else:
                log = await log_sources.from_api(self.api_url or "", market_id)
            for each, finding in zip(findings, against_log(snapshots, log), strict=True):
                each.append(finding)
        if self.rpc_url is not None:
            async with Rpc([self.rpc_url]) as rpc:
                of_market = await gather(rpc, Program.from_settings(stack_settings()), market_id)
                evidence = msgspec.structs.replace(of_market, genesis_hash=await rpc.get_genesis_hash())
            for each, snapshot in zip(findings, snapshots, strict=True):
                each += against_chain(snapshot, evidence)
        return findings


async def _verify(cid: str, gateway: str | None, compared: _Compared, history: int) -> list[SnapshotReport]:
    from zmart.local.addresses import stack_settings
    from zmart.proofs.verify_snapshot import report, verify_history

    gateway = gateway or stack_settings().ipfs_gateway_url
    verified = [each async for each in verify_history(gateway, cid, history)]
    more = await compared.findings([snapshot for snapshot, _ in verified])
    return [
        report(result.cid, snapshot, [*result.findings, *findings])
        for (snapshot, result), findings in zip(verified, more, strict=True)
    ]


def _print(report: SnapshotReport) -> None:
    head = f"{report.cid}: market {report.market_id}, {report.day}, {report.comments} comment(s)"
    typer.echo(printable(head))
    for finding in report.findings:
        typer.echo(printable(f"  {finding.line}"))
    typer.echo("  The snapshot holds." if report.holds else "  THE SNAPSHOT DOES NOT HOLD.")
