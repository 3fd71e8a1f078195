"""From nothing to an active market: create, vote, let the services decide, activate; and one that is cancelled."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from zmart.chain import compose
from zmart.errors import ZmartError
from zmart.local.demo.api import Json, Refused, until
from zmart.local.demo.recorder import Heard
from zmart.local.demo.report import Done
from zmart.local.demo.user import User
from zmart.local.demo.world import MarketPlay, World
from zmart.market.types import MarketId, Wallet

B_PARAMETER = 20 * 10**9
INITIAL_LIQUIDITY_LAMPORTS = 15 * 10**9
QUESTIONS = {
    "open": "Will somebody trade in this market within the next minute?",
    "undisputed": "Will the harbour festival be held in June as planned?",
    "overturned": "Will the river stay below the flood mark all spring?",
    "cancelled": "Will anybody vote for a question about nothing at all?",
}


async def fund(world: World) -> Done:
    await world.fund()
    return Done(index=f"{len(world.users)} wallets, 100 SOL each")


async def sign_in(world: World) -> Done:
    await asyncio.gather(*(user.sign_in() for user in world.users))
    return Done(index=f"{len(world.users)} sessions")


async def create(world: World, play: MarketPlay) -> Done:
    """POST /api/markets pins the question and answers with the transaction that the creator signs."""
    body: Json = {
        "question": QUESTIONS[play.label],
        "description": f"A market of the demo: it ends {play.label}.",
        "category": "demo",
        "tags": ["demo", play.label],
        "end_date": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "b_parameter": B_PARAMETER,
        "initial_liquidity": INITIAL_LIQUIDITY_LAMPORTS,
    }
    answer, landed = await play.creator.transact("/api/markets", body)
    play.id, play.address = answer["market_id"], answer["on_chain_address"]
    for channel in ("trades", "votes", "discussions"):
        await world.socket.add(f"{channel}:{play.id}")
    done = await world.reached(play, "PROPOSED", landed)
    row = await world.market(play)
    if row["question"] != QUESTIONS[play.label] or row["initial_liquidity"] != INITIAL_LIQUIDITY_LAMPORTS:
        raise ZmartError(f"the index shows another market: {row}")
    return done


Round = list[tuple[User, str]]


async def vote(world: World, play: MarketPlay, kind: str, rounds: list[Round]) -> Done:
    """Signed statements, one round after the other; each must come back on the socket with the tally it made."""
    receipts: list[Json] = []
    for ballots in rounds:
        receipts += await asyncio.gather(
            *(
                user.vote(world.program.address, play.id, kind, choice, datetime.now(UTC))
                for user, choice in ballots
            )
        )
    voters = [ballot for ballots in rounds for ballot in ballots]
    heard = [await vote_heard(world, play, kind, user, "offchain") for user, _ in voters]
    names = ("likes", "dislikes") if kind == "proposal" else ("agrees", "disagrees")
    tally = await until(
        lambda: world.api.get(f"/api/votes/{play.id}"),
        lambda found: sum(found[f"{kind}_votes"].values()) >= len(voters),
        f"{len(voters)} {kind} votes in the index",
    )
    size = max((r["receipt"]["tree_size"] for r in receipts if r.get("receipt")), default=0)
    counts = " : ".join(str(tally[f"{kind}_votes"][name]) for name in names)
    return Done(
        index=f"{counts}, log of {size}",
        socket=f"#{max(message.offset for message in heard)} {len(voters)} votes",
    )


async def vote_heard(world: World, play: MarketPlay, kind: str, user: User, source: str) -> Heard:
    """The message that tells everybody of a wallet's vote; `source` is offchain (a statement) or onchain."""
    return await world.socket.message(
        f"votes:{play.id}",
        f"the {source} {kind} vote of {user.name}",
        vote_type=kind,
        user_wallet=user.wallet,
        source=source,
    )


async def vote_again(world: World, play: MarketPlay, user: User) -> Done:
    """The same wallet once more: refused."""
    try:
        await user.vote(world.program.address, play.id, "proposal", "dislike", datetime.now(UTC))
    except Refused as refused:
        if refused.status == 409:
            return Done(index="409, as promised")
        raise
    raise ZmartError("a second vote of the same wallet was accepted")


async def vote_on_chain(world: World, play: MarketPlay, kind: str, user: User, vote: bool) -> Done:
    """The other channel: the wallet sends its vote to the program itself."""
    build = world.program.instructions
    make = build.submit_proposal_vote if kind == "proposal" else build.submit_dispute_vote
    blockhash = (await world.rpc.get_latest_blockhash()).blockhash
    message = compose.compile(
        user.key.pubkey(), [make(Wallet(user.wallet), MarketId(play.id), vote)], blockhash
    )
    landed = await user.relay(compose.sign(message, [user.key]))
    heard = await vote_heard(world, play, kind, user, "onchain")
    return Done(
        transaction=landed.signature, slot=landed.slot, index="VoteRecord", socket=f"#{heard.offset} vote"
    )


async def decided(world: World, play: MarketPlay) -> Done:
    """Nobody calls anything: the aggregator counts, sends the counts, and approves."""
    return await world.reached(play, "APPROVED")


async def activate(world: World, play: MarketPlay) -> Done:
    _, landed = await play.creator.transact(f"/api/markets/{play.id}/activate", {})
    return await world.reached(play, "ACTIVE", landed)


async def cancel(world: World, play: MarketPlay) -> Done:
    """The operator cancels; the service holds the admin's key in the local stack and sends it."""
    answer = await world.api.post(f"/api/markets/{play.id}/cancel", {}, world.operator_token)
    done = await world.reached(play, "CANCELLED")
    return Done(
        transaction=str(answer.get("signature", "")), slot=done.slot, index=done.index, socket=done.socket
    )
