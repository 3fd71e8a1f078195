"""Transactions for a user's wallet to sign, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zmart.client.shapes.tape import Quote
from zmart.market.types import Address, Lamports, MarketId, Signature, Slot, Wallet


class SimulationError(Struct, frozen=True, kw_only=True):
    """The program's name for the refusal and a sentence for people; `code` is -1 for the runtime's own."""

    code: int
    name: str
    message: str


class Simulation(Struct, frozen=True, kw_only=True):
    ok: bool
    units: int
    error: SimulationError | None = None
    logs: Sequence[str] = ()


class UnsignedTransaction(Struct, frozen=True, kw_only=True):
    """A v0 transaction in base64 without signatures; each of `signers` has to sign it."""

    transaction: str
    signers: Sequence[Wallet]
    last_valid_block_height: int
    fee_lamports: Lamports
    simulation: Simulation


class MarketTransaction(UnsignedTransaction, frozen=True, kw_only=True):
    market_id: MarketId
    on_chain_address: Address


class CreatedMarket(MarketTransaction, frozen=True, kw_only=True):
    """`cid` names the question document that was stored; the market is a draft until the transaction landed."""

    id: MarketId
    cid: str
    message: str


class ResolveTransaction(MarketTransaction, frozen=True, kw_only=True):
    outcome: bool
    ipfs_evidence_hash: str


class TradeTransaction(MarketTransaction, frozen=True, kw_only=True):
    quote: Quote


class Debt(Struct, frozen=True, kw_only=True):
    """What a market notes for a wallet that could not be paid when its reward or fee was due."""

    wallet: Wallet
    lamports: Lamports


class ClaimTransaction(MarketTransaction, frozen=True, kw_only=True):
    """`payout` is what the position is worth; 0 when the simulation says that it would be refused. `debts` are those
    noted before it: it pays each whose wallet can be credited."""

    payout: Lamports
    debts: Sequence[Debt] = ()


class WithdrawTransaction(MarketTransaction, frozen=True, kw_only=True):
    """`amount` is the creator's liquidity, or for another wallet its debt; 0 when the simulation says that it would be
    refused. `debts` as for a claim: what is noted for the creator itself comes on top of `amount`."""

    amount: Lamports
    debts: Sequence[Debt] = ()


class OperatorTransaction(Struct, frozen=True, kw_only=True):
    """Either the backend holds the admin key and sends it, or the admin has to sign `transaction`.

    `status`: landed, already_done, pending (sent, not judged yet), or unsigned.
    """

    market_id: MarketId
    on_chain_address: Address
    sent: bool
    status: str
    signature: Signature | None = None
    transaction: str | None = None
    signers: Sequence[Wallet] = ()
    last_valid_block_height: int | None = None
    simulation: Simulation | None = None


class Relayed(Struct, frozen=True, kw_only=True):
    signature: Signature
    status: str


class TransactionState(Struct, frozen=True, kw_only=True):
    """`status`: landed, failed, live (it may still land), expired (it never will)."""

    signature: Signature
    status: str
    slot: Slot | None = None
    confirmation: str | None = None
    error: SimulationError | None = None
