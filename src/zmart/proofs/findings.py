"""What a check found, in words for people and a verdict for scripts."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    HOLDS = "holds"
    NOTE = "note"
    """True, and worth knowing."""
    BROKEN = "broken"


class Finding(msgspec.Struct, frozen=True):
    verdict: Verdict
    text: str


def check(holds: bool, good: str, bad: str) -> Finding:
    return Finding(Verdict.HOLDS, good) if holds else broken(bad)


def note(text: str) -> Finding:
    return Finding(Verdict.NOTE, text)


def broken(text: str) -> Finding:
    return Finding(Verdict.BROKEN, text)
