"""Create and load the random secrets of the local stack's parts, which are stored in ZMART_HOME/keys."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from zmart.local.processes import private_folder
from zmart.local.state_files import DamagedState, write_state
from zmart.market.json_input import JSON_ERRORS


class LocalSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of the local stack; each field is named like the setting that it fills."""

    operator_token: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    auth_token_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(48))
    helius_webhook_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    helius_api_key: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(16))
    pinata_jwt: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))


def load_secrets(folder: Path) -> LocalSecrets:
    """Load the secrets in `folder`, and create missing ones. Raises DamagedState for an unreadable file, StoreError."""
    path = private_folder(folder) / "secrets.json"
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    except (*JSON_ERRORS, OSError) as problem:
        raise DamagedState(
            f"{path} cannot be read ({problem}). Restore it from a backup, or remove it: then new ones are created, "
            "sessions end, and webhooks that were registered with the old secret are refused."
        ) from None
    secrets_now = msgspec.convert(stored, LocalSecrets)
    if msgspec.to_builtins(secrets_now) != stored:
        write_state(path, msgspec.json.encode(secrets_now))
    return secrets_now
