"""Examples of answers about transactions: those to sign, those that an operator sends, and their outcomes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zmart.client.shapes import transactions as shapes
from zmart.market.types import Lamports, Wallet
from zmart.services.gateway.openapi.answers import scenario
from zmart.services.gateway.openapi.answers.markets import QUOTE

_FEE = Lamports(5_120)


def _unsigned(signer: Wallet, units: int) -> dict[str, Any]:
    return {
        "market_id": scenario.MARKET,
        "on_chain_address": scenario.ADDRESS,
        "transaction": scenario.TRANSACTION,
        "signers": [signer],
        "last_valid_block_height": scenario.LAST_VALID_BLOCK_HEIGHT,
        "fee_lamports": _FEE,
        "simulation": shapes.Simulation(ok=True, units=units),
    }


ANSWERS: list[Struct] = [
    shapes.CreatedMarket(
        **_unsigned(scenario.CREATOR, 41_860),
        id=scenario.MARKET,
        cid=scenario.QUESTION_CID,
        message="Sign and send the transaction; until it has landed the market is a draft that only you see.",
    ),
    shapes.MarketTransaction(**_unsigned(scenario.CREATOR, 18_214)),
    shapes.TradeTransaction(**_unsigned(scenario.TRADER, 64_320), quote=QUOTE),
    shapes.ResolveTransaction(
        **_unsigned(scenario.CREATOR, 16_903), outcome=True, ipfs_evidence_hash=scenario.QUESTION_CID
    ),
    shapes.ClaimTransaction(**_unsigned(scenario.TRADER, 23_118), payout=Lamports(int(scenario.SHARES))),
    shapes.WithdrawTransaction(**_unsigned(scenario.CREATOR, 20_447), amount=scenario.DEPOSIT),
    shapes.OperatorTransaction(
        market_id=scenario.MARKET,
        on_chain_address=scenario.ADDRESS,
        sent=True,
        status="landed",
        signature=scenario.SIGNATURE,
    ),
    shapes.Relayed(signature=scenario.SIGNATURE, status="live"),
    shapes.TransactionState(
        signature=scenario.SIGNATURE, status="landed", slot=scenario.SLOT, confirmation="confirmed"
    ),
]
