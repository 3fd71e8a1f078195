"""Measure reads of the gateway beside Express 4 and Fastify 5 with pg and the same statements, and a bare ASGI answer.

The gateway is one process on generated data. The load is that of many clients: one of 500 header sets is drawn for each
request, independently of its path. All servers run at once and are loaded in turn, so that other work of the machine
affects all of them. The figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import checkout
import comparison
import database
import gateway_report
import header_sets
import idle
import machine
import market_data
import peers
import report
import request_plan
import same_answers
import subjects
import wrk
from checkout import Checkout
from subjects import Servers, Stores
from turn import Bench, Turn

Progress = Callable[[str], None]
TITLES = {
    "markets": "GET /api/markets (20 rows)",
    "market": "GET /api/markets/:id",
    "trades": "GET /api/markets/:id/trades (50 rows)",
    "candles": "GET /api/markets/:id/candles (200)",
    "mix": "mix, a write every 100 reads",
}
MARKETS, PAGES, PAGE_ROWS = 500, 20, 20
PLANNED_PER_SECOND = 40_000
"""Requests in a plan for each second, more than wrk can send: a plan that ends would begin again and repeat itself."""


@dataclass(frozen=True)
class Options:
    measured: Checkout
    size: market_data.Size
    rounds: int
    seconds: int
    seed: int


def measure(options: Options, progress: Progress) -> gateway_report.GatewayReport:
    """Run the whole benchmark and return its report.

    Raises ZmartError with one sentence when a program is missing or an answer is wrong.
    """
    wrk.find()
    for name in ("express", "fastify"):
        peers.installed(name)
    reported = gateway_report.GatewayReport("The gateway, one process, many clients", notes=_notes(options))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zmart-bench-")))
        stores = stack.enter_context(database.stores(folder))
        progress(f"filling {options.size.markets:,} markets and {options.size.trades:,} trades")
        options.measured.migrate(stores.database_url)
        market_ids = asyncio.run(
            market_data.fill(stores.database_url, options.size, MARKETS, options.measured.market_data)
        )
        servers = Servers()
        fresh = _start(stack, options, stores, servers, folder, paths_of(market_ids))
        asyncio.run(_compare_all(reported, options, stores, servers, market_ids, folder, progress))
        progress(f"{idle.CONNECTIONS:,} idle connections")
        reported.idle_mb = idle.memory_mb(fresh.pid, servers.fresh)
    return reported


def paths_of(market_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths to request, by kind."""
    ones = [f"/api/markets/{market_id}" for market_id in market_ids]
    return {
        "markets": [f"/api/markets?limit={PAGE_ROWS}&offset={PAGE_ROWS * page}" for page in range(PAGES)],
        "market": ones,
        "trades": [f"{one}/trades" for one in ones],
        "candles": [f"{one}/candles" for one in ones],
    }


def _notes(options: Options) -> list[str]:
    measured = options.measured
    return [
        f"measured: {measured.commit}; {machine.version_of(measured.python)}",
        f"{header_sets.COUNT} header sets, seed {options.seed}; {options.rounds} rounds of {options.seconds} s, "
        f"servers in turn; {wrk.CONNECTIONS} kept-alive connections of wrk, clients follow each other on each; "
        f"database pools of {subjects.POOL_SIZE}",
        f"database: {measured.cache_setting}=0 for the gateway, peers read for every answer; cached: the "
        "gateway checks the change feed before every answer, the peers keep finished bytes for a second",
        f"mix: {', '.join(f'{weight} % {kind}' for kind, weight in request_plan.MIX.items())}; each write is a trade",
    ]


