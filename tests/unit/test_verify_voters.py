"""Recounting a vote under a rule names each voter who is not counted, with the reason (A1).

A fact that cannot be read makes the result unknown, not wrong.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.votes import (
    NOW,
    PROGRAM,
    statement_of,
)
from kit.wallets import address_of, market_id, wallet
from zmart.market.eligibility import OPEN, Rule, RuleKind, VoterFacts
from zmart.market.tally import Tally
from zmart.market.types import Lamports, VoteKind
from zmart.market.vote_entries import LogEntry, VoteChannel
from zmart.proofs.findings import Verdict
from zmart.proofs.verify_voters import about_voters, judge_votes, rule_of

STAKED = Rule(RuleKind.STAKED, lamports=Lamports(50_000_000))
RICH, POOR, UNKNOWN = (
    VoterFacts(traded=Lamports(50_000_000)),
    VoterFacts(traded=Lamports(49_999_999)),
    VoterFacts(why_unknown="the RPC is down."),
)
voters = st.lists(st.tuples(st.booleans(), st.sampled_from([RICH, POOR, UNKNOWN])), min_size=1, max_size=12)


def entry(number: int, vote: bool) -> LogEntry:
    answer = statement_of(wallet(number), market_id(1), VoteKind.DISPUTE, vote, NOW)
    assert answer.program == PROGRAM
    return LogEntry(channel=VoteChannel.SESSION, statement=answer)


@given(voters)
def test_a_count_holds_exactly_for_those_who_are_eligible(
    given_voters: list[tuple[bool, VoterFacts]],
) -> None:
    entries = [entry(n, vote) for n, (vote, _) in enumerate(given_voters, 1)]
    facts_by_wallet = {address_of(wallet(n)): facts for n, (_, facts) in enumerate(given_voters, 1)}
    judged = judge_votes(STAKED, entries, facts_by_wallet)
    assert len(judged.counted) + len(judged.not_counted) + len(judged.unknown) == len(entries)
    sure = Tally(
        sum(vote for vote, facts in given_voters if facts is RICH),
        sum(not vote for vote, facts in given_voters if facts is RICH),
    )
    last = list(about_voters(STAKED, judged, sure))[-1]
    assert last.verdict is (Verdict.UNKNOWN if judged.unknown else Verdict.HOLDS)
    with_poor = Tally(sure.votes_for + len(judged.unknown) + 1, sure.votes_against)
    assert list(about_voters(STAKED, judged, with_poor))[-1].verdict is Verdict.BROKEN
    too_few = Tally(sure.votes_for - 1, sure.votes_against)
    assert list(about_voters(STAKED, judged, too_few))[-1].verdict is Verdict.BROKEN


def test_who_is_not_counted_is_named_with_the_reason() -> None:
    entries = [entry(n, True) for n in range(1, 41)]
    facts_by_wallet = {address_of(wallet(n)): POOR if n > 1 else RICH for n in range(1, 41)}
    judged = judge_votes(STAKED, entries, facts_by_wallet)
    lines = [finding.text for finding in about_voters(STAKED, judged, Tally(1, 0))]
    assert lines[0] == f"Rule staked;50000000: {STAKED.sentence}"
    assert lines[1] == "39 votes are not counted: their wallets are not eligible."
    assert "had traded 0.049999999 SOL" in lines[2]
    assert "and 19 more" in " ".join(lines)
    assert len(judged.not_counted) == 39


def test_under_open_everybody_counts_and_nothing_is_asked() -> None:
    judged = judge_votes(OPEN, [entry(1, True), entry(2, False)], {})
    assert [f.text for f in about_voters(OPEN, judged, Tally(1, 1))] == [
        "Counted again: 1 for, 1 against, as went on chain."
    ]


@pytest.mark.parametrize(
    ("text", "rule"), [(None, OPEN), ("open", OPEN), ("staked;50000000", STAKED), ("x", None)]
)
def test_a_memo_names_its_rule(text: str | None, rule: Rule | None) -> None:
    assert rule_of(text) == rule
