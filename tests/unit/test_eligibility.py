"""Who may vote: rules are parsed strictly, and an unknown fact makes a voter neither eligible nor ineligible (A1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.market.eligibility import (
    DEFAULT_LAMPORTS,
    OPEN,
    Eligibility,
    Rule,
    RuleKind,
    VoterFacts,
    judge,
    sol,
)
from zmart.market.types import Lamports

V0 = "Qm" + "a" * 44
V1 = "b" + "a" * 58
amounts = st.integers(1, 2**63 - 1).map(Lamports)
rules = st.one_of(
    st.just(OPEN),
    st.builds(Rule, st.sampled_from([RuleKind.FUNDED, RuleKind.STAKED]), lamports=amounts),
    st.sampled_from([Rule(RuleKind.LISTED, cid=V0), Rule(RuleKind.LISTED, cid=V1)]),
)


@given(rules)
def test_a_rule_is_read_back_from_its_text(rule: Rule) -> None:
    assert Rule.parse(rule.text) == rule
    assert ":" not in rule.text
    assert " " not in rule.text
    assert Rule.of_setting(rule.text.replace(";", ":")) == rule
    assert rule.sentence.endswith(".")


@given(st.text(max_size=40))
def test_any_other_text_is_no_rule(text: str) -> None:
    try:
        rule = Rule.parse(text)
    except Invalid:
        return
    assert rule.text == text


@pytest.mark.parametrize(
    "text",
    [
        "", "Open", "open;", "open;1", " open", "staked", "funded", "staked;", "staked;0", "staked;-1", "staked;01",
        "staked;1.5", "staked;5_0", "staked;٥", "staked;9223372036854775808", "staked;" + "9" * 5000, "staked:5",
        "listed", "listed;", "listed;Qm", "listed;" + "Qm" + "0" * 44, "listed;" + V1.upper(), "staked;5;5",
        "listed;" + V0 + "\n", "members;5",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Rule.parse(text)


def test_amounts_may_be_left_out_of_a_setting() -> None:
    assert Rule.of_setting("staked") == Rule(RuleKind.STAKED, lamports=DEFAULT_LAMPORTS)
    assert Rule.of_setting("funded") == Rule(RuleKind.FUNDED, lamports=DEFAULT_LAMPORTS)
    for wrong in ("staked:", "listed", "listed:", ""):
        with pytest.raises(Invalid):
            Rule.of_setting(wrong)


@given(rules)
def test_what_is_unknown_is_neither_eligible_nor_not(rule: Rule) -> None:
    """A1: a fact that could not be read never lets a vote in, and never keeps one out."""
    judgement = judge(rule, VoterFacts(why_unknown="the RPC is down."))
    if rule is OPEN or rule.kind is RuleKind.OPEN:
        assert judgement.eligibility is Eligibility.ELIGIBLE
    else:
        assert judgement.eligibility is Eligibility.UNKNOWN
        assert judgement.reason.endswith("the RPC is down.")


@given(st.sampled_from([RuleKind.FUNDED, RuleKind.STAKED]), amounts, st.integers(0, 2**63 - 1))
def test_an_amount_is_enough_at_the_rule_and_not_below(kind: RuleKind, least: Lamports, has: int) -> None:
    rule = Rule(kind, lamports=least)
    fact = {"held": Lamports(has)} if kind is RuleKind.FUNDED else {"traded": Lamports(has)}
    judgement = judge(rule, VoterFacts(**fact))
    assert (judgement.eligibility is Eligibility.ELIGIBLE) == (has >= least)
    assert (judgement.eligibility is Eligibility.NOT_ELIGIBLE) == (has < least)
    assert bool(judgement.remedy) == (has < least)


def test_the_facts_of_another_rule_say_nothing() -> None:
    staked, funded = Rule(RuleKind.STAKED, lamports=Lamports(1)), Rule(RuleKind.FUNDED, lamports=Lamports(1))
    assert judge(staked, VoterFacts(held=Lamports(10**12))).eligibility is Eligibility.UNKNOWN
    assert judge(funded, VoterFacts(traded=Lamports(10**12))).eligibility is Eligibility.UNKNOWN


def test_a_list_says_who_stands_in_it() -> None:
    rule = Rule(RuleKind.LISTED, cid=V0)
    assert judge(rule, VoterFacts(listed=True)).eligibility is Eligibility.ELIGIBLE
    refused = judge(rule, VoterFacts(listed=False))
    assert refused.eligibility is Eligibility.NOT_ELIGIBLE
    assert "next list" in refused.remedy


@pytest.mark.parametrize(
    ("lamports", "text"),
    [
        (0, "0 SOL"),
        (1, "0.000000001 SOL"),
        (50_000_000, "0.05 SOL"),
        (10**9, "1 SOL"),
        (12_300_000_000, "12.3 SOL"),
    ],
)
def test_amounts_are_exact_in_words(lamports: int, text: str) -> None:
    assert sol(lamports) == text
