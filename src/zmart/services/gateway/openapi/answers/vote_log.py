"""Examples of answers about the vote log of a market: one vote, its receipt and its proof."""

from __future__ import annotations

from msgspec import Struct

from zmart.client.shapes import votes as shapes
from zmart.market.times import ms_of, parse_iso
from zmart.market.types import Address, VoteKind
from zmart.market.votes import Statement
from zmart.proofs import merkle
from zmart.proofs.log_documents import InclusionProof, LogPage, VoteProof
from zmart.services.gateway.openapi.answers import scenario
from zmart.services.gateway.openapi.answers.people import VOTE

_STATEMENT = Statement(
    program=Address(scenario.PROGRAM),
    market_id=scenario.MARKET,
    kind=VoteKind.PROPOSAL,
    vote=True,
    wallet=scenario.TRADER,
    issued_ms=ms_of(parse_iso(scenario.CREATED)),
)
_ENTRY = f"ZMART vote log entry 1\nchannel: statement\nsignature: {scenario.SIGNATURE}\n{_STATEMENT.text()}"
# The log has one entry, so that the entry's hash is the root.
_LEAF = merkle.leaf_hash(_ENTRY.encode()).hex()
_RULES = {"dispute": "open", "proposal": "open"}

ANSWERS: list[Struct] = [
    shapes.VoteAnswer(
        data=[VOTE],
        count=1,
        metadata=shapes.VoteMetadata(
            message="Proposal vote recorded",
            market_id=scenario.MARKET,
            vote_type="proposal",
            user_wallet=scenario.TRADER,
        ),
        receipt=shapes.Receipt(
            program=Address(scenario.PROGRAM),
            market_id=scenario.MARKET,
            index=0,
            leaf_hash=_LEAF,
            tree_size=1,
            root=_LEAF,
            rule="open",
            authority=scenario.CREATOR,
            signature=scenario.SIGNATURE,
        ),
    ),
    VoteProof(
        market_id=scenario.MARKET,
        wallet=scenario.TRADER,
        tree_size=1,
        root=_LEAF,
        entries=[InclusionProof(index=0, entry=_ENTRY, leaf_hash=_LEAF, path=[])],
        rules=_RULES,
    ),
    LogPage(market_id=scenario.MARKET, size=1, root=_LEAF, start=0, entries=[_ENTRY], rules=_RULES),
]
