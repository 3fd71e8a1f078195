"""Read the positions of wallets in markets, by market and by wallet."""

from __future__ import annotations

from datetime import datetime

from zmart.market import valuation
from zmart.market.columns import PositionColumns
from zmart.market.types import Lamports, MarketId, PriceE9, Shares, Wallet
from zmart.market.valuation import ClaimRule, FinalMarket, PositionValue
from zmart.store.documents import OF_MARKET
from zmart.store.outcomes import outcome_as_boolean
from zmart.store.pool import Pool
from zmart.store.tables import POSITIONS

_COLUMNS = POSITIONS.row_list("p")
_FINAL_OUTCOME = outcome_as_boolean("m.final_outcome")
_ONE = f"SELECT {_COLUMNS} FROM positions p WHERE p.market_id = $1 AND p.wallet = $2"
HELD_COLUMNS = f"""{_COLUMNS}, m.state, m.price_yes_e9, {_FINAL_OUTCOME} AS final_outcome, m.current_liquidity,
    m.shares_yes AS market_shares_yes, m.shares_no AS market_shares_no, coalesce(d.question, '') AS question"""
"""The columns of a HeldPosition, from the tables of HELD_BY."""
HELD_BY = f"""FROM positions p JOIN markets m USING (market_id) LEFT JOIN market_documents d ON {OF_MARKET}
WHERE p.wallet = $1"""
"""The positions of wallet $1, with their markets and documents."""
_HELD = f"SELECT {HELD_COLUMNS} {HELD_BY}"
_OF_WALLET = f"{_HELD} ORDER BY p.last_trade_at DESC, p.market_id LIMIT $2 OFFSET $3"
_HELD_IN = f"{_HELD} AND p.market_id = $2"
PAYOUTS = {
    ClaimRule.FIXED: """CASE m.final_outcome WHEN 'yes' THEN p.shares_yes WHEN 'no' THEN p.shares_no
        ELSE div(p.shares_yes + p.shares_no, 2) END""",
    ClaimRule.POOL: """CASE m.final_outcome
        WHEN 'yes' THEN div(p.shares_yes * m.current_liquidity, greatest(m.shares_yes, 1))
        WHEN 'no' THEN div(p.shares_no * m.current_liquidity, greatest(m.shares_no, 1)) ELSE p.total_invested END""",
}
"""SQL expressions for what the claim of position p in the FINALIZED market m pays, in lamports, equal to
HeldPosition.payout."""
_CLAIMABLE = {
    rule: f"""{_HELD} AND NOT p.has_claimed AND m.state = 'FINALIZED' AND {payout} > 0
    ORDER BY {payout} DESC, p.market_id LIMIT $2"""
    for rule, payout in PAYOUTS.items()
}
_HOLDERS = {
    outcome: f"""SELECT {_COLUMNS} FROM positions p WHERE p.market_id = $1 AND p.{side} > 0
    ORDER BY p.{side} DESC, p.wallet LIMIT $2 OFFSET $3"""
    for outcome, side in ((True, "shares_yes"), (False, "shares_no"))
}
_OF_MARKET = f"""
SELECT {_COLUMNS} FROM positions p WHERE p.market_id = $1
ORDER BY p.shares_yes + p.shares_no DESC, p.wallet LIMIT $2 OFFSET $3
"""
_HOLDERS_COUNT = """
SELECT count(*) AS positions, count(*) FILTER (WHERE shares_yes > 0) AS yes, count(*) FILTER (WHERE shares_no > 0) AS no
FROM positions WHERE market_id = $1
"""


class PositionRow(PositionColumns[datetime], frozen=True, kw_only=True):
    """A wallet's position in a market: shares, lamports invested and claimed, cost bases and realized profit."""


