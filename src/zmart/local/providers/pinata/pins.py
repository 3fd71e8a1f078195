"""Record which files are pinned. A pin is recorded after its blocks are stored, and ends before they are deleted."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import msgspec
import structlog

from zmart.errors import NotFound, StoreError
from zmart.ipfs.multiformats import parse_cid
from zmart.ipfs.unixfs import CHUNK_BYTES, FileBuilder
from zmart.local.providers import metrics
from zmart.local.providers.journal import DiskMap
from zmart.local.providers.pinata import dags
from zmart.local.providers.pinata.blocks import BlockStore
from zmart.market.times import now_iso

Network = Literal["public", "private"]
NETWORKS: tuple[Network, ...] = ("public", "private")
MAX_UNPINNED = 1_000
_log = structlog.get_logger(__name__)


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata that an uploader gave to a file: name, media type, network, and own key-value pairs."""

    name: str
    mime: str
    network: Network
    keyvalues: Mapping[str, str | int | float] = {}


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is pinned, or was pinned until `unpinned_at`. Times are in ISO 8601.

    `file_bytes` is the size of the file, `dag_bytes` that of all its blocks.
    """

    id: str
    cid: str
    label: Label
    file_bytes: int
    dag_bytes: int
    pinned_at: str
    unpinned_at: str | None = None


class PinStore:
    """Store pins and blocks below `folder`. Not thread-safe.

    The constructor deletes blocks without a pin, which a crash may have left, and all but the newest 1,000 records of
    unpinned files. Raises StoreError.
    """

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.blocks = {network: BlockStore(folder / "blocks" / network) for network in NETWORKS}
        self._journal = DiskMap(folder / "pins.jsonl", Pin)
        self._forget_old()
        self._by_cid = {(pin.label.network, pin.cid): pin.id for pin in self._all() if not pin.unpinned_at}
        for network, blocks in self.blocks.items():
            with self._unless_damaged():
                blocks.keep_only(self._digests(self.pinned(network)))
            self._count(network)

    def pin(self, file: IO[bytes], version: int, label: Label) -> tuple[Pin, bool]:
        """Pin a file with a CID of `version`; return the pin, and whether it was already pinned. Raises StoreError."""
        blocks = self.blocks[label.network]
        builder = FileBuilder(version, blocks.put)
        while piece := file.read(CHUNK_BYTES):
            builder.write(piece)
        dag = builder.finish()
        blocks.sync()
        if (existing := self.find(label.network, cid=str(dag.cid))) is not None:
            return existing, True
        pin = Pin(
            id=str(uuid.uuid4()),
            cid=str(dag.cid),
            label=label,
            file_bytes=dag.file_bytes,
            dag_bytes=dag.dag_bytes,
            pinned_at=now_iso(),
        )
        self._journal.put(pin.id, pin)
        self._by_cid[label.network, pin.cid] = pin.id
        self._count(label.network)
        return pin, False

    def unpin(self, pin: Pin) -> None:
        """Remove a pin and its blocks, except blocks that another pin needs. Raises StoreError."""
        network = pin.label.network
        self._journal.put(pin.id, msgspec.structs.replace(pin, unpinned_at=now_iso()))
        del self._by_cid[network, pin.cid]
        with self._unless_damaged():
            needed = self._digests(self.pinned(network))
            self.blocks[network].delete(self._digests([pin]) - needed)
        self._count(network)

    def find(self, network: Network, *, cid: str = "", pin_id: str = "") -> Pin | None:
        """Return the pinned file with that CID or that id; None if it is not pinned now."""
        pin = self._journal.values.get(pin_id or self._by_cid.get((network, cid), ""))
        return pin if pin and pin.label.network == network and not pin.unpinned_at else None

    def pinned(self, network: Network) -> list[Pin]:
        """Return the files of a network that are pinned now, the oldest first."""
        return [pin for pin in self._all() if pin.label.network == network and not pin.unpinned_at]

    def history(self, network: Network) -> list[Pin]:
        """Return the pinned and the unpinned files of a network, the newest first."""
        return [pin for pin in reversed(self._all()) if pin.label.network == network]

    def close(self) -> None:
        """Close the file with the pins."""
        self._journal.close()

    def _all(self) -> list[Pin]:
        return list(self._journal.values.values())

    def _digests(self, pins: Iterable[Pin]) -> set[bytes]:
        return {
            digest
            for pin in pins
            for digest in dags.digests(self.blocks[pin.label.network], parse_cid(pin.cid), pin.file_bytes)
        }

    def _forget_old(self) -> None:
        unpinned = [pin.id for pin in self._all() if pin.unpinned_at]
        for pin_id in unpinned[:-MAX_UNPINNED]:
            self._journal.drop(pin_id)

    @contextmanager
    def _unless_damaged(self) -> Iterator[None]:
        """Log a warning if a stored block cannot be read while superfluous blocks are being deleted.

        The blocks to which it links are unknown then, so no block is deleted.
        """
        try:
            yield
        except (NotFound, StoreError, ValueError) as problem:
            _log.warning("unreferenced blocks not deleted", reason=str(problem))

    def _count(self, network: Network) -> None:
        pins = self.pinned(network)
        metrics.PINS.labels(network).set(len(pins))
        metrics.PINNED_BYTES.labels(network).set(sum(pin.file_bytes for pin in pins))
