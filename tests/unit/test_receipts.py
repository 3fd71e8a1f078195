"""Vote receipts are valid only with the signature of the backend authority."""

from __future__ import annotations

import msgspec
from solders.keypair import Keypair

from zmart.market.types import Address, MarketId, Wallet
from zmart.proofs.receipts import VoteReceipt, receipt_holds, sign_receipt

AUTHORITY = Keypair.from_seed(b"a" * 32)
RECEIPT = VoteReceipt(
    program=Address("6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"),
    market_id=MarketId("cd" * 32),
    index=4,
    leaf_hash="11" * 32,
    tree_size=5,
    root="22" * 32,
)


def test_a_signed_receipt_holds_for_its_authority_alone() -> None:
    signed = sign_receipt(RECEIPT, AUTHORITY)
    assert receipt_holds(signed, Wallet(str(AUTHORITY.pubkey())))
    assert not receipt_holds(signed, Wallet(str(Keypair.from_seed(b"b" * 32).pubkey())))


def test_a_changed_receipt_does_not_hold() -> None:
    signed = sign_receipt(RECEIPT, AUTHORITY)
    changes = (
        {"index": 3},
        {"tree_size": 6},
        {"root": "33" * 32},
        {"leaf_hash": "44" * 32},
        {"rule": "staked;1"},
    )
    for change in changes:
        changed = msgspec.structs.replace(signed, **change)
        assert not receipt_holds(changed, Wallet(str(AUTHORITY.pubkey())))


def test_without_the_key_a_receipt_is_unsigned_and_proves_nothing() -> None:
    unsigned = sign_receipt(RECEIPT, None)
    assert unsigned.signature is None
    assert not receipt_holds(unsigned, Wallet(str(AUTHORITY.pubkey())))


def test_the_rule_is_signed_and_open_changes_nothing_of_the_text() -> None:
    assert len(RECEIPT.text().splitlines()) == 7
    ruled = msgspec.structs.replace(RECEIPT, rule="staked;50000000")
    assert ruled.text() == f"{RECEIPT.text()}\nrule: staked;50000000"
    loosened = msgspec.structs.replace(sign_receipt(ruled, AUTHORITY), rule="open")
    assert not receipt_holds(loosened, Wallet(str(AUTHORITY.pubkey())))
