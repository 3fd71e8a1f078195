"""A service in a process of its own, which can be made to kill itself by SIGKILL at any await of its work.

Processes are forked from a server that has imported everything, so that a process starts in some 20 ms.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from contextvars import ContextVar
from multiprocessing.process import BaseProcess
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["zmart.services.aggregator.service", "zmart.services.monitor.service", "pgqueuer.core.sm", "kit.replica"]
)
_at_work: ContextVar[bool] = ContextVar("at_work", default=False)


class Replica:
    """A process that runs a service.

    `die_at` is the await within its jobs, counted from 1, at which it kills itself; 0: never. `patience_s` replaces
    the seconds after which it resumes intents that another process left open.
    """

    def __init__(
        self, service: str, settings: dict[str, Any], *, die_at: int = 0, patience_s: float | None = None
    ) -> None:
        self._awaits = _FORKS.Value("i", 0)
        self.process: BaseProcess = _FORKS.Process(  # type: ignore[attr-defined]
            target=_main, args=(service, settings, die_at, patience_s, self._awaits), daemon=True
        )
        self.process.start()

    @property
    def awaits(self) -> int:
        """How many awaits of its jobs it has begun; counted only with `die_at`."""
        return int(self._awaits.value)

    @property
    def was_killed(self) -> bool:
        return self.process.exitcode == -signal.SIGKILL

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    async def ended(self, within_s: float = 10.0) -> None:
        """Return when the process has ended, or after `within_s` seconds."""
        await asyncio.to_thread(self.process.join, within_s)

    async def stop(self, within_s: float = 10.0) -> int | None:
        """Ask the process to end by SIGTERM; return its exit code, or None if it ran on for `within_s` seconds."""
        if self.process.is_alive():
            self.process.terminate()
        await self.ended(within_s)
        code = self.process.exitcode
        self.kill()
        return code

    def kill(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _main(service: str, settings: dict[str, Any], die_at: int, patience_s: float | None, awaits: Any) -> None:
    import structlog

    from zmart.decisions import takeover

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if patience_s is not None:
        takeover.EVERY_S = takeover.UNTOUCHED_S = patience_s
    if die_at:
        _arm(die_at, awaits)
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(service, settings))


async def _run(service: str, settings: dict[str, Any]) -> None:
    from importlib import import_module

    from zmart.settings import Settings

    running = await import_module(f"zmart.services.{service}").create(Settings(_env_file=None, **settings))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await running.run(stop)


def _arm(die_at: int, awaits: Any) -> None:
    """Have this process kill itself at the await number `die_at` of its jobs.

    Awaits that count are requests to the RPC and statements to PostgreSQL; all others are pauses between them.
    """
    from asyncpg.connection import Connection

    from zmart.chain.json_rpc import JsonRpc
    from zmart.decisions import workers

    def mortal(real: Any) -> Any:
        async def step(*arguments: Any, **options: Any) -> Any:
            if _at_work.get():
                awaits.value += 1
                if awaits.value == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return await real(*arguments, **options)

        return step

    JsonRpc.request = mortal(JsonRpc.request)  # type: ignore[method-assign]
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        setattr(Connection, name, mortal(getattr(Connection, name)))
    real_run_job = workers.run_job

    async def run_job(*arguments: Any) -> bool:
        _at_work.set(True)
        try:
            return await real_run_job(*arguments)
        finally:
            _at_work.set(False)

    workers.run_job = run_job
