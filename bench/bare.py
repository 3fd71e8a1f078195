"""A bare ASGI application: the bytes of a file, nothing else. What uvicorn on this machine can do at most."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
import uvloop

from zmart.services.contract import Receive, Scope, Send


async def _serve(port: int, bodies: dict[str, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = bodies.get(scope["path"], b"")
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
    found = {f"/{path.name}": path.read_bytes() for path in Path(sys.argv[2]).iterdir()}
    uvloop.run(_serve(int(sys.argv[1]), found))
