"""The requests of a load in order: for each, a path and a header set are drawn independently of each other.

All subjects of a round get the same requests. The next round has others, so that no server can profit from requests
that repeat byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from header_sets import HeaderSet

MIX = {"markets": 70, "market": 20, "trades": 5, "candles": 5}
"""The weights of the kinds of paths, as users request them."""
READS_PER_WRITE = 100


@dataclass(frozen=True)
class PlannedRequest:
    path: str
    header_set: int


def draw(
    seed: str, weights: Mapping[str, int], paths: Mapping[str, Sequence[str]], header_sets: int, count: int
) -> list[PlannedRequest]:
    """Return `count` requests: for each, a kind is drawn by `weights`, then one of its `paths`, and a header set.

    `header_sets` is the number of header sets.
    """
    of_paths, of_headers = Random(f"{seed}: paths"), Random(f"{seed}: headers")
    kinds = of_paths.choices(list(weights), list(weights.values()), k=count)
    return [PlannedRequest(of_paths.choice(paths[kind]), of_headers.randrange(header_sets)) for kind in kinds]


def write_plan(file: Path, plan: Sequence[PlannedRequest]) -> None:
    """Write a line for each request: the number of its header set, counted from 1 as in Lua, and its path."""
    file.write_text("".join(f"{each.header_set + 1} {each.path}\n" for each in plan), "utf-8")


def write_header_sets(file: Path, header_sets: Sequence[HeaderSet]) -> None:
    """Write the header sets as they are sent, with an empty line after each."""
    blocks = ("".join(f"{name}: {value}\n" for name, value in each) for each in header_sets)
    file.write_text("".join(f"{block}\n" for block in blocks), "utf-8")
