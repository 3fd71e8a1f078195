"""The gateway's own statements, for peers that are to ask the database the same: printed as JSON by name.

Run by the Python of the checkout that is measured, since statements belong to their schema.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys

from zmart.store import candles, markets, trades

_VOTING = {"vote_rules": ("vote_rules", "_OF_MARKET"), "dispute_review": ("dispute_reviews", "_FIND")}
"""What one market is answered with besides; older commits have not all of it, and do not ask."""


def statements() -> dict[str, str]:
    newest = markets._listed(
        f"SELECT {markets._COLUMNS}", markets.Filters(), markets.Sort.NEWEST, markets.Page(limit=0)
    )
    statements = {
        "page": newest[0],
        "one": markets._ONE,
        "exists": markets._EXISTS,
        "trades": trades._OF_MARKET,
        "candles": candles._OF_ID,
    }
    for name, (module, constant) in _VOTING.items():
        if importlib.util.find_spec(f"zmart.store.{module}") is not None:
            statements[name] = getattr(importlib.import_module(f"zmart.store.{module}"), constant)
    return statements


if __name__ == "__main__":
    json.dump(statements(), sys.stdout)
