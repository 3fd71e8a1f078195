"""Create and load the keys of the local chain's wallets. They are stored in ZMART_HOME/keys, for this user alone."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from solders.keypair import Keypair

from zmart.chain.wallet import keypair_from_file
from zmart.local.processes import private_folder
from zmart.local.state_files import write_state


class ChainKeys(msgspec.Struct, frozen=True):
    """The keys of the local chain: the admin and backend of GlobalConfig, the wallet for protocol fees, the faucet.

    `folder` is where they are stored.
    """

    folder: Path
    admin: Keypair
    backend: Keypair
    fees: Keypair
    faucet: Keypair

    def path(self, name: str) -> Path:
        """Return the file of the key `name`: admin, backend, fees or faucet."""
        return key_path(self.folder, name)


def key_path(folder: Path, name: str) -> Path:
    """Return the file in `folder` of the key `name`: admin, backend, fees or faucet."""
    return folder / f"{name}.json"


def load_keys(folder: Path) -> ChainKeys:
    """Load the keys in `folder`, and create missing ones. Raises ConfigError for a file without a key, StoreError."""
    private_folder(folder)
    names = ("admin", "backend", "fees", "faucet")
    return ChainKeys(folder, *(_load(key_path(folder, name), name) for name in names))


def _load(path: Path, name: str) -> Keypair:
    if not path.exists():
        write_state(path, json.dumps(list(bytes(Keypair()))))
    return keypair_from_file(path, f"The local {name} key")
