"""HTTP servers within a test: an application on a real port, and whether a server answers yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from kit.waiting import until


@asynccontextmanager
async def serving(application: object, *, port: int = 0, **options: object) -> AsyncIterator[str]:
    """Serve an ASGI application on `port` of this machine (0: a free one); gives its address."""
    config = uvicorn.Config(
        application, port=port, interface="asgi3", lifespan="off", log_config=None, access_log=False, **options  # type: ignore[arg-type]
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # serve() would take the signals of the whole test run
    try:
        await until(lambda: server.started or task.done(), within_s=10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def is_ready(http: httpx.AsyncClient, path: str = "/ready") -> bool:
    """Whether a GET of `path` is answered with 200."""
    try:
        return (await http.get(path)).status_code == 200
    except httpx.HTTPError:
        return False
