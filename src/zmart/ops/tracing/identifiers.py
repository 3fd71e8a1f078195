"""Generate the ids of traces and spans: random ids, or for a transaction's root span ids derived from its signature."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from zmart.traces import TraceIdentity


class SpanIds(RandomIdGenerator):
    """Generate random ids; within a block `with given(identity)` return the ids of `identity` instead."""

    def __init__(self) -> None:
        super().__init__()
        self._given: TraceIdentity | None = None

    @contextmanager
    def given(self, identity: TraceIdentity) -> Iterator[None]:
        """Give a span without a parent that is started in the block the ids of `identity`.

        The block must not await: another task would get the same ids.
        """
        self._given = identity
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        """Return the id of a new trace, a number of 16 bytes."""
        return super().generate_trace_id() if self._given is None else self._given.trace_id

    def generate_span_id(self) -> int:
        """Return the id of a new span, a number of 8 bytes."""
        return super().generate_span_id() if self._given is None else self._given.root_span_id
