"""Record spans of the steps of transactions, and of the work that services start by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

from zmart.ops.tracing.identifiers import SpanIds
from zmart.traces import Attributes, ServiceWork, TraceIdentity, TransactionStep, identity_of

REQUEST_ID = "zmart.request_id"
SIGNATURE = "zmart.transaction.signature"
_NO_PARENT = Context()

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that the current task answers; "" outside of a request."""


class TransactionSpans:
    """Record spans with OpenTelemetry: an implementation of SpanRecorder in zmart/traces.py.

    `ids` must be the id generator of `provider`.
    """

    def __init__(self, provider: TracerProvider, ids: SpanIds) -> None:
        self._tracer = provider.get_tracer("zmart")
        self._sampler = provider.sampler
        self._ids = ids

    def record(
        self,
        step: TransactionStep,
        signature: str,
        started_ns: int,
        ended_ns: int | None,
        attributes: Attributes,
    ) -> None:
        """Record a step of a transaction, with a link to the current span (a request's, or of a service's work).

        INDEX becomes the root span of the transaction's trace, other steps its children. Times are of time.time_ns();
        `ended_ns` None is now. Nothing is recorded if the sampler does not select the trace.
        """
        identity = identity_of(signature)
        if not self._is_sampled(identity, step):
            return
        ended_ns = ended_ns or time.time_ns()
        given = {SIGNATURE: signature, **attributes}
        if requested := request_id.get():
            given[REQUEST_ID] = requested
        current = get_current_span().get_span_context()
        links = [Link(current)] if current.is_valid else []
        started_ns = min(started_ns, ended_ns)  # the start may be measured by another machine's clock
        if step is TransactionStep.INDEX:
            with self._ids.given(identity):
                span = self._tracer.start_span(
                    step.value, _NO_PARENT, attributes=given, links=links, start_time=started_ns
                )
        else:
            span = self._tracer.start_span(
                step.value, _below(identity), attributes=given, links=links, start_time=started_ns
            )
        span.end(ended_ns)

    def around(self, work: ServiceWork, attributes: Attributes) -> AbstractContextManager[object]:
        """Return a context manager that makes a span of its block, as a child of the current span."""
        return self._around(work, attributes)

    @contextmanager
    def _around(self, work: ServiceWork, attributes: Attributes) -> Iterator[None]:
        span = self._tracer.start_span(work.value, attributes=attributes)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as problem:
            # The type, not the message: that may name a wallet or an address.
            span.set_attribute("error.type", type(problem).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

    def _is_sampled(self, identity: TraceIdentity, step: TransactionStep) -> bool:
        """Return whether the trace is recorded. The sampler decides by the trace's id, so all processes agree."""
        result = self._sampler.should_sample(_NO_PARENT, identity.trace_id, step.value)
        return result.decision is Decision.RECORD_AND_SAMPLE


def _below(identity: TraceIdentity) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED)
    root = SpanContext(identity.trace_id, identity.root_span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(root), _NO_PARENT)
