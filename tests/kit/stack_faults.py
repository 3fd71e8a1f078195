"""Faults of a running local stack, as they happen to machines, each drawn at random, applied and ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import asyncpg
from redis.asyncio import Redis

from kit.database_conditions import DatabaseConditions
from zmart.local.stack import supervisor_of
from zmart.settings import Settings

STOPS_S = (2, 6, 14)
OUTAGES_S = (2, 5, 10)
_REDIS_SETTINGS = {"maxmemory": ("1", "0"), "min-replicas-to-write": ("1", "0")}
"""Settings of Redis, each with the value that makes it refuse writes (OOM, NOREPLICAS), and the normal value."""


class StackFaults:
    """Applies faults to the stack with these settings; `told` describes the faults so far."""

    def __init__(self, settings: Settings, chance: Random) -> None:
        self.told: list[str] = []
        self._settings = settings
        self._chance = chance
        self._conditions = DatabaseConditions(settings.require("database_url"))
        self._kinds: tuple[Callable[[], Awaitable[None]], ...] = (
            self.kill, self.kill, self.kill_backend, self.stop, self.read_only, self.cut_sessions, self.lock,
            self.redis_refuses_writes, self.redis_sleeps, self.redis_is_emptied,
        )  # fmt: skip

    async def one(self) -> None:
        """Apply a fault drawn at random; return when it is over."""
        await self._chance.choice(self._kinds)()

    async def kill(self) -> None:
        """Kill one to three processes of the stack at once by SIGKILL: services, servers or the chain."""
        chosen = self._chance.sample(self._processes(), self._chance.choice([1, 1, 2, 3]))
        self.told.append(f"kill -9 {', '.join(name for name, _ in chosen)}")
        for _, pid in chosen:
            self._send(pid, signal.SIGKILL)

    async def kill_backend(self) -> None:
        """Kill one backend process of PostgreSQL by SIGKILL, upon which PostgreSQL ends all sessions and recovers."""
        database = await asyncpg.connect(self._settings.require("database_url"))
        pid = await database.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' LIMIT 1"
        )
        self.told.append("kill -9 a PostgreSQL backend")
        self._send(pid, signal.SIGKILL)
        database.terminate()

    async def stop(self) -> None:
        """Stop one or two processes by SIGSTOP, and continue them some seconds later."""
        chosen = self._chance.sample(self._processes(), self._chance.choice([1, 1, 2]))
        seconds = self._chance.choice(STOPS_S)
        self.told.append(f"stop {', '.join(name for name, _ in chosen)} for {seconds} s")
        for _, pid in chosen:
            self._send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            for _, pid in chosen:
                self._send(pid, signal.SIGCONT)

    async def read_only(self) -> None:
        """Make the database read-only for some seconds, as after a fail-over or with a nearly full disk."""
        seconds = self._chance.choice(OUTAGES_S)
        self.told.append(f"PostgreSQL read-only for {seconds} s")
        await self._conditions.set("default_transaction_read_only", "on")
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._conditions.reset("default_transaction_read_only")

    async def cut_sessions(self) -> None:
        """End all sessions of the database."""
        self.told.append("all PostgreSQL sessions cut")
        await self._conditions.cut()

    async def lock(self) -> None:
        """Lock one of three central tables in another session for some seconds."""
        table, seconds = (
            self._chance.choice(["markets", "feed_head", "intents"]),
            self._chance.choice(OUTAGES_S),
        )
        self.told.append(f"{table} locked for {seconds} s")
        async with self._conditions.locked(table):
            await asyncio.sleep(seconds)

    async def redis_refuses_writes(self) -> None:
        """Make Redis refuse writes for some seconds, with the error OOM or NOREPLICAS."""
        setting = self._chance.choice(list(_REDIS_SETTINGS))
        bad, good = _REDIS_SETTINGS[setting]
        seconds = self._chance.choice(OUTAGES_S)
        self.told.append(f"Redis with {setting} {bad} for {seconds} s")
        async with self._redis() as redis:
            await redis.config_set(setting, bad)
            try:
                await asyncio.sleep(seconds)
            finally:
                await redis.config_set(setting, good)

    async def redis_sleeps(self) -> None:
        """Pause all clients of Redis for some seconds, so that it answers none."""
        seconds = self._chance.choice(OUTAGES_S)
        self.told.append(f"Redis asleep for {seconds} s")
        async with self._redis() as redis:
            await redis.execute_command("CLIENT", "PAUSE", seconds * 1000, "ALL")
        await asyncio.sleep(seconds)

    async def redis_is_emptied(self) -> None:
        """Delete everything in Redis by FLUSHALL."""
        self.told.append("Redis emptied")
        async with self._redis() as redis:
            await redis.flushall()

    def _redis(self) -> Redis:
        return Redis.from_url(self._settings.require("redis_url"), socket_timeout=30)

    def _processes(self) -> list[tuple[str, int]]:
        return [
            (info.name, info.pid) for info in supervisor_of(self._settings.zmart_home).processes() if info.pid
        ]

    @staticmethod
    def _send(pid: int, which: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended meanwhile, by another fault
            os.kill(pid, which)
