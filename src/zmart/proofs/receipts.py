"""The receipt of an accepted vote: the head of the log after it, signed by the backend authority.

With it a voter can prove later that an entry was removed from the log or changed. Format: docs/votes.md.
"""

from __future__ import annotations

import msgspec
from solders.keypair import Keypair

from zmart.market.types import Address, MarketId, Wallet
from zmart.proofs.signatures import signed_text


class VoteReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the receipt of a vote: its `index` and `leaf_hash` in the log, and the log's head with it in, `tree_size`
    and `root` (hex). `rule`: who may vote. `authority` and `signature` are None where this process does not hold the
    backend authority's key."""

    program: Address
    market_id: MarketId
    index: int
    leaf_hash: str
    tree_size: int
    root: str
    rule: str = "open"
    authority: Wallet | None = None
    signature: str | None = None

    def text(self) -> str:
        """The text that the backend authority signs; it contains the rule unless that is `open`."""
        rule = "" if self.rule == "open" else f"\nrule: {self.rule}"
        return (
            f"ZMART vote receipt\nprogram: {self.program}\nmarket: {self.market_id}\nindex: {self.index}\n"
            f"leaf: {self.leaf_hash}\nsize: {self.tree_size}\nroot: {self.root}{rule}"
        )


def sign_receipt(receipt: VoteReceipt, authority: Keypair | None) -> VoteReceipt:
    """Return the receipt with the authority's signature over its text."""
    if authority is None:
        return receipt
    return msgspec.structs.replace(
        receipt,
        authority=Wallet(str(authority.pubkey())),
        signature=str(authority.sign_message(receipt.text().encode())),
    )


def receipt_holds(receipt: VoteReceipt, authority: Wallet) -> bool:
    """Return whether the backend authority that GlobalConfig names signed this receipt."""
    return receipt.signature is not None and signed_text(authority, receipt.text(), receipt.signature)
