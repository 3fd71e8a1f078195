"""The local providers on a real port, an endpoint that receives their webhooks, and a user who sends transactions."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
from solders.keypair import Keypair

from kit import http_servers
from kit.waiting import until
from zmart.chain import compose
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import fund
from zmart.local.providers.process import Providers, serve
from zmart.market.types import Signature
from zmart.services.listener import bind_listener
from zmart.settings import Settings

SECRET = "a secret of the webhook, of 32 characters"
API_KEY = "a-helius-key"
JWT = "a-jwt"
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
SOL = 1_000_000_000


class Endpoint:
    """An ASGI application that receives webhook deliveries: it answers with the status `status()` and keeps bodies."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/webhooks/helius"
        self.port = port
        self.status: Callable[[], int] = lambda: 200
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        self.authorizations: set[bytes] = set()

    def elements(self) -> list[dict]:
        return [element for body in self.bodies for element in msgspec.json.decode(body)]

    def signatures(self) -> list[str]:
        result = self.elements()
        return [
            each["signature"] if "signature" in each else each["transaction"]["signatures"][0]
            for each in result
        ]

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope["headers"])
        assert (scope["method"], scope["path"]) == ("POST", "/api/webhooks/helius")
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status = self.status()
        self.bodies.append(body)
        self.answers.append(status)
        self.authorizations.add(headers.get(b"authorization", b""))
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def listening(endpoint: Endpoint) -> AsyncIterator[None]:
    async with http_servers.serving(endpoint, port=endpoint.port):
        yield


@asynccontextmanager
async def providers_on(settings: Settings, **given: int) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the local providers within the block; yield a client with the Helius API key once they are ready."""
    listener = bind_listener("127.0.0.1", settings.local_providers_port)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(Providers(settings, retry_gap_s=0.05, **given), listener, stop))
    params = {"api-key": API_KEY}
    url = f"http://127.0.0.1:{settings.local_providers_port}"
    async with httpx.AsyncClient(base_url=url, params=params, timeout=10) as http:
        try:
            await until(lambda: http_servers.is_ready(http))
            yield http
        finally:
            stop.set()
            await task


def settings_of(home: Path, chain, local_providers_port: int, indexer_port: int, **given: object) -> Settings:
    return Settings(
        _env_file=None,
        zmart_env="local",
        zmart_home=home,
        solana_rpc_url=chain.rpc_url,
        solana_ws_url=chain.ws_url,
        local_providers_port=local_providers_port,
        indexer_port=indexer_port,
        pinata_api_url=f"http://127.0.0.1:{local_providers_port}",
        ipfs_gateway_url=f"http://127.0.0.1:{local_providers_port}",
        helius_api_url=f"http://127.0.0.1:{local_providers_port}",
        helius_api_key=API_KEY,
        helius_webhook_secret=SECRET,
        pinata_jwt=JWT,
        **given,
    )


class Trader:
    """A wallet that proposes markets; each proposal is one transaction of the program."""

    def __init__(self, chain, rpc: Rpc) -> None:
        self._chain, self._rpc = chain, rpc
        self._wallet = Keypair()
        self._numbers = itertools.count(500_000)

    async def prepare(self) -> Trader:
        await fund(self._rpc, str(self._wallet.pubkey()), 1_000 * SOL)
        return self

    async def propose(self, b_parameter: int = 10 * SOL) -> Signature:
        """Send a proposal and return its signature, without waiting.

        It is sent without preflight, so a wrong `b_parameter` makes a failed transaction.
        """
        me = self._wallet.pubkey()
        instruction = self._chain.program.instructions.create_market(
            str(me),
            secrets.token_hex(32),
            b_parameter=b_parameter,
            initial_liquidity=7 * SOL,
            ipfs_question_hash=CID,
        )
        latest = await self._rpc.get_latest_blockhash()
        unsigned = compose.compile(
            me, [instruction], latest.blockhash, compute_unit_limit=next(self._numbers)
        )
        raw = bytes(compose.sign(unsigned, [self._wallet]))
        return await self._rpc.send_raw_transaction(raw, skip_preflight=True)
