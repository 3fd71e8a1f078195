"""Measure the indexer's speed, the growth of an event's cost, peak memory, and the latency of webhooks.

    .venv/bin/python bench/indexer.py [--events 100000] [--growth 1000000] [--seconds 20] [--json]

The speed is compared with a bare insert of the same rows. The latency is the time until a webhook is answered, and
until its rows are visible. Everything runs in a PostgreSQL of its own. The figures are meaningful only on an idle
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

import machine
from indexer_drain import Compared, Drained, History, compare, drain
from indexer_load import Load
from indexer_rows import bare_insert
from indexer_webhook import Webhooks, webhooks

from zmart.chain.program import Program
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.settings import Settings
from zmart.store import inbox, migrate
from zmart.store.pool import Pool

_PIECE = 1_000
_FEW, _WINDOW = 10_000, 60_000
_PROMISED_EVENTS_PER_S, _PROMISED_GROWTH, _PROMISED_MB = 5_000, 1.3, 200


class Figures(msgspec.Struct, kw_only=True):
    """The figures of a run.

    `growth` is the cost of an event at the end of a history of `growth_events`, as a multiple of the cost after 10,000
    events, both measured by turns. `growth` compares elapsed time, `growth_of_processor_time` the processor time of
    Python and PostgreSQL.
    """

    python: str
    cores: int
    load_before: float
    events: int
    events_per_s: float
    bare_insert_rows_per_s: float
    share_of_bare_insert: float
    python_us_per_event: float
    postgres_us_per_event: float
    growth_events: int
    growth: float
    growth_of_processor_time: float
    peak_mb: float
    webhook_answer_p50_ms: float
    webhook_answer_p99_ms: float
    webhook_visible_p99_ms: float
    webhook_answer_p99_ms_under_backlog: float


@contextmanager
def postgres() -> Iterator[Postgres]:
    server = Postgres(Path(tempfile.mkdtemp(prefix="zmart-bench-")), free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.erase()


def database(server: Postgres, name: str) -> str:
    url = server.create_database(name)
    migrate.upgrade(url)
    return url


async def fill(url: str, program: Program, events: int) -> None:
    """Store `events` deliveries in the inbox of an empty database."""
    pool = await Pool.open(url, size=1)
    await pool.execute(
        "INSERT INTO index_progress (program_id, genesis_hash) VALUES ($1, 'bench')", program.address
    )
    hints = itertools.islice(Load(program, 1, markets=200, wallets=2_000).hints(), events)
    while piece := list(itertools.islice(hints, _PIECE)):
        await inbox.store(pool, "webhook", piece)
    await pool.execute("VACUUM ANALYZE inbox")
    await pool.close()


def measured(server: Postgres, program: Program, options: argparse.Namespace) -> Figures:
    load_before = os.getloadavg()[0]
    url = database(server, "fold")
    asyncio.run(fill(url, program, options.events))
    folded = drain(url, pid(server))
    bare_s, rows = asyncio.run(bare_insert(url))
    many = max(options.growth, options.events)
    compared = growth(server, program, many)
    webhook_times = asyncio.run(webhooks(database(server, "webhooks"), program, options.seconds, backlog=0))
    busy = asyncio.run(webhooks(database(server, "busy"), program, options.seconds, backlog=50_000))
    return figures(folded, compared, bare_s, rows, webhook_times, busy, load_before, many)


def growth(server: Postgres, program: Program, events: int) -> Compared:
    """Compare the last events of a history of `events` with those after the first 10,000.

    Each of the two histories is in a PostgreSQL of its own, with a cache of its own.
    """
    window = min(_WINDOW, events // 2)
    with postgres() as other:
        few = history(other, program, _FEW, window)
        many = history(server, program, events - window, window)
        return compare(few, many, window)


def history(server: Postgres, program: Program, before: int, window: int) -> History:
    url = database(server, "history")
    asyncio.run(fill(url, program, before + window))
    return History(url, pid(server), before)


def pid(server: Postgres) -> int:
    assert server._process is not None
    return server._process.pid


def figures(
    folded: Drained,
    compared: Compared,
    bare_s: float,
    rows: int,
    webhook_times: Webhooks,
    busy: Webhooks,
    load: float,
    growth_events: int,
) -> Figures:
    used, bare_events_per_s = folded.used, folded.used.events / bare_s
    few, many = compared.few, compared.many
    return Figures(
        python=f"{sys.version.split()[0]}{'' if machine.is_optimised() else ' (not an optimised build)'}",
        cores=os.cpu_count() or 1,
        load_before=load,
        events=used.events,
        events_per_s=round(used.events / used.seconds),
        bare_insert_rows_per_s=round(rows / bare_s),
        share_of_bare_insert=round(used.events / used.seconds / bare_events_per_s, 2),
        python_us_per_event=round(used.python_s / used.events * 1e6),
        postgres_us_per_event=round(used.postgres_s / used.events * 1e6),
        growth_events=growth_events,
        growth=round(many.event_s / few.event_s, 2),
        growth_of_processor_time=round(many.event_processor_s / few.event_processor_s, 2),
        peak_mb=round(max(folded.peak_mb, compared.peak_mb)),
        webhook_answer_p50_ms=webhook_times.answer_ms(0.5),
        webhook_answer_p99_ms=webhook_times.answer_ms(0.99),
        webhook_visible_p99_ms=webhook_times.visible_ms(0.99),
        webhook_answer_p99_ms_under_backlog=busy.answer_ms(0.99),
    )


def table(figures: Figures) -> str:
    lines = [
        ("events folded per second", figures.events_per_s, f">= {_PROMISED_EVENTS_PER_S}"),
        ("rows per second of the bare insert", figures.bare_insert_rows_per_s, ""),
        ("the fold's share of it, by events", figures.share_of_bare_insert, ""),
        ("Python's processor time per event, microseconds", figures.python_us_per_event, ""),
        ("PostgreSQL's processor time per event, microseconds", figures.postgres_us_per_event, ""),
        (
            f"cost of an event at {figures.growth_events}, against 10000",
            figures.growth,
            f"<= {_PROMISED_GROWTH}",
        ),
        ("the same in processor time", figures.growth_of_processor_time, f"<= {_PROMISED_GROWTH}"),
        (f"peak memory with a backlog of {figures.growth_events}, MB", figures.peak_mb, f"< {_PROMISED_MB}"),
        ("webhook answered at 200 tx/s, p50 ms", figures.webhook_answer_p50_ms, ""),
        ("webhook answered at 200 tx/s, p99 ms", figures.webhook_answer_p99_ms, "< 50"),
        ("the same while a backlog is folded, p99 ms", figures.webhook_answer_p99_ms_under_backlog, "< 50"),
        ("rows visible after the webhook, p99 ms", figures.webhook_visible_p99_ms, "< 250"),
    ]
    head = f"Python {figures.python}, {figures.cores} cores, load {figures.load_before:.1f}, {figures.events} events\n"
    return head + "\n".join(f"{what:<58}{value:>10}  {promise}" for what, value, promise in lines)


def main(arguments: list[str] | None = None) -> Figures:
    """Run the benchmark, print a table or JSON, and return the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000, help="a backlog of so many is folded")
    parser.add_argument("--growth", type=int, default=0, help="and one of so many, for growth and memory")
    parser.add_argument("--seconds", type=int, default=20, help="of webhooks at 200 transactions per second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with postgres() as server:
        found = measured(server, Program.from_settings(Settings(_env_file=None)), options)
    print(json.dumps(msgspec.to_builtins(found)) if options.json else table(found))
    return found


if __name__ == "__main__":
    main()
