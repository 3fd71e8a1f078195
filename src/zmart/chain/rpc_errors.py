"""The two ways in which a call of the RPC fails: with an answer, and without one."""

from __future__ import annotations

from zmart.errors import ChainError


class RpcError(ChainError):
    """Report an error that answers the call. `data` is its detail, e.g. the logs of a failed preflight."""

    def __init__(
        self, method: str, code: int, message: str, data: object = None, node: str = "The RPC"
    ) -> None:
        super().__init__(f"{node} refused {method}: {message} (code {code}).")
        self.code = code
        self.data = data


class TransientRpcError(ChainError):
    """Report that an endpoint gave no usable response; a retry or another endpoint may help.

    Nothing may be concluded about what was requested. `code` is that of a JSON-RPC error, else None.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
