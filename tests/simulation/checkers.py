"""Checkers of the invariants that hold at every moment of a run. A checker reads; it never repairs.

| checker | promise |
|---|---|
| DecisionChecker | counts that went on chain = votes on chain up to the named closing + the log (P1, P2, C1, C2, A2) |
| IndexChecker | the gap-free slot is final and passes no hole and nothing forged (INV-10, A2, W3, C13) |
| FeedChecker | offsets are dense, no commit without its rows |
| MoneyChecker | no lamport appears or vanishes; a market's account holds its liquidity, its fees and its rent |
| EffectChecker | of all signings of an intent at most one took effect; checked at the end of a run |

The module `ends` checks what must hold when the faults are over.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from oracle import chain_votes, count, decisions_of, same_json
from simulated_chain import FINAL_AFTER_SLOTS, LandedTransaction

from zmart.chain.accounts import AccountInfo
from zmart.chain.event_extraction import extract_events
from zmart.chain.transactions import parse_transaction
from zmart.market.types import VoteKind

if TYPE_CHECKING:
    from simulation import Simulation

_FEED = """
SELECT (SELECT head FROM feed_head) AS head, coalesce(sum(row_count), 0)::bigint AS rows,
    coalesce(max(base_offset + row_count), 0) AS last, count(*) FILTER (WHERE base_offset IS NULL) AS without,
    (SELECT count(*) FROM feed_changes) AS changes
FROM feed_commits
"""
_TRANSACTIONS = "SELECT signature, failed, finality FROM chain_transactions WHERE signature = ANY($1::text[])"
_EVENTS = """
SELECT signature, name, event FROM chain_events WHERE signature = ANY($1::text[]) ORDER BY signature, ordinal
"""
_INVENTED = """
SELECT signature FROM chain_transactions WHERE slot > $1 AND slot <= $2 AND NOT failed AND event_count > 0
    AND signature <> ALL ($3::text[]) LIMIT 1
"""
_FEED_EVERY = 8
_SIGNINGS = """
SELECT s.signature, s.intent_id::text, i.action, i.round
FROM intent_signatures s JOIN intents i ON i.id = s.intent_id
"""
_TALLY = """
SELECT extract(epoch FROM taken_at)::float8 FROM tallies
WHERE market_id = $1 AND kind = $2 AND log_size = $3 ORDER BY round DESC LIMIT 1
"""
_LOG = "SELECT entry FROM vote_log_entries WHERE market_id = $1 AND log_index < $2 ORDER BY log_index"


class Violation(msgspec.Struct, frozen=True):
    """A broken promise: its `kind`, a `text` with the details, and when it was found, in virtual seconds."""

    kind: str
    text: str
    at_s: float


class DecisionChecker:
    """Computes every count that lands on chain again, from the chain's votes and the log."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._landed: list[LandedTransaction] = []

    def landed(self, tx: LandedTransaction) -> None:
        if tx.err is None and str(self._world.keys["backend"].pubkey()) in tx.keys:
            self._landed.append(tx)

    async def look(self) -> None:
        landed, self._landed = self._landed, []
        for tx in landed:
            if self._world.chain.by_signature.get(tx.signature) is tx:
                for decision in decisions_of(self._world.program, tx):
                    await self._judge(tx, decision)

    async def _judge(self, tx: LandedTransaction, decision) -> None:
        world, memo = self._world, decision.memo
        about = f"{decision.kind.value} of market {world.number_of(decision.market_id)}"
        if memo is None or memo.kind is not decision.kind:
            world.violated("unproven decision", f"{about}: counts without a memo of their log")
            return
        row = await world.observer.fetchrow(_TALLY, decision.market_id, decision.kind.value, memo.log_size)
        if row is None:
            world.violated("unproven decision", f"{about}: no tally was written down for its memo")
            return
        closed_at = float(memo.closed_at) if memo.closed_at is not None else row[0] - world.clock.host_ahead_s
        entries = [r[0] for r in await world.observer.fetch(_LOG, decision.market_id, memo.log_size)]
        votes = chain_votes(world.chain, world.program, decision.market_id, decision.kind)
        expected = count(votes, entries, decision.kind, closed_at)
        result = (decision.votes_for, decision.votes_against)
        if expected == result:
            return
        gap_free = await world.observer.fetchval("SELECT gap_free_through_slot FROM index_progress")
        late = sum(v.at <= closed_at for v in votes)
        config = world.thresholds()
        bps = config[0] if decision.kind is VoteKind.PROPOSAL else config[1]
        turned = _passes(expected, bps) != _passes(result, bps)
        kind = "decision ahead of the index: the outcome differs" if turned else "decision ahead of the index"
        world.violated(
            f"{kind} ({decision.kind.value})",
            f"{about}: {result[0]}:{result[1]} went on chain at slot {tx.slot}, chain and log say "
            f"{expected[0]}:{expected[1]} ({late} votes on chain by then; the index was complete through {gap_free})",
        )


