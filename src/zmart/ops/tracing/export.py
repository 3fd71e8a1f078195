"""Send spans to an OpenTelemetry collector in the background.

The queue of spans is bounded, and an unreachable collector does not slow or end the service.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from typing import Any

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from zmart import traces
from zmart.loopback import is_loopback
from zmart.ops.tracing.identifiers import SpanIds
from zmart.ops.tracing.recorder import TransactionSpans
from zmart.ops.tracing.requests import TracedRequests
from zmart.services.contract import AsgiApp
from zmart.version import VERSION

STOP_WITHIN_S = 2.0
"""Seconds that a process waits at its end until queued spans are sent; spans that are still queued then are lost."""
_MOST_REASON_CHARS = 400
log = structlog.get_logger()


class TraceExport:
    """The export of this process's spans. `start` begins it, `around` wraps the ASGI application, `stop` ends it."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    @classmethod
    def start(cls, service: str) -> TraceExport:
        """Start the export. OpenTelemetry's SDK reads endpoint, sampler and limits from the environment."""
        ids = SpanIds()
        provider = TracerProvider(resource=_resource(service), id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter()))
        traces.use(TransactionSpans(provider, ids))
        log.info("traces are exported", sampler=provider.sampler.get_description())
        return cls(provider)

    def around(self, app: AsgiApp) -> AsgiApp:
        """Return an ASGI application that calls `app` and makes a span of each request."""
        return TracedRequests(app, self._provider.get_tracer("zmart"))

    def stop(self) -> None:
        """End the export: send the queued spans within STOP_WITHIN_S seconds."""
        traces.use(None)
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_WITHIN_S)


class ReportingExporter(SpanExporter):
    """Wrap an exporter, and log each outage with two lines: its start with the reason, its end with the lost spans."""

    def __init__(self, exporter: SpanExporter, session: ReportingSession) -> None:
        self._exporter = exporter
        self._session = session
        self._lost = 0
        # Otherwise the SDK logs each failed batch, and each span that finds a full queue.
        logging.getLogger(type(exporter).__module__).setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch of spans. Called by OpenTelemetry's SDK in a thread of its own."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("traces are exported again", lost_spans=self._lost)
            self._lost = 0
        else:
            if not self._lost:
                log.warning("traces are not exported", reason=self._session.trouble)
            self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Shut down the wrapped exporter, which closes its connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send the spans that the wrapped exporter still holds."""
        return self._exporter.force_flush(timeout_millis)


class ReportingSession(requests.Session):
    """An HTTP session that stores in `trouble` the error or the HTTP status of its last request."""

    trouble = ""

    def request(self, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401  # as requests' own
        """Send a request, and store its error or status. Raises requests.RequestException."""
        try:
            response = super().request(*arguments, **options)
        except requests.RequestException as problem:
            self.trouble = str(problem)[:_MOST_REASON_CHARS]
            raise
        self.trouble = f"HTTP status {response.status_code}"
        return response


def _exporter() -> ReportingExporter:
    session = ReportingSession()
    exporter = OTLPSpanExporter(session=session)
    session.trust_env = not is_loopback(exporter._endpoint)  # no proxy for a collector on this machine
    return ReportingExporter(exporter, session)


def _resource(service: str) -> Resource:
    """Return the process's attributes: version, instance, service, and those of OpenTelemetry's variables.

    `service.name` is `zmart-<service>` unless a variable sets it.
    """
    ours = {"service.version": VERSION, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if not os.environ.get("OTEL_SERVICE_NAME") and SERVICE_NAME not in _named_attributes():
        ours[SERVICE_NAME] = f"zmart-{service}"
    return Resource.create({**ours, "zmart.service": service})


def _named_attributes() -> set[str]:
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return {pair.partition("=")[0].strip() for pair in pairs}
