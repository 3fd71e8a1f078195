"""Define AppContext: the settings, connections and caches that request handlers use."""

from __future__ import annotations

from collections.abc import Sequence
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
from zmart.market.valuation import ClaimRule
from zmart.services.gateway.api import fee_payer
from zmart.services.gateway.api.fee_payer import FeePayerBalance
from zmart.services.gateway.api.fragment_cache import FragmentCache
from zmart.services.gateway.api.relay import Relay
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.api.tape_cache import TapeCache
from zmart.services.gateway.http.auth.authenticator import Authenticator
from zmart.services.gateway.http.auth.sign_in import SignIn
from zmart.services.gateway.http.auth.sign_in_hosts import SignInHosts
from zmart.services.gateway.http.cached_value import CachedValue
from zmart.services.gateway.http.feed_position import FeedPositionReader, MarketCounts
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.time_limit import wait_for_chain
from zmart.services.webhook import WebhookReceiver
from zmart.setting_values import host_in_url
from zmart.settings import Settings
from zmart.store import projections, status
from zmart.store.pool import Pool
from zmart.votes.eligibility import Voters
from zmart.votes.held_facts import HeldFacts


@dataclass(frozen=True)
class AppContext:
    """The settings, connections, keys and caches of one gateway, for its request handlers. `redis`, `rpc`, `pins`,
    `admin` and `backend` are None if they are not configured. `witnesses` has one client for each RPC endpoint."""

    settings: Settings
    pool: Pool
    redis: RedisClient | None
    program: Program
    pricing: PricingModel
    rpc: Rpc | None
    witnesses: Sequence[Rpc]
    pins: PinClient | None
    admin: Keypair | None
    backend: Keypair | None
    authenticator: Authenticator
    sign_in: SignIn
    sign_in_hosts: SignInHosts
    limiter: RateLimiter
    relay: Relay
    voters: Voters
    webhook: WebhookReceiver
    rules: CachedValue[ConfigFold | None]
    as_of_slot: CachedValue[Slot]
    chain_time: CachedValue[ChainTime | None]
    held_facts: HeldFacts
    payer_balance: CachedValue[FeePayerBalance]
    feed_positions: FeedPositionReader
    market_counts: MarketCounts
    fragments: FragmentCache
    tapes: TapeCache
    sitemap: CachedValue[bytes]

    @property
    def api_url(self) -> str:
        """Return the API's URL for clients: PUBLIC_API_URL, or if it is empty a URL of BIND_HOST and API_PORT."""
        return _api_url(self.settings)

    @property
    def public_base(self) -> str:
        """Return the base of the pages' public addresses, "" if it is not known."""
        return public_base(self.settings)

    @property
    def socket_url(self) -> str:
        """Return the WebSocket server's URL for clients: PUBLIC_WS_URL, or if it is empty a URL of BIND_HOST and
        WS_PORT."""
        return (
            self.settings.public_ws_url
            or f"ws://{host_in_url(self.settings.bind_host)}:{self.settings.ws_port}"
        )

    async def time_of_chain(self) -> ChainTime | None:
        """Return the chain's clock in Unix seconds, at most 2 s old, None without an RPC; the write that is being
        handled may wait for it as long as for the chain. Raises ChainError when the RPC fails."""
        wait_for_chain()
        return await self.chain_time.get()

    def chain(self) -> Rpc:
        """Return the Solana RPC client. Raises ChainError, which is answered with 503, if no RPC is configured."""
        if self.rpc is None:
            raise ChainError("This gateway has no Solana RPC: set SOLANA_RPC_URL to build transactions.")
        return self.rpc

    async def policy(self) -> FinalizationPolicy:
        """Return the program's indexed rules and the settings, which together decide when a market can be finalized."""
        return FinalizationPolicy(await self.rules.get(), self.settings)

    @property
    def claim_rule(self) -> ClaimRule:
        """Return the rule by which the configured program computes what a claim pays."""
        return ClaimRule.of_model(self.pricing.name)

    async def fees(self) -> FeeSchedule:
        """Return the fee rates of the program's GlobalConfig, as indexed. Raises ChainError while it is not indexed
        yet."""
        rules = await self.rules.get()
        if rules is None:
            raise ChainError("The program's configuration is not indexed yet: try again in a moment.")
        return FeeSchedule.of_config(rules)


Context = NamedDependency[AppContext]
"""The annotation of a handler's parameter `context`, for which Litestar provides the AppContext."""


def public_base(settings: Settings) -> str:
    """Return the base of the pages' public addresses: PUBLIC_API_URL; if it is empty, the gateway's own address in the
    local stack, and "" elsewhere."""
    return _api_url(settings) if settings.public_api_url or settings.is_local else ""


def _api_url(settings: Settings) -> str:
    own = f"http://{host_in_url(settings.bind_host)}:{settings.api_port}"
    return settings.public_api_url.rstrip("/") or own


def cached_rules(pool: Pool) -> CachedValue[ConfigFold | None]:
    """Return a cache of the program's GlobalConfig as indexed, at most 1 s old. Its value is None before it is
    indexed."""
    return CachedValue(lambda: projections.read_config(pool), ttl_s=1.0)


def cached_balance(rpc: Rpc | None, rules: CachedValue[ConfigFold | None]) -> CachedValue[FeePayerBalance]:
    """Return a cache of the fee payer's address and balance, at most 10 s old. The fee payer is the backend authority
    of the program's GlobalConfig."""

    async def read() -> FeePayerBalance:
        current_rules = await rules.get()
        return await fee_payer.read(rpc, current_rules.backend_authority if current_rules else None)

    return CachedValue(read, ttl_s=fee_payer.FRESH_S)


def cached_chain_time(rpc: Rpc | None) -> CachedValue[ChainTime | None]:
    """Return a cache of the chain's clock in Unix seconds, at most 2 s old. Its value is None without an RPC. Reading
    it raises ChainError when the RPC fails or reports an old time, by which votes would be accepted after their end."""

    async def read() -> ChainTime | None:
        return None if rpc is None else (await rpc.get_clock(recent=True)).unix_timestamp

    return CachedValue(read, ttl_s=2.0)


def cached_slot(pool: Pool) -> CachedValue[Slot]:
    """Return a cache of the slot through which the index is gap-free, at most 0.4 s old. An older slot is still correct
    for data that is read later."""
    return CachedValue(lambda: status.as_of_slot(pool), ttl_s=0.4)
