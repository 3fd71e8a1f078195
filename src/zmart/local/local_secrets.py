"""What the local stack's parts show each other: random, made once, kept in ZMART_HOME/keys for us alone."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from zmart.local.processes import private_folder, write_private


class LocalSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """Under the names of the settings that they fill."""

    operator_token: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    auth_token_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(48))
    helius_webhook_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    helius_api_key: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(16))
    pinata_jwt: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))


def load_secrets(folder: Path) -> LocalSecrets:
    """The secrets in `folder`; those that are missing are made."""
    path = private_folder(folder) / "secrets.json"
    known = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    found = msgspec.convert(known, LocalSecrets)
    write_private(path, msgspec.json.encode(found).decode())
    return found
