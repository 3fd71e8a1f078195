"""Run the process of the stand-ins for Pinata and Helius: its routes, its port, and its probes."""

from __future__ import annotations

import asyncio
import signal
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import structlog
import uvicorn

from zmart.chain.helius import WEBHOOK_PATH
from zmart.chain.rpc import Rpc
from zmart.errors import ConfigError, ZmartError
from zmart.local.providers import metrics
from zmart.local.providers.helius.api import WEBHOOKS, WebhookApi
from zmart.local.providers.helius.delivery import DISABLE_AFTER, RETRY_GAP_S
from zmart.local.providers.helius.registry import WebhookOrder, WebhookRegistry
from zmart.local.providers.helius.watch import AddressWatch
from zmart.local.providers.http import Handler, HttpRefusal, HttpReply, HttpRequest, answer
from zmart.local.providers.pinata.credentials import PinataCredentials
from zmart.local.providers.pinata.executor import PinExecutor
from zmart.local.providers.pinata.gateway import PREFIX, PinGateway
from zmart.local.providers.pinata.legacy import LegacyApi
from zmart.local.providers.pinata.pins import PinStore
from zmart.local.providers.pinata.v3 import FILES, FilesApi
from zmart.ops import logs
from zmart.ops.probes import Probes
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.connection_limits import server_config
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, Receive, Scope, Send, no_probes
from zmart.services.listener import bind_listener
from zmart.settings import Settings
from zmart.version import VERSION, commit

HOST = "127.0.0.1"
DEFAULT_WEBHOOK_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "zmart:local:default-webhook"))

_GRACE_S = 3
_BOUNDS = ConnectionBounds(body_within_s=60)
"""Limits of a connection; an upload of up to 100 MiB may take 60 s."""
_log = structlog.get_logger(__name__)


class Providers:
    """The service of the stand-ins: always for Pinata, and for Helius if `plays_helius`."""

    name = "providers"

    def __init__(
        self, settings: Settings, *, retry_gap_s: float = RETRY_GAP_S, disable_after: int = DISABLE_AFTER
    ) -> None:
        home = settings.zmart_home
        self._pins = PinExecutor(PinStore(home / "pins"))
        credentials = PinataCredentials(settings)
        legacy = LegacyApi(self._pins, credentials)
        self._routes: dict[str, tuple[str, Handler]] = {
            PREFIX: ("gateway", PinGateway(self._pins.store)),
            "/pinning/": ("pinata", legacy),
            "/data/": ("pinata", legacy),
            FILES: ("pinata", FilesApi(self._pins, credentials)),
        }
        self._rpc: Rpc | None = None
        self._watch: AddressWatch | None = None
        self._registry: WebhookRegistry | None = None
        if plays_helius(settings):
            self._rpc = Rpc(settings.rpc_urls, settings.rpc_timeout_s, attempts=2)
            self._registry = WebhookRegistry(home / "webhooks" / "webhooks.jsonl")
            default = self._registry.put(default_webhook(settings), DEFAULT_WEBHOOK_ID)
            if not default.active:
                self._registry.toggle(default, active=True)
            self._watch = AddressWatch(
                self._registry,
                self._rpc,
                settings.rpc_ws_url,
                retry_gap_s=retry_gap_s,
                disable_after=disable_after,
            )
            api_key = settings.helius_api_key.get_secret_value()
            api = WebhookApi(self._registry, api_key, self._watch.changed)
            self._routes[WEBHOOKS] = ("helius", api)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises the exception that ended the watch of the chain."""
        try:
            await (self._watch.run(stop) if self._watch else stop.wait())
        finally:
            await self._pins.close()
            if self._rpc is not None:
                await self._rpc.aclose()
            if self._registry is not None:
                self._registry.close()

    async def readiness(self) -> Readiness:
        """Return whether the addresses of all webhooks are watched; always ready without Helius."""
        reason = await self._watch.missing() if self._watch else ""
        return Readiness(ready=not reason, reason=reason)

    def health(self) -> Mapping[str, object]:
        """Return the own fields of /health: whether Helius is served."""
        return {"helius": self._watch is not None}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the stand-ins' ASGI application with the probes before it."""
        return probes(self._app)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        part, handler = next(
            (route for prefix, route in self._routes.items() if scope["path"].startswith(prefix)),
            ("none", _nothing_here),
        )
        status = await answer(handler, scope, receive, send)
        metrics.REQUESTS.labels(part, str(status)).inc()


class _Server(uvicorn.Server):
    """Serve until `should_exit` is set. `_run` handles the signals, so uvicorn must not."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def plays_helius(settings: Settings) -> bool:
    """Return whether HELIUS_API_URL names this process on this machine, and there is an RPC of a chain to watch."""
    url = urlsplit(settings.helius_api_url)
    is_here = url.hostname in (HOST, "localhost") and url.port == settings.local_providers_port
    return is_here and bool(settings.rpc_urls)


def default_webhook(settings: Settings) -> WebhookOrder:
    """Return the webhook that is registered at every start: the program's transactions, posted to the local indexer."""
    return WebhookOrder(
        webhook_url=f"http://{HOST}:{settings.indexer_port}{WEBHOOK_PATH}",
        transaction_types=["ANY"],
        account_addresses=[settings.solana_program_id_core],
        auth_header=settings.helius_webhook_secret.get_secret_value(),
    )


def run(settings: Settings) -> None:
    """Run the stand-ins until SIGTERM or SIGINT. Raises ConfigError if the port is in use, or what ended them."""
    logs.configure(settings, Providers.name)
    try:
        asyncio.run(_run(settings))
    except ZmartError as problem:
        _log.critical("service failed", error=str(problem))
        raise


async def _run(settings: Settings) -> None:
    _log.info("service starts", version=VERSION, commit=commit())
    logs.log_loop_errors(asyncio.get_running_loop())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = _listen(settings.local_bind_host, settings.local_providers_port)
    await serve(Providers(settings), listener, stop)


async def serve(providers: Providers, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve requests on `listener` until `stop` is set."""
    config = server_config(Probes(providers), _BOUNDS, lifespan="off", timeout_graceful_shutdown=_GRACE_S)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    _log.info("providers started", port=listener.getsockname()[1], helius=providers.health()["helius"])
    try:
        await providers.run(stop)
    finally:
        server.should_exit = True
        await serving
        _log.info("providers stopped")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return bind_listener(host, port)
    except OSError as problem:
        raise ConfigError(
            f"Port {port} cannot be used ({problem.strerror}): stop what listens there or set LOCAL_PROVIDERS_PORT."
        ) from None


async def _nothing_here(request: HttpRequest) -> HttpReply:
    message = (
        f"There is no {request.path[:200]} here. This process plays Pinata (/pinning, /data, /v3/files, /ipfs) and, "
        "in a local stack whose HELIUS_API_URL names it, Helius (/v0/webhooks)."
    )
    raise HttpRefusal(404, {"error": message})
