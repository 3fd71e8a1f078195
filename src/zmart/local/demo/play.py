"""Play the demo: three markets, twelve wallets, four days of chain time; then check the amounts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Concatenate

import msgspec

from zmart.local.demo import books
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.report import ConsistencyCheck, DemoReport, StepOutcome, StepResult
from zmart.local.demo.scenes_early import Round
from zmart.local.demo.stage import Stage, StepFailed
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay, ServiceUrls
from zmart.settings import Settings

Scene = Callable[Concatenate[DemoWorld, ...], Awaitable[StepOutcome]]

RESOLUTION_DELAY_HOURS = 25
DISPUTE_HOURS = 73
"""Hours by which the clock advances: an hour more than GlobalConfig's 24 h and 72 h, to pass FINALIZE_SAFETY_S, too."""


class ScriptStep(msgspec.Struct, frozen=True):
    """A step of the script: the market's label ("all" for all markets), a description, and the scene with arguments."""

    market: str
    what: str
    scene: Scene
    arguments: tuple[object, ...] = ()


async def play(
    settings: Settings,
    where: ServiceUrls | None = None,
    on_start: Callable[[str, str], None] = lambda market, step: None,
    on_step: Callable[[StepResult], None] = lambda result: None,
) -> DemoReport:
    """Play the demo against the services at `where`, by default those of the local stack, and return its report.

    The services' chain must be a local one. `on_start` gets each step's market and description before it runs,
    `on_step` its result. A failed step ends the play and is in the report. Raises ZmartError if a service cannot be
    reached at the start.
    """
    start = time.monotonic()
    stage = Stage(on_start, on_step)
    failed = ""
    checks: list[ConsistencyCheck] = []
    markets: dict[str, str] = {}
    try:
        async with DemoWorld.open(settings, where) as world:
            for step in script(world):
                await stage.play(step.market, step.what, step.scene, world, *step.arguments)
                markets = {market.label: market.id for market in world.markets if market.id}
            checks = await books.check(world)
    except StepFailed as problem:
        failed = str(problem)
    return DemoReport(
        ok=not failed and bool(checks) and all(check.ok for check in checks),
        seconds=round(time.monotonic() - start, 2),
        markets=markets,
        steps=stage.results,
        books=checks,
        failed_step=failed,
    )


def script(world: DemoWorld) -> list[ScriptStep]:
    """Return all steps of the play in order."""
    return [*_proposals(world), *_trading(world), *_endings(world)]


def _proposals(world: DemoWorld) -> list[ScriptStep]:
    a, b, c = world.markets
    users = world.users
    # Seven of ten wallets like a market: exactly the threshold of 70.00 %, reached only by the last voter. One wallet
    # votes both by a signed statement and on chain; its vote counts once.
    first = [[(user, "dislike") for user in users[7:10]], [(users[6], "like")]]
    rest = [[(user, "like") for user in users[:6]]]
    few = [[(users[1], "dislike"), (users[2], "dislike")], [(users[0], "like")]]
    return [
        ScriptStep("all", "faucet funds the wallets", early.fund),
        ScriptStep("all", "sign in with Solana", early.sign_in),
        *(ScriptStep(market.label, "created", early.create, (market,)) for market in world.markets),
        *_ballots(a, first, rest, users[6]),
        *_ballots(b, first, rest, users[6]),
        ScriptStep(c.label, "voted on by three wallets", early.vote, (c, "proposal", few)),
        ScriptStep(c.label, "second vote of a wallet refused", early.vote_twice, (c, users[0])),
        *(
            ScriptStep(market.label, "counted and approved by itself", early.decided, (market,))
            for market in (a, b)
        ),
        ScriptStep(c.label, "cancelled by the operator", early.cancel, (c,)),
        ScriptStep(c.label, "deposit back to its creator", late.withdraw, (c,)),
    ]


def _ballots(market: MarketPlay, first: list[Round], rest: list[Round], twice: DemoUser) -> list[ScriptStep]:
    return [
        ScriptStep(market.label, "voted on by four wallets", early.vote, (market, "proposal", first)),
        ScriptStep(
            market.label,
            "one of them votes on chain too",
            early.vote_on_chain,
            (market, "proposal", twice, True),
        ),
        ScriptStep(market.label, "voted on by six more", early.vote, (market, "proposal", rest)),
    ]


def _trading(world: DemoWorld) -> list[ScriptStep]:
    a, b, _ = world.markets
    steps: list[ScriptStep] = []
    for market in (a, b):
        steps += [
            ScriptStep(market.label, "activated by its creator", early.activate, (market,)),
            ScriptStep(market.label, "traded on both sides", late.trade, (market,)),
            ScriptStep(market.label, "discussed", late.talk, (market,)),
            ScriptStep(market.label, "snapshot pinned and read back", late.snapshot, (market,)),
        ]
    return steps


def _endings(world: DemoWorld) -> list[ScriptStep]:
    a, b, _ = world.markets
    users = world.users
    disputants = [(user, "agree" if number < 8 else "disagree") for number, user in enumerate(users[:11])]
    return [
        ScriptStep("all", "a day passes on chain", late.travel, (RESOLUTION_DELAY_HOURS,)),
        ScriptStep(a.label, "resolved YES", late.resolve, (a, users[10], True)),
        ScriptStep(b.label, "resolved YES, wrongly", late.resolve, (b, users[11], True)),
        ScriptStep(b.label, "disputed", late.dispute, (b, users[7])),
        ScriptStep(b.label, "vote sent to the chain", early.vote_on_chain, (b, "dispute", users[11], False)),
        ScriptStep(b.label, "dispute voted on by eleven", early.vote, (b, "dispute", [disputants])),
        ScriptStep("all", "three days pass on chain", late.travel, (DISPUTE_HOURS,)),
        ScriptStep(a.label, "finalized by itself", late.finalized, (a, True)),
        ScriptStep(b.label, "overturned by itself", late.finalized, (b, False)),
        ScriptStep(a.label, "winners claim", late.claim, (a, True)),
        ScriptStep(b.label, "winners claim", late.claim, (b, False)),
        ScriptStep(a.label, "creator withdraws the rest", late.withdraw, (a,)),
        ScriptStep(b.label, "creator withdraws the rest", late.withdraw, (b,)),
        ScriptStep(a.label, "snapshot of the end", late.snapshot, (a,)),
    ]
