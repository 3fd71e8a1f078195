"""Count a tally again from the entries of the log and the evidence on chain, without trusting the backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from zmart.errors import Invalid
from zmart.market.eligibility import OPEN, VoterFacts
from zmart.market.tally import Tally
from zmart.market.times import readable_seconds
from zmart.market.types import VoteKind, Wallet
from zmart.market.vote_entries import LogEntry, VoteChannel, parse_entry
from zmart.market.votes import STATEMENT_WINDOW_S
from zmart.proofs import merkle
from zmart.proofs.findings import ProofFinding as ProofFinding
from zmart.proofs.findings import Verdict as Verdict
from zmart.proofs.findings import broken, check, note
from zmart.proofs.signatures import signed_text
from zmart.proofs.tally_evidence import Anchor, Evidence
from zmart.proofs.verify_voters import JudgedVotes, VoterReason, about_voters, judge_votes, rule_of

FINAL_AFTER_S = 120
"""For a memo without a closing time: votes on chain in this many seconds before the count may be missing in it."""

CLOCKS_AGREE_S = 600
"""The clock of a cluster differs from ours by less than this many seconds; only a local chain's can differ more."""


class TallyReport(msgspec.Struct, frozen=True):
    """The findings about the tally of one kind of vote.

    `transaction` is the signature of the transaction that recorded the counts. `not_counted` are voters who are not
    eligible, `unknown_voters` those whose eligibility cannot be determined.
    """

    kind: VoteKind
    tally: Tally
    transaction: str
    findings: list[ProofFinding]
    not_counted: list[VoterReason] = []
    unknown_voters: list[VoterReason] = []

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return all(finding.verdict is not Verdict.BROKEN for finding in self.findings)

    @property
    def title(self) -> str:
        """What was verified, in one line of text."""
        counts = f"{self.tally.votes_for} for, {self.tally.votes_against} against"
        return f"{self.kind.value} votes: {counts}, transaction {self.transaction}"

    @property
    def verdict(self) -> str:
        """The result of the verification in a sentence."""
        if not self.holds:
            return "THE TALLY DOES NOT HOLD."
        unknown = any(finding.verdict is Verdict.UNKNOWN for finding in self.findings)
        return "The tally holds as far as this RPC shows it." if unknown else "The tally holds."


def verify_tally(
    evidence: Evidence,
    anchor: Anchor,
    log: Sequence[bytes],
    facts_by_wallet: Mapping[Wallet, VoterFacts] | None = None,
) -> TallyReport:
    """Verify the tally of `anchor` and return the report.

    `log` holds the market's entries from the first on, at least as many as the anchor's memo names. `facts_by_wallet`
    holds the facts about the voters (`voters_of`), for a memo whose rule is not `open`.
    """
    votes = _judged(anchor, log, facts_by_wallet or {})
    findings = list(_findings(evidence, anchor, log, votes))
    return TallyReport(
        anchor.kind, anchor.tally, anchor.signature, findings, votes.not_counted, votes.unknown_voters
    )


def voters_of(anchor: Anchor, log: Sequence[bytes]) -> list[Wallet]:
    """Return the wallets with a vote of the anchor's kind in the part of the log that its memo covers, each once."""
    return [entry.statement.wallet for entry in _counted(_entries(anchor, log))]


def _judged(
    anchor: Anchor, log: Sequence[bytes], facts_by_wallet: Mapping[Wallet, VoterFacts]
) -> JudgedVotes:
    rule = rule_of(anchor.memo.rule if anchor.memo else None)
    return judge_votes(OPEN if rule is None else rule, _counted(_entries(anchor, log)), facts_by_wallet)


def _entries(anchor: Anchor, log: Sequence[bytes]) -> list[LogEntry]:
    """Return the log entries of the anchor's kind of vote that its memo covers; unreadable entries are left out."""
    size = 0 if anchor.memo is None else anchor.memo.log_size
    entries = (entry for raw in log[:size] if (entry := _entry(raw)) is not None)
    return [entry for entry in entries if entry.statement.kind is anchor.kind]


