"""Hooks of schemathesis: values for the formats of the description, so that generated ids and wallets often exist."""

import os
import re

import schemathesis
from hypothesis import strategies as st
from solders.signature import Signature

from kit.wallets import address, market_id
from zmart.market import text_input

UNSEEN = re.compile(f"[{text_input._INVISIBLE_BEYOND_FFFF}]")
ids = [*filter(None, os.environ.get("MARKETS_ON_CHAIN", "").split()), *(market_id(n) for n in range(1, 9))]
wallets = [address(number) for number in range(1, 9)]
times = ["2026-01-15T12:00:00Z", "2026-01-15T12:02:00", "1768478400000", "2026-01-16"]

schemathesis.openapi.format("market-key", st.sampled_from(ids))
schemathesis.openapi.format("address", st.sampled_from(wallets))
schemathesis.openapi.format("signature", st.just(str(Signature.default())))
schemathesis.openapi.format("moment", st.sampled_from(times))
schemathesis.openapi.format("end-date", st.sampled_from(["2100-01-01", "2099-12-31T23:59:59.999Z"]))
schemathesis.openapi.format("cursor", st.just(""))


@schemathesis.hook
def filter_body(context: object, body: object) -> bool:
    """Return false for bodies with a text of only invisible characters, at least one of them beyond U+FFFF, or with too
    many combining marks on one character.

    The published patterns cannot say either (market/text_input.py), so they allow texts that are refused.
    """
    values = body.values() if isinstance(body, dict) else ()
    return not any(
        isinstance(value, str) and (_is_hidden(value) or text_input._first_beyond_stack(value) is not None)
        for value in values
    )


def _is_hidden(text: str) -> bool:
    return bool(UNSEEN.search(text)) and not text_input._unseen.sub("", text).strip()
