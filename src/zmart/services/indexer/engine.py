"""Build the parts of the indexer. The service runs all of them; the commands of `zmart indexer` use some."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from zmart.chain.config_check import check_program
from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.pricing import PricingModelName
from zmart.services.indexer.confirmer import Confirmer
from zmart.services.indexer.fetcher import Fetcher
from zmart.services.indexer.finality import FinalityWatcher
from zmart.services.indexer.listing import Pace
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.sources import Scanner
from zmart.services.indexer.worker import Worker
from zmart.settings import Settings
from zmart.store import index_progress
from zmart.store.pool import Pool

_OWN_CONNECTIONS = 4


class Engine:
    """The parts of the indexer, with the database pool, the RPC clients and the program that they share.

    Open it with `Engine.open`, close it with `close`.
    """

    def __init__(
        self, settings: Settings, pool: Pool, rpc: Rpc, program: Program, witnesses: Sequence[Rpc] = ()
    ) -> None:
        """Build the parts. `witnesses` holds one Rpc for each endpoint; by default it is `rpc` alone.

        All witnesses must agree before a transaction is considered not to exist.
        """
        self.pool = pool
        self.rpc = rpc
        self.witnesses = witnesses or (rpc,)
        guard = EndpointGuard(partial(index_progress.read, pool))
        for each in (rpc, *self.witnesses):
            each.guard_with(guard)
        self.program = program
        self.pricing: PricingModelName = settings.pricing_model
        self.projector = Projector(program, settings.pricing_model)
        self.worker = Worker(
            pool,
            rpc,
            program,
            self.projector,
            settings.indexer_batch_size,
            trusting=settings.indexer_trust_webhooks,
        )
        self.pace = Pace(settings.indexer_rpc_per_s)
        self.fetcher = Fetcher(pool, rpc, self.witnesses, program.address, self.pace, settings.rpc_timeout_s)
        self.confirmer = Confirmer(
            pool, rpc, program, self.projector, self.worker.blocks, self.pace, settings.rpc_timeout_s
        )
        self.scanner = Scanner(pool, rpc, program, self.pace, settings.indexer_scan_interval_s)
        self.finality = FinalityWatcher(
            pool, rpc, self.projector, settings.indexer_scan_interval_s, self.witnesses
        )

    @classmethod
    async def open(cls, settings: Settings) -> Engine:
        """Connect to the database and the RPC, check them, and return the engine.

        Raises ConfigError when the program, its config account or the database do not match the settings; ChainError
        or StoreError when they cannot be read.
        """
        program = Program.from_settings(settings)
        size = settings.database_pool_size + _OWN_CONNECTIONS
        pool = await Pool.open(settings.require("database_url"), size)
        engine = cls(settings, pool, Rpc.from_settings(settings), program, Rpc.of_each_url(settings))
        try:
            genesis = await engine._known_genesis()
            if genesis is not None:
                await index_progress.claim(pool, program.address, genesis)
            await check_program(engine.rpc, program)
            if genesis is None:
                await index_progress.claim(pool, program.address, await engine.rpc.get_genesis_hash())
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _known_genesis(self) -> str | None:
        """Return the genesis hash with which the index is to be claimed; None for a new index.

        It is the index's own hash if any endpoint reports the same, else the different hash that the RPC reports.
        """
        recorded = await index_progress.read(self.pool)
        if recorded is None:
            return None
        for witness in self.witnesses:
            with suppress(ChainError):
                if await witness.get_genesis_hash() == recorded.genesis_hash:
                    return recorded.genesis_hash
        return await self.rpc.get_genesis_hash()

    async def close(self) -> None:
        """Close the database pool and all RPC clients."""
        await self.pool.close()
        for rpc in (self.rpc, *self.witnesses):
            await rpc.aclose()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Engine]:
    """Open an engine, as `Engine.open` does, and close it at the end of the block."""
    engine = await Engine.open(settings)
    try:
        yield engine
    finally:
        await engine.close()
