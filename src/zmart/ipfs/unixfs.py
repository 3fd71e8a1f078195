"""Build files as IPFS stores them: chunks, dag-pb nodes and the balanced tree that `ipfs add` of Kubo builds.

Version 0 wraps each chunk of 256 KiB in a dag-pb leaf, version 1 has raw leaves. A node has up to 174 links. Source:
specs.ipfs.tech/unixfs and the profiles unixfs-v0-2015 and `ipfs add --cid-version=1` of IPIP-499.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from zmart.ipfs.multiformats import DAG_PB, RAW, Cid, cid_from_binary, read_varint, varint

CHUNK_BYTES = 256 * 1024
LINKS_PER_NODE = 174

_UNIXFS_FILE = 2
_VARINT, _BYTES = 0, 2

BlockSink = Callable[[Cid, bytes], None]


class Dag(msgspec.Struct, frozen=True):
    """A subtree of a file: its root's CID, the size of the file's part in it, and the size of all its blocks."""

    cid: Cid
    file_bytes: int
    dag_bytes: int


class Link(msgspec.Struct, frozen=True):
    """A child of a node; `file_bytes` is the size of the file's part in that child."""

    cid: Cid
    file_bytes: int


class Node(msgspec.Struct, frozen=True):
    """A decoded dag-pb block of a file: its own bytes, then its children in order.

    `file_bytes` is the size of the file's part in the node and its children.
    """

    data: bytes
    links: tuple[Link, ...]
    file_bytes: int


class FileBuilder:
    """Build the DAG of a file piece by piece, in the layout of CID version `version`, 0 or 1.

    Each block is passed to `put` once. Only one chunk and the unfinished nodes are held in memory.
    """

    def __init__(self, version: int, put: BlockSink | None = None) -> None:
        if version not in (0, 1):
            raise ValueError(f"CID version {version} is unknown: 0 or 1")
        self._version = version
        self._put = put
        self._pending = bytearray()
        self._levels: list[list[Dag]] = [[]]

    def write(self, piece: bytes) -> None:
        """Add the next piece of the file."""
        self._pending += piece
        whole = len(self._pending) - len(self._pending) % CHUNK_BYTES
        for start in range(0, whole, CHUNK_BYTES):
            self._push(0, self._leaf(bytes(self._pending[start : start + CHUNK_BYTES])))
        del self._pending[:whole]

    def finish(self) -> Dag:
        """Return the root of the file's DAG; the builder cannot be used afterwards."""
        if self._pending or self._levels == [[]]:
            self._push(0, self._leaf(bytes(self._pending)))
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            children, self._levels[level] = self._levels[level], []
            self._push(level + 1, self._parent(children))
            level += 1
        return self._levels[level][0]

    def _push(self, level: int, child: Dag) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == LINKS_PER_NODE:
            children, self._levels[level] = self._levels[level], []
            self._push(level + 1, self._parent(children))
        self._levels[level].append(child)

    def _leaf(self, chunk: bytes) -> Dag:
        raw = self._version == 1
        block = chunk if raw else _encode_node(_encode_file(chunk, len(chunk), ()), ())
        return self._block(RAW if raw else DAG_PB, block, len(chunk), 0)

    def _parent(self, children: list[Dag]) -> Dag:
        file_bytes = sum(child.file_bytes for child in children)
        data = _encode_file(b"", file_bytes, [child.file_bytes for child in children])
        below = sum(child.dag_bytes for child in children)
        return self._block(DAG_PB, _encode_node(data, children), file_bytes, below)

    def _block(self, codec: int, block: bytes, file_bytes: int, bytes_below: int) -> Dag:
        cid = Cid.of_block(self._version, codec, block)
        if self._put is not None:
            self._put(cid, block)
        return Dag(cid, file_bytes, len(block) + bytes_below)


def decode_node(block: bytes) -> Node:
    """Decode a dag-pb block of a file. Raises ValueError if `block` is anything else."""
    links: list[Cid] = []
    payload = b""
    for field, value in _fields(block):
        if field == 2 and isinstance(value, bytes):
            links.append(_link_target(value))
        elif field == 1 and isinstance(value, bytes):
            payload = value
    data, sizes = _decode_file(payload)
    if len(sizes) != len(links):
        raise ValueError("a node names a size for each child")
    children = tuple(Link(cid, size) for cid, size in zip(links, sizes, strict=True))
    return Node(data, children, len(data) + sum(sizes))


def _link_target(link: bytes) -> Cid:
    for field, value in _fields(link):
        if field == 1 and isinstance(value, bytes):
            return cid_from_binary(value)
    raise ValueError("a link without a target")


def _decode_file(payload: bytes) -> tuple[bytes, list[int]]:
    kind, data, sizes = -1, b"", []
    for field, value in _fields(payload):
        if field == 1 and isinstance(value, int):
            kind = value
        elif field == 2 and isinstance(value, bytes):
            data = value
        elif field == 4 and isinstance(value, int):
            sizes.append(value)
    if kind != _UNIXFS_FILE:
        raise ValueError("not a file")
    return data, sizes


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the (field number, value) pairs of a protobuf message that has varint and bytes fields only."""
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        number, at = read_varint(message, at)
        if key & 7 == _VARINT:
            yield key >> 3, number
        elif key & 7 == _BYTES and at + number <= len(message):
            yield key >> 3, message[at : at + number]
            at += number
        else:
            raise ValueError("a field is cut off or of an unknown kind")


def _encode_file(chunk: bytes, file_bytes: int, child_sizes: list[int] | tuple[int, ...]) -> bytes:
    data = b"\x12" + varint(len(chunk)) + chunk if chunk else b""
    sizes = b"".join(b"\x20" + varint(size) for size in child_sizes)
    return b"\x08\x02" + data + b"\x18" + varint(file_bytes) + sizes


def _encode_node(data: bytes, children: list[Dag] | tuple[Dag, ...]) -> bytes:
    # dag-pb writes its links (field 2) before its data (field 1), and an empty name in each link.
    out = bytearray()
    for child in children:
        target = child.cid.binary
        link = b"\x0a" + varint(len(target)) + target + b"\x12\x00\x18" + varint(child.dag_bytes)
        out += b"\x12" + varint(len(link)) + link
    return bytes(out) + b"\x0a" + varint(len(data)) + data
