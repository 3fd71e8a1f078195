"""Read a UnixFS file from its blocks: its size, a range of its bytes, its blocks in order, or a CAR of them."""

from __future__ import annotations

from collections.abc import Iterator

from zmart.ipfs.multiformats import RAW, Cid, varint
from zmart.ipfs.unixfs import CHUNK_BYTES, decode_node
from zmart.local.providers.pinata.blocks import BlockStore


def file_bytes(blocks: BlockStore, cid: Cid) -> int:
    """Return the size of a file in bytes, read from its root block.

    Raises NotFound, StoreError, and ValueError if the block is not a file's.
    """
    block = blocks.get(cid)
    return len(block) if cid.codec == RAW else decode_node(block).file_bytes


def file_range(blocks: BlockStore, cid: Cid, start: int, stop: int) -> Iterator[bytes]:
    """Yield a file's bytes from `start` up to, but without, `stop`. Blocks outside of that range are not read."""
    block = blocks.get(cid)
    if cid.codec == RAW:
        yield block[start:stop]
        return
    node = decode_node(block)
    if own := node.data[start:stop]:
        yield own
    at = len(node.data)
    for link in node.links:
        if at < stop and start < at + link.file_bytes:
            yield from file_range(blocks, link.cid, max(start - at, 0), min(stop - at, link.file_bytes))
        at += link.file_bytes


def walk(blocks: BlockStore, cid: Cid) -> Iterator[tuple[Cid, bytes]]:
    """Yield the CID and the bytes of every block of a file, depth first; a block that occurs twice is yielded twice."""
    block = blocks.get(cid)
    yield cid, block
    if cid.codec != RAW:
        for link in decode_node(block).links:
            yield from walk(blocks, link.cid)


def digests(blocks: BlockStore, cid: Cid, size_bytes: int) -> Iterator[bytes]:
    """Yield the SHA-256 digests of all blocks of a file with `size_bytes` bytes. Only blocks with links are read."""
    yield cid.digest
    if size_bytes > CHUNK_BYTES and cid.codec != RAW:
        for link in decode_node(blocks.get(cid)).links:
            yield from digests(blocks, link.cid, link.file_bytes)


def car(blocks: BlockStore, root: Cid) -> Iterator[bytes]:
    """Yield the pieces of a CARv1 (ipld.io/specs/transport/car/carv1): a header, then each block once, depth first."""
    link = b"\xd8\x2a\x58" + bytes([len(root.binary) + 1]) + b"\x00" + root.binary
    header = b"\xa2\x65roots\x81" + link + b"\x67version\x01"
    yield varint(len(header)) + header
    seen: set[bytes] = set()
    for cid, block in walk(blocks, root):
        if cid.binary not in seen:
            seen.add(cid.binary)
            yield varint(len(cid.binary) + len(block)) + cid.binary + block
