"""Judge the voters of a log again, by the rule of the memo: whose votes count, whose do not, and whose are unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from zmart.errors import Invalid
from zmart.market.eligibility import OPEN, Eligibility, Rule, RuleKind, VoterFacts, judge
from zmart.market.tally import Tally
from zmart.market.types import Wallet
from zmart.market.vote_entries import LogEntry
from zmart.proofs.findings import ProofFinding, Verdict, broken, check, note

_NAMED = 20
_NO_FACTS = VoterFacts(why_unknown="it was not looked at.")


class VoterReason(msgspec.Struct, frozen=True):
    """A voter whose vote does not count or cannot be judged, and the reason."""

    wallet: Wallet
    reason: str


class JudgedVotes(msgspec.Struct, frozen=True):
    """The judged votes of a log, one for each wallet.

    `counted` votes count. `unknown` votes cannot be judged, and `unknown_voters` says why. `not_counted` says whose
    votes do not count, and why.
    """

    counted: list[LogEntry]
    unknown: list[LogEntry]
    not_counted: list[VoterReason]
    unknown_voters: list[VoterReason]


def rule_of(text: str | None) -> Rule | None:
    """Return the rule that a memo names: `open` if it names no rule, None if its text is no known rule."""
    try:
        return OPEN if text is None else Rule.parse(text)
    except Invalid:
        return None


def judge_votes(
    rule: Rule, entries: Sequence[LogEntry], facts_by_wallet: Mapping[Wallet, VoterFacts]
) -> JudgedVotes:
    """Judge votes by a rule; `entries` holds one vote for each wallet.

    Without facts about a wallet its vote is unknown, unless the rule lets every wallet vote.
    """
    votes = JudgedVotes([], [], [], [])
    for entry in entries:
        wallet = entry.statement.wallet
        judgement = judge(rule, facts_by_wallet.get(wallet, _NO_FACTS))
        match judgement.eligibility:
            case Eligibility.ELIGIBLE:
                votes.counted.append(entry)
            case Eligibility.NOT_ELIGIBLE:
                votes.not_counted.append(VoterReason(wallet, judgement.reason))
            case Eligibility.UNKNOWN:
                votes.unknown.append(entry)
                votes.unknown_voters.append(VoterReason(wallet, judgement.reason))
    return votes


def about_voters(rule: Rule, votes: JudgedVotes, on_chain: Tally) -> Iterator[ProofFinding]:
    """Yield the findings about a tally's voters and its counts.

    The counts on chain may differ from the new count by at most the votes that cannot be judged.
    """
    if rule.kind is not RuleKind.OPEN:
        yield note(f"Rule {rule.text}: {rule.sentence}")
        yield from _named(
            votes.not_counted, Verdict.NOTE, "votes are not counted: their wallets are not eligible."
        )
        yield from _named(
            votes.unknown_voters, Verdict.UNKNOWN, "votes: whether they count cannot be told from this RPC."
        )
    tally = tally_of(votes.counted)
    if not votes.unknown:
        yield check(
            tally == on_chain,
            f"Counted again: {tally.votes_for} for, {tally.votes_against} against, as went on chain.",
            f"Counted again: {tally.votes_for} for, {tally.votes_against} against; on chain went "
            f"{on_chain.votes_for} and {on_chain.votes_against}.",
        )
        return
    more = tally_of(votes.unknown)
    fits = (
        0 <= on_chain.votes_for - tally.votes_for <= more.votes_for
        and 0 <= on_chain.votes_against - tally.votes_against <= more.votes_against
    )
    counted = (
        f"Counted again: {tally.votes_for} to {tally.votes_for + more.votes_for} for, {tally.votes_against} to "
        f"{tally.votes_against + more.votes_against} against; on chain went {on_chain.votes_for} and "
        f"{on_chain.votes_against}."
    )
    yield ProofFinding(Verdict.UNKNOWN, counted) if fits else broken(counted)


def tally_of(entries: Sequence[LogEntry]) -> Tally:
    """Return the tally of log entries, each of which counts as one vote."""
    return Tally(sum(e.statement.vote for e in entries), sum(not e.statement.vote for e in entries))


def _named(voters: list[VoterReason], verdict: Verdict, what: str) -> Iterator[ProofFinding]:
    if not voters:
        return
    yield ProofFinding(verdict, f"{len(voters)} {what}")
    for voter in voters[:_NAMED]:
        yield ProofFinding(verdict, f"  {voter.wallet}: {voter.reason}")
    if len(voters) > _NAMED:
        yield ProofFinding(verdict, f"  and {len(voters) - _NAMED} more: --json names all of them.")
