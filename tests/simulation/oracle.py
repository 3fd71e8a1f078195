"""The count that a market's votes must have, computed from the chain's own transactions and the log.

It shares nothing with the code under test but the codecs.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from simulated_chain import LandedTransaction, SimulatedChain

from zmart.chain.compose import MEMO_PROGRAM
from zmart.chain.event_extraction import extract_events
from zmart.chain.program import Program
from zmart.chain.transactions import parse_transaction
from zmart.market import events as e
from zmart.market.types import VoteKind


@dataclass(frozen=True)
class Memo:
    """The memo of a tally; `closed_at` (chain time) and `closed_slot` are None in version 1."""

    kind: VoteKind
    log_size: int
    closed_at: int | None
    closed_slot: int | None


@dataclass(frozen=True)
class Decision:
    """Counts of votes that a transaction wrote on chain, and the transaction's memo, None without one."""

    market_id: str
    kind: VoteKind
    votes_for: int
    votes_against: int
    memo: Memo | None


@dataclass(frozen=True)
class ChainVote:
    wallet: str
    vote: bool
    at: int
    slot: int


def events_of(program: Program, tx: LandedTransaction) -> list:
    return [item.event for item in extract_events(program, parse_transaction(tx.raw)).events]


def decisions_of(program: Program, tx: LandedTransaction) -> list[Decision]:
    result = []
    for event in events_of(program, tx):
        match event:
            case e.ProposalAggregated():
                counts = (event.likes, event.dislikes)
                result.append(Decision(event.market_id, VoteKind.PROPOSAL, *counts, memo_of(tx)))
            case e.MarketFinalized(
                was_disputed=True, dispute_agree=int(agree), dispute_disagree=int(disagree)
            ):
                result.append(Decision(event.market_id, VoteKind.DISPUTE, agree, disagree, memo_of(tx)))
    return result


def memo_of(tx: LandedTransaction) -> Memo | None:
    message = tx.tx.message
    for item in message.instructions:
        if message.account_keys[item.program_id_index] != MEMO_PROGRAM:
            continue
        text_parts = bytes(item.data).decode().split(":")
        if text_parts[:2] == ["zmart", "tally"]:
            closing = [int(word) for word in text_parts[6:8]] if text_parts[2] == "v2" else [None, None]
            return Memo(VoteKind(text_parts[3]), int(text_parts[4]), *closing)
    return None


def chain_votes(chain: SimulatedChain, program: Program, market_id: str, kind: VoteKind) -> list[ChainVote]:
    """Return the votes of this kind that were cast on chain on the market, in chain order."""
    expected = e.ProposalVoteSubmitted if kind is VoteKind.PROPOSAL else e.DisputeVoteSubmitted
    return [
        ChainVote(event.user, event.vote, event.timestamp, tx.slot)
        for tx in chain.by_address[program.addresses.market(market_id)]
        for event in events_of(program, tx)
        if isinstance(event, expected) and event.market_id == market_id
    ]


def count(
    on_chain: list[ChainVote], entries: list[bytes], kind: VoteKind, closed_at: float
) -> tuple[int, int]:
    """Return (votes for, votes against), with one vote of each wallet.

    It is the wallet's vote on chain up to the closing, or else its signed vote in the log's entries.
    """
    chosen: dict[str, bool] = {}
    for raw in entries:
        wallet, vote = _signed(raw, kind)
        if wallet:
            chosen.setdefault(wallet, vote)
    chosen.update({v.wallet: v.vote for v in on_chain if v.at <= closed_at})
    votes_for = sum(chosen.values())
    return votes_for, len(chosen) - votes_for


def _signed(raw: bytes, kind: VoteKind) -> tuple[str, bool]:
    from zmart.market.vote_entries import VoteChannel, parse_entry

    entry = parse_entry(raw)
    answer = entry.statement
    if entry.channel is VoteChannel.ONCHAIN or answer.kind is not kind:
        return "", False
    return answer.wallet, answer.vote


def same_json(left: object, right: str) -> bool:
    return msgspec.json.decode(msgspec.json.encode(left)) == msgspec.json.decode(right)
