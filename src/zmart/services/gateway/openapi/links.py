"""Which value of an answer is the argument of which other call: what a client, or a test, can follow."""

from __future__ import annotations

from zmart.services.gateway.openapi.shapes import Schema


def _to(operation: str, **parameters: str) -> Schema:
    return {"operationId": operation, "parameters": parameters}


_FIRST_MARKET = "$response.body#/markets/0/id"
_OF_A_MARKET = (
    "GetMarket",
    "GetTrades",
    "GetStats",
    "GetCandles",
    "GetHolders",
    "GetTimeline",
    "GetMarketVotes",
)
_COMMENT = "$response.body#/discussion/id"

LINKS: dict[tuple[str, str], dict[str, Schema]] = {
    ("get", "/api/markets"): {
        **{name: _to(name, key=_FIRST_MARKET) for name in _OF_A_MARKET},
        "GetVotes": _to("GetVotes", key=_FIRST_MARKET),
        "GetUser": _to("GetUser", wallet="$response.body#/markets/0/creator"),
        "ListMarkets": _to("ListMarkets", cursor="$response.body#/next_cursor"),
    },
    ("get", "/api/markets/{key}/trades"): {
        "GetTrades": _to("GetTrades", key="$request.path.key", cursor="$response.body#/next_cursor"),
        "GetUserTrades": _to("GetUserTrades", wallet="$response.body#/trades/0/user"),
    },
    ("get", "/api/leaderboard"): {
        name: _to(name, wallet="$response.body#/leaders/0/wallet")
        for name in ("GetUser", "GetUserStats", "GetPortfolio", "GetUserPositions", "GetPositions")
    },
    ("post", "/api/markets"): {"GetMarket": _to("GetMarket", key="$response.body#/id")},
    ("post", "/api/discussions"): {
        "DeleteComment": _to("DeleteComment", key=_COMMENT),
        "GetDiscussions": _to("GetDiscussions", key="$response.body#/discussion/market_id"),
    },
    ("post", "/api/discussions/{key}"): {"DeleteComment": _to("DeleteComment", key=_COMMENT)},
    ("post", "/api/transactions"): {
        "GetTransaction": _to("GetTransaction", signature="$response.body#/signature")
    },
}  # fmt: skip
