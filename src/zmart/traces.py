"""Pass spans to the export of traces, which `ops/traces.py` starts.

Without an export, a span costs one comparison. The trace id of a transaction and the id of its root span follow from
its signature. So each process adds its spans to the same trace, and no row, message or stream carries an id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple, Protocol

Attributes = Mapping[str, str | int | bool]


class TransactionStep(Enum):
    """Name the steps of one transaction; the values are names of spans. INDEX is the root of its trace."""

    DELIVERY = "webhook delivery"
    INDEX = "index"
    COMMIT = "commit"
    RELAY = "relay"
    SOCKET = "socket"
    SEND = "send transaction"


class ServiceWork(Enum):
    """Name the work that a service does by itself; the values are names of spans."""

    TICK = "tick"
    DECISION = "decision"
    INTENT = "intent"


class TraceIdentity(NamedTuple):
    """Identify a transaction's trace (16 bytes as an integer) and its root span (8 bytes)."""

    trace_id: int
    root_span_id: int


def identity_of(signature: str) -> TraceIdentity:
    """Return a transaction's trace identity from its signature.

    The first 16 bytes of SHA-256 of the base58 text are the trace's id, the next 8 are the id of its root span.
    """
    digest = sha256(signature.encode()).digest()
    return TraceIdentity(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))


class SpanRecorder(Protocol):
    """Record spans. Both methods never raise and never wait."""

    def record(
        self,
        step: TransactionStep,
        signature: str,
        started_ns: int,
        ended_ns: int | None,
        attributes: Attributes,
    ) -> None:
        """Record a step of a transaction.

        Times are nanoseconds of time.time_ns(); `ended_ns` None means now.
        """
        ...

    def around(self, work: ServiceWork, attributes: Attributes) -> AbstractContextManager[object]:
        """Return a context whose duration becomes a span; an exception marks the span as failed."""
        ...


_recorder: SpanRecorder | None = None


def use(recorder: SpanRecorder | None) -> None:
    """Pass spans to `recorder` from now on; None ends that."""
    global _recorder
    _recorder = recorder


def is_on() -> bool:
    """Return whether spans are recorded. A caller checks this before it computes anything for a span."""
    return _recorder is not None


def record(
    step: TransactionStep,
    signature: str,
    started_ns: int,
    attributes: Attributes = MappingProxyType({}),
    ended_ns: int | None = None,
) -> None:
    """Record a step of a transaction that has ended, if spans are recorded.

    Times are nanoseconds of time.time_ns(); `ended_ns` None means now.
    """
    if _recorder is not None:
        _recorder.record(step, signature, started_ns, ended_ns, attributes)


def around(work: ServiceWork, attributes: Callable[[], Attributes]) -> AbstractContextManager[object]:
    """Return a context whose duration becomes a span, if spans are recorded.

    An exception that leaves the context marks the span as failed. `attributes` is called only if spans are recorded.
    """
    return nullcontext() if _recorder is None else _recorder.around(work, attributes())
