"""What counted votes mean: basis points and thresholds, in the integers of the on-chain program."""

from __future__ import annotations

import msgspec

from zmart.market.types import Bps, VoteKind

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


def memo(kind: VoteKind, log_size: int, log_root: bytes) -> str:
    """The note that goes on chain with the counts: which log, at which size, proves them."""
    return f"zmart:tally:v1:{kind.value}:{log_size}:{log_root.hex()}"


class TallyMemo(msgspec.Struct, frozen=True):
    """What a memo of a tally says; `log_root` as 64 hex characters."""

    kind: VoteKind
    log_size: int
    log_root: str


def parse_memo(text: str) -> TallyMemo | None:
    """The memo of a tally, or None when the text is any other memo."""
    words = text.split(":")
    if words[:3] != ["zmart", "tally", "v1"] or len(words) != 6:
        return None
    kind, size, root = words[3:]
    if kind not in {k.value for k in VoteKind} or not size.isascii() or not size.isdigit() or len(size) > 18:
        return None
    found = TallyMemo(VoteKind(kind), int(size), root)
    try:
        same = memo(found.kind, found.log_size, bytes.fromhex(root)) == text and len(root) == 64
    except ValueError:
        return None
    return found if same else None
