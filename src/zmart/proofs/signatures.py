"""Check whether a wallet signed a text: as raw bytes, or in one of Solana's off-chain message envelopes, version 0.

Layouts: docs.anza.xyz/proposals/off-chain-message-signing (with application domain and signers), and the shorter header
that `solana sign-offchain-message` and hardware wallets write (version, format, length).
"""

from __future__ import annotations

from collections.abc import Iterator

from solders.pubkey import Pubkey
from solders.signature import Signature

from zmart.market.types import Wallet

_DOMAIN = b"\xffsolana offchain"
_VERSION = b"\0"
_FORMATS = (b"\1", b"\0")  # UTF-8 as wallets show line feeds; plain ASCII, which some claim nevertheless


def signed_text(wallet: Wallet, text: str, signature: str, application: str = "") -> bool:
    """Return whether `signature` (base58) is the wallet's over `text`. `application` is an address that is accepted as
    the envelope's domain besides the empty one. Returns False for anything that does not decode."""
    try:
        key, sealed = Pubkey.from_string(wallet), Signature.from_string(signature)
        domains = [bytes(32)] + ([bytes(Pubkey.from_string(application))] if application else [])
    except ValueError:
        return False
    return any(sealed.verify(key, message) for message in _messages(text.encode(), bytes(key), domains))


def _messages(raw: bytes, signer: bytes, applications: list[bytes]) -> Iterator[bytes]:
    yield raw
    length = len(raw).to_bytes(2, "little")
    for form in _FORMATS:
        yield _DOMAIN + _VERSION + form + length + raw
        for application in applications:
            yield _DOMAIN + _VERSION + application + form + b"\1" + signer + length + raw