class HeldPosition(PositionRow, frozen=True, kw_only=True):
    """A position with the question and those columns of its market that determine the position's value."""

    state: str
    price_yes_e9: PriceE9
    final_outcome: bool | None
    current_liquidity: Lamports
    market_shares_yes: Shares
    market_shares_no: Shares
    question: str

    def value(self, rule: ClaimRule) -> PositionValue:
        """Return the value of the position. Shares count at the market's current price, in a FINALIZED market at what a
        claim pays by `rule`, and at 0 once they are claimed. A FINALIZED market settles the position: what was paid
        stays its cost, and shares that a claim pays nothing for are a realized loss."""
        current = Lamports(0) if self.has_claimed else self._unclaimed(rule)
        held = 0 if self.has_claimed else self.cost_basis_yes + self.cost_basis_no
        basis = 0 if self.is_final and not current else held
        return PositionValue(
            current=current,
            basis=Lamports(basis),
            realized=Lamports(self.realized_pnl_lamports - (held - basis)),
            cost=self.total_invested if self.is_final else Lamports(held),
            # Each lamport paid is in the cost of shares still held, or was compared with what a sale or a claim paid.
            received=Lamports(
                self.realized_pnl_lamports + self.total_invested - held - self.claimed_lamports
            ),
            is_final=self.is_final,
        )

    def payout(self, rule: ClaimRule) -> Lamports:
        """Return the lamports that the claim of a position in a FINALIZED market paid, or would pay by `rule`."""
        return self.claimed_lamports if self.has_claimed else self._unclaimed(rule)

    def _unclaimed(self, rule: ClaimRule) -> Lamports:
        if not self.is_final:
            return valuation.at_price(self.shares_yes, self.shares_no, self.price_yes_e9)
        if rule is ClaimRule.FIXED:
            return valuation.fixed_payout(self.shares_yes, self.shares_no, self.final_outcome)
        market = FinalMarket(
            self.final_outcome, self.current_liquidity, self.market_shares_yes, self.market_shares_no
        )
        return valuation.pool_payout(self.shares_yes, self.shares_no, self.total_invested, market)

    @property
    def is_final(self) -> bool:
        """Return whether the market is FINALIZED, which settles all positions in it."""
        return self.state == "FINALIZED"

    @property
    def is_open(self) -> bool:
        """Return whether the position holds shares in a market that is not FINALIZED."""
        return not self.is_final and (self.shares_yes > 0 or self.shares_no > 0)


async def one(pool: Pool, market_id: MarketId, wallet: Wallet) -> PositionRow | None:
    """Return the wallet's position in the market; None if it never had one."""
    row = await pool.fetchrow(_ONE, market_id, wallet)
    return None if row is None else PositionRow(**row)


async def held_in(pool: Pool, wallet: Wallet, market_id: MarketId) -> HeldPosition | None:
    """Return the wallet's position in the market, with the columns that determine its value. Returns None if the
    wallet never had one."""
    row = await pool.fetchrow(_HELD_IN, wallet, market_id)
    return None if row is None else HeldPosition(**row)


async def of_wallet(pool: Pool, wallet: Wallet, limit: int, offset: int = 0) -> list[HeldPosition]:
    """Return up to `limit` positions of the wallet, the most recently traded first, from `offset` on."""
    return [HeldPosition(**row) for row in await pool.fetch(_OF_WALLET, wallet, limit, offset)]


async def claimable(pool: Pool, wallet: Wallet, rule: ClaimRule, limit: int) -> list[HeldPosition]:
    """Return up to `limit` positions of the wallet for which a claim by `rule` would pay now, the largest payout
    first."""
    return [HeldPosition(**row) for row in await pool.fetch(_CLAIMABLE[rule], wallet, limit)]


async def holders(
    pool: Pool, market_id: MarketId, outcome: bool, limit: int, offset: int = 0
) -> list[PositionRow]:
    """Return up to `limit` positions of the market that hold shares of `outcome` (True: YES), from `offset` on.
    Those with most of these shares come first."""
    return [PositionRow(**row) for row in await pool.fetch(_HOLDERS[outcome], market_id, limit, offset)]


async def of_market(pool: Pool, market_id: MarketId, limit: int, offset: int = 0) -> list[PositionRow]:
    """Return up to `limit` positions of the market, including empty ones, from `offset` on. Those with most shares of
    both outcomes together come first."""
    return [PositionRow(**row) for row in await pool.fetch(_OF_MARKET, market_id, limit, offset)]


async def holder_counts(pool: Pool, market_id: MarketId) -> tuple[int, int, int]:
    """Return three numbers: all positions of the market, those that hold YES shares, those that hold NO shares."""
    row = await pool.fetchrow(_HOLDERS_COUNT, market_id)
    return (0, 0, 0) if row is None else (row["positions"], row["yes"], row["no"])
