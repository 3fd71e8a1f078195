"""Compute the append-only Merkle tree of RFC 6962: roots, inclusion proofs and consistency proofs.

A log stores the hashes of all complete subtrees, so that appending and proving read O(log n) of them. First
`complete_subtrees` or `nodes_of` names the nodes that are needed, then the caller reads these, then a function computes
the result from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

EMPTY_ROOT = sha256().digest()


class MerkleNode(NamedTuple):
    """A complete subtree of 2^level leaves, the first of which is leaf number * 2^level."""

    level: int
    number: int


Span = tuple[int, int]
"""The leaves from `start` (included) to `end` (excluded).

`start` is a multiple of the span's size rounded up to a power of 2.
"""

Nodes = Mapping[MerkleNode, bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf hash of an entry (RFC 6962, section 2.1)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with these children (RFC 6962, section 2.1)."""
    return sha256(b"\1" + left + right).digest()


def complete_subtrees(start: int, end: int) -> list[MerkleNode]:
    """Return the complete subtrees that make up a span, from left to right."""
    nodes: list[MerkleNode] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(MerkleNode(level, start >> level))
        start += 1 << level
    return nodes


def span_hash(start: int, end: int, known: Nodes) -> bytes:
    """Return the Merkle tree hash of a span from the hashes of its complete subtrees."""
    hashes = [known[node] for node in complete_subtrees(start, end)]
    if not hashes:
        return EMPTY_ROOT
    result = hashes.pop()
    while hashes:
        result = node_hash(hashes.pop(), result)
    return result


def root(size: int, known: Nodes) -> bytes:
    """Return the root of the first `size` leaves; `known` holds the hashes of complete_subtrees(0, size)."""
    return span_hash(0, size, known)


def append(size: int, leaves: Sequence[bytes], known: Nodes) -> dict[MerkleNode, bytes]:
    """Return the nodes that new leaves, given as hashes, add to a log of `size` leaves, with their hashes.

    `known` holds the hashes of complete_subtrees(0, size).
    """
    added: dict[MerkleNode, bytes] = {}
    for position, leaf in enumerate(leaves, start=size):
        node, value = MerkleNode(0, position), leaf
        added[node] = value
        while node.number & 1:
            sibling = MerkleNode(node.level, node.number - 1)
            value = node_hash(added[sibling] if sibling in added else known[sibling], value)
            node = MerkleNode(node.level + 1, node.number >> 1)
            added[node] = value
    return added


def roots_at(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """Return the roots that a log of these leaves, given as hashes, had at `sizes`, by size.

    It takes one pass and O(log n) memory.
    """
    requested, peaks = set(sizes), list[tuple[int, bytes]]()
    roots = {0: EMPTY_ROOT} if 0 in requested else {}
    for size, leaf in enumerate(leaves, start=1):
        level, value = 0, leaf
        while peaks and peaks[-1][0] == level:
            level, value = level + 1, node_hash(peaks.pop()[1], value)
        peaks.append((level, value))
        if size in requested:
            roots[size] = _joined(peaks)
    return roots


def _joined(peaks: Sequence[tuple[int, bytes]]) -> bytes:
    result = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        result = node_hash(left, result)
    return result


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes are the audit path PATH(index, D[size]) of RFC 6962, section 2.1.1.

    It requires 0 <= index < size.
    """
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old_size: int, size: int) -> list[Span]:
    """Return the spans whose hashes are the consistency proof PROOF(old_size, D[size]) of RFC 6962, section 2.1.2.

    It requires 0 < old_size <= size.
    """
    spans: list[Span] = []
    start, end, whole = 0, size, True
    while old_size < end:
        middle = start + _split(end - start)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start, whole = middle, False
    if not whole:
        spans.append((start, end))
    return spans[::-1]


def nodes_of(spans: Iterable[Span]) -> set[MerkleNode]:
    """Return the stored nodes that a proof over these spans needs."""
    return {node for start, end in spans for node in complete_subtrees(start, end)}


def proof(spans: Iterable[Span], known: Nodes) -> list[bytes]:
    """Return the hashes of a proof; `nodes_of(spans)` names the nodes from which they are computed."""
    return [span_hash(start, end, known) for start, end in spans]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Return whether the leaf, a hash, is number `index` of the log with this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, value = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = node_hash(step, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, step)
        position, last = position >> 1, last >> 1
    return last == 0 and value == expected_root


def verify_consistency(
    old_size: int, size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Return whether the log with `new_root` begins with the log that had `old_root` (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= size:
        return old_size == 0 and old_root == EMPTY_ROOT and not path
    if old_size == size:
        return not path and old_root == new_root
    steps = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not steps:
        return False
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_value = new_value = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_value, new_value = node_hash(step, old_value), node_hash(step, new_value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_value = node_hash(new_value, step)
        position, last = position >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
