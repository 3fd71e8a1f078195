"""Send spans to the collector in the background: bounded in memory, and harmless while it cannot be reached."""

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
"""So long a process waits at its end for the spans that are not sent yet; the rest is lost."""
_MOST_REASON_CHARS = 400
log = structlog.get_logger()


class TraceExport:
    """The export of this process: `start(service)`, `around(app)`, `stop()`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    @classmethod
    def start(cls, service: str) -> TraceExport:
        """Start to export; the endpoint, the sampler and all limits are read by the SDK from the environment."""
        ids = SpanIds()
        provider = TracerProvider(resource=_resource(service), id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter()))
        traces.use(TransactionSpans(provider, ids))
        log.info("traces are exported", sampler=provider.sampler.get_description())
        return cls(provider)

    def around(self, app: AsgiApp) -> AsgiApp:
        """Return the application with a span for each request."""
        return TracedRequests(app, self._provider.get_tracer("zmart"))

    def stop(self) -> None:
        """Send what waits, for a limited time."""
        traces.use(None)
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_WITHIN_S)


class ReportingExporter(SpanExporter):
    """An exporter whose outage is two lines in the log: its begin, and its end with what was lost."""

    def __init__(self, exporter: SpanExporter, session: ReportingSession) -> None:
        self._exporter = exporter
        self._session = session
        self._lost = 0
        # The SDK tells each failed batch, and each span that finds a full queue.
        logging.getLogger(type(exporter).__module__).setLevel(logging.CRITICAL)
        logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
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
        """Close the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter holds."""
        return self._exporter.force_flush(timeout_millis)


class ReportingSession(requests.Session):
    """A session that remembers in `trouble` why its last request failed."""

    trouble = ""

    def request(self, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401  # as requests' own
        """Send a request."""
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
    session.trust_env = not is_loopback(exporter._endpoint)  # proxies are for other machines
    return ReportingExporter(exporter, session)


def _resource(service: str) -> Resource:
    """Return what the variables say of this process, and by default which service it is."""
    ours = {"service.version": VERSION, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if not os.environ.get("OTEL_SERVICE_NAME") and SERVICE_NAME not in _named_attributes():
        ours[SERVICE_NAME] = f"zmart-{service}"
    return Resource.create({**ours, "zmart.service": service})


def _named_attributes() -> set[str]:
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return {pair.partition("=")[0].strip() for pair in pairs}