def _findings(
    evidence: Evidence, anchor: Anchor, log: Sequence[bytes], votes: JudgedVotes
) -> Iterator[ProofFinding]:
    if anchor.memo is None:
        yield broken(f"Transaction {anchor.signature} carries no memo of a log: its counts prove nothing.")
        return
    size = anchor.memo.log_size
    yield check(
        anchor.memo.kind is anchor.kind,
        f"The memo speaks of the {anchor.kind.value} votes.",
        f"The memo speaks of {anchor.memo.kind.value} votes.",
    )
    if len(log) < size:
        yield broken(f"The memo names {size} entries; the log that was given has only {len(log)}.")
        return
    root = merkle.roots_at(map(merkle.leaf_hash, log[:size]), [size])[size].hex()
    yield check(
        root == anchor.memo.log_root,
        f"The log's first {size} entries hash to the root {root[:16]}... that went on chain.",
        f"The log's first {size} entries hash to {root}, but {anchor.memo.log_root} went on chain.",
    )
    entries = [entry for raw in log[:size] if (entry := _entry(raw)) is not None]
    if len(entries) < size:
        yield broken(f"{size - len(entries)} entries of the log are not in its format.")
    yield from _closing(evidence, anchor)
    yield from _about_votes(evidence, anchor, _entries(anchor, log), votes)
    yield from _about_account(evidence, anchor)


def _about_votes(
    evidence: Evidence, anchor: Anchor, entries: list[LogEntry], votes: JudgedVotes
) -> Iterator[ProofFinding]:
    strangers = [e for e in entries if _names(e) != (evidence.program, evidence.market_id)]
    yield check(
        not strangers,
        "Every vote is about this market of this program.",
        f"{len(strangers)} votes are about another market or program.",
    )
    signed = [e for e in entries if e.channel is VoteChannel.STATEMENT]
    forged = [e for e in signed if not _is_signed(e)]
    yield check(
        not forged,
        f"All {len(signed)} signed statements carry their wallet's signature.",
        f"{len(forged)} of {len(signed)} statements are not signed by their wallet: {_wallets(forged)}.",
    )
    yield _in_time(evidence, anchor, [e for e in entries if e.channel is not VoteChannel.ONCHAIN])
    yield from _about_records(evidence, anchor, [e for e in entries if e.channel is VoteChannel.ONCHAIN])
    twice = _seen_twice(entries)
    yield check(
        not twice,
        f"{len({e.statement.wallet for e in entries})} wallets voted, none twice by the same way.",
        f"Wallets stand twice in the log: {', '.join(twice[:5])}.",
    )
    unproven = sum(1 for entry in votes.counted if entry.channel is VoteChannel.SESSION)
    if unproven:
        yield note(f"{unproven} of {len(votes.counted)} votes are unproven: only the backend says so.")
    rule = rule_of(anchor.memo.rule if anchor.memo else None)
    if rule is None:
        yield broken("The memo's rule of who may vote is none that is known.")
    else:
        yield from about_voters(rule, votes, anchor.tally)


def _in_time(evidence: Evidence, anchor: Anchor, entries: list[LogEntry]) -> ProofFinding:
    """Check that votes off chain were issued while voting was open; the program itself checks votes on chain."""
    earliest, latest = _began(evidence, anchor) - STATEMENT_WINDOW_S, anchor.at + STATEMENT_WINDOW_S
    outside = [e for e in entries if not earliest <= e.statement.issued_ms / 1000 <= latest]
    if outside and abs(evidence.clock_ahead_s) > CLOCKS_AGREE_S:
        hours = evidence.clock_ahead_s / 3600
        return note(
            f"This chain's clock is {hours:+.1f} h off ours, as only a local one can be: whether {len(outside)} votes "
            "were in time cannot be told."
        )
    return check(
        not outside,
        "Every vote was issued while its vote was open.",
        f"{len(outside)} votes were issued before voting began or after the count: {_wallets(outside)}.",
    )


def _began(evidence: Evidence, anchor: Anchor) -> int:
    account = evidence.account
    return account.created_at if anchor.kind is VoteKind.PROPOSAL else account.dispute_initiated_at


