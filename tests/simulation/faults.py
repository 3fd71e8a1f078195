"""Apply the faults of the options to processes, nodes and the chain during a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from options import HOUR, Window, rng
from processes import SimulatedProcess
from simulated_chain import SLOT_S

if TYPE_CHECKING:
    from simulated_chain import LandedTransaction

    from simulation import Simulation

_UNRULY = ("one", "two")


class Faults:
    """Applies faults: `run()` goes on until the faults are over, `heal()` ends those of all processes and nodes."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._options = world.options
        seed = world.options.seed
        self._nodes, self._kills, self._forks = rng(seed, "nodes"), rng(seed, "kills"), rng(seed, "forks")
        world.rpc.fault = self._answer
        world.rpc.latency_s = lambda: self._nodes.uniform(0.002, 0.05)
        spread = rng(seed, "nodes behind one URL")
        world.rpc.spread_slots = lambda node: spread.randint(0, node.lag_slots)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lags())
            group.create_task(self._takes_back())
            for window in self._options.windows:
                group.create_task(self._lasts(window))

    def heal(self) -> None:
        for process in self._world.processes.values():
            process.kill_in = process.stall_in = None
            process.stopped_until = process.rpc_away_until = process.store_away_until = 0.0
            process.rpc_lags_until = 0.0
        for node in self._world.nodes.values():
            node.lag_slots = 0
        self._world.clock.host_ahead_s = 0.0

    def new_process(self, name: str) -> SimulatedProcess:
        """Return a new process with this name; whether and when it is killed or stalled is drawn here."""
        options, chance = self._options, self._kills
        process = SimulatedProcess(name)
        if self._world.faults_over:
            return process
        if options.kill_ops:
            process.kill_in = 1 + int(chance.expovariate(1 / options.kill_ops))
            process.kill_after = chance.random() < 0.5
        if options.stall_s and chance.random() < 0.7:
            process.stall_in = chance.randint(1, 400)
            process.stall_s = chance.expovariate(1 / options.stall_s)
        for window in options.windows:
            self._befalls(process, window)
        return process

    def _answer(self, process: str, node: str, method: str) -> str | None:
        """Return the fault with which a node answers a request, a key of ANSWERS, CUT or LATE; None: no fault."""
        world, chance = self._world, self._nodes
        if world.faults_over or node not in _UNRULY or chance.random() >= self._options.node_faults:
            return None
        result = chance.choice(self._options.answers)
        world.note(f"node {node} answers {process} {method} with {result}")
        return result

    async def _lags(self) -> None:
        """Draw about every hour by how many slots the nodes of each URL may be behind the cluster."""
        while not self._world.faults_over:
            for name in _UNRULY:
                self._world.nodes[name].lag_slots = self._nodes.randint(0, self._options.node_lag_slots)
            await asyncio.sleep(self._nodes.expovariate(1 / HOUR))

    async def _takes_back(self) -> None:
        if not self._options.forks_a_day:
            return
        while not self._world.faults_over:
            await asyncio.sleep(self._forks.expovariate(self._options.forks_a_day / 24 / HOUR))
            await self._after_a_landing()
            self._world.chain.fork(self._forks.randint(1, 4), lambda tx: self._keeps(tx))

    async def _after_a_landing(self) -> None:
        """Wait for the next landing, since a fork of an idle chain would take nothing back."""
        before = self._world.report.transactions
        while self._world.report.transactions == before and not self._world.faults_over:
            await self._world.next_ring()
        await asyncio.sleep(self._forks.uniform(0, 8))

    def _keeps(self, _tx: LandedTransaction) -> bool:
        return self._forks.random() < 0.8

    async def _lasts(self, window: Window) -> None:
        await asyncio.sleep(window.start_h * HOUR)
        if self._world.faults_over:
            return
        self._world.note(f"begins: {window}")
        for process in self._world.processes.values():
            self._befalls(process, window)

    def _befalls(self, process: SimulatedProcess, window: Window) -> None:
        now, start, end = (
            self._world.clock.seconds,
            window.start_h * HOUR,
            (window.start_h + window.hours) * HOUR,
        )
        if not start <= now < end:
            return
        is_indexer, decides = process.name == "indexer", process.name.startswith(("aggregator", "monitor"))
        match window.what:
            case "indexer stopped" if is_indexer:
                process.stopped_until = max(process.stopped_until, end)
            case "indexer without RPC" if is_indexer:
                process.rpc_away_until = max(process.rpc_away_until, end)
            case "indexer's node behind" if is_indexer:
                process.rpc_lags_until = end
                process.rpc_lag_slots = int(window.hours * HOUR / SLOT_S)
            case "decisions stopped" if decides:
                process.stopped_until = max(process.stopped_until, end)
            case "database cut off":
                process.store_away_until = max(process.store_away_until, end)
