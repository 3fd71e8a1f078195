"""The scenes of the demo from trading to a market's end: comments, snapshots, resolution, dispute, claims."""

from __future__ import annotations

import httpx

from zmart.errors import ZmartError
from zmart.ipfs.cid import cid_of
from zmart.local.demo.api import ApiRefusal, Json, until
from zmart.local.demo.recorder import RecordedMessage
from zmart.local.demo.report import StepOutcome
from zmart.local.demo.user import DemoUser, LandedTransaction
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.loopback import client_options
from zmart.market.outcomes import side_name

EVIDENCE = {
    True: "The organisers' announcement of the first of June.",
    False: "The gauge's own record of the whole spring.",
}


async def buy(
    world: DemoWorld, play: MarketPlay, user: DemoUser, outcome: bool, max_cost: int
) -> LandedTransaction:
    """Buy shares of an outcome for at most `max_cost` lamports, and wait until the transaction has landed."""
    answer, landed = await user.transact(
        "/api/trades/buy", {"market_id": play.id, "outcome": outcome, "max_cost": max_cost}
    )
    play.trades[landed.signature] = answer["quote"]["total"]
    return landed


async def sell(
    world: DemoWorld, play: MarketPlay, user: DemoUser, outcome: bool, shares: int
) -> LandedTransaction:
    """Sell `shares` (in 1e-9) of an outcome, and wait until the transaction has landed."""
    answer, landed = await user.transact(
        "/api/trades/sell",
        {"market_id": play.id, "outcome": outcome, "shares": shares, "min_proceeds": 1},
    )
    play.trades[landed.signature] = answer["quote"]["net"]
    return landed


