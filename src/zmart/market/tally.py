"""What counted votes mean: basis points and thresholds, in the integers of the on-chain program."""

from __future__ import annotations

import re

import msgspec

from zmart.market.types import Bps, ChainTime, Slot, VoteKind

FULL_BPS = 10_000
MAX_COUNT = 2**32 - 1
"""The program keeps each count and their sum in 32 bits."""


class Tally(msgspec.Struct, frozen=True):
    """Votes for (like; agree that the proposed outcome is wrong) and against."""

    votes_for: int
    votes_against: int

    @property
    def total(self) -> int:
        return self.votes_for + self.votes_against

    @property
    def bps(self) -> Bps:
        """floor(for * 10000 / total) as the program computes it; 0 when nobody voted."""
        return Bps(self.votes_for * FULL_BPS // self.total if self.total else 0)

    def reaches(self, threshold_bps: Bps) -> bool:
        """Whether the votes meet the threshold (>=). Without a vote none is met, not even 0."""
        return self.total > 0 and self.bps >= threshold_bps

    def passes(self, threshold_bps: Bps, min_votes: int) -> bool:
        """Whether the votes meet the chain's threshold and are enough by policy."""
        return self.total >= min_votes and self.reaches(threshold_bps)


class TallyMemo(msgspec.Struct, frozen=True):
    """What a memo of a tally says; `log_root` as 64 hex characters. Votes on chain count up to chain time `closed_at`,
    the index was complete through `closed_slot`, and `rule` says who may vote; None in a memo of version 1."""

    kind: VoteKind
    log_size: int
    log_root: str
    closed_at: ChainTime | None = None
    closed_slot: Slot | None = None
    rule: str | None = None

    def text(self) -> str:
        """The note that goes on chain with the counts."""
        head = f"{self.kind.value}:{self.log_size}:{self.log_root}"
        if self.closed_at is None:
            return f"zmart:tally:v1:{head}"
        return f"zmart:tally:v2:{head}:{self.closed_at}:{self.closed_slot}:{self.rule}"


_MEMO = re.compile(
    r"zmart:tally:(?:v1|v2):(?P<kind>proposal|dispute):(?P<size>\d{1,18}):(?P<root>[0-9a-f]{64})"
    r"(?::(?P<closed_at>\d{1,18}):(?P<closed_slot>\d{1,18}):(?P<rule>[a-z]+(?:;[0-9A-Za-z]{1,100})?))?",
    re.ASCII,
)


def parse_memo(text: str) -> TallyMemo | None:
    """The memo of a tally, or None when the text is any other memo."""
    found = _MEMO.fullmatch(text)
    if found is None:
        return None
    closed = found["closed_at"] is not None
    memo = TallyMemo(
        kind=VoteKind(found["kind"]),
        log_size=int(found["size"]),
        log_root=found["root"],
        closed_at=ChainTime(int(found["closed_at"])) if closed else None,
        closed_slot=Slot(int(found["closed_slot"])) if closed else None,
        rule=found["rule"],
    )
    return memo if memo.text() == text else None
