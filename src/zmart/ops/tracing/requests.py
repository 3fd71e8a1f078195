"""Make a span of each HTTP request, as a child of the client's span if the request has a W3C `traceparent` header."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from zmart.ops.tracing.recorder import REQUEST_ID, request_id
from zmart.services.contract import PROBES, AsgiApp, Receive, Scope, Send
from zmart.services.plain_http import path_of
from zmart.services.problem_body import request_id_of

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_ID_HEADER = b"x-request-id"
_CONTEXT_HEADERS = ("traceparent", "tracestate")
_NO_PARENT = Context()
_PROPAGATOR = TraceContextTextMapPropagator()


class TracedRequests:
    """Wrap an ASGI application, and make a span of each HTTP request except probes.

    The attributes are the request id and those of OpenTelemetry's HTTP conventions, without those that may identify a
    person: path, query, address and user agent.
    """

    def __init__(self, app: AsgiApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection. Probes and connections other than HTTP make no span."""
        if scope["type"] != "http" or _is_probe(path_of(scope)):
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        identifier = _ensure_id(scope, given)
        name, method = (scope["method"],) * 2 if scope["method"] in _METHODS else ("HTTP", "_OTHER")
        attributes = {
            "http.request.method": method,
            "url.scheme": scope.get("scheme", "http"),
            REQUEST_ID: identifier,
        }
        caller = _PROPAGATOR.extract(_carrier(given), _NO_PARENT)
        span = self._tracer.start_span(name, caller, SpanKind.SERVER, attributes)
        answer = _StatusNote(send)
        token = request_id.set(identifier)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                await self._app(scope, receive, answer.send)
        except BaseException as problem:
            _fail(span, type(problem).__name__)
            raise
        finally:
            request_id.reset(token)
            _describe(span, name, scope.get("path_template"), answer.status)
            span.end()


class _StatusNote:
    """Pass ASGI messages to `send`, and store the HTTP status in `status`; 0 before the response starts."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _is_probe(path: str) -> bool:
    return path in PROBES or path.startswith("/health/")


def _ensure_id(scope: Scope, given: Mapping[bytes, bytes]) -> str:
    """Return the id of the request, and set the header x-request-id to it for the application.

    The id is the client's own if it is valid, else a new one.
    """
    sent = given.get(_ID_HEADER)
    identifier = request_id_of(sent)
    if sent is None or sent != identifier.encode():
        others = [pair for pair in scope["headers"] if pair[0] != _ID_HEADER]
        scope["headers"] = [*others, (_ID_HEADER, identifier.encode())]
    return identifier


def _carrier(given: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name: value.decode("latin-1")
        for name in _CONTEXT_HEADERS
        if (value := given.get(name.encode())) is not None
    }


def _describe(span: Span, name: str, route: object, status: int) -> None:
    if route:
        span.set_attribute("http.route", str(route))
        span.update_name(f"{name} {route}")
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        _fail(span, str(status))


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
