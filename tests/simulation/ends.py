"""Checks of what must hold when the faults are over and every process has had time: all is done, and all agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkers import _passes
from oracle import chain_votes, count
from service_processes import audited

from zmart.chain.rpc import Rpc
from zmart.market.types import MarketState, VoteKind
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_tally import verify_tally
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.rebuild import rebuild

if TYPE_CHECKING:
    from market_life import MarketLife

    from simulation import Simulation

_INBOX = (
    "SELECT state, signature, last_error FROM inbox WHERE state IN ('pending', 'dead') ORDER BY id LIMIT 3"
)
_INTENTS = """
SELECT i.action, i.state, i.error FROM intents i JOIN markets m USING (market_id)
WHERE i.state NOT IN ('landed', 'already_done') AND m.state NOT IN ('FINALIZED', 'CANCELLED')
ORDER BY i.created_at LIMIT 3
"""
_LOG = "SELECT entry FROM vote_log_entries WHERE market_id = $1 ORDER BY log_index"
_REJECTED = "SELECT 1 FROM market_work WHERE market_id = $1 AND job = 'proposal' AND status = 'rejected'"


async def check_the_end(world: Simulation) -> None:
    async with Rpc(["http://honest.node"]) as rpc:
        report = await audited(world.observer, rpc, world.program)
        for difference in report.differences[:3]:
            world.violated("index differs from the accounts", str(difference))
        for life in world.lives:
            await _check_life(world, rpc, life)
    rebuilt = await rebuild(world.observer, Projector(world.program, "reference"))
    if not rebuilt.was_equal:
        world.violated("rows differ from the fold", str(rebuilt.different))
    for state, signature, error in await world.observer.fetch(_INBOX):
        world.violated("not done", f"the inbox keeps {signature} as {state}: {error}")
    for action, state, error in await world.observer.fetch(_INTENTS):
        world.violated("not done", f"{action} stays {state}: {error}")


async def _check_life(world: Simulation, rpc: Rpc, life: MarketLife) -> None:
    account = life.account()
    if account is None:
        return
    if not life.done:
        world.note(f"life {life.number} is not over: {account.state.name}")
    if account.state is MarketState.PROPOSED:
        await _check_rejected(world, life)
    elif account.state in (MarketState.RESOLVING, MarketState.DISPUTED):  # all other states wait for users
        await _check_waiting(world, life, account.state)
    if not await world.observer.fetchval("SELECT 1 FROM tallies WHERE market_id = $1 LIMIT 1", life.id):
        return
    evidence = await gather(rpc, world.program, life.id)
    log = [row[0] for row in await world.observer.fetch(_LOG, life.id)]
    for anchor in evidence.anchors.values():
        report = verify_tally(evidence, anchor, log)
        if not report.holds:
            broken = [finding.text for finding in report.findings if finding.verdict.name == "BROKEN"]
            world.violated("verify tally", f"market {life.number}, {anchor.kind.value}: {'; '.join(broken)}")


async def _check_rejected(world: Simulation, life: MarketLife) -> None:
    """Report a market that stays PROPOSED although its votes approve it and it was not rejected."""
    votes = chain_votes(world.chain, world.program, life.id, VoteKind.PROPOSAL)
    log = [row[0] for row in await world.observer.fetch(_LOG, life.id)]
    counts = count(votes, log, VoteKind.PROPOSAL, float("inf"))
    enough = sum(counts) >= world.options.min_proposal_votes and _passes(counts, world.thresholds()[0])
    rejected = await world.observer.fetchval(_REJECTED, life.id)
    if enough and not rejected:
        world.violated("not done", f"market {life.number} has {counts[0]}:{counts[1]} and stays PROPOSED")


async def _check_waiting(world: Simulation, life: MarketLife, state: MarketState) -> None:
    """Report a market that stays RESOLVING or DISPUTED, except a dispute with too few votes."""
    votes = chain_votes(world.chain, world.program, life.id, VoteKind.DISPUTE)
    log = [row[0] for row in await world.observer.fetch(_LOG, life.id)]
    counts = count(votes, log, VoteKind.DISPUTE, float("inf"))
    if state is MarketState.DISPUTED and sum(counts) < max(1, world.options.min_dispute_votes):
        return
    world.violated(
        "not done", f"market {life.number} stays {state.name} with {counts[0]}:{counts[1]} in its dispute"
    )