async def trade(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Let every wallet buy one outcome, one after the other so that each quote is exact; then two wallets sell a half.

    Checks that each trade was charged as quoted.
    """
    landed = None
    for number, user in enumerate(world.users):
        landed = await buy(world, play, user, number % 3 != 2, (number + 1) * 100_000_000)
        await world.socket.message(f"trades:{play.id}", "the purchase", tx_signature=landed.signature)
    for user, outcome in ((world.users[3], True), (world.users[5], False)):
        held = await holding(world, play, user, outcome)
        landed = await sell(world, play, user, outcome, held // 2)
        await world.socket.message(f"trades:{play.id}", "the sale", tx_signature=landed.signature)
    assert landed is not None
    return await _tape_agrees(world, play, landed)


async def holding(world: DemoWorld, play: MarketPlay, user: DemoUser, outcome: bool) -> int:
    """Return a wallet's shares (in 1e-9) of one outcome of a market, as the API shows them."""
    positions = await world.api.get(f"/api/positions/{user.wallet}")
    mine: Json = next((p for p in positions if p["market_id"] == play.id), {"yes_shares": 0, "no_shares": 0})
    return int(mine["yes_shares"] if outcome else mine["no_shares"])


async def _tape_agrees(world: DemoWorld, play: MarketPlay, last: LandedTransaction) -> StepOutcome:
    """Check that the index has every trade at its quoted cost, and that the WebSocket sent the last one."""
    message = await world.socket.message(f"trades:{play.id}", "the last trade", tx_signature=last.signature)
    tape = await until(
        lambda: world.api.get(f"/api/markets/{play.id}/trades", limit=200),
        lambda tape: {t["tx_signature"] for t in tape["trades"]} >= set(play.trades),
        "every trade in the index",
    )
    for row in tape["trades"]:
        promised = play.trades.get(row["tx_signature"])
        if promised is not None and row["cost"] != promised:
            raise ZmartError(f"quoted {promised} lamports, charged {row['cost']}: {row['tx_signature']}")
    market = await world.market(play)
    return StepOutcome(
        transaction=last.signature,
        slot=last.slot,
        index=f"{len(play.trades)} trades as quoted, YES {market['current_price_yes']}",
        socket=f"#{message.offset} trade",
    )


async def talk(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Write a comment, a reply and a second comment, delete the second, and check that the API shows two."""
    first = await world.users[4].post(
        "/api/discussions", {"market_id": play.id, "content": "The stage is already being built."}
    )
    comment_id = _comment_id(first)
    await world.users[5].post(
        "/api/discussions",
        {"market_id": play.id, "content": "Seen it too, near the east pier.", "parent_id": comment_id},
    )
    gaps = world.socket.gaps_of(f"discussions:{play.id}")
    regretted = await world.users[6].post(
        "/api/discussions", {"market_id": play.id, "content": "I regret this."}
    )
    await world.users[6].delete(f"/api/discussions/{_comment_id(regretted)}")
    message = await world.socket.message(
        f"discussions:{play.id}", "the deleted comment", gaps, action="deleted"
    )
    discussions = await world.api.get(f"/api/discussions/{play.id}")
    if discussions["count"] != 2:
        raise ZmartError(f"two comments should be shown, the API shows {discussions['count']}")
    return StepOutcome(index="2 shown, 1 deleted", socket=f"#{message.offset} discussion")


def _comment_id(answer: Json) -> str:
    return str(answer.get("discussion", answer)["id"])


async def snapshot(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Request a snapshot of a market's discussion, fetch it from the IPFS gateway, and check its bytes by the CID."""
    await world.snapshots.post("/api/snapshots/run", {"market_id": play.id}, world.operator_token)
    listed = await until(
        lambda: world.api.get(f"/api/discussions/{play.id}/snapshots"),
        lambda answer: any(s["verified_at"] and s["cid"] not in play.snapshots for s in answer["snapshots"]),
        "a verified snapshot",
    )
    cid = next(s["cid"] for s in listed["snapshots"] if s["cid"] not in play.snapshots)
    async with httpx.AsyncClient(timeout=30, **client_options(world.settings.ipfs_gateway_url)) as http:
        content = (await http.get(f"{world.settings.ipfs_gateway_url}/ipfs/{cid}")).raise_for_status().content
    if cid_of(content, 1 if cid.startswith("b") else 0) != cid:
        raise ZmartError(f"the gateway's bytes are not those of {cid}")
    play.snapshots.append(cid)
    return StepOutcome(index=f"{len(content)} bytes", snapshot=f"{cid[:12]}…")


async def travel(world: DemoWorld, hours: int) -> StepOutcome:
    """Advance the local chain's clock by `hours`."""
    now = await world.travel(hours * 3600)
    return StepOutcome(slot=(await world.rpc.get_clock()).slot, index=f"chain time {now:%Y-%m-%d %H:%M}")


async def resolve(world: DemoWorld, play: MarketPlay, user: DemoUser, outcome: bool) -> StepOutcome:
    """Propose an outcome of a market, and wait until it is RESOLVING."""
    _, landed = await user.transact(
        f"/api/markets/{play.id}/resolve", {"outcome": outcome, "evidence": EVIDENCE[outcome]}
    )
    return await world.reached(play, "RESOLVING", landed)


async def dispute(world: DemoWorld, play: MarketPlay, user: DemoUser) -> StepOutcome:
    """Dispute the proposed outcome of a market, and wait until it is DISPUTED.

    The program requires that the chain's clock has advanced by a second since the outcome was proposed.
    """
    account, _ = await world.account(play)
    await until(
        world.rpc.get_clock,
        lambda clock: clock.unix_timestamp > account.resolution_proposed_at,
        "a second on the chain's clock",
    )
    _, landed = await user.transact(f"/api/markets/{play.id}/dispute", {})
    return await world.reached(play, "DISPUTED", landed)


async def finalized(world: DemoWorld, play: MarketPlay, outcome: bool) -> StepOutcome:
    """Wait until the monitor has finalized the market without a request, and check its final outcome."""
    done = await world.reached(play, "FINALIZED")
    row = await world.market(play)
    if row["final_outcome"] is not outcome:
        raise ZmartError(f"finalized as {row['final_outcome']}, expected {outcome}")
    return StepOutcome(
        slot=done.slot, index=f"FINALIZED {side_name(outcome)}", socket=done.socket, snapshot=done.snapshot
    )


async def claim(world: DemoWorld, play: MarketPlay, outcome: bool) -> StepOutcome:
    """Claim the payout of every wallet with winning shares, and check that another wallet's claim is refused."""
    winners = [u for u in world.users if await holding(world, play, u, outcome) > 0]
    losers = [u for u in world.users if u not in winners]
    landed = None
    for user in winners:
        before = await holding(world, play, user, outcome)
        answer, landed = await user.transact("/api/trades/claim", {"market_id": play.id})
        if answer["payout"] != before:
            raise ZmartError(f"{user.name} holds {before} winning shares and was promised {answer['payout']}")
    if losers:
        await _refused_claim(play, losers[0])
    assert landed is not None
    paid = await until(
        lambda: world.api.get(f"/api/markets/{play.id}/holders", limit=200),
        lambda positions: sum(bool(h["has_claimed"]) for h in positions["holders"]) == len(winners),
        "every claim in the index",
    )
    pool_lamports = (await world.market(play))["current_liquidity"]
    message = await world.socket.wait_for(
        lambda m: any(
            row.get("id") == play.id and row["current_liquidity"] == pool_lamports
            for row in _finalized_rows(m)
        ),
        "the pool after the claims",
    )
    total = sum(int(h["claimed_lamports"]) for h in paid["holders"])
    return StepOutcome(
        transaction=landed.signature,
        slot=landed.slot,
        index=f"{len(winners)} winners, {total / 1e9:.3f} SOL",
        socket=f"#{message.offset} pool",
    )


def _finalized_rows(message: RecordedMessage) -> list[Json]:
    market = message.data.get("market")
    rows = [market] if isinstance(market, dict) else message.rows_after_gap
    return [row for row in rows if row.get("state") == "FINALIZED"]


async def _refused_claim(play: MarketPlay, loser: DemoUser) -> None:
    try:
        answer = await loser.post("/api/trades/claim", {"market_id": play.id})
    except ApiRefusal as refused:
        if refused.status in (400, 409):
            return
        raise
    if answer["simulation"]["ok"]:
        raise ZmartError(f"{loser.name} holds nothing that won and could claim")


async def withdraw(world: DemoWorld, play: MarketPlay) -> StepOutcome:
    """Withdraw the market's remaining liquidity to its creator, and wait until the index shows an empty pool."""
    answer, landed = await play.creator.transact("/api/trades/withdraw", {"market_id": play.id})
    row = await until(
        lambda: world.market(play), lambda m: int(m["current_liquidity"]) == 0, "an empty pool in the index"
    )
    return StepOutcome(
        transaction=landed.signature,
        slot=landed.slot,
        index=f"{int(answer['amount']) / 1e9:.3f} SOL back, pool {row['current_liquidity']}",
    )
