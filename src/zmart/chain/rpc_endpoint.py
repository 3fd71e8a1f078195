"""Pause an RPC endpoint after a failure, and tell of each outage once for all clients of this process."""

from __future__ import annotations

import time
from functools import cache

import httpx

from zmart.chain.endpoint_guard import EndpointGuard, GuardedEndpoint
from zmart.chain.rpc_answer import LAG_CODES, JsonRpcError, safe_message, secrets_of
from zmart.chain.rpc_errors import RpcError, TransientRpcError
from zmart.errors import ChainError
from zmart.outage_lines import OutageLines

_PAUSE_S, _LONGEST_PAUSE_S, _SHORT_PAUSE_S = 15.0, 240.0, 1.0
_REPORTED_AFTER_S = 1.0
"""Failures of an endpoint are logged, as one outage, once they have lasted this many seconds."""


class Endpoint:
    """Know how one URL answered: its name for messages, its failures in a row and the pause after them."""

    def __init__(self, url: str, *, logs_outages: bool) -> None:
        self.url = url
        self.name = _name(url)
        self.outage = _outage_of(url) if logs_outages else None
        self.secrets = secrets_of(url)
        self.paused_until = 0.0
        self.failures = 0
        """How often it failed in a row; calls that were under way together count once."""
        self.is_tried = False
        """Whether one call tries it after a pause, while all others go to another endpoint."""
        self.guard: EndpointGuard | None = None
        self.guarded = GuardedEndpoint(url, self.name)

    def failed(self, method: str, reason: str, began_s: float | None = None) -> TransientRpcError:
        """Pause the endpoint, so that others are preferred for 15 s or more, and return the error to raise.

        The call began at `began_s` of time.monotonic().
        """
        self._pause_longer()
        return self._unanswered(method, safe_message(reason, self.secrets), began_s)

    def refused(self, method: str, refusal: JsonRpcError) -> ChainError:
        """Return the error to raise: RpcError if it answers the call, else TransientRpcError.

        An endpoint that did not answer the call is paused.
        """
        message = safe_message(refusal.message, self.secrets)
        if refusal.is_answer:
            self.answered()
            return RpcError(method, refusal.code, message, refusal.data, self.name)
        if refusal.code in LAG_CODES:
            self._pause(_SHORT_PAUSE_S)
            return TransientRpcError(
                f"{self.name} did not answer {method}: {message} (code {refusal.code}).", refusal.code
            )
        self._pause_longer()
        return self._unanswered(method, f"{message} (code {refusal.code})", code=refusal.code)

    def _unanswered(
        self, method: str, reason: str, began_s: float | None = None, code: int | None = None
    ) -> TransientRpcError:
        if self.outage is not None:
            self.outage.failed(f"{method}: {reason}", began_s=began_s)
        return TransientRpcError(f"{self.name} did not answer {method}: {reason}.", code)

    def answered(self) -> None:
        """End a series of failures: calls prefer the endpoint again."""
        if self.outage is not None:
            self.outage.succeeded()
        if self.failures:
            self.failures, self.is_tried, self.paused_until = 0, False, 0.0

    def _pause_longer(self) -> None:
        if self.is_tried or time.monotonic() >= self.paused_until:
            self.failures, self.is_tried = self.failures + 1, False
            self._pause(min(_PAUSE_S * 2.0 ** (self.failures - 1), _LONGEST_PAUSE_S))

    def _pause(self, seconds: float) -> None:
        self.paused_until = time.monotonic() + seconds
        if self.guard is not None:
            self.guard.reconnects(self.guarded)


@cache
def _outage_of(url: str) -> OutageLines:
    """Return the lines of one endpoint, which all clients of this process share: each outage is logged once."""
    name = _name(url)
    return OutageLines(f"{name} does not answer", f"{name} answers again", _REPORTED_AFTER_S)


def _name(url: str) -> str:
    """Return an endpoint's name for messages, with host and port only.

    An RPC URL often has an API key in its query or path.
    """
    try:
        parts = httpx.URL(url)
        host = parts.host if parts.port is None else f"{parts.host}:{parts.port}"
        return f"The RPC at {host}" if url.startswith("http") else "The RPC"
    except httpx.InvalidURL:
        return "The RPC"
