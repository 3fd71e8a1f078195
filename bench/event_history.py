"""Measure the cost of an event after 10,000, 1 million and 10 million others: elapsed, in Python and in PostgreSQL.

    .venv/bin/python bench/event_history.py [--histories 10000 1000000 10000000] [--events 20000] [--one-table] [--json]

Each history is in a PostgreSQL of its own, filled by SQL: transactions, events, trades and positions. An event has
ten slots, so that 10 million events lie in ten partitions. Then the same real deliveries are folded into each history,
in short stretches by turns. A run takes some 20 GB of disk and half an hour. --one-table: the schema before partitions.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from string import Template

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from indexer import pid, postgres
from indexer_drain import History, Used, by_turns
from indexer_load import Load

from zmart.chain.program import Program
from zmart.local.postgres import Postgres
from zmart.market.types import Slot
from zmart.settings import Settings
from zmart.store import inbox, migrate, partitions
from zmart.store.pool import Pool

_BEFORE_PARTITIONS = "0005"
_HISTORIES = [10_000, 1_000_000, 10_000_000]
_PIECE = 200_000
_SPACING = 10
_MARKETS, _WALLETS = 200, 100_000
_WARM_UP = 4_000  # events that open the markets and fill the caches
_PROMISED_GROWTH = 1.3
_FILL = Template(Path(__file__).with_suffix(".sql").read_text())


class Cost(msgspec.Struct, kw_only=True):
    """The cost of one event after `history` others, in microseconds.

    `times` is the elapsed time, and `times_of_processor_time` the processor time of Python and PostgreSQL, as multiples
    of the first history's.
    """

    history: int
    partitions: int
    event_us: float
    python_us: float
    postgres_us: float
    times: float
    times_of_processor_time: float


async def fill(url: str, program: Program, events: int, on_top: int, *, one_table: bool) -> int:
    """Write a history of `events` events and `on_top` pending deliveries; return the number of partitions."""
    load = Load(program, 1, _MARKETS, _WALLETS, first_slot=Slot(events * _SPACING + 1_000))
    pool = await Pool.open(url, size=1)
    async with pool.acquire() as connection:
        count = 1 if one_table else await _partition(connection, events * _SPACING)
        await connection.execute(
            "INSERT INTO index_progress (program_id, genesis_hash) VALUES ($1, 'bench')", program.address
        )
        await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        await connection.execute("CREATE TABLE bench_wallets (wallet bigint PRIMARY KEY, address text)")
        await connection.execute(
            "INSERT INTO bench_wallets SELECT ordinality - 1, address "
            "FROM unnest($1::text[]) WITH ORDINALITY AS w (address)",
            load.wallets,
        )
        await connection.execute("ANALYZE bench_wallets")
        rows = min(_PIECE, events)
        for piece in range(events // rows):
            await connection.execute(_FILL.substitute(piece=piece, rows=rows, spacing=_SPACING), timeout=600)
    hints = itertools.islice(load.hints(), on_top)
    while some := list(itertools.islice(hints, 1_000)):
        await inbox.store(pool, "webhook", some)
    async with pool.acquire() as connection:
        await connection.execute("VACUUM ANALYZE", timeout=1_800)
        await connection.execute("CHECKPOINT", timeout=600)
    await pool.close()
    return count


async def _partition(connection: object, through: int) -> int:
    """Add the partitions that a running indexer would have made up to the slot `through`; return their number."""
    found = await partitions.read(connection)
    starts = range(max(found.ends), through + 2 * partitions.PARTITION_SLOTS, partitions.PARTITION_SLOTS)
    for start in starts:
        async with connection.transaction():
            await partitions.add(connection, start)
    return len(starts) + 1


def measured(options: argparse.Namespace) -> list[Cost]:
    program = Program.from_settings(Settings(_env_file=None))
    with ExitStack() as stack:
        histories, counts = [], []
        for events in options.histories:
            server = stack.enter_context(postgres())
            url = _database(server, one_table=options.one_table)
            on_top = _WARM_UP + options.events
            counts.append(asyncio.run(fill(url, program, events, on_top, one_table=options.one_table)))
            histories.append(History(url, pid(server), _WARM_UP))
            print(f"{events:,} events are there.", file=sys.stderr)
        used = by_turns(histories, options.events)
    return list(_costs(options.histories, counts, used))


def _database(server: Postgres, *, one_table: bool) -> str:
    url = server.create_database("history")
    migrate.upgrade(url, _BEFORE_PARTITIONS if one_table else "head")
    return url


def _costs(histories: list[int], counts: list[int], used: list[Used]) -> Iterator[Cost]:
    first = used[0]
    for history, count, one in zip(histories, counts, used, strict=True):
        yield Cost(
            history=history,
            partitions=count,
            event_us=round(one.event_s * 1e6, 1),
            python_us=round(one.python_s / one.events * 1e6, 1),
            postgres_us=round(one.postgres_s / one.events * 1e6, 1),
            times=round(one.event_s / first.event_s, 2),
            times_of_processor_time=round(one.event_processor_s / first.event_processor_s, 2),
        )


def table(costs: list[Cost]) -> str:
    lines = [
        f"{'events before':>14} {'partitions':>10} {'us/event':>9} {'Python':>8} {'PostgreSQL':>10} {'times':>6} "
        f"{'CPU':>6}"
    ]
    lines += [
        f"{c.history:>14,} {c.partitions:>10} {c.event_us:>9} {c.python_us:>8} {c.postgres_us:>10} {c.times:>6} "
        f"{c.times_of_processor_time:>6}"
        for c in costs
    ]
    worst = max(c.times for c in costs)
    lines.append(
        f"goal: at most {_PROMISED_GROWTH} times: {'met' if worst <= _PROMISED_GROWTH else 'NOT met'} ({worst})"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[Cost]:
    """Run the benchmark, print a table or JSON, and return the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--histories", type=int, nargs="+", default=_HISTORIES, help="events that are there before"
    )
    parser.add_argument("--events", type=int, default=20_000, help="and so many are folded on top of each")
    parser.add_argument("--one-table", action="store_true", help="chain_events as one table")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    costs = measured(options)
    print(json.dumps(msgspec.to_builtins(costs)) if options.json else table(costs))
    return costs


if __name__ == "__main__":
    main()
