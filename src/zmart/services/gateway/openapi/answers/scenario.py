"""Names and figures of the scenario: a market with b of 20 SOL, in which a wallet has bought YES for 1 SOL."""

from __future__ import annotations

from zmart.market.types import Address, Lamports, MarketId, Shares, Signature, Slot, Wallet
from zmart.services.gateway.openapi.declarations import A_MARKET, A_SIGNATURE, A_WALLET

MARKET = MarketId(A_MARKET)
ADDRESS = Address("6ASf5EcmmEHTgDJ4X4ZT5vT6iHVJBXPg5AN5YoTCpGWt")
POSITION = "8xTdwi5F6f7rRs7GRtwak7txgUEHtbhKF2Xwn7GNs9ES"
CREATOR = Wallet("8pM1DN3RiT8vbom5u1sNryaNT1nyL8CTTW3b5PwWXRBH")
TRADER = Wallet(A_WALLET)
SIGNATURE = Signature(A_SIGNATURE)
PROGRAM = "6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"
QUESTION = "Will the harbour be frozen in February?"
CREATED, APPROVED, ACTIVATED = (f"2026-01-15T{hour}:00:00.000Z" for hour in (12, 13, 14))
TRADED, ENDS = "2026-01-15T14:05:00.000Z", "2026-02-28T12:00:00.000Z"
SLOT = Slot(1_377)
TRANSACTION = (
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAAQABAlyxaAp7IIsFRDJuqZ"
    "sWpit+CJK6C34z3KT4OzYGGpsoAYCWWn6BNR6+qpCtlwLRmXxochZQvRguVp+Jxuvd+JAtcRZCtyawRAFifKn7rDL1yFMPsZA8xNsCJYcXkhpI"
    "gQEBAAgo74qaCCVqbAA="
)
"""A transaction without signatures that TRADER is to sign. Its only instruction, of the program, is shortened."""
NONCE = "5f0c1d9be1a84cbd8c2b3f66d0a4e917"
SESSION = "zs1.eyJ3YWxsZXQiOiI3RXFRZCIsImlkIjoia3EzbSJ9.x0f3Jm9wYk2Qv7Zr1uN5eA"
LAST_VALID_BLOCK_HEIGHT = 1_527
QUESTION_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

B, DEPOSIT = Shares(20_000_000_000), Lamports(15_000_000_000)
SHARES, NO_SHARES = Shares(1_778_649_901), Shares(0)
COST, PAID = Lamports(909_090_909), Lamports(999_999_999)
FEES = {"protocol": 27_272_727, "resolver": 18_181_818, "liquidity_provider": 45_454_545}
PRICE_BEFORE, PRICE_YES, PRICE_NO = "0.500000000", "0.522218482", "0.477781518"
AVERAGE_COST = "0.562224189"
VALUE = Lamports(928_843_851)
LOSS = Lamports(VALUE - PAID)
