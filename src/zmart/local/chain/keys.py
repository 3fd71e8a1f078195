"""The wallets of this machine's chain: made once, kept in ZMART_HOME/keys for us alone."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from solders.keypair import Keypair

from zmart.chain.wallet import keypair_from_file
from zmart.local.processes import private_folder
from zmart.local.state_files import write_state


class Keys(msgspec.Struct, frozen=True):
    """Who acts on the local chain. `faucet` pays for whatever wants paying."""

    folder: Path
    admin: Keypair
    backend: Keypair
    fees: Keypair
    faucet: Keypair

    def path(self, name: str) -> Path:
        """The file of one key, for BACKEND_KEYPAIR_PATH and ADMIN_KEYPAIR_PATH."""
        return key_path(self.folder, name)


def key_path(folder: Path, name: str) -> Path:
    """Where the key `name` (admin, backend, fees, faucet) lives."""
    return folder / f"{name}.json"


def load_keys(folder: Path) -> Keys:
    """The keys in `folder`, made where they are missing. Raises ConfigError when a file holds no key."""
    private_folder(folder)
    names = ("admin", "backend", "fees", "faucet")
    return Keys(folder, *(_load(key_path(folder, name), name) for name in names))


def _load(path: Path, name: str) -> Keypair:
    if not path.exists():
        write_state(path, json.dumps(list(bytes(Keypair()))))
    return keypair_from_file(path, f"The local {name} key")
