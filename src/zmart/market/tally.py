"""Convert counted votes to basis points and compare them with thresholds, in the integers of the program."""

from __future__ import annotations

import re

import msgspec

from zmart.market.types import BPS_ONE, Bps, ChainTime, Slot, VoteKind

MAX_COUNT = 2**32 - 1
"""The program stores each count and their sum in 32 bits."""


class Tally(msgspec.Struct, frozen=True):
    """Count the votes for and against.

    A vote for means like, or agree that the proposed outcome is wrong.
    """

    votes_for: int
    votes_against: int

    @property
    def total(self) -> int:
        """Return the number of all votes."""
        return self.votes_for + self.votes_against

    @property
    def bps(self) -> Bps:
        """Return the part of the votes that are for, in basis points, as the program computes it.

        It is floor(for * 10000 / total), and 0 without votes.
        """
        return Bps(self.votes_for * BPS_ONE // self.total if self.total else 0)

    def reaches(self, threshold_bps: Bps) -> bool:
        """Return whether the votes for reach the threshold (>=).

        Without votes no threshold is reached, not even 0.
        """
        return self.total > 0 and self.bps >= threshold_bps

    def passes(self, threshold_bps: Bps, min_votes: int) -> bool:
        """Return whether the votes reach the threshold and are at least `min_votes`."""
        return self.total >= min_votes and self.reaches(threshold_bps)


class TallyMemo(msgspec.Struct, frozen=True):
    """Hold the content of the memo that goes on chain with a tally's counts.

    `log_size` and `log_root` (64 hex characters) are those of the vote log. Votes on chain count up to chain time
    `closed_at`. The index was complete through `closed_slot`. `rule` states who may vote. The last three are None in a
    memo of version 1.
    """

    kind: VoteKind
    log_size: int
    log_root: str
    closed_at: ChainTime | None = None
    closed_slot: Slot | None = None
    rule: str | None = None

    def text(self) -> str:
        """Return the memo's text: version 1 without `closed_at`, else version 2."""
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
    """Parse the memo of a tally; return None if the text is any other memo."""
    match = _MEMO.fullmatch(text)
    if match is None:
        return None
    closed = match["closed_at"] is not None
    memo = TallyMemo(
        kind=VoteKind(match["kind"]),
        log_size=int(match["size"]),
        log_root=match["root"],
        closed_at=ChainTime(int(match["closed_at"])) if closed else None,
        closed_slot=Slot(int(match["closed_slot"])) if closed else None,
        rule=match["rule"],
    )
    return memo if memo.text() == text else None
