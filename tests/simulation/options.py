"""The options of a run: all choices that a seed determines, drawn once and printed with a failure.

Each part of the simulation draws from a generator of its own (`rng(seed, "nodes")`), so that a change in one part does
not shift the others. Most kinds of fault are off in about half of the runs: faults hide each other when all come at
once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
from rpc_gate import ANSWERS, CUT, LATE

HOUR = 3_600.0
LIES = ("forged logs", "dropped instructions", "invented signature", "pretended failure", "garbage")
WINDOWS = (
    "indexer stopped",
    "indexer without RPC",
    "indexer's node behind",
    "decisions stopped",
    "database cut off",
)


class Window(msgspec.Struct, frozen=True):
    """A fault of WINDOWS that lasts for some hours; its start is in hours since the beginning of the run."""

    what: str
    start_h: float
    hours: float

    def __str__(self) -> str:
        return f"{self.what} from {self.start_h:.1f} h for {self.hours:.1f} h"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run; `Options.of(seed)` draws them.

    Shares and rates are probabilities for each event. `kill_ops` is the mean number of operations before a process is
    killed, 0: never. `stall_s` is the mean duration of a stop. `answers` and `lies` name the faults of nodes and
    deliveries that may occur.
    """

    seed: int
    markets: int
    voters: int
    min_proposal_votes: int
    min_dispute_votes: int
    ttl_days: int
    dispute_voting_hours: int
    onchain_share: float
    dispute_share: float
    late_share: float
    spread_h: float
    trades: int
    aggregators: int
    monitors: int
    tick_every_s: float
    scan_every_s: float
    webhook_loss: float
    webhook_delay_s: float
    webhook_repeats: float
    webhook_lies: float
    lies: tuple[str, ...]
    node_faults: float
    answers: tuple[str, ...]
    node_lag_slots: int
    lost_transactions: float
    landing_slots: int
    forks_a_day: float
    kill_ops: int
    stall_s: float
    host_ahead_s: float
    windows: tuple[Window, ...]
    faults_end_h: float

    @classmethod
    def of(cls, seed: int, markets: int | None = None) -> Options:
        chance = rng(seed, "options")

        def sometimes(value: float, off: float = 0.0) -> float:
            drawn = chance.uniform(0.2, 1.0) * value
            return round(drawn, 3) if chance.random() < 0.5 else off

        spread_h = chance.uniform(1, 30)
        end_h = spread_h + 24 * 9
        return cls(
            seed=seed,
            markets=markets or chance.randint(5, 9),
            voters=chance.randint(6, 9),
            min_proposal_votes=chance.randint(1, 5),
            min_dispute_votes=chance.randint(1, 3),
            ttl_days=chance.choice([1, 1, 2]),
            dispute_voting_hours=chance.choice([12, 36, 72]),
            onchain_share=round(chance.uniform(0.1, 0.9), 2),
            dispute_share=round(chance.uniform(0.3, 1.0), 2),
            late_share=round(chance.uniform(0.0, 0.5), 2),
            spread_h=round(spread_h, 1),
            trades=chance.randint(0, 6),
            aggregators=chance.choice([1, 1, 2]),
            monitors=chance.choice([1, 1, 2]),
            tick_every_s=chance.choice([60.0, 300.0, 1_200.0]),
            scan_every_s=chance.choice([2.0, 20.0, 120.0]),
            webhook_loss=sometimes(1.0),
            webhook_delay_s=round(chance.choice([0.05, 1.0, 60.0, 1_800.0]), 2),
            webhook_repeats=sometimes(0.5),
            webhook_lies=sometimes(0.25),
            lies=tuple(sorted(chance.sample(LIES, chance.randint(1, len(LIES))))),
            node_faults=sometimes(0.3),
            answers=tuple(sorted(chance.sample([*ANSWERS, CUT, LATE], chance.randint(1, 6)))),
            node_lag_slots=int(sometimes(60)),
            lost_transactions=sometimes(0.4),
            landing_slots=chance.choice([1, 4, 40]),
            forks_a_day=sometimes(4.0),
            kill_ops=int(sometimes(1_500)),
            stall_s=sometimes(120.0),
            host_ahead_s=round(chance.uniform(-120, 120), 1) if chance.random() < 0.3 else 0.0,
            windows=tuple(_windows(chance, end_h)),
            faults_end_h=round(end_h, 1),
        )

    def printed(self) -> str:
        fields = msgspec.structs.asdict(self)
        return "\n".join(f"  {name}: {_text(value)}" for name, value in fields.items())


def rng(seed: int, name: str) -> random.Random:
    """Return the random generator of one part of the simulation."""
    return random.Random(f"{seed}:{name}")


def _windows(chance: random.Random, end_h: float) -> Iterator[Window]:
    for _ in range(chance.randint(0, 4)):
        what = chance.choice(WINDOWS)
        hours = (
            chance.uniform(0.1, 4)
            if what in ("decisions stopped", "database cut off")
            else chance.uniform(0.5, 60)
        )
        yield Window(what, round(chance.uniform(0, end_h), 2), round(hours, 2))


def _text(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)
