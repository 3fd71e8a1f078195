"""The gateway's own statements, for peers that are to ask the database the same: printed as JSON by name.

Run by the Python of the checkout that is measured, since statements belong to their schema.
"""

from __future__ import annotations

import json
import sys

from zmart.store import candles, markets, trades


def statements() -> dict[str, str]:
    newest = markets._listed(
        f"SELECT {markets._COLUMNS}", markets.Filters(), markets.Sort.NEWEST, markets.Page(limit=0)
    )
    return {
        "page": newest[0],
        "one": markets._ONE,
        "exists": markets._EXISTS,
        "trades": trades._OF_MARKET,
        "candles": candles._OF_ID,
    }


if __name__ == "__main__":
    json.dump(statements(), sys.stdout)
