"""Compute the settings that the local stack gives its services, under their names in the environment.

A setting in the environment or in `.env` takes precedence: if it names a server, the stack does not start its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from zmart.local.chain.keys import key_path
from zmart.local.local_secrets import LocalSecrets
from zmart.settings import Settings

# A tick every two seconds instead of every few minutes: a user who tries the stack should not have to wait.
QUICK_CRON = "* * * * * */2"
# All clients on one machine share an address, and the demo has twelve users at once.
ONE_ADDRESS = "100000"


class EmbeddedParts(msgspec.Struct, frozen=True, kw_only=True):
    """The servers that the stack starts itself: True for each that is embedded."""

    postgres: bool
    valkey: bool
    chain: bool
    pinata: bool
    helius: bool

    @property
    def providers(self) -> bool:
        """Return whether the process of the stand-ins for Pinata and Helius is needed."""
        return self.pinata or self.helius


def parts_of(settings: Settings) -> EmbeddedParts:
    """Return which servers are embedded: those whose address or credentials no setting names.

    The stand-in for Helius also needs the local chain.
    """
    chain = not settings.rpc_urls
    return EmbeddedParts(
        postgres=not settings.database_url.get_secret_value(),
        valkey=not settings.redis_url.get_secret_value(),
        chain=chain,
        pinata=not (settings.pinata_jwt.get_secret_value() or settings.pinata_api_key.get_secret_value()),
        helius=chain and not settings.helius_api_key.get_secret_value(),
    )


def environment(
    settings: Settings,
    parts: EmbeddedParts,
    ports: Mapping[str, int],
    secrets: LocalSecrets,
    *,
    database_url: str,
    redis_url: str,
) -> dict[str, str]:
    """Return the environment of the services of a stack with these embedded parts.

    It holds the stack's own values for settings that the user has not set, and always ZMART_HOME, all ports, and a
    HOLD_DECISIONS that is true.
    """
    home = settings.zmart_home.resolve()
    defaults = {
        "zmart_env": "local",
        "operator_token": secrets.operator_token,
        "auth_token_secret": secrets.auth_token_secret,
        "aggregator_cron": QUICK_CRON,
        "monitor_cron": QUICK_CRON,
        "indexer_scan_interval_s": "1",
        **{
            f"rate_limit_{policy}": ONE_ADDRESS
            for policy in ("reads", "writes", "votes", "comments", "nonce")
        },
        **(_chain(home, ports) if parts.chain else {}),
        **({"database_url": database_url} if parts.postgres else {}),
        **({"redis_url": redis_url} if parts.valkey else {}),
        **(_pinata(ports, secrets) if parts.pinata else {}),
        **(_helius(ports, secrets) if parts.helius else {}),
    }
    new = {name: value for name, value in defaults.items() if name not in settings.model_fields_set}
    # Recorded even if the user has set it: a rollback starts the stack held, from whatever shell.
    held = {"hold_decisions": "true"} if settings.hold_decisions else {}
    given = {**{name: str(port) for name, port in ports.items()}, **held}
    return {name.upper(): value for name, value in {**new, **given, "zmart_home": str(home)}.items()}


def _chain(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    keys = home / "keys"
    return {
        "solana_rpc_url": f"http://127.0.0.1:{ports['local_chain_rpc_port']}",
        "solana_ws_url": f"ws://127.0.0.1:{ports['local_chain_ws_port']}",
        "backend_keypair_path": str(key_path(keys, "backend")),
        "admin_keypair_path": str(key_path(keys, "admin")),
    }


def _pinata(ports: Mapping[str, int], secrets: LocalSecrets) -> dict[str, str]:
    address = f"http://127.0.0.1:{ports['local_providers_port']}"
    return {
        "pinata_api_url": address,
        "pinata_jwt": secrets.pinata_jwt,
        "ipfs_gateway_url": address,
    }


def _helius(ports: Mapping[str, int], secrets: LocalSecrets) -> dict[str, str]:
    return {
        "helius_api_url": f"http://127.0.0.1:{ports['local_providers_port']}",
        "helius_api_key": secrets.helius_api_key,
        "helius_webhook_secret": secrets.helius_webhook_secret,
        "helius_check_interval_s": "30",  # requests to the stand-in cost nothing
    }
