"""A stand-in for gateway and socket server that answers everything with a name: answering_server.py NAME ADDRESS."""

from __future__ import annotations

import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

NAME, ADDRESS = sys.argv[1:] if __name__ == "__main__" else ("", "")


class Gateway(BaseHTTPRequestHandler):
    """Answers GET and POST with NAME, on connections that stay open and in one packet, as a gateway does."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(NAME)))
        self.end_headers()
        self.wfile.write(NAME.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def greet(socket: ServerConnection) -> None:
    socket.send(NAME)


def health(socket: ServerConnection, request: Request) -> Response | None:
    return socket.respond(HTTPStatus.OK, "") if request.path == "/health" else None


def main() -> None:
    """Serve the ports of a gateway and a socket until killed."""
    gateway = ThreadingHTTPServer((ADDRESS, 4000), Gateway)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    with serve(greet, ADDRESS, 4001, process_request=health) as socket:
        socket.serve_forever()


if __name__ == "__main__":
    main()
