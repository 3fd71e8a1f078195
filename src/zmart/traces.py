"""Give spans to the export of traces, which `ops/traces.py` starts. While there is none, a span costs one comparison.

A transaction's trace id and the id of its root span follow from its signature, so that each process adds its spans to
the same trace and no row, message or stream has to carry an id.
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
    """What happens to one transaction; the values are names of spans. INDEX is the root of its trace."""

    DELIVERY = "webhook delivery"
    INDEX = "index"
    COMMIT = "commit"
    RELAY = "relay"
    SOCKET = "socket"
    SEND = "send transaction"


class ServiceWork(Enum):
    """What a service does by itself; the values are names of spans."""

    TICK = "tick"
    DECISION = "decision"
    INTENT = "intent"


class TraceIdentity(NamedTuple):
    """The trace of a transaction (16 bytes as an integer) and the root of it (8 bytes)."""

    trace_id: int
    root_span_id: int


def identity_of(signature: str) -> TraceIdentity:
    """Return the first 16 bytes of SHA-256 of a signature's base58 text as the trace, the next 8 as its root span."""
    digest = sha256(signature.encode()).digest()
    return TraceIdentity(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))


class SpanRecorder(Protocol):
    """Record spans. Both methods never raise, and never wait."""

    def record(
        self,
        step: TransactionStep,
        signature: str,
        started_ns: int,
        ended_ns: int | None,
        attributes: Attributes,
    ) -> None:
        """Record a step of a transaction; times are of time.time_ns(), None is now."""
        ...

    def around(self, work: ServiceWork, attributes: Attributes) -> AbstractContextManager[object]:
        """Return a context whose time and failure become a span."""
        ...


_recorder: SpanRecorder | None = None


def use(recorder: SpanRecorder | None) -> None:
    """Give spans to `recorder` from now on; None: to nobody."""
    global _recorder
    _recorder = recorder


def is_on() -> bool:
    """Return whether anyone takes spans: ask before anything is computed for them."""
    return _recorder is not None


def record(
    step: TransactionStep,
    signature: str,
    started_ns: int,
    attributes: Attributes = MappingProxyType({}),
    ended_ns: int | None = None,
) -> None:
    """Record a step of a transaction that began at `started_ns` and has ended, now if `ended_ns` is None."""
    if _recorder is not None:
        _recorder.record(step, signature, started_ns, ended_ns, attributes)


def around(work: ServiceWork, attributes: Callable[[], Attributes]) -> AbstractContextManager[object]:
    """Return a context whose time becomes a span; an exception that leaves it makes the span failed."""
    return nullcontext() if _recorder is None else _recorder.around(work, attributes())
