"""Store IPFS blocks on disk: each in a file that is named after its SHA-256 and checked on every read."""

from __future__ import annotations

from pathlib import Path

from zmart.errors import NotFound, StoreError
from zmart.ipfs.multiformats import Cid
from zmart.local.state_files import sync_folder, write_synced


class BlockStore:
    """Store the blocks of one network below `folder`. CIDs of version 0 and 1 of the same bytes share a block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsynced: set[Path] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, cid: Cid, block: bytes) -> None:
        """Store `block`, unless it is already stored and not damaged. It survives a crash only after `sync`.

        Raises StoreError.
        """
        path = self._path(cid.digest)
        if path.exists() and cid.matches(path.read_bytes()):
            return
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            self._unsynced.add(self._folder)
        write_synced(path, block)
        self._unsynced.add(path.parent)

    def sync(self) -> None:
        """Sync the folders of new blocks, so that all blocks stored so far survive a crash."""
        while self._unsynced:
            sync_folder(self._unsynced.pop())

    def get(self, cid: Cid) -> bytes:
        """Return a block. Raises NotFound, or StoreError if the stored bytes do not match the CID."""
        try:
            block = self._path(cid.digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{cid} is not here.") from None
        if not cid.matches(block):
            raise StoreError(f"The stored block of {cid} is damaged; pin the file again to repair it.")
        return block

    def delete(self, digests: set[bytes]) -> None:
        """Delete the blocks with these SHA-256 digests; missing ones are ignored."""
        for digest in digests:
            self._path(digest).unlink(missing_ok=True)

    def keep_only(self, digests: set[bytes]) -> int:
        """Delete all files except the blocks with these digests, also drafts left by a crash. Returns how many."""
        names = {digest.hex() for digest in digests}
        superfluous = [path for path in self._folder.glob("*/*") if path.name not in names]
        for path in superfluous:
            path.unlink()
        return len(superfluous)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / name[:2] / name
