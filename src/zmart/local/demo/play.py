"""The play: three markets, twelve wallets, four days of chain time; then the books."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Concatenate

import msgspec

from zmart.local.demo import books
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.report import BookCheck, Done, Report, StepResult
from zmart.local.demo.scenes_early import Round
from zmart.local.demo.stage import Stage, StepFailed
from zmart.local.demo.user import User
from zmart.local.demo.world import MarketPlay, World
from zmart.settings import Settings

Scene = Callable[Concatenate[World, ...], Awaitable[Done]]

RESOLUTION_DELAY_HOURS = 25
DISPUTE_HOURS = 73
"""A little more than what the program's config asks for (24 h and 72 h), so that the safety minute is over too."""


class Step(msgspec.Struct, frozen=True):
    """One line of the script: whose market ("all" for everybody's), what happens, and the scene that does it."""

    market: str
    what: str
    scene: Scene
    arguments: tuple[object, ...] = ()


async def play(
    settings: Settings,
    on_start: Callable[[str, str], None] = lambda market, step: None,
    on_step: Callable[[StepResult], None] = lambda result: None,
) -> Report:
    """Play against the running stack that `settings` name. Never raises for a failed step: the report says which."""
    start = time.monotonic()
    stage = Stage(on_start, on_step)
    failed = ""
    checks: list[BookCheck] = []
    markets: dict[str, str] = {}
    try:
        async with World.open(settings) as world:
            for step in script(world):
                await stage.play(step.market, step.what, step.scene, world, *step.arguments)
                markets = {market.label: market.id for market in world.markets if market.id}
            checks = await books.check(world)
    except StepFailed as problem:
        failed = str(problem)
    return Report(
        ok=not failed and bool(checks) and all(check.ok for check in checks),
        seconds=round(time.monotonic() - start, 2),
        markets=markets,
        steps=stage.results,
        books=checks,
        failed_step=failed,
    )


def script(world: World) -> list[Step]:
    """All lines in order."""
    return [*_proposals(world), *_trading(world), *_endings(world)]


def _proposals(world: World) -> list[Step]:
    a, b, c = world.markets
    users = world.users
    # Seven of ten like it: 70.00 %, the threshold to the point, passed by nobody but the last voter. One wallet votes
    # by statement and on chain; it counts once.
    first = [[(user, "dislike") for user in users[7:10]], [(users[6], "like")]]
    rest = [[(user, "like") for user in users[:6]]]
    few = [[(users[1], "dislike"), (users[2], "dislike")], [(users[0], "like")]]
    return [
        Step("all", "faucet funds the wallets", early.fund),
        Step("all", "sign in with Solana", early.sign_in),
        *(Step(market.label, "created", early.create, (market,)) for market in world.markets),
        *_ballots(a, first, rest, users[6]),
        *_ballots(b, first, rest, users[6]),
        Step(c.label, "voted on by three wallets", early.vote, (c, "proposal", few)),
        Step(c.label, "second vote of a wallet refused", early.vote_again, (c, users[0])),
        *(
            Step(market.label, "counted and approved by itself", early.decided, (market,))
            for market in (a, b)
        ),
        Step(c.label, "cancelled by the operator", early.cancel, (c,)),
        Step(c.label, "deposit back to its creator", late.withdraw, (c,)),
    ]


def _ballots(market: MarketPlay, first: list[Round], rest: list[Round], twice: User) -> list[Step]:
    return [
        Step(market.label, "voted on by four wallets", early.vote, (market, "proposal", first)),
        Step(
            market.label,
            "one of them votes on chain too",
            early.vote_on_chain,
            (market, "proposal", twice, True),
        ),
        Step(market.label, "voted on by six more", early.vote, (market, "proposal", rest)),
    ]


def _trading(world: World) -> list[Step]:
    a, b, _ = world.markets
    steps: list[Step] = []
    for market in (a, b):
        steps += [
            Step(market.label, "activated by its creator", early.activate, (market,)),
            Step(market.label, "traded on both sides", late.trade, (market,)),
            Step(market.label, "discussed", late.talk, (market,)),
            Step(market.label, "snapshot pinned and read back", late.snapshot, (market,)),
        ]
    return steps


def _endings(world: World) -> list[Step]:
    a, b, _ = world.markets
    users = world.users
    disputants = [(user, "agree" if number < 8 else "disagree") for number, user in enumerate(users[:11])]
    return [
        Step("all", "a day passes on chain", late.travel, (RESOLUTION_DELAY_HOURS,)),
        Step(a.label, "resolved YES", late.resolve, (a, users[10], True)),
        Step(b.label, "resolved YES, wrongly", late.resolve, (b, users[11], True)),
        Step(b.label, "disputed", late.dispute, (b, users[7])),
        Step(b.label, "vote sent to the chain", early.vote_on_chain, (b, "dispute", users[11], False)),
        Step(b.label, "dispute voted on by eleven", early.vote, (b, "dispute", [disputants])),
        Step("all", "three days pass on chain", late.travel, (DISPUTE_HOURS,)),
        Step(a.label, "finalized by itself", late.finalized, (a, True)),
        Step(b.label, "overturned by itself", late.finalized, (b, False)),
        Step(a.label, "winners claim", late.claim, (a, True)),
        Step(b.label, "winners claim", late.claim, (b, False)),
        Step(a.label, "creator withdraws the rest", late.withdraw, (a,)),
        Step(b.label, "creator withdraws the rest", late.withdraw, (b,)),
        Step(a.label, "snapshot of the end", late.snapshot, (a,)),
    ]