def _start(
    stack: ExitStack,
    options: Options,
    stores: Stores,
    servers: Servers,
    folder: Path,
    paths: Mapping[str, Sequence[str]],
) -> subprocess.Popen[bytes]:
    """Start every subject; return the process of the gateway without a response cache."""
    measured, statements = options.measured, options.measured.statements()
    fresh = stack.enter_context(subjects.gateway(measured, servers.fresh, stores, folder, 0))
    stack.enter_context(subjects.gateway(measured, servers.cached, stores, folder, subjects.CACHE_BYTES))
    ours = servers.subjects(cached=False)[0]
    terms = subjects.terms_of(ours, options.size.markets)
    for name, port in (("express", servers.express), ("fastify", servers.fastify)):
        stack.enter_context(subjects.peer(name, port, stores, statements, terms, folder))
    bodies = {kind: subjects.get(ours.url(each[0])) for kind, each in paths.items()}
    stack.enter_context(subjects.bare(measured, servers.bare, bodies, folder))
    return fresh


async def _compare_all(
    reported: gateway_report.GatewayReport,
    options: Options,
    stores: Stores,
    servers: Servers,
    market_ids: Sequence[str],
    folder: Path,
    progress: Progress,
) -> None:
    paths = paths_of(market_ids)
    looking = await asyncpg.connect(stores.database_url)
    writing = await asyncpg.connect(stores.database_url)
    bench = Bench(looking, writing, header_sets.draw(options.seed), market_ids, folder)
    try:
        await database.count_statements(writing)
        progress("comparing the answers of all with each other and with the rows of the database")
        await same_answers.check(looking, servers, paths)
        for cached in (False, True):
            for load in TITLES:
                await _compare(reported, options, bench, servers, paths, load, progress, cached=cached)
    finally:
        bench.close()
        await looking.close()
        await writing.close()


async def _compare(
    reported: gateway_report.GatewayReport,
    options: Options,
    bench: Bench,
    servers: Servers,
    paths: Mapping[str, Sequence[str]],
    load: str,
    progress: Progress,
    *,
    cached: bool,
) -> None:
    title = f"{TITLES[load]}, {'cached' if cached else 'database'}"
    progress(title)
    compared = servers.subjects(cached=cached)
    if cached:
        await asyncio.to_thread(_fill_caches, compared, paths.values() if load == "mix" else [paths[load]])
    taken: dict[str, list[Turn]] = {subject.name: [] for subject in compared}
    for number in range(options.rounds + 1):  # the first round warms up and is not counted
        weights = request_plan.MIX if load == "mix" else {load: 1}
        count = PLANNED_PER_SECOND * options.seconds
        plan = request_plan.draw(
            f"{options.seed} {title} {number}", weights, paths, len(bench.header_sets), count
        )
        for subject in comparison.turns(compared, number):
            stale = cached and subject.name in (comparison.EXPRESS, comparison.FASTIFY)
            turn = await bench.turn(
                subject, plan, options.seconds, with_writes=load == "mix", may_be_stale=stale
            )
            if number:
                taken[subject.name].append(turn)
    reported.add(title, taken, cached=cached)


def _fill_caches(compared: Sequence[subjects.Subject], kinds: Iterable[Sequence[str]]) -> None:
    """Request every path once: on a slow machine, the first round alone would not fill the caches."""
    for path in (path for kind in kinds for path in kind):
        for subject in compared:
            subjects.get(subject.url(path))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="smaller data and shorter runs")
    parser.add_argument(
        "--checkout", type=Path, help="measure the gateway of another checkout, e.g. of an older commit"
    )
    parser.add_argument(
        "--rounds", type=int, help="turns of each subject under each load (default: 5; --quick: 3)"
    )
    parser.add_argument("--seconds", type=int, help="length of a turn (default: 3; --quick: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of header sets and requests (default: 1)")
    given = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("Ended before it was done.")
    )  # stops the servers on its way
    usual = (3, 1, market_data.QUICK) if given.quick else (5, 3, market_data.FULL)

    def run(progress: Progress) -> gateway_report.GatewayReport:
        measured = checkout.find(given.checkout)
        progress(f"the gateway of {measured.commit}")
        return measure(
            Options(measured, usual[2], given.rounds or usual[0], given.seconds or usual[1], given.seed),
            progress,
        )

    report.run(run, gateway_report.show, as_json=given.json)


if __name__ == "__main__":
    main()
