"""Processes of the simulation: which process the running code belongs to, and its kills and stops.

A kill happens at an operation on the database or the RPC, before or after the operation takes effect. From then on
nothing of that process reaches the outside, not even from its `finally` blocks, and the server ends its sessions.
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
    """Raised in the code of a killed process at its next operation."""


class SimulatedProcess:
    """A process from its start to its end.

    `kill_in`: operations until it is killed (None: never), after the operation's effect with `kill_after`. `stall_in`:
    operations until it is stopped for `stall_s` seconds (None: never). The times `..._until` are virtual seconds up to
    which it is stopped, is cut off from RPC or database, or reaches only nodes that lag by `rpc_lag_slots`.
    """

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
        """Count an operation before it begins: kill the process, or wait while it is stopped.

        Raises ProcessKilled when the process is dead.
        """
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
        if self._in_transaction():  # it holds the database: all others would wait for it
            return
        while (wait_s := self.stopped_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(wait_s, _LOOK_S))  # `stopped_until` may be moved forward
            self.check()

    def _in_transaction(self) -> bool:
        return any(c.is_in_transaction() for c in self.connections if not c.is_closed())

    def after(self) -> None:
        """Kill the process if it is to die after this operation, whose caller then never sees the result.

        Raises ProcessKilled when the process is dead.
        """
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
        """End the process's sessions and tasks; return the pids of the PostgreSQL backends that must end with them."""
        self.dead.set()
        pids = [c.pid for c in self.connections if not c.is_closed()]
        for connection in self.connections:
            connection.terminate()
        for task in list(self.tasks):
            if task is not asyncio.current_task():
                task.cancel()
        return pids


def within(process: SimulatedProcess, work: Coroutine) -> asyncio.Task:
    """Start a task that belongs to the process."""
    token = current_process.set(process)
    try:
        return asyncio.create_task(work)
    finally:
        current_process.reset(token)


def track_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop assign every task to the process whose code started it."""

    def factory(loop_: asyncio.AbstractEventLoop, coro, **more) -> asyncio.Task:
        task = asyncio.Task(coro, loop=loop_, **more)
        if (process := current_process.get()) is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    loop.set_task_factory(factory)
