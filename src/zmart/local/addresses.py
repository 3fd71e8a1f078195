"""Find the local stack: commands use the addresses that it recorded unless their own settings name others.

`zmart up` writes ZMART_HOME/run/stack.json; its "environment" object holds exactly the settings that the stack gives
to its services (DATABASE_URL, REDIS_URL, SOLANA_RPC_URL, ports, key paths ...), under their names in the environment.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from zmart.local.state_files import DamagedState
from zmart.market.json_input import JSON_ERRORS
from zmart.settings import Settings, load_settings, settings


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the part of stack.json that other commands read."""

    environment: dict[str, str] = {}


def stack_file(home: Path) -> Path:
    """Return the path of stack.json in the ZMART_HOME `home`."""
    return home / "run" / "stack.json"


def recorded_environment(home: Path) -> dict[str, str]:
    """Return the settings that the stack of `home` gave to its services; empty if none was started. Raises DamagedState
    if stack.json cannot be read."""
    path = stack_file(home)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackFile).environment
    except FileNotFoundError:
        return {}
    except (*JSON_ERRORS, OSError) as problem:
        raise DamagedState(
            f"{path} cannot be read ({problem}), so the database is unknown: `zmart up` writes the file again, "
            "or set DATABASE_URL and the other addresses."
        ) from None


def stack_settings() -> Settings:
    """Return the settings of this process, completed by those that the local stack gave to its services.

    A setting in the environment or in `.env` takes precedence over the stack's; a port that is set to 0 counts as not
    set. If DATABASE_URL is set and the stack has an embedded database, all of the stack's settings are ignored, so that
    no command mixes the two. Raises DamagedState if stack.json cannot be read, and SettingError.
    """
    own = settings()
    environment = recorded_environment(own.zmart_home)
    is_other_database = own.database_url.get_secret_value() and "DATABASE_URL" in environment
    if not environment or is_other_database:
        return own
    given = {name.lower(): value for name, value in environment.items()}
    return load_settings(**{name: value for name, value in given.items() if not _is_chosen(own, name)})


def _is_chosen(own: Settings, name: str) -> bool:
    is_any_port = name.endswith("_port") and getattr(own, name, None) == 0
    return name in own.model_fields_set and not is_any_port


def database_url() -> str:
    """Return DATABASE_URL, or the address of the local stack's database. Raises ConfigError if there is neither."""
    return stack_settings().require("database_url")
