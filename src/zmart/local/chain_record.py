"""Record to which chain the content of the embedded database belongs, so that it never mixes two chains."""

from __future__ import annotations

import asyncio
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.state_files import DamagedState, read_state, write_state
from zmart.market.identifiers import ADDRESS_FORM, is_address
from zmart.store.index_progress import recorded_genesis


def keep_to_one_chain(database_url: str, record: Path, here: str) -> None:
    """Check that the database belongs to the chain whose genesis hash is `here`, and record that hash in a file.

    The genesis hash in the database decides. The file `record` counts only while nothing is indexed yet, and only if it
    is not damaged. Raises ConfigError if the database holds another chain's history, and StoreError if the database
    cannot be read. Nothing is deleted in either case.
    """
    there = asyncio.run(recorded_genesis(database_url)) or _read(record)
    if there is not None and there != here:
        raise ConfigError(
            f"The database in {record.parent} holds the votes, comments and markets of the chain {there}; the chain "
            f"that runs here is another one, {here}: its folder was removed, emptied or exchanged. Nothing was "
            "deleted. Put that chain's folder back, or set DATABASE_URL to another database; `zmart up --fresh` "
            "forgets both and starts over."
        )
    if _read(record) != here:
        write_state(record, here)


def _read(record: Path) -> str | None:
    """Return the genesis hash in the file; None if the file is missing, empty or damaged."""
    try:
        text = read_state(record, ADDRESS_FORM, "the database is asked instead")
    except DamagedState:
        return None
    return text if text is not None and is_address(text) else None
