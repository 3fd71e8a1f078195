"""Decide who may vote, from a rule and facts about a wallet.

Key pairs are free, so a rule looks at what a wallet had done or held before the vote opened. These facts are public:
every RPC shows them. A fact that could not be read is unknown, which counts neither for nor against the wallet.
docs/votes.md compares the rules.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import assert_never

import msgspec

from zmart.errors import Invalid
from zmart.market.identifiers import CID_V0_FORM
from zmart.market.types import LAMPORTS_PER_SOL, ChainTime, Lamports, Signature, Slot

DEFAULT_LAMPORTS = Lamports(50_000_000)
"""0.05 SOL: the amount that `funded` and `staked` require if a setting names none."""

_MOST_LAMPORTS = 2**63 - 1
_CID = re.compile(rf"{CID_V0_FORM}|b[a-z2-7]{{58}}")
_AMOUNT = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class RuleKind(Enum):
    """Name the condition that a wallet must meet to vote."""

    OPEN = "open"
    """No condition: every wallet may vote."""
    FUNDED = "funded"
    """The wallet held at least an amount of lamports before the vote opened."""
    STAKED = "staked"
    """The wallet had traded at least an amount of lamports in this program's markets before the vote opened."""
    LISTED = "listed"
    """The wallet is in a signed list of wallets."""


class Rule(msgspec.Struct, frozen=True):
    """Define who may vote. Build a rule with `parse` or `of_setting`.

    `lamports` is the amount of `funded` and `staked`. `cid` is the IPFS address of the list of `listed`.
    """

    kind: RuleKind
    lamports: Lamports = Lamports(0)
    cid: str = ""

    @property
    def text(self) -> str:
        """Return the rule in its canonical form, as the memo on chain holds it: without colons and spaces."""
        match self.kind:
            case RuleKind.OPEN:
                return "open"
            case RuleKind.FUNDED | RuleKind.STAKED:
                return f"{self.kind.value};{self.lamports}"
            case RuleKind.LISTED:
                return f"listed;{self.cid}"
        assert_never(self.kind)

    @property
    def sentence(self) -> str:
        """Return the rule as one sentence for people."""
        match self.kind:
            case RuleKind.OPEN:
                return "Every wallet may vote."
            case RuleKind.FUNDED:
                return f"Wallets may vote that held at least {sol(self.lamports)} before the vote opened."
            case RuleKind.STAKED:
                return (
                    f"Wallets may vote that had traded at least {sol(self.lamports)} in markets of this program before "
                    "the vote opened."
                )
            case RuleKind.LISTED:
                return f"Wallets may vote that stand in the signed list {self.cid}."
        assert_never(self.kind)

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Parse a rule in its canonical form; no other text is accepted. Raises Invalid("rule")."""
        word, separator, argument = text.partition(";")
        rule = _with_argument(word, argument) if separator else _plain(word)
        if rule is None or rule.text != text:
            raise Invalid(
                "rule", f"{text[:80]!r} is not one of open, funded;LAMPORTS, staked;LAMPORTS, listed;CID."
            )
        return rule

    @classmethod
    def of_setting(cls, text: str) -> Rule:
        """Parse a rule as a setting writes it: with a colon before the argument.

        `funded` and `staked` without an amount mean DEFAULT_LAMPORTS. Raises Invalid("rule").
        """
        word, separator, argument = text.strip().partition(":")
        if not separator:
            plain = word not in (RuleKind.FUNDED.value, RuleKind.STAKED.value)
            return cls.parse(word if plain else f"{word};{DEFAULT_LAMPORTS}")
        return cls.parse(f"{word};{argument}")


OPEN = Rule(RuleKind.OPEN)
"""The rule by which every wallet may vote."""


class VoterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the facts about a wallet from before a vote opened.

    None means unknown; `why_unknown` gives the reason. `held`: the wallet's lamports. `traded`: lamports paid for
    purchases, fees included, plus lamports received from sales. `listed`: whether the wallet is in the list.
    """

    held: Lamports | None = None
    traded: Lamports | None = None
    listed: bool | None = None
    why_unknown: str = ""


