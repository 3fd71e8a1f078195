"""Helpers of the operator's drills about decisions: markets before a decision, and services with other settings."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from kit import commands
from kit.operator import Operator
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.api import until
from zmart.local.demo.play import DISPUTE_HOURS, RESOLUTION_DELAY_HOURS
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.local.stack import read_record
from zmart.services.contract import SERVICES

_STOP_S = 20.0


@asynccontextmanager
async def world_of(operator: Operator) -> AsyncIterator[DemoWorld]:
    """Yield the demo's wallets, with SOL and sessions, as users of the operator's stack."""
    async with DemoWorld.open(operator.settings) as world:
        await early.fund(world)
        await early.sign_in(world)
        yield world


@dataclass(frozen=True)
class MarketsOnTheWay:
    """A market for each kind of decision: in PROPOSED without votes, in RESOLVING, in DISPUTED. None is due yet."""

    proposal: MarketPlay
    finalize: MarketPlay
    dispute: MarketPlay

    @classmethod
    async def make(cls, world: DemoWorld) -> MarketsOnTheWay:
        proposal, [finalize, dispute] = await proposed(world), await resolving(world, 2)
        await late.dispute(world, dispute, world.users[7])
        return cls(proposal, finalize, dispute)

    async def become_due(self, world: DemoWorld) -> None:
        """Vote for the proposal and for the dispute, and let the time to dispute and to vote pass."""
        await liked(world, self.proposal)
        await agreed(world, self.dispute)
        await late.travel(world, DISPUTE_HOURS)

    async def are_decided(self, world: DemoWorld) -> None:
        """Wait until index and socket show each market's decision: APPROVED, finalized as YES, finalized as NO."""
        await world.reached(self.proposal, "APPROVED")
        await late.finalized(world, self.finalize, True)
        await late.finalized(world, self.dispute, False)


async def proposed(world: DemoWorld) -> MarketPlay:
    """Create a market in PROPOSED, without votes."""
    market = MarketPlay("open", world.users[0])
    await early.create(world, market)
    return market


async def resolving(world: DemoWorld, number: int) -> list[MarketPlay]:
    """Create `number` markets and take them to RESOLVING, with YES proposed just now."""
    markets = [await proposed(world) for _ in range(number)]
    for market in markets:
        await liked(world, market)
    for market in markets:
        await early.decided(world, market)
        await early.activate(world, market)
    await late.travel(world, RESOLUTION_DELAY_HOURS)
    for market in markets:
        await late.resolve(world, market, world.users[10], True)
    return markets


async def disputed(world: DemoWorld) -> MarketPlay:
    """Create a market and take it to DISPUTED, with YES proposed and without votes on the dispute."""
    [market] = await resolving(world, 1)
    await late.dispute(world, market, world.users[7])
    return market


async def liked(world: DemoWorld, market: MarketPlay) -> None:
    await early.vote(world, market, "proposal", [[(world.users[1], "like")]])


async def agreed(world: DemoWorld, market: MarketPlay) -> None:
    await early.vote(world, market, "dispute", [[(world.users[1], "agree")]])


async def the_time_to_vote_passes(world: DemoWorld) -> None:
    await late.travel(world, DISPUTE_HOURS)


async def zmart(operator: Operator, *arguments: str, ends_with: int = 0, **settings: object) -> str:
    """Run the `zmart` command in the stack's ZMART_HOME, with these settings; return its stdout.

    AssertionError when its exit status is not `ends_with`.
    """
    env = commands.environment(zmart_home=operator.settings.zmart_home, **settings)
    status, out, err = await commands.run(*arguments, env=env)
    assert status == ends_with, f"zmart {' '.join(arguments)}: {out}{err}"
    return out


@asynccontextmanager
async def with_settings(
    operator: Operator, service: str, *options: str, **changes: str
) -> AsyncIterator[Process]:
    """Run a service with changed settings within the block, in place of the stack's own process and on its port.

    Yield the process once it answers /health. `options` are those of `zmart run`.
    """
    record = read_record(operator.settings.zmart_home)
    assert record is not None
    env = commands.environment(**{**record.environment, **{k.upper(): v for k, v in changes.items()}})
    log = operator.settings.zmart_home / "logs" / f"{service}-of-the-drill.log"
    async with operator.without(service):
        with log.open("ab") as out:
            process = await commands.start("run", service, *options, env=env, stdout=out, stderr=out)
        try:
            await until(lambda: _answers(operator, service), bool, f"{service} with other settings", _STOP_S)
            yield process
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), _STOP_S)


async def _answers(operator: Operator, service: str) -> bool:
    port = getattr(operator.settings, SERVICES[service])
    try:
        return (await operator.http.get(f"http://127.0.0.1:{port}/health")).status_code == 200
    except httpx.TransportError:
        return False
