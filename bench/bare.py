"""A bare ASGI application that answers with a fixed body for each kind of path: the most that uvicorn can do here."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

_KINDS = {"trades": "trades", "candles": "candles", "markets": "markets"}
"""The kind of a path by its last part; any other path is of the kind `market`."""


async def _serve(port: int, bodies: dict[str, bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        body = bodies[_KINDS.get(scope["path"].rsplit("/", 1)[-1], "market")]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    held = {path.name: path.read_bytes() for path in Path(sys.argv[2]).iterdir()}
    uvloop.run(_serve(int(sys.argv[1]), held))
