"""A collector of traces that accepts only valid requests of OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_KINDS = {"string_value": str, "int_value": int, "bool_value": bool, "double_value": float}


@dataclass(frozen=True)
class CollectedSpan:
    """A span as the collector received it; ids are hexadecimal text, `parent` is "" for a root span."""

    service: str
    resource: dict[str, object]
    name: str
    kind: int
    trace: str
    span: str
    parent: str
    began_ns: int
    ended_ns: int
    status: int
    attributes: dict[str, object]
    links: tuple[tuple[str, str], ...]


class Collector:
    """Decodes and keeps requests: `spans` in the order of arrival, `headers` of each request.

    `status` is the HTTP status of its answers. `problems` describes each violation of the protocol.
    """

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.headers: list[dict[str, str]] = []
        self.problems: list[str] = []
        self.status = 200
        self.url = ""

    def named(self, name: str) -> list[CollectedSpan]:
        return [span for span in self.spans if span.name == name]

    def trace(self, trace: str) -> list[CollectedSpan]:
        return [span for span in self.spans if span.trace == trace]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.headers.append(headers)
        if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
            self.problems.append(f"{path}: {headers}")
            return 400
        if self.status != 200:
            return self.status
        request = ExportTraceServiceRequest()
        try:
            request.ParseFromString(body)
        except DecodeError as problem:
            self.problems.append(str(problem))
            return 400
        if len(UnknownFieldSet(request)):
            self.problems.append("unknown fields")
        for of_resource in request.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.spans += [self._span(resource, span) for span in scope.spans]
        return 200

    def _span(self, resource: dict[str, object], span) -> CollectedSpan:
        parent_bytes = len(span.parent_span_id)
        valid = len(span.trace_id) == 16 and len(span.span_id) == 8 and parent_bytes in (0, 8)
        if not (valid and span.name and 0 < span.start_time_unix_nano <= span.end_time_unix_nano):
            self.problems.append(f"not a span: {span}")
        return CollectedSpan(
            service=str(resource["service.name"]),
            resource=resource,
            name=span.name,
            kind=span.kind,
            trace=span.trace_id.hex(),
            span=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            began_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            status=span.status.code,
            attributes=_attributes(span.attributes),
            links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        )


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Yield a collector that listens on the loopback; `port` 0 chooses a free port. Its address is `url`."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.take(self.path, headers, body))
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", port), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()


def _attributes(pairs) -> dict[str, object]:
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind in _KINDS, f"{pair.key} is {kind}"
        assert pair.key not in found, f"{pair.key} is there twice"
        found[pair.key] = getattr(pair.value, kind)
    return found