def _about_records(evidence: Evidence, anchor: Anchor, logged: list[LogEntry]) -> Iterator[ProofFinding]:
    records = {wallet: r for (kind, wallet), r in evidence.vote_records.items() if kind is anchor.kind}
    invented = [
        e
        for e in logged
        if e.statement.wallet not in records or records[e.statement.wallet].vote != e.statement.vote
    ]
    yield check(
        not invented,
        f"All {len(logged)} votes on chain have their VoteRecord.",
        f"{len(invented)} votes are said to be on chain and are not there like that: {_wallets(invented)}.",
    )
    known = {entry.statement.wallet for entry in logged}
    closed_at = _closed_at(anchor)
    missing = [wallet for wallet, r in records.items() if wallet not in known and r.voted_at <= closed_at]
    yield check(
        not missing,
        f"No vote that was on chain by {_moment(closed_at)} was left out.",
        f"{len(missing)} votes on chain were left out: {', '.join(missing[:5])}.",
    )
    # Only the VoteRecord proves when a vote came on chain: the time in the entry is our statement.
    late = {wallet for wallet, r in records.items() if r.voted_at > closed_at}
    counted = [e for e in logged if e.statement.wallet in late or e.statement.issued_ms // 1000 > closed_at]
    yield check(
        not counted,
        "No vote that came later was counted.",
        f"{len(counted)} votes were counted that came on chain after {_moment(closed_at)}: {_wallets(counted)}.",
    )
    late -= known
    if late:
        yield note(f"{len(late)} votes came on chain after {_moment(closed_at)}: late, nowhere counted.")


def _closed_at(anchor: Anchor) -> int:
    """Return the chain time up to which votes on chain count: the memo's, else FINAL_AFTER_S before the count."""
    closed_at = anchor.memo.closed_at if anchor.memo is not None else None
    return anchor.at - FINAL_AFTER_S - 1 if closed_at is None else closed_at


def _moment(seconds: int) -> str:
    return f"{readable_seconds(seconds)} of the chain's time"


def _closing(evidence: Evidence, anchor: Anchor) -> Iterator[ProofFinding]:
    """Check that the closing time in the memo is after the vote's beginning and before the count was sent."""
    if anchor.memo is None or anchor.memo.closed_at is None:
        return
    began, closed_at = _began(evidence, anchor), anchor.memo.closed_at
    yield check(
        began <= closed_at <= anchor.at,
        f"It counts what was on chain by {_moment(closed_at)}, {(closed_at - began) / 3600:.1f} h after it began.",
        f"The memo closes the vote at {_moment(closed_at)}, which is not between its beginning and its count.",
    )


def _about_account(evidence: Evidence, anchor: Anchor) -> Iterator[ProofFinding]:
    account, config = evidence.account, evidence.config
    if anchor.kind is VoteKind.PROPOSAL:
        on_account = Tally(account.proposal_likes, account.proposal_dislikes)
        threshold = config.proposal_approval_threshold
    else:
        on_account, threshold = (
            Tally(account.dispute_agree, account.dispute_disagree),
            config.dispute_success_threshold,
        )
    yield check(
        on_account == anchor.tally,
        "The market's account records the same counts.",
        f"The market's account records {on_account.votes_for} and {on_account.votes_against}.",
    )
    met = "meets" if on_account.reaches(threshold) else "does not meet"
    yield note(f"{on_account.bps} bps {met} the threshold of {threshold}, as it is now.")


def _entry(raw: bytes) -> LogEntry | None:
    try:
        return parse_entry(raw)
    except Invalid:
        return None


def _names(entry: LogEntry) -> tuple[str, str]:
    return entry.statement.program, entry.statement.market_id


def _is_signed(entry: LogEntry) -> bool:
    statement = entry.statement
    return signed_text(statement.wallet, statement.text(), entry.proof or "", statement.program)


def _seen_twice(entries: list[LogEntry]) -> list[Wallet]:
    """Return the wallets with more than one entry off chain, signed or not, or more than one on chain."""
    seen: set[tuple[Wallet, bool]] = set()
    twice: list[Wallet] = []
    for entry in entries:
        key = (entry.statement.wallet, entry.channel is VoteChannel.ONCHAIN)
        if key in seen:
            twice.append(entry.statement.wallet)
        seen.add(key)
    return twice


def _counted(entries: list[LogEntry]) -> list[LogEntry]:
    """Return the entry that counts for each wallet: its entry on chain, else its first entry."""
    chosen: dict[Wallet, LogEntry] = {}
    for entry in entries:
        have = chosen.setdefault(entry.statement.wallet, entry)
        if entry.channel is VoteChannel.ONCHAIN and have.channel is not VoteChannel.ONCHAIN:
            chosen[entry.statement.wallet] = entry
    return list(chosen.values())


def _wallets(entries: list[LogEntry]) -> str:
    return ", ".join(entry.statement.wallet for entry in entries[:5])
