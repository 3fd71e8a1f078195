"""Record which chain's history the embedded database holds, so that two chains are never mixed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.state_files import DamagedState, read_state, write_state
from zmart.market.identifiers import ADDRESS_FORM, is_address
from zmart.store.index_progress import recorded_genesis


def keep_to_one_chain(database_url: str, record: Path, here: str) -> None:
    """Check that the database belongs to the chain whose genesis hash is `here`.

    Raises ConfigError if it holds another chain's history, and StoreError if that cannot be determined; nothing is
    deleted in either case. The database decides. The file `record` counts only while nothing is indexed yet, and only
    if it is whole.
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
    """Return the recorded hash; None also for a damaged or empty file."""
    try:
        text = read_state(record, ADDRESS_FORM, "the database is asked instead")
    except DamagedState:
        return None
    return text if text is not None and is_address(text) else None
