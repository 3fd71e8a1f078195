"""Print the gateway's own statements as JSON by name, so that the peers send the same ones to the database.

The script is run by the Python of the measured checkout, since statements belong to their schema.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys

from zmart.store import candles, markets, trades


def statements() -> dict[str, str]:
    newest = markets._listed(
        f"SELECT {markets._COLUMNS}", markets.Filters(), markets.Sort.NEWEST, markets.Page(limit=0)
    )
    return {
        "page": newest[0],
        "one": _one(),
        "exists": markets._EXISTS,
        "trades": trades._OF_MARKET,
        "candles": candles._OF_ID,
    }


def _one() -> str:
    """Return the statement that reads one market, with the terms of its votes where the commit has them."""
    if importlib.util.find_spec("zmart.store.vote_rules") is None:
        return markets._ONE
    if importlib.util.find_spec("zmart.store.market_voting") is None:
        sys.exit(
            "This commit reads a market's votes by statements of their own: run the benchmark of its checkout."
        )
    voting = importlib.import_module("zmart.store.market_voting")
    return f"SELECT {markets._COLUMNS}, {voting.COLUMNS}{markets._FROM}{voting.JOINS} WHERE m.market_id = $1"


if __name__ == "__main__":
    json.dump(statements(), sys.stdout)
