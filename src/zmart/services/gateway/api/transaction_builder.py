"""Build transactions for a user's wallet to sign, from the present state of the chain. The gateway simulates them and
never signs them."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from solders.instruction import Instruction
from solders.transaction import VersionedTransaction

from zmart.chain import absence, compose, compute_budget, logs
from zmart.chain.accounts import GlobalConfig, MarketAccount, PositionAccount
from zmart.chain.addresses import to_pubkey
from zmart.chain.rpc_types import SimulationResult
from zmart.client.shapes.transactions import Debt, Simulation, UnsignedTransaction
from zmart.errors import ChainError, DecodeError, NotFound
from zmart.market.events import AnyEvent
from zmart.market.identifiers import MarketRef
from zmart.market.pricing import FeeSchedule, Quantities
from zmart.market.published import same_named
from zmart.market.types import Address, Lamports, MarketId, Wallet
from zmart.services.gateway import metrics
from zmart.services.gateway.api.error_messages import explained
from zmart.services.gateway.context import AppContext

_MAX_LOGS = 50
_UNITS_MARGIN_PERCENT, _UNITS_EXTRA = 20, 2_000
"""The margin of compute units above the simulation's use: the wallet signs later, when the state may have changed."""


class BuiltTransaction(UnsignedTransaction, frozen=True, kw_only=True):
    """An unsigned transaction with its simulation. `events` are those of the program that the simulation logged."""

    events: Sequence[AnyEvent]


class MarketOnChain(msgspec.Struct, frozen=True, kw_only=True):
    """A market's present account and the program's GlobalConfig. `position` is that of a wallet in the market; None if
    none was requested, or the wallet has none."""

    address: Address
    account: MarketAccount
    config: GlobalConfig
    position: PositionAccount | None

    @property
    def quantities(self) -> Quantities:
        """Return the shares of both sides and b, which determine the price."""
        return Quantities(self.account.shares_yes, self.account.shares_no, self.account.b_parameter)

    @property
    def debts(self) -> list[Debt]:
        """Return what the market owes to wallets: reward and fees that could not be paid when they were due. One entry
        for each wallet, in lamports."""
        notes, owed = self.account.notes, Counter[Wallet]()
        owed[self.account.resolver] += notes.owed_resolver
        owed[notes.fee_wallet] += notes.owed_protocol
        return [
            Debt(wallet=wallet, lamports=Lamports(lamports)) for wallet, lamports in owed.items() if lamports
        ]

    @property
    def creditors(self) -> list[Wallet]:
        """Return the wallets to which the market owes something."""
        return [debt.wallet for debt in self.debts]

    @property
    def fees(self) -> FeeSchedule:
        """Return the fee rates of GlobalConfig."""
        return FeeSchedule.of_config(self.config)


async def on_chain(context: AppContext, ref: MarketRef, wallet: Wallet | None = None) -> MarketOnChain:
    """Read a market's account, GlobalConfig and, if `wallet` is given, the wallet's position from the chain, usually in
    one RPC call. Raises NotFound if there is no such market, ChainError if the RPC fails or the program has no
    GlobalConfig."""
    program = context.program
    address = ref.address or program.addresses.market(MarketId(str(ref)))
    addresses = [address, program.addresses.global_config()]
    if wallet is not None:
        addresses.append(program.addresses.position(address, wallet))
    market, config, *rest = await context.chain().get_multiple_accounts(addresses)
    if market is None:  # a node that lags may not know a new market
        market = await absence.account([context.chain()], address)
    if market is None:
        raise NotFound(f"There is no market {ref} on chain.")
    if config is None:
        raise ChainError("The program has no GlobalConfig on this cluster.")
    try:
        account = program.accounts.market(market)
    except DecodeError:
        raise NotFound(f"There is no market {ref} on chain: that account is something else.") from None
    position = program.accounts.position(rest[0]) if rest and rest[0] is not None else None
    return MarketOnChain(
        address=address,
        account=account,
        config=program.accounts.global_config(config),
        position=position,
    )


async def build(context: AppContext, payer: Wallet, instructions: Sequence[Instruction]) -> BuiltTransaction:
    """Build an unsigned transaction and simulate it. `simulation` of the result reports it if the program would refuse
    the transaction. Raises ChainError when no RPC answers."""
    rpc, who = context.chain(), to_pubkey(payer)
    latest, usual = await asyncio.gather(
        rpc.get_latest_blockhash(), compute_budget.usual_price(rpc, instructions)
    )
    trial = compose.unsigned(
        compose.compile(who, instructions, latest.blockhash, compute_unit_limit=compute_budget.MAX_UNITS)
    )
    result = await rpc.simulate(bytes(trial))
    if result.err == "BlockhashNotFound":  # this node lags behind the one that gave the blockhash
        result = await rpc.simulate(bytes(trial), own_blockhash=True)
    limit = compute_budget.unit_limit(result.units if result.ok else 0, _UNITS_MARGIN_PERCENT, _UNITS_EXTRA)
    message = compose.compile(
        who,
        instructions,
        latest.blockhash,
        compute_unit_limit=limit,
        priority_fee_micro_lamports=compute_budget.capped_price(
            usual, limit, context.settings.max_priority_fee_lamports
        ),
    )
    transaction = compose.unsigned(message)
    metrics.SIMULATIONS.labels("ok" if result.ok else "refused").inc()
    return BuiltTransaction(
        transaction=base64.b64encode(bytes(transaction)).decode(),
        signers=_signers(transaction),
        last_valid_block_height=latest.last_valid_block_height,
        fee_lamports=compute_budget.fee_lamports(transaction),
        simulation=_simulation(context, result),
        events=_events(context, result),
    )


def parts(market: MarketOnChain, built: BuiltTransaction) -> dict[str, Any]:
    """Return the fields of client.shapes.transactions.MarketTransaction, by name, for a transaction on `market`."""
    named = {"market_id": market.account.market_id, "on_chain_address": market.address}
    return {**same_named(built, UnsignedTransaction), **named}


def _signers(transaction: VersionedTransaction) -> list[Wallet]:
    message = transaction.message
    return [Wallet(str(key)) for key in message.account_keys[: message.header.num_required_signatures]]


def _simulation(context: AppContext, result: SimulationResult) -> Simulation:
    if result.ok:
        return Simulation(ok=True, units=result.units)
    error = context.program.transaction_error(result.err, result.logs)
    return Simulation(ok=False, units=result.units, error=explained(error), logs=result.logs[:_MAX_LOGS])


def _events(context: AppContext, result: SimulationResult) -> list[AnyEvent]:
    """Return the program's events of a successful simulation, such as the payout of a claim; none of a failed one."""
    payloads = logs.walk(result.logs, context.program.address).payloads if result.ok else ()
    return [context.program.events.decode(payload.data) for payload in payloads if payload.data is not None]
