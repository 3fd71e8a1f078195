"""Generate light traffic after the play, so that the pages and the socket show activity.

One market stays open, with a small trade every second or two and an occasional comment.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import structlog

from zmart.errors import ZmartError
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.settings import Settings

log = structlog.get_logger()
_VOCABULARY = (
    "Interesting.",
    "The price looks low to me.",
    "Changed my mind.",
    "Who sells here?",
    "Waiting for news.",
)


async def light_traffic(settings: Settings, seed: int = 1) -> None:
    """Open a market, and trade and comment in it until cancelled. After an error, start again with a new market."""
    chance = random.Random(seed)  # noqa: S311  # it chooses trades for show, nothing secret
    while True:
        with suppress(ZmartError, OSError):
            async with DemoWorld.open(settings) as world:
                play = await _open_market(world)
                while True:
                    await _one_act(world, play, chance.choice(world.users), chance)
                    await asyncio.sleep(chance.uniform(0.5, 2.0))
        await asyncio.sleep(2)


async def _open_market(world: DemoWorld) -> MarketPlay:
    play = MarketPlay("open", world.users[0])
    await early.fund(world)
    await early.sign_in(world)
    await early.create(world, play)
    enough = world.users[: world.settings.min_proposal_votes]
    await early.vote(world, play, "proposal", [[(user, "like") for user in enough]])
    await early.decided(world, play)
    await early.activate(world, play)
    return play


async def _one_act(world: DemoWorld, play: MarketPlay, user: DemoUser, chance: random.Random) -> None:
    what = chance.random()
    outcome = chance.random() < 0.5
    if what < 0.1:
        await user.post("/api/discussions", {"market_id": play.id, "content": chance.choice(_VOCABULARY)})
    elif what < 0.3 and (held := await late.holding(world, play, user, outcome)) > 10**8:
        await late.sell(world, play, user, outcome, held // 3)
    else:
        await late.buy(world, play, user, outcome, chance.randint(20, 400) * 10**6)
