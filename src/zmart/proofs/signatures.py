"""Check whether a wallet signed a text: as raw bytes, or in one of Solana's off-chain message envelopes.

Layouts: docs.anza.xyz/proposals/off-chain-message-signing (version 0, with application domain and signers), the shorter
header of version 0 that `solana sign-offchain-message` and hardware wallets write (version, format, length), and
version 1 as @solana/offchain-messages encodes it (version, signers).
"""

from __future__ import annotations

from collections.abc import Iterator

from solders.pubkey import Pubkey
from solders.signature import Signature

from zmart.errors import Unauthenticated
from zmart.market.encodings import read_signature
from zmart.market.types import Wallet

_DOMAIN = b"\xffsolana offchain"
_FORMATS = (b"\1", b"\0", b"\2")
"""The formats of a message in version 0: short UTF-8 (a text with line feeds), ASCII, UTF-8 of any length.

Some wallets name ASCII also for a text with line feeds.
"""
_MAX_TEXT_BYTES = 65_535


def require_signature(wallet: Wallet, text: str, signature: str, application: str = "") -> str:
    """Return a wallet's signature over `text` in base58; `signature` is in base58, base64 or hex.

    Raises Unauthenticated if it is in none of these, or is not the wallet's. `application` as in `signed_text`.
    """
    read = read_signature(signature)
    if not signed_text(wallet, text, read, application):
        raise Unauthenticated(f"The signature is not that of {wallet[:44]} over this text.")
    return read


def signed_text(wallet: Wallet, text: str, signature: str, application: str = "") -> bool:
    """Return whether `signature` (base58) is the wallet's over `text`, as raw bytes or in an off-chain envelope.

    `application` is an address that is accepted as the application domain of an envelope; the zero domain is always
    accepted. Return False for a wallet or signature that does not decode.
    """
    try:
        key, sealed = Pubkey.from_string(wallet), Signature.from_string(signature)
        domains = [bytes(32)] + ([bytes(Pubkey.from_string(application))] if application else [])
    except ValueError:
        return False
    return any(sealed.verify(key, message) for message in _messages(text.encode(), bytes(key), domains))


def _messages(raw: bytes, signer: bytes, applications: list[bytes]) -> Iterator[bytes]:
    yield raw
    if len(raw) > _MAX_TEXT_BYTES:
        return
    signers, length = b"\1" + signer, len(raw).to_bytes(2, "little")
    yield _DOMAIN + b"\1" + signers + raw
    for form in _FORMATS:
        yield _DOMAIN + b"\0" + form + length + raw
        for application in applications:
            yield _DOMAIN + b"\0" + application + form + signers + length + raw
