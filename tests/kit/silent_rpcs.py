"""Scripts of RPCs by which it cannot be told whether a transaction landed."""

from __future__ import annotations

from dataclasses import dataclass, field

from kit.rpc_proxy import Broken, Call, Fault, Refuse, drops, signature_of

_NO_HISTORY = Refuse(-32011, "Transaction history is not available from this node")
_DOWN = Broken("503")


@dataclass
class GoesDownAfterSending:
    """Fail every call with 503 once `transactions` transactions were sent; only the first of them reaches the chain.

    sendTransaction always fails, and getSignatureStatuses from the first transaction on.
    """

    transactions: int
    reached_the_chain: str = ""
    sent: set[str] = field(default_factory=set)

    def __call__(self, call: Call) -> Fault | None:
        if call.method == "sendTransaction":
            return self._take(signature_of(call))
        is_down = len(self.sent) >= self.transactions
        return _DOWN if is_down or (self.sent and call.method == "getSignatureStatuses") else None

    def _take(self, signature: str) -> Fault:
        if not self.sent:
            self.reached_the_chain = signature
        is_new = signature not in self.sent
        self.sent.add(signature)
        return Broken("503", heard=is_new and signature == self.reached_the_chain)


def drops_and_has_no_history(call: Call) -> Fault | None:
    """Accept transactions without forwarding them, and refuse every search in the history."""
    return _NO_HISTORY if call.searches_history else drops(call)
