"""Verify a snapshot without trusting its maker: against its CID, the snapshots before it, and the market on chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import msgspec

from zmart.chain.accounts import MarketAccount
from zmart.errors import Invalid
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinning import PinError
from zmart.market.types import MarketState
from zmart.proofs import merkle
from zmart.proofs.snapshot import LogHead, MarketSnapshot, Row, parse
from zmart.proofs.tally_evidence import Evidence
from zmart.proofs.verify_tally import ProofFinding, Verdict

# The fields of a market that never change, and those that may; the account has the same names.
_FIXED = ("creator", "b_parameter", "initial_liquidity")
_MOVING = (
    "current_liquidity",
    "shares_yes",
    "shares_no",
    "total_volume",
    "proposed_outcome",
    "final_outcome",
)
_LAST = (MarketState.FINALIZED, MarketState.CANCELLED)
_MAX_BYTES = 256 * 1024 * 1024
_WITHIN_S = 600.0
"""The limits of a snapshot that is fetched: a comment has up to 4 KB, and their number has no limit."""
_BYTES = "The bytes are canonical and hash to the CID."


class SnapshotReport(msgspec.Struct, frozen=True):
    """The findings about one snapshot."""

    cid: str
    market_id: str
    day: str
    comments: int
    findings: list[ProofFinding]

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return all(finding.verdict is not Verdict.BROKEN for finding in self.findings)

    @property
    def is_whole(self) -> bool:
        """Whether every check could be made."""
        return all(finding.verdict is not Verdict.UNKNOWN for finding in self.findings)


async def verify_history(
    gateway_url: str, cid: str, most: int
) -> AsyncIterator[tuple[MarketSnapshot, SnapshotReport]]:
    """Verify the snapshot `cid` and up to `most` - 1 snapshots before it; yield each with its report, newest first.

    Each is checked against its CID and against the snapshot after it. If an earlier snapshot cannot be fetched, the
    last report has a finding about that. Raises PinError if `cid` cannot be fetched, Invalid if it is no snapshot.
    """
    snapshot = parse(await _fetch(gateway_url, cid))
    findings = [_holds(_BYTES)]
    for _ in range(most - 1):
        if snapshot.previous is None:
            break
        older = await _predecessor(gateway_url, snapshot.previous)
        if isinstance(older, ProofFinding):
            findings.append(older)
            break
        yield snapshot, report(cid, snapshot, findings)
        findings = [_holds(_BYTES), *compare(older, snapshot)]
        cid, snapshot = snapshot.previous, older
    yield snapshot, report(cid, snapshot, findings)


async def _fetch(gateway_url: str, cid: str) -> bytes:
    return await fetch_from_gateway(gateway_url, cid, max_bytes=_MAX_BYTES, within_s=_WITHIN_S)


async def _predecessor(gateway_url: str, cid: str) -> MarketSnapshot | ProofFinding:
    try:
        document = await _fetch(gateway_url, cid)
    except PinError as problem:
        beyond = "What lies before it is unknown: name a gateway that has that document (--gateway)."
        return ProofFinding(Verdict.UNKNOWN, f"Its predecessor could not be fetched: {problem} {beyond}")
    try:
        return parse(document)
    except Invalid as problem:
        return ProofFinding(
            Verdict.BROKEN, f"What it names as its predecessor, {cid}, is no snapshot: {problem}"
        )


def report(cid: str, snapshot: MarketSnapshot, findings: Sequence[ProofFinding]) -> SnapshotReport:
    """Return the report on one snapshot, with the findings about it."""
    return SnapshotReport(
        cid, snapshot.market_id, snapshot.day.isoformat(), len(snapshot.comments), list(findings)
    )


def compare(older: MarketSnapshot, newer: MarketSnapshot) -> list[ProofFinding]:
    """Check that `newer` continues `older`, and return the findings.

    Both must be about the same market, `newer` of the same or a later day. Its log must not be shorter (that it has the
    same first entries is shown by `against_log`), the terms of its votes must be the same, and no comment may be
    removed or changed, except that its author deleted it.
    """
    return list(_compared(older, newer))


def against_chain(snapshot: MarketSnapshot, evidence: Evidence) -> list[ProofFinding]:
    """Check that the market on chain can have developed from the state in the snapshot, and return the findings."""
    return list(_on_chain(snapshot, evidence))


def against_log(snapshots: Sequence[MarketSnapshot], log: Sequence[bytes]) -> list[ProofFinding]:
    """Check that the vote log of each snapshot is the beginning of `log`, and return a finding for each. So all are
    beginnings of one log, from which no vote was removed."""
    roots = merkle.roots_at(map(merkle.leaf_hash, log), [each.vote_log.size for each in snapshots])
    return [_in_log(each.vote_log, roots, len(log)) for each in snapshots]


def _in_log(head: LogHead, roots: Mapping[int, bytes], size: int) -> ProofFinding:
    if head.size > size:
        text = f"Its vote log has {head.size} entries, the copy has {size}: get a newer copy."
        return ProofFinding(Verdict.UNKNOWN, text)
    return _check(
        roots[head.size].hex() == head.root,
        f"Its vote log is the beginning of the copy of {size} entries.",
        f"Its vote log of {head.size} entries is not the beginning of the copy of {size}.",
    )


def _compared(older: MarketSnapshot, newer: MarketSnapshot) -> Iterator[ProofFinding]:
    yield _check(
        (older.program, older.market_id) == (newer.program, newer.market_id)
        and older.genesis_hash in (None, newer.genesis_hash),
        "It is about the same market as its successor.",
        "It is about another market than its successor.",
    )
    yield _check(
        older.day <= newer.day, "It is not younger than its successor.", "It is younger than its successor."
    )
    yield _logs_compared(older.vote_log, newer.vote_log)
    terms = {row["kind"]: row for row in newer.voting_terms}
    yield _check(
        all(terms.get(row["kind"]) == row for row in older.voting_terms),
        "The terms of its votes are those of its successor.",
        "Who may vote, or how many votes are needed, was changed for its successor.",
    )
    yield from _comments_compared(older, newer)


def _logs_compared(old: LogHead, new: LogHead) -> ProofFinding:
    if old.size > new.size or (old.size == new.size and old.root != new.root):
        text = f"The vote log of {old.size} entries is not the beginning of that of {new.size}."
        return ProofFinding(Verdict.BROKEN, text)
    if old.size in (0, new.size):
        return _holds(f"The vote log grew from {old.size} to {new.size} entries.")
    return ProofFinding(
        Verdict.NOTE,
        f"The vote log has {old.size} entries, {new.size} in its successor: only a copy of it shows that the first "
        "ones are the same (--api or --log).",
    )


def _comments_compared(older: MarketSnapshot, newer: MarketSnapshot) -> Iterator[ProofFinding]:
    later = {comment["id"]: comment for comment in newer.comments}
    missing = [comment["id"] for comment in older.comments if comment["id"] not in later]
    changed = [
        comment["id"]
        for comment in older.comments
        if comment["id"] in later and not _same_comment(comment, later[comment["id"]])
    ]
    yield _check(
        not missing,
        f"All of its {len(older.comments)} comments are in its successor.",
        f"{len(missing)} comments are missing in its successor: {missing[:5]}.",
    )
    yield _check(
        not changed,
        "None of them was changed, except by its author taking it back.",
        f"{len(changed)} comments were changed: {changed[:5]}.",
    )


def _same_comment(old: Row, new: Row) -> bool:
    names = ("author", "created_at", "parent_id")
    if any(old[name] != new[name] for name in names):
        return False
    if "deleted_at" in old:
        return old.get("deleted_at") == new.get("deleted_at")
    return "deleted_at" in new or old["content"] == new["content"]


def _on_chain(snapshot: MarketSnapshot, evidence: Evidence) -> Iterator[ProofFinding]:
    account = evidence.account
    yield _check(
        snapshot.program == evidence.program,
        "It names the program that was asked.",
        f"It is of program {snapshot.program}, not of {evidence.program}.",
    )
    if evidence.genesis_hash:
        yield _chain(snapshot, evidence.genesis_hash)
    different = [name for name in _FIXED if snapshot.market[name] != getattr(account, name)]
    yield _check(
        not different,
        "Creator, b and first liquidity are those of the account.",
        f"The account says otherwise about {', '.join(different)}.",
    )
    yield _state(snapshot, account)
    for anchor in evidence.anchors.values():
        memo = anchor.memo
        if memo is not None and memo.log_size == snapshot.vote_log.size:
            yield _check(
                memo.log_root == snapshot.vote_log.root,
                f"Its vote log is the one whose root went on chain with the {anchor.kind.value} votes.",
                f"Its vote log is not the one whose root went on chain with the {anchor.kind.value} votes.",
            )


def _chain(snapshot: MarketSnapshot, genesis_hash: str) -> ProofFinding:
    named = snapshot.genesis_hash
    if named is None:
        return ProofFinding(Verdict.NOTE, "It names no chain: it was made before the chain was known.")
    return _check(
        named == genesis_hash,
        "It names the chain that was asked.",
        f"It is of the chain with the genesis hash {named}, not of {genesis_hash}.",
    )


def _state(snapshot: MarketSnapshot, account: MarketAccount) -> ProofFinding:
    state = str(snapshot.market["state"])
    if state not in MarketState.__members__:
        raise Invalid("snapshot", f"{state[:40]!r} is no state of a market.")
    moved = [name for name in _MOVING if snapshot.market[name] != getattr(account, name)]
    if state == account.state.name and not moved:
        return _holds(f"The market is {state}, with these figures, on chain too.")
    if MarketState[state] in _LAST and state != account.state.name:
        return ProofFinding(
            Verdict.BROKEN, f"It says {state}, which is final, but the market is {account.state.name}."
        )
    return ProofFinding(Verdict.NOTE, f"The market went on: {state} then, {account.state.name} now.")


def _check(holds: bool, good: str, bad: str) -> ProofFinding:
    return _holds(good) if holds else ProofFinding(Verdict.BROKEN, bad)


def _holds(text: str) -> ProofFinding:
    return ProofFinding(Verdict.HOLDS, text)
