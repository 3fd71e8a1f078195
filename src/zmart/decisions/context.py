"""Open and hold what a service needs to act on chain for the backend: database, RPCs, program, keys, send policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from solders.keypair import Keypair

from zmart.chain import absence, wallet
from zmart.chain.accounts import GlobalConfig, MarketAccount
from zmart.chain.config_check import check_program
from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.sender import SendPolicy
from zmart.decisions.refused_endpoints import report_refused
from zmart.errors import ConfigError
from zmart.market.types import Lamports, MarketId, Slot
from zmart.settings import Settings
from zmart.store import index_progress
from zmart.store.intent_claims import Claims
from zmart.store.pool import Pool


@dataclass(frozen=True)
class DecisionContext:
    """The connections and keys with which a service acts on chain for the backend.

    Open it with `DecisionContext.open`, close it with `aclose`. `rpc` asks another endpoint when one fails; `witnesses`
    has one client for each endpoint, which must all agree before something is considered not to exist. `admin` is None
    if the service has no admin key.
    """

    pool: Pool
    rpc: Rpc
    witnesses: Sequence[Rpc]
    program: Program
    backend: Keypair
    admin: Keypair | None
    policy: SendPolicy
    claims: Claims | None = None
    """Holds the locks of the intents that this process executes; None: they are held on a connection of `pool`."""

    @classmethod
    async def open(cls, settings: Settings) -> DecisionContext:
        """Read the keys, connect, and check the program's config on chain.

        Raises ConfigError, with one sentence for the first problem; ChainError or StoreError if a server is
        unavailable.
        """
        if not settings.rpc_urls:
            raise ConfigError("No Solana RPC is set: put SOLANA_RPC_URL into .env or the environment.")
        backend, admin = wallet.backend_keypair(settings), wallet.admin_keypair(settings)
        program = Program.from_settings(settings)
        pool = await Pool.open(settings.require("database_url"), settings.database_pool_size, wait_s=30.0)
        claims = await Claims.open(settings.require("database_url"))
        rpc, witnesses = _guarded_rpcs(settings, pool)
        context = cls(
            pool=pool,
            claims=claims,
            rpc=rpc,
            witnesses=witnesses,
            program=program,
            backend=backend,
            admin=admin,
            policy=SendPolicy(max_priority_fee_lamports=Lamports(settings.max_priority_fee_lamports)),
        )
        try:
            await context.check()
        except BaseException:
            await context.aclose()
            raise
        return context

    async def check(self) -> GlobalConfig:
        """Return the present GlobalConfig. Raises ConfigError if it does not name our keys, and ChainError."""
        admin = self.admin.pubkey() if self.admin else None
        return await check_program(self.rpc, self.program, backend=self.backend.pubkey(), admin=admin)

    async def report_refused(self, service: str) -> None:
        """Raise an alert while answers of an RPC endpoint are refused, and resolve it when none are."""
        await report_refused(self.pool, self.witnesses, service)

    async def aclose(self) -> None:
        """Close the connections to the RPCs and the database."""
        for rpc in (self.rpc, *self.witnesses):
            await rpc.aclose()
        if self.claims is not None:
            await self.claims.close()
        await self.pool.close()

    async def market(self, market_id: MarketId, since: Slot | None = None) -> MarketAccount:
        """Return a market's account as it is now, or as it was at slot `since` or later.

        Raises ConfigError if no endpoint has the account, and ChainError if an endpoint cannot be asked.
        """
        address = self.program.addresses.market(market_id)
        info = await absence.account((self.rpc, *self.witnesses), address, since)
        if info is None:
            raise ConfigError(f"Market {market_id} has no account at {address} on this cluster.")
        return self.program.accounts.market(info)


def _guarded_rpcs(settings: Settings, pool: Pool) -> tuple[Rpc, list[Rpc]]:
    """Return a client that asks another endpoint when one fails, and one client for each endpoint.

    They share one guard. Raises SettingError if no RPC is set.
    """
    rpc, witnesses = Rpc.from_settings(settings), Rpc.of_each_url(settings)
    guard = EndpointGuard(partial(index_progress.read, pool))
    for each in (rpc, *witnesses):
        each.guard_with(guard)
    return rpc, witnesses
