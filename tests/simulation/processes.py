"""Processes of the simulation: whose code is running, and what may befall it at each await.

A kill takes effect at an operation on the database or the RPC, before it or after it took effect; from then on
nothing of that process reaches the outside, not even its `finally` blocks, and the server ends its sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store_gate import GatedConnection

_LOOK_S = 300.0

current_process: ContextVar[SimulatedProcess | None] = ContextVar("current_process", default=None)


class ProcessKilled(asyncio.CancelledError):
    """What the code of a killed process sees at its next await."""


class SimulatedProcess:
    """One life of one process. `kill_in`: operations until it is killed (None: never); `stall_in` and `stall_s`:
    when it is stopped, and for how long."""

    def __init__(self, name: str, *, kill_in: int | None = None, kill_after: bool = False) -> None:
        self.name = name
        self.kill_in = kill_in
        self.kill_after = kill_after
        self.stall_in: int | None = None
        self.stall_s = 0.0
        self.stopped_until = 0.0
        self.rpc_away_until = 0.0
        self.store_away_until = 0.0
        self.rpc_lags_until, self.rpc_lag_slots = 0.0, 0
        self.dead = asyncio.Event()
        self.operations = 0
        self.tasks: set[asyncio.Task] = set()
        self.connections: list[GatedConnection] = []

    async def before(self, _what: str) -> None:
        """Called before each operation: it may be this one's last, or have to wait."""
        self.check()
        self.operations += 1
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in <= 0 and not self.kill_after:
                self.kill()
                self.check()
        if self.stall_in is not None:
            self.stall_in -= 1
            if self.stall_in <= 0:
                self.stall_in = None
                self.stopped_until = asyncio.get_running_loop().time() + self.stall_s
        if self._in_transaction():  # it has the database for itself: nobody could go on
            return
        while (wait_s := self.stopped_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(wait_s, _LOOK_S))  # it may be let go on earlier
            self.check()

    def _in_transaction(self) -> bool:
        return any(c.is_in_transaction() for c in self.connections if not c.is_closed())

    def after(self) -> None:
        """Called when an operation took effect, before its caller learns of it."""
        if self.kill_in is not None and self.kill_in <= 0 and self.kill_after:
            self.kill()
        self.check()

    def kill(self) -> None:
        self.kill_in = None
        self.dead.set()

    def check(self) -> None:
        if self.dead.is_set():
            raise ProcessKilled(f"{self.name} was killed")

    def bury(self) -> list[int]:
        """End its sessions and tasks; the pids of the server's backends that must vanish."""
        self.dead.set()
        pids = [c.pid for c in self.connections if not c.is_closed()]
        for connection in self.connections:
            connection.terminate()
        for task in list(self.tasks):
            if task is not asyncio.current_task():
                task.cancel()
        return pids


def within(process: SimulatedProcess, work: Coroutine) -> asyncio.Task:
    """A task of that process."""
    token = current_process.set(process)
    try:
        return asyncio.create_task(work)
    finally:
        current_process.reset(token)


def track_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Every task belongs to the process whose code began it."""

    def factory(loop_: asyncio.AbstractEventLoop, coro, **more) -> asyncio.Task:
        task = asyncio.Task(coro, loop=loop_, **more)
        if (process := current_process.get()) is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    loop.set_task_factory(factory)
