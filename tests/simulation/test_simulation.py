"""Markets' lives in the simulation under faults drawn from seeds; README.md in this folder describes it."""

from __future__ import annotations

import pytest
from options import Options
from run_simulation import Stage

LIVES = 15
FIRST_SEED = 1
SEED_OF_A_BLIND_INDEX = 7
"""A seed with which the index falls behind while votes land on chain."""


def test_market_lives_under_seeded_faults_keep_every_invariant(stage: Stage) -> None:
    """P1, P2, C1, C2, A2, C13, W3: no decision is made ahead of the index, and in the end everything is done."""
    lives, seed = 0, FIRST_SEED
    while lives < LIVES:
        report = stage.play(Options.of(seed))
        assert not report.violations, report.printed()
        lives += report.lives
        seed += 1


def test_a_seed_replays_to_the_same_trace(stage: Stage) -> None:
    first, second = (stage.play(Options.of(4, markets=1)) for _ in range(2))
    assert first.digest == second.digest, _difference(first.tail, second.tail)
    assert first.transactions == second.transactions > 0


def test_a_seed_finds_what_is_decided_ahead_of_the_index(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1, P2: without the requirement of a complete index, the checkers find a decision ahead of the index."""

    async def open_gate(*_: object) -> None:
        pass

    for module in ("aggregator.proposals", "monitor.finalizer"):
        monkeypatch.setattr(f"zmart.services.{module}.require_complete", open_gate)
    report = stage.play(Options.of(SEED_OF_A_BLIND_INDEX, markets=3), only="decision ahead of the index")
    assert any(v.kind.startswith("decision ahead of the index") for v in report.violations), report.printed()


def _difference(first: list[str], second: list[str]) -> str:
    pairs = zip(first, second, strict=False)
    return next((f"{one!r} is not {other!r}" for one, other in pairs if one != other), "one is longer")
