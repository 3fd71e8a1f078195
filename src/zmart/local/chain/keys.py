"""Hold the wallets of this machine's chain: created once, stored in ZMART_HOME/keys, readable by us alone."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from solders.keypair import Keypair

from zmart.chain.wallet import keypair_from_file
from zmart.local.processes import private_folder
from zmart.local.state_files import write_state


class ChainKeys(msgspec.Struct, frozen=True):
    """Hold the keys that act on the local chain. `faucet` pays for airdrops and fees."""

    folder: Path
    admin: Keypair
    backend: Keypair
    fees: Keypair
    faucet: Keypair

    def path(self, name: str) -> Path:
        """Return the file of one key, for BACKEND_KEYPAIR_PATH and ADMIN_KEYPAIR_PATH."""
        return key_path(self.folder, name)


def key_path(folder: Path, name: str) -> Path:
    """Return the file of the key `name` (admin, backend, fees, faucet)."""
    return folder / f"{name}.json"


def load_keys(folder: Path) -> ChainKeys:
    """Load the keys in `folder`; missing ones are created. Raises ConfigError for a file without a key."""
    private_folder(folder)
    names = ("admin", "backend", "fees", "faucet")
    return ChainKeys(folder, *(_load(key_path(folder, name), name) for name in names))


def _load(path: Path, name: str) -> Keypair:
    if not path.exists():
        write_state(path, json.dumps(list(bytes(Keypair()))))
    return keypair_from_file(path, f"The local {name} key")
