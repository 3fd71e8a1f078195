"""The scenes of the demo from a market's creation to its activation, and the cancellation of another market."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from zmart.chain import compose
from zmart.errors import ZmartError
from zmart.local.demo.api import ApiRefusal, Json, until
from zmart.local.demo.recorder import RecordedMessage
from zmart.local.demo.report import StepOutcome
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.market.types import MarketId, Wallet

B_PARAMETER = 20 * 10**9
INITIAL_LIQUIDITY_LAMPORTS = 15 * 10**9
QUESTIONS = {
    "open": "Will a trade be made in this market within the next minute?",
    "undisputed": "Will the harbour festival be held in June as planned?",
    "overturned": "Will the river stay below the flood mark all spring?",
    "cancelled": "Will a question about nothing at all get any votes?",
}


async def fund(world: DemoWorld) -> StepOutcome:
    """Fund every wallet with 100 SOL from the local chain's faucet."""
    await world.fund()
    return StepOutcome(index=f"{len(world.users)} wallets, 100 SOL each")


async def sign_in(world: DemoWorld) -> StepOutcome:
    """Sign in with every wallet, so that each user has a session."""
    await asyncio.gather(*(user.sign_in() for user in world.users))
    return StepOutcome(index=f"{len(world.users)} sessions")


def new_market(play: MarketPlay, now: datetime) -> Json:
    """Return the body of the POST /api/markets that proposes a market; its end date is 30 days after `now`."""
    return {
        "question": QUESTIONS[play.label],
        "description": f"A market of the demo: it ends {play.label}.",
        "category": "demo",
        "tags": ["demo", play.label],
        "end_date": (now + timedelta(days=30)).isoformat(),
        "b_parameter": B_PARAMETER,
        "initial_liquidity": INITIAL_LIQUIDITY_LAMPORTS,
    }


async def create(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Create a market: the API stores the question and returns a transaction, which the creator signs.

    Fills the id and address of `play`, and subscribes to the market's channels.
    """
    now = await world.chain_time()
    answer, landed = await play.creator.transact("/api/markets", new_market(play, now))
    play.id, play.address = answer["market_id"], answer["on_chain_address"]
    for channel in ("trades", "votes", "discussions"):
        await world.socket.add(f"{channel}:{play.id}")
        await world.socket.subscribed(f"{channel}:{play.id}")
    done = await world.reached(play, "PROPOSED", landed)
    row = await world.market(play)
    if row["question"] != QUESTIONS[play.label] or row["initial_liquidity"] != INITIAL_LIQUIDITY_LAMPORTS:
        raise ZmartError(f"the index has another market: {row}")
    return done


Round = list[tuple[DemoUser, str]]


async def vote(world: DemoWorld, play: MarketPlay, kind: str, rounds: list[Round]) -> StepOutcome:
    """Send signed votes, round by round, and wait until each has arrived on the WebSocket and the index counts them.

    `kind` is proposal or dispute. The votes of one round are sent at the same time.
    """
    gaps = world.socket.gaps_of(f"votes:{play.id}")
    receipts: list[Json] = []
    for ballots in rounds:
        receipts += await asyncio.gather(
            *(
                user.vote(world.program.address, play.id, kind, choice, datetime.now(UTC))
                for user, choice in ballots
            )
        )
    voters = [ballot for ballots in rounds for ballot in ballots]
    messages = [await vote_received(world, play, kind, user, "offchain", gaps) for user, _ in voters]
    names = ("likes", "dislikes") if kind == "proposal" else ("agrees", "disagrees")
    tally = await until(
        lambda: world.api.get(f"/api/votes/{play.id}"),
        lambda counts: sum(counts[f"{kind}_votes"].values()) >= len(voters),
        f"{len(voters)} {kind} votes in the index",
    )
    size = max((r["receipt"]["tree_size"] for r in receipts if r.get("receipt")), default=0)
    counts = " : ".join(str(tally[f"{kind}_votes"][name]) for name in names)
    return StepOutcome(
        index=f"{counts}, log of {size}",
        socket=f"#{max(message.offset for message in messages)} {len(voters)} votes",
    )


async def vote_received(
    world: DemoWorld, play: MarketPlay, kind: str, user: DemoUser, source: str, gaps: int
) -> RecordedMessage:
    """Wait for the message of a wallet's vote. `source` is offchain (a signed statement) or onchain.

    A gap beyond the first `gaps` is returned instead: the snapshot after it is a tally, which names no wallet.
    """
    return await world.socket.message(
        f"votes:{play.id}",
        f"the {source} {kind} vote of {user.name}",
        gaps,
        vote_type=kind,
        user_wallet=user.wallet,
        source=source,
    )


async def vote_twice(world: DemoWorld, play: MarketPlay, user: DemoUser) -> StepOutcome:
    """Check that a second vote of the same wallet is refused with 409."""
    try:
        await user.vote(world.program.address, play.id, "proposal", "dislike", datetime.now(UTC))
    except ApiRefusal as refused:
        if refused.status == 409:
            return StepOutcome(index="409, as promised")
        raise
    raise ZmartError("a second vote of the same wallet was accepted")


async def vote_on_chain(
    world: DemoWorld, play: MarketPlay, kind: str, user: DemoUser, vote: bool
) -> StepOutcome:
    """Vote on chain: the wallet signs a transaction with its vote for the program instead of a statement."""
    build = world.program.instructions
    make = build.submit_proposal_vote if kind == "proposal" else build.submit_dispute_vote
    blockhash = (await world.rpc.get_latest_blockhash()).blockhash
    message = compose.compile(
        user.key.pubkey(), [make(Wallet(user.wallet), MarketId(play.id), vote)], blockhash
    )
    gaps = world.socket.gaps_of(f"votes:{play.id}")
    landed = await user.relay(compose.sign(message, [user.key]))
    received = await vote_received(world, play, kind, user, "onchain", gaps)
    return StepOutcome(
        transaction=landed.signature, slot=landed.slot, index="VoteRecord", socket=f"#{received.offset} vote"
    )


async def decided(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Wait until the aggregator has counted the votes, sent the counts to the chain, and the market is APPROVED."""
    return await world.reached(play, "APPROVED")


async def activate(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Activate a market by a transaction of its creator."""
    _, landed = await play.creator.transact(f"/api/markets/{play.id}/activate", {})
    return await world.reached(play, "ACTIVE", landed)


async def cancel(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Cancel a market with the operator's token. In the local stack the service has the admin's key and sends it."""
    signature = ""
    try:
        answer = await world.api.post(f"/api/markets/{play.id}/cancel", {}, world.operator_token)
        signature = str(answer.get("signature", ""))
    except ApiRefusal as refused:
        if refused.status != 409 or not refused.is_retry:  # a retry gets 409 if the first answer was lost
            raise
    done = await world.reached(play, "CANCELLED")
    return StepOutcome(transaction=signature, slot=done.slot, index=done.index, socket=done.socket)
