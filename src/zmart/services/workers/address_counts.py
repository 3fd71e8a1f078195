"""Count the connections of each client address over all workers of a service, in memory that the workers share.

The shared table has a row for each worker, which only that worker writes, and a column for each group of addresses with
the same hash. To admit a connection, a worker adds up the rows. The key of the hash is random, so nobody can choose
addresses that share a column with a victim's.
"""

from __future__ import annotations

import hashlib
import mmap
from collections import Counter

from zmart.services.workers.slot import WorkerSlot

_COLUMNS = 65_536
_KEY_BYTES = 32
_CELL_BYTES = 4
_FILE = "addresses"


class AddressCounts:
    """Count connections by client address: with a `slot` over all workers, otherwise in this process alone."""

    def __init__(self, slot: WorkerSlot | None = None) -> None:
        self._own: Counter[str] = Counter()
        self._others: list[memoryview] = []
        self._row: memoryview | None = None
        if slot is not None:
            self._key, rows = _opened(slot)
            self._row = rows.pop(slot.number - 1)
            self._others = rows
            self._row[:] = memoryview(bytes(_COLUMNS * _CELL_BYTES)).cast(
                "I"
            )  # the connections of an earlier process in this slot have ended

    def __getitem__(self, address: str) -> int:
        """Return how many connections an address has.

        With several workers, connections of another address with the same hash at other workers count, too.
        """
        column = self._column(address)
        return self._own[address] + sum(row[column] for row in self._others)

    def add(self, address: str) -> None:
        """Count a new connection of an address."""
        self._own[address] += 1
        if self._row is not None:
            self._row[self._column(address)] += 1

    def remove(self, address: str) -> None:
        """Stop counting a connection of an address that has ended."""
        self._own[address] -= 1
        if not self._own[address]:
            del self._own[address]
        if self._row is not None:
            self._row[self._column(address)] -= 1

    def _column(self, address: str) -> int:
        if self._row is None:
            return 0
        digest = hashlib.blake2b(address.encode(), digest_size=4, key=self._key).digest()
        return int.from_bytes(digest, "big") % _COLUMNS


def create_table(slot: WorkerSlot) -> None:
    """Make the shared table; the parent process does so before any worker starts."""
    import secrets

    size = _KEY_BYTES + slot.workers * _COLUMNS * _CELL_BYTES
    with (slot.folder / _FILE).open("wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.truncate(size)


def clear_row(slot: WorkerSlot) -> None:
    """Set all counts of a worker that has ended to zero."""
    _, rows = _opened(slot)
    rows[slot.number - 1][:] = memoryview(bytes(_COLUMNS * _CELL_BYTES)).cast("I")


def _opened(slot: WorkerSlot) -> tuple[bytes, list[memoryview]]:
    with (slot.folder / _FILE).open("r+b") as file:
        table = memoryview(mmap.mmap(file.fileno(), 0))
    size = _COLUMNS * _CELL_BYTES
    starts = range(_KEY_BYTES, _KEY_BYTES + slot.workers * size, size)
    return bytes(table[:_KEY_BYTES]), [table[start : start + size].cast("I") for start in starts]
