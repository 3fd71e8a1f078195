"""A1: tests of what a wallet held and had traded before a vote opened, from the RPC of a local chain."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from kit.decisions import Scene
from kit.wallets import address_of
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.wallet_history import held_before, traded_before
from zmart.errors import ChainError
from zmart.local.chain.genesis import fund
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.types import ChainTime, Lamports, Signature
from zmart.proofs.voter_evidence import opening_of

SOL = 10**9


async def opens(scene: Scene) -> VoteOpening:
    """Open a proposal's vote ten seconds of chain time after everything before it, and ten before what follows."""
    await scene.travel(10)
    market = await scene.market()
    created_at = (await scene.account(market)).created_at
    result = await opening_of(scene.rpc, scene.chain.program.addresses.market(market), created_at)
    assert result is not None
    assert result.at == created_at
    await scene.travel(10)
    return result


async def test_what_a_wallet_held_is_its_balance_when_the_vote_opened(scene: Scene) -> None:
    early, emptied, late, never = (Keypair() for _ in range(4))
    await scene.pay(scene.creator, early, SOL)
    await scene.pay(scene.creator, emptied, SOL)
    await scene.pay(emptied, early, SOL - 5_000)
    opening = await opens(scene)
    await scene.pay(early, late, SOL)
    await scene.pay(late, emptied, SOL // 2)

    async def held(wallet: Keypair) -> VoterFacts:
        return await held_before(scene.rpc, address_of(wallet), opening)

    assert await held(early) == VoterFacts(held=Lamports(2 * SOL - 5_000))
    assert await held(emptied) == VoterFacts(held=Lamports(0))
    assert await held(late) == VoterFacts(held=Lamports(0))
    assert await held(never) == VoterFacts(held=Lamports(0))


async def test_lamports_that_no_listed_transaction_brought_are_unknown(scene: Scene) -> None:
    """A balance that no listed transaction explains is unknown.

    A node lists a transaction a moment after it shows the balance. A wallet that is funded at that moment must not pass
    as funded before.
    """
    opening, wallet = await opens(scene), Keypair()
    await fund(scene.rpc, address_of(wallet), Lamports(SOL))  # sets the balance without a transaction
    result = await held_before(scene.rpc, address_of(wallet), opening)
    assert (result.held, "no transaction" in result.why_unknown) == (None, True)


class Forgetful(Rpc):
    """A node that keeps transactions only from the slot `since` on."""

    since = 0

    async def call(self, method: str, params: object = ()) -> object:
        return self.since if method == "getFirstAvailableBlock" else await super().call(method, params)  # type: ignore[arg-type]


async def test_a_node_that_forgot_that_time_says_nothing_about_it(scene: Scene) -> None:
    opening, wallet = await opens(scene), Keypair()
    async with Forgetful([scene.chain.rpc_url]) as rpc:
        assert (await held_before(rpc, address_of(wallet), opening)).held == 0
        rpc.since = opening.slot + 1
        result = await held_before(rpc, address_of(wallet), opening)
    assert (result.held, "keeps no transactions" in result.why_unknown) == (None, True)


async def test_what_a_wallet_traded_counts_purchases_and_sales_before_the_vote(scene: Scene) -> None:
    market, program = await scene.active(), scene.chain.program
    trader, newcomer, stranger = await scene.rich(), await scene.rich(), await scene.rich()
    bought = await scene.buy(market, trader, 40_000_000)
    sold = await scene.sell(market, trader, 10_000_000)
    opening = await opens(scene)
    await scene.buy(market, trader, 30_000_000)
    await scene.buy(market, newcomer, 90_000_000)

    async def traded(wallet: Keypair, enough: int = 50_000_000) -> Lamports | None:
        result = await traded_before(scene.rpc, program, address_of(wallet), opening, Lamports(enough))
        return result.traded

    assert await traded(trader) == bought + sold
    assert await traded(trader, enough=1_000) in (bought, sold, bought + sold)
    assert await traded(newcomer) == 0
    assert await traded(stranger) == 0
    other_time = VoteOpening(ChainTime(opening.at + 86_400), opening.slot, opening.signature)
    result = await traded_before(scene.rpc, program, address_of(newcomer), other_time, Lamports(1))
    assert result.traded is not None
    assert result.traded > 80_000_000


class ShortPages(Rpc):
    """A node that lists one transaction in each page, as nodes do where one of their stores ends."""

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        return await super().get_signatures_for_address(address, **{**options, "limit": 1})  # type: ignore[arg-type,return-value]


async def test_a_short_page_of_transactions_is_not_their_end(scene: Scene) -> None:
    """A short page of a wallet's transactions is not their end.

    Otherwise the balance before the oldest transaction of the page would be taken for the balance at the opening, and a
    wallet that was funded after the opening would pass as funded before it.
    """
    market, trader, late = await scene.active(), await scene.rich(), Keypair()
    bought = await scene.buy(market, trader, 40_000_000) + await scene.buy(market, trader, 10_000_000)
    opening = await opens(scene)
    await scene.pay(scene.creator, late, SOL)
    await scene.pay(late, trader, SOL // 4)
    await scene.pay(late, trader, SOL // 5)  # another amount: else it could be the same transaction
    async with ShortPages([scene.chain.rpc_url]) as rpc:
        assert await held_before(rpc, address_of(late), opening) == VoterFacts(held=Lamports(0))
        whole = await held_before(scene.rpc, address_of(trader), opening)
        assert await held_before(rpc, address_of(trader), opening) == whole
        result = await traded_before(rpc, scene.chain.program, address_of(trader), opening, Lamports(10**12))
        assert result.traded == bought
        on_chain = scene.chain.program.addresses.market(market)
        assert await opening_of(rpc, on_chain, ChainTime(0)) == await opening_of(
            scene.rpc, on_chain, ChainTime(0)
        )


class Secretive(Rpc):
    """A node that lists transactions and shows none, or lists none at all if `lists` is false."""

    lists = True

    async def get_transaction_json(self, signature: str, commitment: str = "confirmed") -> bytes | None:  # type: ignore[override]
        return None

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        return await super().get_signatures_for_address(address, **options) if self.lists else []  # type: ignore[arg-type,return-value]


async def test_trades_that_a_node_does_not_show_are_unknown_and_not_none(scene: Scene) -> None:
    market, trader = await scene.active(), await scene.rich()
    await scene.buy(market, trader, 40_000_000)
    opening = await opens(scene)
    async with Secretive([scene.chain.rpc_url]) as rpc:
        for rpc.lists in (True, False):
            result = await traded_before(
                rpc, scene.chain.program, address_of(trader), opening, Lamports(50_000_000)
            )
            assert result.traded is None
            assert result.why_unknown
    async with Rpc(["http://127.0.0.1:1"], attempts=1) as rpc:
        with pytest.raises(ChainError):
            await traded_before(rpc, scene.chain.program, address_of(trader), opening, Lamports(1))


class Lagging(Rpc):
    """A node that has reached only the slot `at`: it refuses to answer as of a later slot, as nodes do."""

    at = 0

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        self._refuse(options.pop("since", None))
        lines = await super().get_signatures_for_address(address, **options)  # type: ignore[arg-type]
        return [line for line in lines if line.slot <= self.at]

    async def get_balance(self, address: str, **options: object) -> Lamports:  # type: ignore[override]
        self._refuse(options.pop("since", None))
        lines = await self.get_signatures_for_address(address)
        return await super().get_balance(address) if lines else Lamports(0)  # type: ignore[arg-type]

    async def get_program_accounts(self, program: str, **options: object) -> list[object]:  # type: ignore[override]
        self._refuse(options.get("since"))
        return []  # it does not have the wallet's positions yet

    def _refuse(self, since: object) -> None:
        if isinstance(since, int) and since > self.at:
            raise TransientRpcError(f"Minimum context slot has not been reached: {since}", -32016)


async def test_a_node_that_has_not_reached_the_opening_says_nothing_about_a_wallet(scene: Scene) -> None:
    """A node that lags misses what happened before the opening: nothing follows from its list and its balances."""
    market, wallet, emptied, trader = await scene.active(), Keypair(), Keypair(), await scene.rich()
    await scene.pay(scene.creator, emptied, SOL)
    before = await scene.rpc.get_slot()
    await scene.travel(10)
    await scene.pay(scene.creator, wallet, SOL)
    await scene.pay(emptied, wallet, SOL - 5_000)
    await scene.buy(market, trader, 60_000_000)
    opening, program = await opens(scene), scene.chain.program
    assert await held_before(scene.rpc, address_of(wallet), opening) == VoterFacts(
        held=Lamports(2 * SOL - 5_000)
    )
    assert await held_before(scene.rpc, address_of(emptied), opening) == VoterFacts(held=Lamports(0))
    async with Lagging([scene.chain.rpc_url]) as rpc:
        rpc.at = before
        for each in (wallet, emptied):  # 0 lamports of the first and 1 SOL of the second would both be wrong
            with pytest.raises(ChainError, match="slot"):
                await held_before(rpc, address_of(each), opening)
        with pytest.raises(ChainError, match="slot"):
            await traded_before(rpc, program, address_of(trader), opening, Lamports(50_000_000))


class Balancer(Rpc):
    """Two nodes behind one address: a later page comes from one that does not have the newest transactions yet.

    Such a node does not know the signature at which the page is to begin, and returns an empty list.
    """

    at = 0

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        since, before = options.pop("since", None), options.get("before")
        lines = await super().get_signatures_for_address(address, **{**options, "limit": 1})  # type: ignore[arg-type]
        if before is None:
            return lines
        if isinstance(since, int) and since > self.at:
            raise TransientRpcError(f"Minimum context slot has not been reached: {since}", -32016)
        return []


async def test_an_empty_page_of_a_node_that_lags_is_not_the_end_of_a_list(scene: Scene) -> None:
    opening, late = await opens(scene), Keypair()
    await scene.pay(scene.creator, late, SOL)
    reached = await scene.rpc.get_slot()
    await scene.travel(10)
    await scene.pay(late, scene.creator, SOL // 4)
    async with Balancer([scene.chain.rpc_url]) as rpc:
        rpc.at = reached  # the opening, but not the transaction at which the second page begins
        with pytest.raises(ChainError, match="slot"):  # else it would pass as funded before
            await held_before(rpc, address_of(late), opening)


class Busy(Forgetful):
    """A node whose lists from the newest transaction on have no end that is reached, as those of a busy wallet."""

    opening = ""

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        if options.get("before") != self.opening:
            options.pop("before", None)
        return await super().get_signatures_for_address(address, **options)  # type: ignore[arg-type,return-value]


async def test_a_new_wallet_that_is_busy_held_nothing_before_the_opening(scene: Scene) -> None:
    """A wallet that was first used after the opening is judged however many transactions it has had since.

    Otherwise such a wallet, with 20,000 transactions for 0.1 SOL, would keep what it votes on from ever being decided.
    """
    old, late = Keypair(), Keypair()
    await scene.pay(scene.creator, old, SOL)
    opening = await opens(scene)
    await scene.pay(scene.creator, late, SOL)
    await scene.pay(old, late, SOL // 2)
    async with Busy([scene.chain.rpc_url]) as rpc:
        rpc.opening = opening.signature
        assert await held_before(rpc, address_of(old), opening) == VoterFacts(held=Lamports(SOL))
        assert await held_before(rpc, address_of(late), opening) == VoterFacts(held=Lamports(0))
        rpc.since = 2  # it does not keep all blocks: there may have been older transactions
        assert (await held_before(rpc, address_of(late), opening)).held is None
        rpc.since = 0
        unheard_of = VoteOpening(opening.at, opening.slot, Signature(str(late.sign_message(b""))))
        rpc.opening = unheard_of.signature
        assert (await held_before(rpc, address_of(late), unheard_of)).held is None


class PrunedWithShortPages(ShortPages, Forgetful):
    """A node that does not keep all blocks and lists one transaction in each page: 20 of them are read at once."""

    lists = 0

    async def get_signatures_for_address(self, address: str, **options: object) -> list[object]:  # type: ignore[override]
        self.lists += 1
        return await super().get_signatures_for_address(address, **options)


async def test_the_first_transaction_of_a_busy_wallet_is_found_between_the_blocks_since_the_opening(
    scene: Scene,
) -> None:
    """As for a wallet with few transactions, its balance before the first one since the opening decides."""
    opening, late = await opens(scene), Keypair()
    await scene.pay(scene.creator, late, SOL)
    for amount in range(60):
        await scene.pay(late, scene.creator, 1_000_000 + amount)
    async with PrunedWithShortPages([scene.chain.rpc_url]) as rpc:
        rpc.since = opening.slot
        assert await held_before(rpc, address_of(late), opening) == VoterFacts(held=Lamports(0))
        assert rpc.lists < 20 + 1 + 40  # not one for each transaction
        rpc.since = opening.slot + 1
        assert (await held_before(rpc, address_of(late), opening)).held is None
