"""Define the shapes of transactions that a user's wallet is to sign, and of their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zmart.client.shapes.tape import Quote
from zmart.market.types import Address, Lamports, MarketId, Signature, Slot, Wallet


class SimulationError(Struct, frozen=True, kw_only=True):
    """Why a transaction is refused: the program's name for it and a sentence for people. `code` is -1 for an error of
    the runtime."""

    code: int
    name: str
    message: str


class Simulation(Struct, frozen=True, kw_only=True):
    """The result of a transaction's simulation; `units` are the compute units that it used."""

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
    """An unsigned transaction on a market."""

    market_id: MarketId
    on_chain_address: Address


class CreatedMarket(MarketTransaction, frozen=True, kw_only=True):
    """The transaction that creates a market. The market is a draft until the transaction has landed; `cid` names its
    stored question document."""

    id: MarketId
    cid: str
    message: str


class ResolveTransaction(MarketTransaction, frozen=True, kw_only=True):
    """The transaction that proposes an outcome."""

    outcome: bool
    ipfs_evidence_hash: str


class TradeTransaction(MarketTransaction, frozen=True, kw_only=True):
    """The transaction of a trade, with its quote."""

    quote: Quote


class Debt(Struct, frozen=True, kw_only=True):
    """What a market owes a wallet that could not be paid when its reward or fee was due."""

    wallet: Wallet
    lamports: Lamports


class ClaimTransaction(MarketTransaction, frozen=True, kw_only=True):
    """The transaction of a claim. `payout` is the value of the position; 0 if the simulation shows that the claim would
    be refused.

    `debts` are those that the market has recorded before: the transaction pays each whose wallet can be credited.
    """

    payout: Lamports
    debts: Sequence[Debt] = ()


class WithdrawTransaction(MarketTransaction, frozen=True, kw_only=True):
    """The transaction of a withdrawal. `amount` is the creator's liquidity, or another wallet's debt; 0 if the
    simulation shows a refusal.

    `debts` are those that the market has recorded before, as for a claim. A debt to the creator itself is paid in
    addition to `amount`.
    """

    amount: Lamports
    debts: Sequence[Debt] = ()


class OperatorTransaction(Struct, frozen=True, kw_only=True):
    """An operator's transaction. The backend sends it if it holds the admin key; otherwise the admin has to sign it.

    `status`: landed, already_done, pending (sent, not judged yet), or unsigned (`transaction` is to be signed).
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
    """The signature of a transaction that was relayed to the chain, and its status."""

    signature: Signature
    status: str


class TransactionState(Struct, frozen=True, kw_only=True):
    """The state of a transaction. `status`: landed, failed, live (it may still land), expired (it never will)."""

    signature: Signature
    status: str
    slot: Slot | None = None
    confirmation: str | None = None
    error: SimulationError | None = None
