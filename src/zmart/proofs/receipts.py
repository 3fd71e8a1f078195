"""Make and check the receipt of an accepted vote: the head of the log with the vote, signed by the backend authority.

With it a voter can prove later that an entry of the log was removed or changed. Format: docs/votes.md.
"""

from __future__ import annotations

import msgspec
from solders.keypair import Keypair

from zmart.market.types import Address, MarketId, Wallet
from zmart.proofs.signatures import signed_text


class VoteReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt of a vote.

    `index` and `leaf_hash` locate its entry in the log. `tree_size` and `root` are the log's head with that entry.
    Hashes are in hex. `rule` says who may vote. `authority` and `signature` are None if the process that accepted the
    vote does not hold the backend authority's key.
    """

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
        """Return the text that the backend authority signs; it contains the rule unless that is `open`."""
        rule = "" if self.rule == "open" else f"\nrule: {self.rule}"
        return (
            f"ZMART vote receipt\nprogram: {self.program}\nmarket: {self.market_id}\nindex: {self.index}\n"
            f"leaf: {self.leaf_hash}\nsize: {self.tree_size}\nroot: {self.root}{rule}"
        )


def sign_receipt(receipt: VoteReceipt, authority: Keypair | None) -> VoteReceipt:
    """Return the receipt with the authority's signature over its text; unchanged without an authority's key."""
    if authority is None:
        return receipt
    return msgspec.structs.replace(
        receipt,
        authority=Wallet(str(authority.pubkey())),
        signature=str(authority.sign_message(receipt.text().encode())),
    )


def receipt_holds(receipt: VoteReceipt, authority: Wallet) -> bool:
    """Return whether `authority`, the backend authority that GlobalConfig names, signed the receipt."""
    return receipt.signature is not None and signed_text(authority, receipt.text(), receipt.signature)
