"""HTTP servers within a test: serve an application or a folder on a real port, and ask whether a server is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import uvicorn

from kit.waiting import until


@asynccontextmanager
async def serving(application: object, *, port: int = 0, **options: object) -> AsyncIterator[str]:
    """Serve an ASGI application on `port` of the loopback (0: a free one) within the block; yield its base URL."""
    config = uvicorn.Config(
        application, port=port, interface="asgi3", lifespan="off", log_config=None, access_log=False, **options  # type: ignore[arg-type]
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # serve() would install handlers of signals
    try:
        await until(lambda: server.started or task.done(), within_s=10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def is_ready(http: httpx.AsyncClient, path: str = "/ready") -> bool:
    """Return whether a GET of `path` is answered with 200; false when nothing answers."""
    try:
        return (await http.get(path)).status_code == 200
    except httpx.HTTPError:
        return False


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def folder_served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder, and an empty index.html, on a port of its own; yield the base URL."""
    (folder / "index.html").write_text("<!doctype html><title>A front end</title>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as host:
        thread = Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()
        thread.join()