class IndexChecker:
    """Checks that all transactions up to the gap-free slot are indexed, equal to the chain's, and final."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._passed = 0

    async def look(self) -> None:
        world = self._world
        through = await world.observer.fetchval("SELECT gap_free_through_slot FROM index_progress")
        if through is None or through <= self._passed:
            return
        final = world.chain.slot - FINAL_AFTER_SLOTS
        if through > final:
            world.violated(
                "gap-free slot ahead", f"gap-free through {through}, the chain is final through {final}"
            )
        since, self._passed = self._passed, through
        txs = {
            tx.signature: tx
            for tx in world.chain.by_address[world.program.address]
            if since < tx.slot <= through
        }
        await self._compare(txs)
        invented = await world.observer.fetchval(_INVENTED, since, through, list(txs))
        if invented is not None:
            world.violated(
                "forged content", f"the gap-free slot passed {invented}, which is not on the chain"
            )

    async def _compare(self, txs: dict[str, LandedTransaction]) -> None:
        world, names = self._world, list(txs)
        rows = {row["signature"]: row for row in await world.observer.fetch(_TRANSACTIONS, names)}
        events: dict[str, list] = {}
        for row in await world.observer.fetch(_EVENTS, names):
            events.setdefault(row["signature"], []).append((row["name"], row["event"]))
        for signature, tx in txs.items():
            row = rows.get(signature)
            if row is None and tx.err is None:
                world.violated(
                    "hole", f"the gap-free slot passed {signature} in slot {tx.slot}, which is not indexed"
                )
            if row is None:
                continue
            if row["finality"] != "finalized" and tx.err is None:
                world.violated(
                    "hole", f"the gap-free slot passed {signature}, which is not final in the index"
                )
            expected = [
                item.event for item in extract_events(world.program, parse_transaction(tx.raw)).events
            ]
            result = events.get(signature, [])
            same = len(expected) == len(result) and all(
                type(event).__name__ == name and same_json(event, raw)
                for event, (name, raw) in zip(expected, result, strict=True)
            )
            if not same or row["failed"] != (tx.err is not None):
                world.violated("forged content", f"{signature} is indexed with other events than the chain's")


class FeedChecker:
    """Checks the whole feed at every eighth look, which is enough since a hole never closes."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._looks = 0

    async def look(self) -> None:
        self._looks += 1
        if self._looks % _FEED_EVERY:
            return
        row = await self._world.observer.fetchrow(_FEED)
        head, rows, last, without, changes = row.values()
        if without or not head == rows == last == changes:
            self._world.violated(
                "feed with holes", f"head {head}, rows {rows}, last {last}, changes {changes}"
            )


class MoneyChecker:
    """Checks the lamports of the accounts of each transaction when it lands."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._rent = world.chain.svm.minimum_balance_for_rent_exemption(488)

    def landed(self, tx: LandedTransaction) -> None:
        before, after = _sum(tx.before), _sum(tx.after)
        if after != before - tx.fee:
            self._world.violated(
                "lamports", f"{tx.signature}: {before - tx.fee - after} lamports went missing"
            )
        program = self._world.program
        for key, account in tx.after.items():
            data = bytes(account.data) if account else b""
            if str(key) in self._world.markets and len(data) == 488:
                info = AccountInfo(
                    address=str(key), owner=program.address, lamports=account.lamports, data=data
                )
                market = program.accounts.market(info)
                fees = market.accumulated_resolver_fees + market.accumulated_lp_fees
                if account.lamports != self._rent + market.current_liquidity + fees:
                    self._world.violated(
                        "lamports", f"the books of market {key} do not say {account.lamports}"
                    )


class EffectChecker:
    async def look(self, world: Simulation) -> None:
        landed: Counter[str] = Counter()
        for row in await world.observer.fetch(_SIGNINGS):
            tx = world.chain.by_signature.get(row["signature"])
            if tx is not None and tx.err is None:
                landed[f"{row['action']} {row['round']} {row['intent_id']}"] += 1
        for intent, times in landed.items():
            if times > 1:
                world.violated("effect twice", f"{intent} took effect {times} times")


def _sum(accounts) -> int:
    return sum(account.lamports for account in accounts.values() if account is not None)


def _passes(counts: tuple[int, int], bps: int) -> bool:
    total = sum(counts)
    return total > 0 and counts[0] * 10_000 // total >= bps
