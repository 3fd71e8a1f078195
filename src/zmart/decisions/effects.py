"""Build the instructions of an intent, and determine whether the market's account shows its effect."""

from __future__ import annotations

from typing import assert_never

from solders.instruction import Instruction
from solders.keypair import Keypair

from zmart.chain import compose
from zmart.chain.accounts import MarketAccount
from zmart.chain.program import Program
from zmart.errors import ConfigError
from zmart.market.tally import Tally
from zmart.market.types import MarketState, Wallet
from zmart.store.intents import Action, IntentRow

ADMIN_ACTIONS = (Action.APPROVE_PROPOSAL, Action.CANCEL_MARKET)
"""The actions that only the admin's key may sign."""


def instructions_of(
    intent: IntentRow, program: Program, backend: Keypair, admin: Keypair | None
) -> list[Instruction]:
    """Return the instructions of an intent, with its memo if it has one.

    Raises ConfigError if the intent needs the admin's key and `admin` is None.
    """
    build, payer = program.instructions, Wallet(str(backend.pubkey()))
    arguments = intent.arguments
    memos = [compose.memo(str(arguments["memo"]), [backend.pubkey()])] if "memo" in arguments else []
    match intent.action:
        case Action.AGGREGATE_PROPOSAL_VOTES:
            counts = (int(arguments["votes_for"]), int(arguments["votes_against"]))
            return [build.aggregate_proposal_votes(payer, intent.market_id, *counts), *memos]
        case Action.APPROVE_PROPOSAL | Action.CANCEL_MARKET:
            if admin is None:
                raise ConfigError(f"{intent.action.value} needs the admin's key: set ADMIN_KEYPAIR_PATH.")
            approves = intent.action is Action.APPROVE_PROPOSAL
            make = build.approve_proposal if approves else build.cancel_market
            return [make(Wallet(str(admin.pubkey())), intent.market_id)]
        case Action.FINALIZE_MARKET:
            return [build.finalize_market(payer, intent.market_id, _dispute_counts(intent)), *memos]
    assert_never(intent.action)


def shows_effect(account: MarketAccount, intent: IntentRow) -> bool:
    """Return whether the market's account shows the intent's effect.

    The counts of a proposal vote and an approval also count as shown once the market is no longer in PROPOSED.
    """
    match intent.action:
        case Action.AGGREGATE_PROPOSAL_VOTES:
            planned = Tally(int(intent.arguments["votes_for"]), int(intent.arguments["votes_against"]))
            return account.state is not MarketState.PROPOSED or proposal_counts(account) == planned
        case Action.APPROVE_PROPOSAL:
            return account.state is not MarketState.PROPOSED
        case Action.FINALIZE_MARKET:
            return account.state is MarketState.FINALIZED
        case Action.CANCEL_MARKET:
            return account.state is MarketState.CANCELLED
    assert_never(intent.action)


def proposal_counts(account: MarketAccount) -> Tally:
    """Return the counts that the account records for its proposal."""
    return Tally(account.proposal_likes, account.proposal_dislikes)


def _dispute_counts(intent: IntentRow) -> tuple[int, int] | None:
    if "votes_for" not in intent.arguments:
        return None
    return int(intent.arguments["votes_for"]), int(intent.arguments["votes_against"])
