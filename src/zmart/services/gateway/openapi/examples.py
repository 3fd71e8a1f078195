"""Bodies as a client would send them."""

from __future__ import annotations

from collections.abc import Mapping

MARKET = "8f1e5d2ac3b7409611aa7c0de4f0b2c59d3c6e8fa1b2d3c4e5f60718293a4b5c"
WALLET = "7EqQdEULxWcraVx3mXKFjc84LhCkMGZCkRuDpvcMwJeK"
_SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"
_STATEMENT = (
    "ZMART vote\nprogram: 6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw\n"
    f"market: {MARKET}\nkind: proposal\nchoice: like\nwallet: {WALLET}\nissued: 2026-01-15T12:00:00.000Z"
)
_BALLOT = {
    "market_id": MARKET,
    "vote": True,
    "wallet": WALLET,
    "statement": _STATEMENT,
    "signature": _SIGNATURE,
}

BODIES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("post", "/api/markets"): {
        "question": "Will the harbour be frozen in February?",
        "description": "By the harbour master's log.",
        "category": "weather",
        "tags": ["ice"],
        "end_date": "2100-02-28T12:00:00Z",
        "b_parameter": 20_000_000_000,
        "initial_liquidity": 15_000_000_000,
    },
    ("post", "/api/markets/{key}/release"): {"note": "The twelve voters are known to us."},
    ("post", "/api/markets/{key}/resolve"): {
        "outcome": True,
        "evidence": "The harbour master's log, page 12.",
    },
    ("post", "/api/trades/buy"): {"market_id": MARKET, "outcome": True, "max_cost": 1_000_000_000},
    ("post", "/api/trades/sell"): {"market_id": MARKET, "outcome": True, "shares": 500_000_000},
    ("post", "/api/trades/claim"): {"market_id": MARKET},
    ("post", "/api/trades/withdraw"): {"market_id": MARKET},
    ("post", "/api/votes/proposal"): _BALLOT,
    ("post", "/api/votes/dispute"): {
        **_BALLOT,
        "statement": _STATEMENT.replace("proposal", "dispute").replace(": like", ": agree"),
    },
    ("post", "/api/discussions"): {"market_id": MARKET, "content": "It froze in 1963."},
    ("post", "/api/discussions/{key}"): {"content": "It froze in 1963."},
    ("put", "/api/users/{wallet}"): {"display_name": "Ada", "avatar_url": "https://example.com/ada.png"},
    ("post", "/api/auth/nonce"): {"wallet": WALLET},
    ("post", "/api/auth/verify"): {
        "wallet": WALLET,
        "message": "... wants you to sign in ...",
        "signature": _SIGNATURE,
    },
}
