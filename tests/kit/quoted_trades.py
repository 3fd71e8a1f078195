"""Random trades by transactions that the API builds; each must cost exactly, to the lamport, what the quote said."""

from __future__ import annotations

import asyncio
import base64
import random
from dataclasses import dataclass

from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from kit.chain_life import CID, SOL, Driver, name
from kit.gateway import Site
from kit.waiting import until
from zmart.chain.accounts import PositionAccount


@dataclass
class Trader:
    """A wallet and a market of its own, so that no other trade moves the price between quote and trade."""

    key: Keypair
    market: str
    token: str
    chance: random.Random
    held: dict[bool, int]
    """Shares that the trader may sell, by outcome (True is YES); `aside` are the shares of the first purchase."""
    aside: int


async def opened(life: Driver, here: Site, seed: int) -> Trader:
    """Create an ACTIVE market with a random b parameter, and its trader, who has bought once and is signed in."""
    chance = random.Random(seed)
    key, market = await life.wallet(), f"{chance.getrandbits(256):064x}"
    b = chance.choice((SOL, 7 * SOL + 13, 40 * SOL, 333_333_333_333))
    create = life.build.create_market(
        name(key), market, b_parameter=b, initial_liquidity=b * 7 // 10, ipfs_question_hash=CID
    )
    admin, backend = life.chain.keys.admin, life.chain.keys.backend
    await life.send(key, create)
    await life.send(backend, life.build.aggregate_proposal_votes(name(backend), market, likes=1, dislikes=0))
    approve, activate = life.build.approve_proposal, life.build.activate_market
    await life.send(admin, approve(name(admin), market), activate(name(admin), market))
    await life.buy(key, market, True, SOL // 100)  # the position's account exists from here on
    aside = (await position_of(life, key, market)).shares_yes
    return Trader(key, market, await here.sign_in(key), chance, {True: 0, False: 0}, aside)


async def position_of(life: Driver, key: Keypair, market: str) -> PositionAccount:
    addresses = life.chain.program.addresses
    account = await life.rpc.get_account(addresses.position(addresses.market(market), name(key)))
    result: PositionAccount = life.chain.program.accounts.position(account)
    return result


def order(trader: Trader) -> tuple[str, dict[str, object]]:
    """Draw a trade that the trader can afford; return "buy" or "sell" and the body for the API."""
    chance, outcome = trader.chance, trader.chance.random() < 0.5
    body: dict[str, object] = {"market_id": trader.market, "outcome": outcome}
    if trader.held[outcome] > 100_000 and chance.random() < 0.4:
        shares = chance.randint(50_000, trader.held[outcome])
        return "sell", {**body, "shares": shares, "slippage_bps": chance.choice((0, 50, 500))}
    if chance.random() < 0.5:
        return "buy", {**body, "max_cost": chance.randint(20_000, SOL // 2)}
    return "buy", {
        **body,
        "shares": chance.randint(50_000, SOL // 2),
        "slippage_bps": chance.choice((0, 25, 300)),
    }


async def trade(life: Driver, here: Site, trader: Trader) -> None:
    """Trade once through the API; AssertionError when lamports or shares on chain differ from the quote."""
    side, body = order(trader)
    answer = await here.post(f"/api/trades/{side}", body, trader.token)
    assert answer.status_code == 200, (side, body, answer.text)
    built = answer.json()
    quote = built["quote"]
    assert built["simulation"]["ok"], (side, body, quote, built["simulation"])
    before = await life.rpc.get_balance(name(trader.key))
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(built["transaction"]))
    signed = bytes(VersionedTransaction(unsigned.message, [trader.key]))
    signature = await life.rpc.send_raw_transaction(signed, skip_preflight=True)

    async def landed() -> bool:
        [status] = (await life.rpc.get_signature_statuses([signature])).values
        assert status is None or status.err is None, (side, body, status)
        return status is not None

    await until(landed)
    after = await life.rpc.get_balance(name(trader.key))
    paid = -quote["total"] if side == "buy" else quote["net"]
    assert after - before == paid - built["fee_lamports"], (side, body, quote, after - before)
    outcome = bool(body["outcome"])
    trader.held[outcome] += quote["shares"] if side == "buy" else -quote["shares"]
    position = await position_of(life, trader.key, trader.market)
    assert position.shares_yes == trader.held[True] + trader.aside
    assert position.shares_no == trader.held[False]


async def trade_much(life: Driver, here: Site, number: int, seed: int, markets: int = 6) -> None:
    """Make at least `number` trades, evenly on `markets` markets at the same time."""
    traders = [await opened(life, here, seed + position) for position in range(markets)]

    async def busy(trader: Trader) -> None:
        for _ in range(-(-number // markets)):
            await trade(life, here, trader)

    await asyncio.gather(*(busy(trader) for trader in traders))