class Eligibility(Enum):
    """State whether a wallet may vote, or that this is unknown."""

    ELIGIBLE = "eligible"
    NOT_ELIGIBLE = "not eligible"
    UNKNOWN = "unknown"


class Judgement(msgspec.Struct, frozen=True):
    """Hold the result of `judge`.

    `reason` states the facts that were found. `remedy` states what would make the wallet eligible; it is empty if the
    wallet is eligible or if that is unknown.
    """

    eligibility: Eligibility
    reason: str
    remedy: str = ""


def judge(rule: Rule, facts: VoterFacts) -> Judgement:
    """Decide whether a wallet with these facts may vote under the rule."""
    match rule.kind:
        case RuleKind.OPEN:
            return Judgement(Eligibility.ELIGIBLE, "Every wallet may vote.")
        case RuleKind.FUNDED:
            return _by_amount(rule, facts, facts.held, "held", "hold")
        case RuleKind.STAKED:
            return _by_amount(rule, facts, facts.traded, "had traded", "trade")
        case RuleKind.LISTED:
            return _by_list(rule, facts)
    assert_never(rule.kind)


def sol(lamports: int) -> str:
    """Format lamports as SOL for people, exactly: 50000000 becomes "0.05 SOL"."""
    whole, rest = divmod(lamports, LAMPORTS_PER_SOL)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{whole}{fraction} SOL"


class VoteOpening(msgspec.Struct, frozen=True):
    """Identify when and where a vote opened.

    Only facts from before `at`, in chain time, count. `slot` and `signature` are those of the transaction that opened
    the vote.
    """

    at: ChainTime
    slot: Slot
    signature: Signature


def _by_amount(rule: Rule, facts: VoterFacts, amount: Lamports | None, past: str, base: str) -> Judgement:
    where = " in markets of this program" if rule.kind is RuleKind.STAKED else ""
    if amount is None:
        return _unknown(facts, f"how much the wallet {past}{where} before the vote opened")
    reason = f"The wallet {past} {sol(amount)}{where} before the vote opened."
    if amount >= rule.lamports:
        return Judgement(Eligibility.ELIGIBLE, reason)
    remedy = (
        f"To vote in later votes, {base} at least {sol(rule.lamports)}{where} before they open; for this vote it is "
        "too late."
    )
    return Judgement(Eligibility.NOT_ELIGIBLE, reason, remedy)


def _by_list(rule: Rule, facts: VoterFacts) -> Judgement:
    if facts.listed is None:
        return _unknown(facts, f"whether the wallet stands in the list {rule.cid}")
    if facts.listed:
        return Judgement(Eligibility.ELIGIBLE, "The wallet stands in the list.")
    return Judgement(
        Eligibility.NOT_ELIGIBLE,
        "The wallet does not stand in the list.",
        "Ask the operator to put the wallet into the next list; the list of a vote that is open does not change.",
    )


def _unknown(facts: VoterFacts, what: str) -> Judgement:
    why = f": {facts.why_unknown}" if facts.why_unknown else "."
    return Judgement(Eligibility.UNKNOWN, f"It cannot be told {what}{why}")


def _plain(word: str) -> Rule | None:
    return OPEN if word == RuleKind.OPEN.value else None


def _with_argument(word: str, argument: str) -> Rule | None:
    match word:
        case RuleKind.FUNDED.value | RuleKind.STAKED.value:
            if not _AMOUNT.fullmatch(argument) or int(argument) > _MOST_LAMPORTS:
                return None
            return Rule(RuleKind(word), lamports=Lamports(int(argument)))
        case RuleKind.LISTED.value:
            return Rule(RuleKind.LISTED, cid=argument) if _CID.fullmatch(argument) else None
    return None
