"""Load keypairs from a file or a setting.

A keypair is a JSON array of 64 numbers, as the Solana CLI writes it, or base58 of 64 bytes. No error message of this
module contains key material.
"""

from __future__ import annotations

from errno import EFBIG
from pathlib import Path

import base58
import msgspec
from solders.keypair import Keypair

from zmart.bounded_files import read_at_most
from zmart.errors import SettingError
from zmart.market.json_input import JSON_ERRORS
from zmart.settings import Settings

_RULE = "it must hold a JSON array of 64 numbers (as `solana-keygen` writes) or base58 of 64 bytes"
_MAX_FILE_BYTES = 4_096


def keypair_from_text(text: str, name: str) -> Keypair:
    """Parse a keypair. Raises SettingError, whose message names the setting `name`."""
    try:
        raw = bytes(msgspec.json.decode(text, type=list[int])) if text.lstrip()[:1] == "[" else _base58(text)
        if len(raw) != 64:
            raise ValueError
        return Keypair.from_bytes(raw)
    except (*JSON_ERRORS, ValueError):
        # `from None`: the cause's own text can quote the key.
        raise SettingError(f"{name} is not a keypair: {_RULE}.") from None


def keypair_from_file(path: Path, name: str) -> Keypair:
    """Read a keypair from a file of at most 4,096 bytes.

    Raises SettingError, whose message names the setting `name`, if the file cannot be read or holds no keypair.
    """
    try:
        text = read_at_most(path, _MAX_FILE_BYTES).decode("ascii")
    except OSError as error:
        if error.errno == EFBIG:
            raise SettingError(f"{name} names {path}, which is too long for a keypair: {_RULE}.") from None
        raise SettingError(f"{name} names {path}, which cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise SettingError(f"{name} names {path}, which is not a keypair: {_RULE}.") from None
    return keypair_from_text(text.strip(), f"The file {path} of {name}")


def backend_keypair(settings: Settings) -> Keypair:
    """Load the backend authority's key from BACKEND_KEYPAIR_PATH, else from BACKEND_AUTHORITY_PRIVATE_KEY.

    Raises SettingError if neither is set, or if the value is not a keypair.
    """
    if settings.backend_keypair_path:
        return keypair_from_file(settings.backend_keypair_path, "BACKEND_KEYPAIR_PATH")
    secret = settings.backend_authority_private_key.get_secret_value()
    if not secret:
        raise SettingError(
            "No backend key is set; set BACKEND_KEYPAIR_PATH to a keypair file "
            "(or BACKEND_AUTHORITY_PRIVATE_KEY to base58)."
        )
    return keypair_from_text(secret, "BACKEND_AUTHORITY_PRIVATE_KEY")


def admin_keypair(settings: Settings) -> Keypair | None:
    """Load the admin's key if ADMIN_KEYPAIR_PATH is set, else return None. Raises SettingError."""
    if not settings.admin_keypair_path:
        return None
    return keypair_from_file(settings.admin_keypair_path, "ADMIN_KEYPAIR_PATH")


def _base58(text: str) -> bytes:
    if len(text) > 100:
        raise ValueError
    return base58.b58decode(text)
