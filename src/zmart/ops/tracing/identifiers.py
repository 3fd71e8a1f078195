"""Generate ids of spans: random ones, or those that a span of a transaction must have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from zmart.traces import TraceIdentity


class SpanIds(RandomIdGenerator):
    """Random ids, but within `given(identity)` the identity's."""

    def __init__(self) -> None:
        super().__init__()
        self._given: TraceIdentity | None = None

    @contextmanager
    def given(self, identity: TraceIdentity) -> Iterator[None]:
        """Give the next span without a parent these ids. Nothing may be awaited within."""
        self._given = identity
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        return super().generate_trace_id() if self._given is None else self._given.trace_id

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        return super().generate_span_id() if self._given is None else self._given.root_span_id
