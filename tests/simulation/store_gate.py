"""The gate before the database: every statement of every process passes here, one transaction at a time.

The order is the same for the same seed. Here processes are killed, stopped or cut off from the database. PostgreSQL's
now() and gen_random_uuid() are virtual: those of the schema `public` come before pg_catalog's in the search path, and
this now() is a setting that follows the virtual clock. Real are clock_timestamp() (feed_commits.committed_at),
transaction ids and the planner.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import asyncpg
from processes import SimulatedProcess, current_process
from virtual_time import START, VirtualClock

SEARCH_PATH = "public, pg_catalog"
PREPARE = f"""
CREATE SEQUENCE public.simulation_uuids;
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT pg_catalog.current_setting('simulation.now')::timestamptz $$;
CREATE FUNCTION public.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS
    $$ SELECT pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.nextval('public.simulation_uuids')), 32, '0')::uuid $$;
SET search_path = {SEARCH_PATH};
DO $body$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT table_name, column_name, column_default FROM information_schema.columns
             WHERE table_schema = 'public' AND column_default ~ '^(pg_catalog.)?(now|gen_random_uuid)[(]' LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET DEFAULT public.%s', c.table_name, c.column_name,
                       replace(c.column_default, 'pg_catalog.', ''));
    END LOOP;
    FOR c IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE public.%I SET (autovacuum_enabled = false)', c.relname);
    END LOOP;
END $body$;
UPDATE public.feed_head SET epoch = public.gen_random_uuid();
"""
"""SQL that makes time and uuids of a migrated database virtual, and switches autovacuum off.

Statistics that are gathered at some real moment could change a plan, and with it the order of rows.
"""
_ASYNC = ("prepare", "bind_execute", "bind_execute_many", "query", "close_statement", "close")
_GONE = """
SELECT count(*) FROM (SELECT pg_sleep(0.001)) s, pg_stat_activity WHERE pid = ANY($1::int[])
"""


class Gate:
    """A lock on the database: a connection holds it for one statement, or until its transaction ends."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._owner: object | None = None
        self._owner_task: asyncio.Task | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, who: object) -> None:
        task = asyncio.current_task()
        while self._owner not in (None, who) and self._owner_task is not task:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        if self._owner is None:
            self._owner, self._owner_task = who, task

    def leave(self, who: object) -> None:
        if self._owner is who:
            self._owner = self._owner_task = None
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def answered(self, sent):
        """Await an answer of PostgreSQL; virtual time stands still until it comes."""
        self.clock.answers += 1
        try:
            return await sent
        finally:
            self.clock.answers -= 1


class _GatedProtocol:
    """asyncpg's protocol, which passes the gate before it sends anything."""

    def __init__(self, protocol, gate: Gate, process: SimulatedProcess | None) -> None:
        self._real = protocol
        self._gate = gate
        self._process = process
        self._told_now = ""

    def __getattr__(self, name: str):
        result = getattr(self._real, name)
        if name not in _ASYNC:
            return result

        async def call(*args, **more):
            return await self._through(name, result, args, more)

        return call

    def abort(self) -> None:
        self._real.abort()
        self._gate.leave(self)

    async def _through(self, name: str, call, args, more):
        process = self._process
        if process is not None and name != "close":
            await process.before(name)
            if process.store_away_until > self._gate.clock.seconds:
                self.abort()
                raise asyncpg.ConnectionDoesNotExistError("cut off from PostgreSQL")
        await self._gate.enter(self)
        try:
            if process is not None:
                process.check()
            if name != "close" and not self._real.is_in_transaction():
                await self._tell_now()
            result = await self._gate.answered(call(*args, **more))
        finally:
            if name == "close" or not self._real.is_connected() or not self._real.is_in_transaction():
                self._gate.leave(self)
        if process is not None and name != "close":
            process.after()
        return result

    async def _tell_now(self) -> None:
        now = datetime.fromtimestamp(START + self._gate.clock.seconds, UTC).isoformat()
        if now != self._told_now:
            await self._gate.answered(self._real.query(f"SET simulation.now = '{now}'", 60.0))
            self._told_now = now


class GatedConnection:
    """A mixin for the requested class of connections, whose protocol passes the gate."""

    gate: Gate

    def __init__(self, protocol, *more) -> None:
        self.process = current_process.get()
        self.pid = protocol.get_server_pid()
        super().__init__(_GatedProtocol(protocol, self.gate, self.process), *more)
        if self.process is not None:
            self.process.connections.append(self)


@contextmanager
def gated_store(gate: Gate) -> Iterator[None]:
    """Have asyncpg.connect return connections that pass the gate, within the block."""
    connect = asyncpg.connect

    async def gated(dsn: str, **more) -> asyncpg.Connection:
        process = current_process.get()
        if process is not None:
            await process.before("connect")
            if process.store_away_until > gate.clock.seconds:
                raise ConnectionRefusedError("cut off from PostgreSQL")
        more["server_settings"] = {"search_path": SEARCH_PATH, "simulation.now": "2025-01-01"}
        plain = more.pop("connection_class", asyncpg.Connection)
        kind = type("Gated", (GatedConnection, plain), {"gate": gate})
        turn = object()
        await gate.enter(turn)
        try:
            return await gate.answered(connect(dsn, connection_class=kind, **more))
        finally:
            gate.leave(turn)

    asyncpg.connect = gated
    try:
        yield
    finally:
        asyncpg.connect = connect


async def backends_gone(admin: asyncpg.Connection, pids: list[int]) -> None:
    """Wait until PostgreSQL has ended these sessions, and with them their locks; AssertionError after some seconds."""
    for _ in range(5_000):
        if not pids or not await admin.fetchval(_GONE, pids):
            return
    raise AssertionError(f"PostgreSQL keeps the sessions {pids}")
