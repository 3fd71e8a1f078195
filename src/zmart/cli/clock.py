"""Implement `zmart clock`: show the chain's time, and advance it on a local chain."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from zmart.cli.errors import needs_local_stack, one_sentence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from zmart.chain.rpc import Rpc
    from zmart.local.chain.travel import ClockReading
    from zmart.settings import Settings

R = TypeVar("R")
app = typer.Typer(help="Show the chain's time; advance it on a local chain.")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
MOST_DAYS = 366
_EXACT_WITHIN_S = 120
"""A difference of the clocks below this, in seconds, is not reported as ahead or behind."""


@app.callback(invoke_without_command=True)
@one_sentence
def show(context: typer.Context, json: Json = False) -> None:
    """Show the time of the chain, by which all deadlines count, and that of this machine."""
    if context.invoked_subcommand is None:
        from zmart.chain.command_rpc import command_rpc
        from zmart.local.chain.travel import read_clocks

        _print(_with_rpc(read_clocks, command_rpc), json=json)


@app.command("advance")
@needs_local_stack
def advance_clock(
    duration: Annotated[str, typer.Argument(help="how far, as 50h, 2d, 1d12h or 30m")], json: Json = False
) -> None:
    """Advance the local chain's clock, for example by 73h, past a market's dispute window of 72 h. It cannot be turned
    back."""
    from rich.console import Console

    from zmart.chain.command_rpc import command_rpc
    from zmart.chain.rpc import Rpc
    from zmart.errors import Invalid
    from zmart.local.chain import travel
    from zmart.market.durations import parse_duration, readable_duration

    seconds = parse_duration(duration)
    if not seconds or seconds > MOST_DAYS * 86_400:
        raise Invalid("duration", f"A duration is written as 50h, 2d or 30m, and is at most {MOST_DAYS}d.")
    _with_rpc(travel.require_local_chain, command_rpc)
    console = Console(stderr=True)

    async def work(rpc: Rpc) -> ClockReading:
        with console.status(f"advancing by {readable_duration(seconds)} …") as status:
            await travel.advance(
                rpc,
                seconds,
                lambda done_s: status.update(
                    f"{readable_duration(done_s)} of {readable_duration(seconds)} …"
                ),
            )
        return await travel.read_clocks(rpc)

    _print(_with_rpc(work, partial(Rpc.from_settings, logs_outages=False)), json=json)


def _with_rpc(
    work: Callable[[Rpc], Awaitable[R]], client: Callable[[Settings], AbstractAsyncContextManager[Rpc]]
) -> R:
    from zmart.local.addresses import stack_settings

    async def run() -> R:
        async with client(stack_settings()) as rpc:
            return await work(rpc)

    return asyncio.run(run())


def _print(reading: ClockReading, *, json: bool) -> None:
    from zmart.market.times import readable_seconds

    if json:
        import msgspec

        fields = {**msgspec.structs.asdict(reading), "ahead_s": reading.ahead_s}
        typer.echo(msgspec.json.encode(fields).decode())
        return
    typer.echo(f"chain  {readable_seconds(reading.chain_s)}  slot {reading.slot}")
    typer.echo(f"host   {readable_seconds(reading.host_s)}")
    typer.echo(_difference(reading.ahead_s))


def _difference(ahead_s: int) -> str:
    from zmart.market.durations import readable_duration

    if abs(ahead_s) < _EXACT_WITHIN_S:
        return f"the chain's clock is right ({ahead_s:+d} s)"
    word = "ahead" if ahead_s > 0 else "behind"
    return f"the chain's clock is {readable_duration(ahead_s)} {word}"


def register(root: typer.Typer) -> None:
    """Add `zmart clock` and its command `advance` to the root command."""
    root.add_typer(app, name="clock")
