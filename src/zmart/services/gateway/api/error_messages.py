"""Explain the program's errors to users: what happened, and what to do."""

from __future__ import annotations

from zmart.client.shapes.transactions import SimulationError
from zmart.errors import ProgramError

PAUSED = "The protocol is paused: nothing is created or traded until its admin resumes it."
_MESSAGES = {
    "SlippageExceeded": "The price moved beyond your bound: ask for a new quote, or allow more slippage.",
    "InsufficientShares": "The wallet holds fewer shares of that side than you want to sell.",
    "InsufficientLiquidity": "The market's account does not hold enough to pay this out now.",
    "TradeTooSmall": "The trade is too small: a trade is at least 0.00001 SOL.",
    "InvalidMarketState": "The market is not in the state that this needs: read its state again.",
    "InvalidStateTransition": "The market is not in the state that this needs: read its state again.",
    "ProtocolPaused": PAUSED,
    "AlreadyClaimed": "This wallet has claimed its winnings already.",
    "NoWinnings": "This wallet holds no winning shares.",
    "NoVotesRecorded": "No votes are recorded on chain yet: wait for the aggregator's next run.",
    "InsufficientVotes": "The recorded votes do not reach the approval threshold.",
    "DisputePeriodEnded": "The time to dispute this outcome is over.",
    "DisputePeriodNotEnded": "The outcome can still be disputed: it is finalized after that time.",
    "AlreadyResolved": "An outcome has been proposed already.",
    "InvalidTimestamp": "It is too early for this: the program's waiting time has not passed.",
    "WouldBreakRentExemption": "The wallet holds too little SOL to receive this: send it the rent of an account first.",
    "Unauthorized": "This wallet may not do that.",
    "CannotCancelMarket": "Only a proposed or approved market can be cancelled.",
    "MarketAlreadyCancelled": "The market is cancelled already.",
    "InvalidBParameter": "The liquidity parameter b is outside of the program's range.",
    "InvalidLiquidity": "The initial liquidity is less than the program requires for this b.",
    "UnderflowError": "The deployed program's arithmetic refuses this trade: try a larger one.",
    "ExponentTooLarge": "The market is too one-sided for this trade.",
    "AccountAlreadyInUse": "This was done already: the account exists.",
    "AccountNotInitialized": "An account that this needs does not exist yet, e.g. a position before the first trade.",
    "ResultWithNegativeLamports": "The wallet does not hold enough SOL for this.",
    "AccountNotFound": "The wallet does not exist on chain yet: it needs some SOL first.",
    "InsufficientFundsForRent": "The wallet does not hold enough SOL for this.",
    "InsufficientFundsForFee": "The wallet does not hold enough SOL for the network fee.",
    "BlockhashNotFound": "The transaction is too old: build it again and sign it within a minute.",
}


def explained(error: ProgramError) -> SimulationError:
    """Return the error as it appears in a response: with our message for its name if there is one, else with the
    program's own."""
    text = str(error).partition(": ")[2] or str(error)
    return SimulationError(code=error.code, name=error.name, message=_MESSAGES.get(error.name, text))


def refusal(error: ProgramError) -> ProgramError:
    """Return a copy of the error with the message for users, as in `explained`."""
    return ProgramError(error.code, error.name, explained(error).message)
