"""Everything that handlers use, in one typed object."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.di import NamedDependency
from solders.keypair import Keypair

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.feed.redis_client import RedisClient
from zmart.ipfs.pinning import PinClient
from zmart.market.fold_config import ConfigFold
from zmart.market.pricing import FeeSchedule, PricingModel
from zmart.market.types import ChainTime, Slot
from zmart.services.gateway.api import fee_payer
from zmart.services.gateway.api.fee_payer import FeePayerBalance
from zmart.services.gateway.api.fragment_cache import FragmentCache
from zmart.services.gateway.api.relay import Relay
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.http.auth.authenticator import Authenticator
from zmart.services.gateway.http.auth.sign_in import SignIn
from zmart.services.gateway.http.cached_value import CachedValue
from zmart.services.gateway.http.feed_position import FeedPositionReader, MarketCounts
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.webhook import WebhookReceiver
from zmart.settings import Settings
from zmart.store import projections, status
from zmart.store.pool import Pool
from zmart.votes.eligibility import Voters


@dataclass(frozen=True)
class AppContext:
    """`rpc`, `pins`, `admin` and `backend` are None where nothing is configured for them."""

    settings: Settings
    pool: Pool
    redis: RedisClient | None
    program: Program
    pricing: PricingModel
    rpc: Rpc | None
    pins: PinClient | None
    admin: Keypair | None
    backend: Keypair | None
    authenticator: Authenticator
    sign_in: SignIn
    limiter: RateLimiter
    relay: Relay
    webhook: WebhookReceiver
    rules: CachedValue[ConfigFold | None]
    as_of_slot: CachedValue[Slot]
    chain_time: CachedValue[ChainTime | None]
    payer_balance: CachedValue[FeePayerBalance]
    feed_positions: FeedPositionReader
    market_counts: MarketCounts
    fragments: FragmentCache

    @property
    def socket_url(self) -> str:
        """Where clients find the WebSocket server."""
        return self.settings.public_ws_url or f"ws://{self.settings.bind_host}:{self.settings.ws_port}"

    @property
    def voters(self) -> Voters:
        """Who may vote."""
        return Voters(self.pool, self.program, self.rpc, self.settings)

    def chain(self) -> Rpc:
        """The RPC; ChainError (503) where none is configured."""
        if self.rpc is None:
            raise ChainError("This gateway has no Solana RPC: set SOLANA_RPC_URL to build transactions.")
        return self.rpc

    async def policy(self) -> FinalizationPolicy:
        """What decides when a market can be finalized."""
        return FinalizationPolicy(await self.rules.get(), self.settings)

    async def fees(self) -> FeeSchedule:
        """The fees of GlobalConfig as indexed; ChainError before the index has seen it."""
        rules = await self.rules.get()
        if rules is None:
            raise ChainError("The program's configuration is not indexed yet: try again in a moment.")
        return FeeSchedule.of_config(rules)


Context = NamedDependency[AppContext]
"""How a handler asks for them."""


def cached_rules(pool: Pool) -> CachedValue[ConfigFold | None]:
    """Return the program's rules, cached for a second."""
    return CachedValue(lambda: projections.read_config(pool), ttl_s=1.0)


def cached_balance(rpc: Rpc | None, rules: CachedValue[ConfigFold | None]) -> CachedValue[FeePayerBalance]:
    """Return the balance of the backend authority, which pays fees, cached for some seconds."""

    async def read() -> FeePayerBalance:
        said = await rules.get()
        return await fee_payer.read(rpc, said.backend_authority if said else None)

    return CachedValue(read, ttl_s=fee_payer.FRESH_S)


def cached_chain_time(rpc: Rpc | None) -> CachedValue[ChainTime | None]:
    """None without an RPC. Raises ChainError while it is unavailable."""

    async def read() -> ChainTime | None:
        return None if rpc is None else (await rpc.get_clock()).unix_timestamp

    return CachedValue(read, ttl_s=2.0)


def cached_slot(pool: Pool) -> CachedValue[Slot]:
    """An older slot is still a true one: data read later is complete through it."""
    return CachedValue(lambda: status.as_of_slot(pool), ttl_s=0.4)
