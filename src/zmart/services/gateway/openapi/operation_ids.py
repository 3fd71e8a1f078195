"""What each call is called, for generated clients and for links."""

from __future__ import annotations

import re

_NAMES = {
    ("get", "/api/markets"): "ListMarkets",
    ("post", "/api/markets"): "CreateMarket",
    ("get", "/api/markets/{key}"): "GetMarket",
    ("get", "/api/markets/{key}/trades"): "GetTrades",
    ("get", "/api/markets/{key}/votes"): "GetMarketVotes",
    ("get", "/api/votes/{key}"): "GetVotes",
    ("get", "/api/votes/{key}/proof"): "GetVoteProof",
    ("get", "/api/votes/{key}/log"): "GetVoteLog",
    ("post", "/api/votes/proposal"): "VoteOnProposal",
    ("post", "/api/votes/dispute"): "VoteOnDispute",
    ("post", "/api/trades/buy"): "Buy",
    ("post", "/api/trades/sell"): "Sell",
    ("post", "/api/trades/claim"): "Claim",
    ("post", "/api/trades/withdraw"): "Withdraw",
    ("post", "/api/transactions"): "SendTransaction",
    ("get", "/api/transactions/{signature}"): "GetTransaction",
    ("get", "/api/discussions/{key}"): "GetDiscussions",
    ("get", "/api/discussions/{key}/snapshots"): "GetSnapshots",
    ("post", "/api/discussions"): "Comment",
    ("post", "/api/discussions/{key}"): "CommentOn",
    ("delete", "/api/discussions/{key}"): "DeleteComment",
    ("get", "/api/users/{wallet}"): "GetUser",
    ("put", "/api/users/{wallet}"): "PutUser",
    ("get", "/api/users/{wallet}/portfolio"): "GetPortfolio",
    ("get", "/api/users/{wallet}/stats"): "GetUserStats",
    ("get", "/api/positions/{wallet}"): "GetPositions",
    ("get", "/api/events/latest"): "GetLatestEvents",
    ("get", "/health/{service}"): "GetServiceHealth",
}
_VERBS = {"get": "Get", "post": "", "put": "Put", "delete": "Delete"}


def of(method: str, path: str) -> tuple[str, str]:
    """The operationId, and the same in words."""
    name = _NAMES.get((method, path)) or _VERBS[method] + _made_of(path)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return name, words[0] + words[1:].lower()


def _made_of(path: str) -> str:
    """`/api/markets/{key}/price-history` is PriceHistory, `/api/users/{wallet}/trades` UserTrades."""
    parts = [part for part in path.removeprefix("/api/").split("/") if not part.startswith("{")]
    owner = "User" if path.startswith("/api/users/") else ""
    return owner + "".join(word.capitalize() for word in parts[-1].split("-"))
