"""The results of checks: a sentence for people and a verdict for scripts."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    """The result of one check."""

    HOLDS = "holds"
    NOTE = "note"
    """True, and a reader should know it."""
    UNKNOWN = "unknown"
    """It could not be checked."""
    BROKEN = "broken"


_MARKS = {
    Verdict.HOLDS: "ok  ",
    Verdict.NOTE: "note",
    Verdict.UNKNOWN: "?   ",
    Verdict.BROKEN: "BAD ",
}


class ProofFinding(msgspec.Struct, frozen=True):
    """A check with its result in a sentence."""

    verdict: Verdict
    text: str

    @property
    def line(self) -> str:
        """Return the mark of the verdict and the sentence, as the command line prints them."""
        return f"{_MARKS[self.verdict]} {self.text}"


def check(holds: bool, good: str, bad: str) -> ProofFinding:
    """Return a finding that holds, with the text `good`, or is broken, with the text `bad`."""
    return ProofFinding(Verdict.HOLDS, good) if holds else broken(bad)


def note(text: str) -> ProofFinding:
    """Return a remark that is no check."""
    return ProofFinding(Verdict.NOTE, text)


def broken(text: str) -> ProofFinding:
    """Return a check that failed."""
    return ProofFinding(Verdict.BROKEN, text)
