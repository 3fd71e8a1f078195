"""Run the gateway as a service: open its connections, report readiness, close."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from functools import partial

import structlog
from solders.keypair import Keypair

from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.wallet import admin_keypair, backend_keypair
from zmart.errors import ConfigError, SettingError, StoreError
from zmart.feed import redis_client
from zmart.feed.redis_client import RedisClient
from zmart.ipfs.pinata import PinataClient
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.pricing import pricing_model
from zmart.market.types import Wallet
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes
from zmart.services.gateway.api.fragment_cache import FragmentCache
from zmart.services.gateway.api.relay import Relay
from zmart.services.gateway.api.tape_cache import TapeCache
from zmart.services.gateway.app import build
from zmart.services.gateway.context import (
    AppContext,
    cached_balance,
    cached_chain_time,
    cached_rules,
    cached_slot,
    public_base,
)
from zmart.services.gateway.explorer.sitemap import cached_sitemap
from zmart.services.gateway.http.auth.authenticator import Authenticator
from zmart.services.gateway.http.auth.session_tokens import SessionTokens
from zmart.services.gateway.http.auth.sign_in import SignIn
from zmart.services.gateway.http.auth.sign_in_hosts import SignInHosts
from zmart.services.gateway.http.auth.signed_requests import ReplayGuard, SignedRequests
from zmart.services.gateway.http.feed_position import FeedPositionReader, MarketCounts
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.time_limit import TimeLimits, wait_for_chain
from zmart.services.gateway.sign_in_watch import SignInWatch
from zmart.services.webhook import WebhookReceiver
from zmart.settings import Settings
from zmart.store import index_progress, status
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within
from zmart.votes.eligibility import Voters
from zmart.votes.held_facts import HeldFacts, ReadHeld, ShareReading

log = structlog.get_logger()

_LIMITS = TimeLimits()
_READY_WITHIN_S = 1.5
_REDIS_TIMEOUT_S = 1.0
_RPC_TIMEOUT_S = 2.0
_MAX_RPC_ANSWER_BYTES = 4 * 1024 * 1024
"""The largest answer of an RPC that is read, in bytes. A simulation with its logs, or a hundred accounts, take a tenth
of that. Many requests may wait for answers at the same time, so the limit bounds the memory that these take."""


class Gateway:
    """The gateway as a Service (services/contract.py)."""

    name = "gateway"

    def __init__(self, context: AppContext, limits: TimeLimits) -> None:
        self.context = context
        self._limits = limits
        self._started_s = time.monotonic()
        self._sign_in = SignInWatch(context.pool, context.redis)

    async def run(self, stop: asyncio.Event) -> None:
        """Resend relayed transactions and watch sign-in until `stop` is set. Connections stay open for requests in
        progress."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.context.relay.run(stop))
            group.create_task(self._sign_in.run(stop))

    async def close(self) -> None:
        """Close all connections. Call this when no request is in progress any more."""
        await self.context.voters.aclose()
        await self.context.limiter.close()
        await self.context.held_facts.close()
        for rpc in filter(None, (self.context.rpc, *self.context.witnesses)):
            await rpc.aclose()
        if isinstance(self.context.pins, PinataClient):
            await self.context.pins.close()
        if self.context.redis is not None:
            await self.context.redis.aclose()
        await self.context.pool.close()

    async def readiness(self) -> Readiness:
        """Report the gateway as ready if PostgreSQL can be read and written, which is checked within 1.5 s. Failures of
        the RPC and of sign-in are reported too, and leave the gateway ready, because reads continue without them."""
        try:
            async with answer_within(_READY_WITHIN_S):
                await status.check(self.context.pool)
        except StoreError as problem:
            return Readiness(ready=False, reason=str(problem))
        rpc = self.context.rpc
        refused = {} if rpc is None else rpc.refusals()
        details = {"database_connections": self.context.pool.in_use, "rpc_refused": refused}
        # Reads and sessions continue without sign-in, so its failure is reported and the gateway stays ready.
        return Readiness(ready=True, reason=self._sign_in.reason, details=details)

    def health(self) -> Mapping[str, object]:
        """Return what /health reports of the gateway: status and uptime in seconds, which existing clients read,
        pricing model and the program's address."""
        return {
            "status": "healthy",
            "uptime": round(time.monotonic() - self._started_s, 1),
            "pricing_model": self.context.pricing.name,
            "program_id": self.context.program.address,
        }

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the ASGI application. The probes are inside the edge, which adds security headers and CORS to their
        responses."""
        return build(self.context, probes, self._limits)


def _sharing(held_facts: HeldFacts) -> ShareReading:
    async def share(wallet: Wallet, opening: VoteOpening, read: ReadHeld) -> VoterFacts:
        wait_for_chain()
        return await held_facts.share(wallet, opening, read)

    return share


async def open_gateway(settings: Settings, limits: TimeLimits = _LIMITS) -> Gateway:
    """Open the gateway's connections and return the gateway. Raises ConfigError for a wrong or missing setting,
    StoreError while the database is unavailable."""
    program = Program.from_settings(settings)
    redis = _redis(settings)
    pool = await Pool.open(
        settings.require("database_url"), settings.database_pool_size, wait_s=limits.connection_s
    )
    rpc, witnesses = _rpcs(settings, pool)
    sign_in_hosts = SignInHosts(settings)
    feed_positions, rules, limiter = FeedPositionReader(pool), cached_rules(pool), RateLimiter(redis)
    held_facts = HeldFacts()
    context = AppContext(
        settings=settings,
        pool=pool,
        redis=redis,
        program=program,
        pricing=pricing_model(settings.pricing_model),
        rpc=rpc,
        witnesses=witnesses,
        pins=_pins(settings),
        admin=admin_keypair(settings),
        backend=_backend(settings),
        authenticator=_authenticator(settings, redis, sign_in_hosts),
        sign_in=SignIn(redis, settings.cluster),
        sign_in_hosts=sign_in_hosts,
        limiter=limiter,
        relay=Relay(program, rpc, redis, limiter=limiter),
        voters=Voters(pool, program, witnesses, settings, _sharing(held_facts)),
        webhook=WebhookReceiver(pool, settings),
        rules=rules,
        as_of_slot=cached_slot(pool),
        chain_time=cached_chain_time(rpc),
        held_facts=held_facts,
        payer_balance=cached_balance(rpc, rules),
        feed_positions=feed_positions,
        market_counts=MarketCounts(pool, feed_positions),
        fragments=FragmentCache(pool, settings),
        tapes=TapeCache(pool),
        sitemap=cached_sitemap(pool, public_base(settings)),
    )
    return Gateway(context, limits)


def _rpcs(settings: Settings, pool: Pool) -> tuple[Rpc | None, list[Rpc]]:
    """Return the RPC client, None if no RPC is configured, and one client for each endpoint. They make fewer attempts
    than the clients of other services, because a user waits for the answer."""
    if not settings.rpc_urls:
        return None, []
    timeout_s = min(settings.rpc_timeout_s, _RPC_TIMEOUT_S)
    rpc, *witnesses = (
        Rpc(urls, timeout_s, attempts=2, max_answer_bytes=_MAX_RPC_ANSWER_BYTES)
        for urls in (settings.rpc_urls, *([url] for url in settings.rpc_urls))
    )
    guard = EndpointGuard(partial(index_progress.read, pool))
    for each in (rpc, *witnesses):
        each.guard_with(guard)
    return rpc, witnesses


def _redis(settings: Settings) -> RedisClient | None:
    url = settings.redis_url.get_secret_value()
    if not url:
        log.warning("REDIS_URL is not set: sign-in is off and rate limits are counted per process")
        return None
    timeout_s = _REDIS_TIMEOUT_S
    return redis_client.connect(url, connections=16, connect_s=timeout_s, answer_s=timeout_s, retries=1)


def _authenticator(settings: Settings, redis: RedisClient | None, hosts: SignInHosts) -> Authenticator:
    secret = settings.auth_token_secret.get_secret_value()
    if not secret and settings.is_local:
        secret = secrets.token_urlsafe(32)
    if not secret:
        raise SettingError(
            "AUTH_TOKEN_SECRET is not set: session tokens are signed with it. Set 32 random characters, "
            "the same for all gateways (see .env.example)."
        )
    return Authenticator(
        SessionTokens(secret, redis),
        ReplayGuard(redis),
        settings.operator_token.get_secret_value(),
        SignedRequests(hosts, must_name_host=settings.auth_legacy_signatures == "named")
        if settings.auth_legacy_signatures
        else None,
    )


def _pins(settings: Settings) -> PinataClient | None:
    try:
        return PinataClient.from_settings(settings)
    except ConfigError as problem:
        log.warning("documents are stored but not pinned", reason=str(problem))
        return None


def _backend(settings: Settings) -> Keypair | None:
    """Return the key that signs vote receipts; None if none is configured, which leaves receipts unsigned."""
    if settings.backend_keypair_path or settings.backend_authority_private_key.get_secret_value():
        return backend_keypair(settings)
    return None
