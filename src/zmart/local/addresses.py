"""Where the running local stack is: commands use its addresses when no setting names others.

`zmart up` writes ZMART_HOME/run/stack.json; its "environment" object holds exactly the settings that the stack gives
to its services (DATABASE_URL, REDIS_URL, SOLANA_RPC_URL, ports, key paths ...), under their names in the environment.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from zmart.settings import Settings, load_settings, settings


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """What of stack.json the other commands read."""

    environment: dict[str, str] = {}


def stack_file(home: Path) -> Path:
    return home / "run" / "stack.json"


def stack_settings() -> Settings:
    """The settings of this process, completed by those of the local stack where DATABASE_URL is not set.

    The environment wins over the file, so that one value can be changed for one command.
    """
    own = settings()
    path = stack_file(own.zmart_home)
    if own.database_url.get_secret_value() or not path.exists():
        return own
    environment = msgspec.json.decode(path.read_bytes(), type=StackFile).environment
    given = {name.lower(): value for name, value in environment.items() if name not in os.environ}
    return load_settings(**given)


def database_url() -> str:
    """DATABASE_URL, or the local stack's; ConfigError when there is neither."""
    return stack_settings().require("database_url")
