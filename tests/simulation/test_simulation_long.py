"""A thousand markets' lives under faults, in two processes at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIVES_EACH = 500
FIRST_SEEDS = (1_000, 2_000)
PROGRAM = Path(__file__).with_name("run_simulation.py")


@pytest.mark.slow
def test_a_thousand_market_lives_under_seeded_faults_keep_every_invariant() -> None:
    """P1, P2, C1, C2, A2, C13, W3; a failure names its seed: `make simulate SEED=...` plays it again."""
    runs = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(seed), "--lives", str(LIVES_EACH)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in FIRST_SEEDS
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
