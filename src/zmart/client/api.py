"""Define the calls of the HTTP API, each with the shape of its response.

Amounts are lamports, or shares in units of 1e-9. `key` names a market by its id or its address on chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx

from zmart.client.shapes import markets as market_shapes
from zmart.client.shapes import people, system, tape, transactions, votes
from zmart.client.transport import Query, Transport
from zmart.market.outcomes import side_name
from zmart.market.times import iso, ms_of
from zmart.market.types import Address, MarketId, Side, Signature, VoteKind, Wallet
from zmart.market.votes import Statement

Sign = Callable[[bytes], str]
"""Signs bytes with the wallet's key and returns the signature in base58."""


class Client:
    """Call the API; use as an async context manager, or call `close()`.

    Every call raises ApiError when the API refuses it, and ZmartError without a usable response. `timeout_s` limits
    each request in seconds. `token` is that of a session.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 20.0,
        token: str = "",
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._http = Transport(base_url, timeout_s, http)
        self._http.token = token

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the API."""
        await self._http.close()

    async def sign_in(self, wallet: Wallet, sign: Sign) -> people.Session:
        """Sign in with Solana and return the session; later requests send the session's token."""
        nonce = await self._http.post(people.Nonce, "/api/auth/nonce", {"wallet": wallet})
        body = {"wallet": wallet, "message": nonce.message, "signature": sign(nonce.message.encode())}
        session = await self._http.post(people.Session, "/api/auth/verify", body)
        self._http.token = session.token
        return session

    async def sign_out(self) -> None:
        """End the session; later requests send no token."""
        await self._http.post(people.Message, "/api/auth/logout")
        self._http.token = ""

    async def markets(
        self,
        *,
        state: str | None = None,
        category: str | None = None,
        creator: str | None = None,
        q: str | None = None,
        sort: str = "newest",
        limit: int = 20,
        cursor: str | None = None,
    ) -> market_shapes.Markets:
        """List markets; pass `next_cursor` of a response as `cursor` for the next page."""
        filters: Query = {"state": state, "category": category, "creator": creator, "q": q}
        paging: Query = {"sort": sort, "limit": limit, "cursor": cursor}
        return await self._http.get(market_shapes.Markets, "/api/markets", {**filters, **paging})

    async def market(self, key: str) -> market_shapes.MarketDetail:
        """Return a market that exists on chain, by id or address."""
        return await self._http.get(market_shapes.MarketDetail, f"/api/markets/{key}")

    async def draft(self, market_id: MarketId) -> market_shapes.Market:
        """Return a market of the signed-in wallet that does not exist on chain yet."""
        return await self._http.get(market_shapes.Market, f"/api/markets/{market_id}")

    async def search(self, q: str, limit: int = 20) -> market_shapes.SearchResult:
        """Search markets by words in their question documents; the best match comes first."""
        return await self._http.get(market_shapes.SearchResult, "/api/search", {"q": q, "limit": limit})

    async def trending(self, limit: int = 10) -> market_shapes.TrendingMarkets:
        """List the markets with the most activity in the last 24 hours."""
        return await self._http.get(market_shapes.TrendingMarkets, "/api/markets/trending", {"limit": limit})

    async def timeline(self, key: str, limit: int = 100) -> market_shapes.Timeline:
        """List the events of a market, oldest first."""
        return await self._http.get(market_shapes.Timeline, f"/api/markets/{key}/timeline", {"limit": limit})

    async def trades(self, key: str, limit: int = 50, cursor: str | None = None) -> tape.MarketTrades:
        """List the newest trades of a market; pass `next_cursor` of a response as `cursor` for older ones."""
        query = {"limit": limit, "cursor": cursor}
        return await self._http.get(tape.MarketTrades, f"/api/markets/{key}/trades", query)

    async def candles(self, key: str, interval: str = "1h") -> tape.Candles:
        """Return the YES prices of a market as candles of `interval`, such as "1h"."""
        return await self._http.get(tape.Candles, f"/api/markets/{key}/candles", {"interval": interval})

    async def market_stats(self, key: str) -> tape.MarketStats:
        """Return volume and counts of a market's trades."""
        return await self._http.get(tape.MarketStats, f"/api/markets/{key}/stats")

    async def holders(self, key: str, limit: int = 50) -> people.Holders:
        """List the positions in a market, the largest first."""
        return await self._http.get(people.Holders, f"/api/markets/{key}/holders", {"limit": limit})

    async def quote(
        self,
        key: str,
        side: Side,
        outcome: bool,
        *,
        shares: int | None = None,
        max_cost: int | None = None,
        min_shares: int | None = None,
        slippage_bps: int | None = None,
    ) -> tape.Quote:
        """Quote a trade: a purchase by `shares` or `max_cost`, a sale by `shares`. `outcome`: true for YES."""
        query = {
            "side": side.value,
            "outcome": side_name(outcome),
            "shares": shares,
            "max_cost": max_cost,
            "min_shares": min_shares,
            "slippage_bps": slippage_bps,
        }
        return await self._http.get(tape.Quote, f"/api/markets/{key}/quote", query)

    async def create_market(
        self,
        question: str,
        end_date: datetime,
        b_parameter: int,
        initial_liquidity: int,
        *,
        description: str = "",
        category: str = "other",
        tags: Sequence[str] = (),
    ) -> transactions.CreatedMarket:
        """Store a market's question document and return the transaction that creates the market."""
        body = {
            "question": question,
            "description": description,
            "category": category,
            "tags": list(tags),
            "end_date": iso(end_date),
            "b_parameter": b_parameter,
            "initial_liquidity": initial_liquidity,
        }
        return await self._http.post(transactions.CreatedMarket, "/api/markets", body)

    async def activate(self, key: str) -> transactions.MarketTransaction:
        """Return the transaction that activates a market."""
        return await self._http.post(transactions.MarketTransaction, f"/api/markets/{key}/activate")

    async def resolve(
        self, key: str, outcome: bool, *, evidence: str | None = None, evidence_cid: str | None = None
    ) -> transactions.ResolveTransaction:
        """Return the transaction that proposes an outcome, with evidence: a text to store, or the CID of a document."""
        body = {"outcome": outcome, "evidence": evidence, "ipfs_evidence_hash": evidence_cid}
        return await self._http.post(transactions.ResolveTransaction, f"/api/markets/{key}/resolve", body)

    async def dispute(self, key: str) -> transactions.MarketTransaction:
        """Return the transaction that disputes the proposed outcome."""
        return await self._http.post(transactions.MarketTransaction, f"/api/markets/{key}/dispute")

    async def approve(self, key: str) -> transactions.OperatorTransaction:
        """Approve a proposal, or return the transaction for the admin to sign. Requires the operator's token."""
        return await self._http.post(transactions.OperatorTransaction, f"/api/markets/{key}/approve")

    async def cancel(self, key: str) -> transactions.OperatorTransaction:
        """Cancel a market, or return the transaction for the admin to sign. Requires the operator's token."""
        return await self._http.post(transactions.OperatorTransaction, f"/api/markets/{key}/cancel")

    async def buy(
        self,
        key: str,
        outcome: bool,
        *,
        max_cost: int | None = None,
        shares: int | None = None,
        min_shares: int | None = None,
        slippage_bps: int | None = None,
    ) -> transactions.TradeTransaction:
        """Return the transaction that buys shares for up to `max_cost`, fees included, which is signed as the limit.

        With `shares` alone the limit is computed from the quote. With both, at least `shares` are bought for at most
        `max_cost`. `min_shares` is computed from the quote and `slippage_bps` unless it is given.
        """
        body = {
            "market_id": key,
            "outcome": outcome,
            "max_cost": max_cost,
            "shares": shares,
            "min_shares": min_shares,
            "slippage_bps": slippage_bps,
        }
        return await self._http.post(transactions.TradeTransaction, "/api/trades/buy", body)

    async def sell(
        self,
        key: str,
        outcome: bool,
        shares: int,
        *,
        min_proceeds: int | None = None,
        slippage_bps: int | None = None,
    ) -> transactions.TradeTransaction:
        """Return the transaction that sells shares.

        `min_proceeds` is computed from the quote and `slippage_bps` unless it is given.
        """
        body = {
            "market_id": key,
            "outcome": outcome,
            "shares": shares,
            "min_proceeds": min_proceeds,
            "slippage_bps": slippage_bps,
        }
        return await self._http.post(transactions.TradeTransaction, "/api/trades/sell", body)

    async def claim(self, key: str) -> transactions.ClaimTransaction:
        """Return the transaction that claims the payout of the wallet's position."""
        return await self._http.post(transactions.ClaimTransaction, "/api/trades/claim", {"market_id": key})

    async def withdraw(self, key: str) -> transactions.WithdrawTransaction:
        """Return the transaction that withdraws the creator's liquidity, or what the market owes the wallet."""
        body = {"market_id": key}
        return await self._http.post(transactions.WithdrawTransaction, "/api/trades/withdraw", body)

    async def send(self, transaction: str) -> transactions.Relayed:
        """Relay a signed transaction, in base64, to the chain."""
        body = {"transaction": transaction}
        return await self._http.post(transactions.Relayed, "/api/transactions", body)

    async def transaction(self, signature: Signature) -> transactions.TransactionState:
        """Return the state of a transaction: landed, failed, live or expired."""
        return await self._http.get(transactions.TransactionState, f"/api/transactions/{signature}")

    async def vote(self, statement: Statement, sign: Sign) -> votes.VoteAnswer:
        """Sign the statement of a vote and cast the vote; return its receipt, too."""
        body = {
            "market_id": statement.market_id,
            "vote": statement.vote,
            "wallet": statement.wallet,
            "statement": statement.text(),
            "signature": sign(statement.text().encode()),
        }
        return await self._http.post(votes.VoteAnswer, f"/api/votes/{statement.kind.value}", body)

    async def vote_counts(self, key: str) -> votes.VoteCounts:
        """Return the counts of both votes of a market."""
        return await self._http.get(votes.VoteCounts, f"/api/votes/{key}")

    async def vote_proof(self, key: str, wallet: Wallet, since: int | None = None) -> votes.Proof:
        """Return the proof that the wallet's votes are in the market's log, in the format of docs/votes.md.

        `since` also proves that the log of that size is the beginning of the present log.
        """
        query: Query = {"wallet": wallet, "since": since}
        return await self._http.get(votes.Proof, f"/api/votes/{key}/proof", query)

    async def comment(self, key: str, content: str, parent_id: str | None = None) -> people.DiscussionAnswer:
        """Write a comment on a market, or a reply to the comment `parent_id`."""
        body = {"market_id": key, "content": content, "parent_id": parent_id}
        return await self._http.post(people.DiscussionAnswer, "/api/discussions", body)

    async def delete_comment(self, comment_id: str) -> None:
        """Delete a comment of the signed-in wallet."""
        await self._http.delete(people.Message, f"/api/discussions/{comment_id}")

    async def discussions(self, key: str, limit: int = 50, cursor: str | None = None) -> people.Discussions:
        """List the comments on a market; pass `next_cursor` of a response as `cursor` for the next page."""
        query = {"limit": limit, "cursor": cursor}
        return await self._http.get(people.Discussions, f"/api/discussions/{key}", query)

    async def snapshots(self, key: str) -> people.DiscussionSnapshots:
        """List the snapshots of a market that were pinned to IPFS."""
        return await self._http.get(people.DiscussionSnapshots, f"/api/discussions/{key}/snapshots")

    async def user(self, wallet: Wallet) -> people.User:
        """Return a wallet's profile."""
        return await self._http.get(people.User, f"/api/users/{wallet}")

    async def change_profile(
        self,
        wallet: Wallet,
        *,
        display_name: str | None = None,
        bio: str | None = None,
        avatar_url: str | None = None,
        twitter_handle: str | None = None,
    ) -> people.User:
        """Change the profile of the signed-in wallet. None keeps a field, an empty text clears it."""
        body = {
            "display_name": display_name,
            "bio": bio,
            "avatar_url": avatar_url,
            "twitter_handle": twitter_handle,
        }
        return await self._http.put(people.User, f"/api/users/{wallet}", body)

    async def user_trades(
        self, wallet: Wallet, limit: int = 50, cursor: str | None = None
    ) -> tape.WalletTrades:
        """List a wallet's trades, newest first."""
        query = {"limit": limit, "cursor": cursor}
        return await self._http.get(tape.WalletTrades, f"/api/users/{wallet}/trades", query)

    async def user_votes(self, wallet: Wallet, limit: int = 50) -> votes.UserVotes:
        """List a wallet's votes on proposals and disputes."""
        return await self._http.get(votes.UserVotes, f"/api/users/{wallet}/votes", {"limit": limit})

    async def leaderboard(self, window: str = "all", by: str = "pnl", limit: int = 50) -> people.Leaderboard:
        """Rank wallets by `pnl` or `volume` within a window."""
        query: Query = {"window": window, "by": by, "limit": limit}
        return await self._http.get(people.Leaderboard, "/api/leaderboard", query)

    async def activity(self, limit: int = 20, kind: str | None = None) -> tape.Activities:
        """List recent activity. `kind`: trade, vote, discussion, creation or resolution."""
        query: Query = {"limit": limit, "type": kind}
        return await self._http.get(tape.Activities, "/api/markets/activity", query)

    async def user_stats(self, wallet: Wallet) -> people.UserStats:
        """Return a wallet's results: volume, profits and losses in lamports, and the rate of settled gains."""
        return await self._http.get(people.UserStats, f"/api/users/{wallet}/stats")

    async def positions(self, wallet: Wallet) -> list[people.Position]:
        """List a wallet's positions."""
        return await self._http.get(list[people.Position], f"/api/positions/{wallet}")

    async def position(self, wallet: Wallet, market: MarketId) -> people.PortfolioPosition:
        """Return a wallet's position in a market with its value and profit; zeros if it never traded there."""
        return await self._http.get(people.PortfolioPosition, f"/api/users/{wallet}/positions/{market}")

    async def portfolio(self, wallet: Wallet) -> people.Portfolio:
        """Return a wallet's positions with their values, and the history of the portfolio's value."""
        return await self._http.get(people.Portfolio, f"/api/users/{wallet}/portfolio")

    async def status(self) -> system.Status:
        """Return the state of the backend: its services, index, queues and feed."""
        return await self._http.get(system.Status, "/api/status")

    async def events(
        self, since_ms: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> system.LatestEvents:
        """List the changes that were committed after `since_ms`, a Unix time in milliseconds; with the `next_cursor` of
        a full page as `cursor`, those behind that page."""
        query = {"since": since_ms, "limit": limit, "cursor": cursor}
        return await self._http.get(system.LatestEvents, "/api/events/latest", query)


def statement_now(
    program: Address, market_id: MarketId, kind: VoteKind, vote: bool, wallet: Wallet
) -> Statement:
    """Return the statement of a vote, issued now, for the wallet to sign."""
    return Statement(
        program=program,
        market_id=market_id,
        kind=kind,
        vote=vote,
        wallet=wallet,
        issued_ms=ms_of(datetime.now(UTC)),
    )
