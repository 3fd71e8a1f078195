"""`make simulate SEED=n`: play seeds against a PostgreSQL of their own, print the options, and what was violated."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import msgspec
from options import Options
from solders.keypair import Keypair
from store_gate import PREPARE

from simulation import Report, simulate
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.store import migrate

_TEMPLATE = "virtual"


class Stage:
    """A PostgreSQL server with a template database of virtual time; each seed plays in a database of its own."""

    def __init__(self, postgres: Postgres, folder: Path, name: str = "") -> None:
        self._postgres = postgres
        self._keys = folder / "keys"
        self._name = name
        self._numbers = itertools.count(1)

    def prepare(self, migrated: str | None = None) -> None:
        """Make the template, from the database `migrated` or by running all migrations."""
        with ThreadPoolExecutor(1) as thread:  # both calls run an event loop of their own
            if migrated is None:
                url = self._postgres.create_database(_TEMPLATE)
                thread.submit(migrate.upgrade, url).result()
            else:
                url = self._postgres.create_database(_TEMPLATE, migrated)
            thread.submit(asyncio.run, _prepare(url)).result()

    def write_keys(self) -> None:
        self._keys.mkdir(exist_ok=True)
        for name in ("backend", "admin"):
            key = Keypair.from_seed(name.encode().ljust(32, b"."))
            (self._keys / f"{name}.json").write_text(json.dumps(list(bytes(key))))

    def play(self, options: Options, *, only: str = "") -> Report:
        database = f"run_{self._name}{next(self._numbers)}"
        url = self._postgres.create_database(database, _TEMPLATE)
        try:
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(simulate, options, url, self._keys, only=only).result()
        finally:
            self._postgres.drop_database(database)


async def _prepare(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(PREPARE)
    await connection.close()


@contextmanager
def staged() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        postgres = Postgres(folder / "postgres", free_port(), durable=False)
        try:
            postgres.start()
            stage = Stage(postgres, folder)
            stage.write_keys()
            stage.prepare()
            yield stage
        finally:
            postgres.stop()
            postgres.erase()


def _options(seed: int, changes: Sequence[str]) -> Options:
    fields = msgspec.structs.asdict(Options.of(seed))
    for change in changes:
        name, _, value = change.partition("=")
        fields[name] = msgspec.json.decode(value)
    return msgspec.convert(fields, Options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the first seed (default: the time)")
    parser.add_argument("--runs", type=int, default=1, help="play so many seeds, one after the other")
    parser.add_argument("--lives", type=int, default=0, help="play seeds until so many markets have lived")
    parser.add_argument("--trace", action="store_true", help="print the last lines of the trace")
    parser.add_argument(
        "--only", default="", help="stop only at violations of kinds that begin with this text"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", help="an option other than the seed's"
    )
    given = parser.parse_args()
    first = int(time.time()) if given.seed is None else given.seed
    violated = lives = 0
    started, worked = time.monotonic(), time.process_time()
    with staged() as stage:
        started = time.monotonic()
        for seed in itertools.count(first):
            if lives >= given.lives if given.lives else seed >= first + given.runs:
                break
            report = stage.play(_options(seed, given.set), only=given.only)
            violated += bool(report.violations)
            lives += report.lives
            if given.runs == 1 or report.violations:
                print(report.printed())
            if given.trace:
                print("\n".join(report.tail))
            print(
                f"seed {seed}: {report.lives} lives, {report.virtual_h:.0f} h of virtual time, "
                f"{report.transactions} transactions, {report.rpc_calls} RPC calls, digest {report.digest}, "
                f"{'VIOLATED' if report.violations else 'holds'}"
            )
    seconds, cpu = time.monotonic() - started, time.process_time() - worked
    print(f"{lives} lives in {seconds:.1f} s ({cpu:.1f} s of this processor); {violated} seeds violated")
    return int(violated > 0)


if __name__ == "__main__":
    sys.exit(main())
