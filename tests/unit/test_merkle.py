"""The Merkle log equals the reference tree of certificate-transparency, and the recursion of RFC 6962."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.proofs import merkle
from zmart.proofs.merkle import MerkleNode

# From cpp/merkletree/merkle_tree_test.cc of certificate-transparency: eight entries, their roots and paths.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


class Log:
    """A Merkle log with its nodes in memory, in place of the database."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.size = 0
        self.nodes: dict[MerkleNode, bytes] = {}
        for leaf in leaves:
            self.extend([leaf])

    def extend(self, leaves: list[bytes]) -> None:
        frontier = {node: self.nodes[node] for node in merkle.complete_subtrees(0, self.size)}
        self.nodes |= merkle.append(self.size, leaves, frontier)
        self.size += len(leaves)

    def root(self, size: int | None = None) -> bytes:
        return merkle.root(self.size if size is None else size, self.nodes)

    def proof(self, spans: list[merkle.Span]) -> list[bytes]:
        return merkle.proof(spans, {node: self.nodes[node] for node in merkle.nodes_of(spans)})


def plain_root(leaves: list[bytes]) -> bytes:
    """Return the root of the leaves, computed exactly as MTH in section 2.1 of RFC 6962."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(plain_root(leaves[:split]), plain_root(leaves[split:]))


REFERENCE = Log([merkle.leaf_hash(entry) for entry in ENTRIES])
SIZES = st.integers(1, 130)


def numbered(size: int) -> list[bytes]:
    return [merkle.leaf_hash(str(n).encode()) for n in range(size)]


def test_the_roots_of_the_reference_tree() -> None:
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [REFERENCE.root(size).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_the_audit_paths_of_the_reference_tree(index: int, size: int) -> None:
    path = REFERENCE.proof(merkle.inclusion_spans(index, size))
    assert [step.hex() for step in path] == PATHS[index, size]
    leaf = merkle.leaf_hash(ENTRIES[index])
    assert merkle.verify_inclusion(leaf, index, size, path, REFERENCE.root(size))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_the_consistency_proofs_of_the_reference_tree(old: int, new: int) -> None:
    path = REFERENCE.proof(merkle.consistency_spans(old, new))
    assert [step.hex() for step in path] == CONSISTENCY[old, new]
    assert merkle.verify_consistency(old, new, REFERENCE.root(old), REFERENCE.root(new), path)


@given(st.lists(st.integers(0, 9), max_size=12))
def test_the_root_does_not_depend_on_how_entries_were_grouped(groups: list[int]) -> None:
    leaves = numbered(sum(groups))
    log = Log([])
    for group in groups:
        log.extend(leaves[log.size : log.size + group])
    assert log.root() == plain_root(leaves)
    assert log.nodes == Log(leaves).nodes


@given(SIZES, st.data())
def test_every_leaf_proves_its_place_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    log = Log(leaves)
    index = data.draw(st.integers(0, size - 1))
    spans = merkle.inclusion_spans(index, size)
    path = log.proof(spans)
    assert len(merkle.nodes_of(spans)) <= 2 * size.bit_length()
    assert merkle.verify_inclusion(leaves[index], index, size, path, log.root())
    other = data.draw(st.integers(0, size - 1))
    assert merkle.verify_inclusion(leaves[other], index, size, path, log.root()) is (other == index)
    assert merkle.verify_inclusion(leaves[index], other, size, path, log.root()) is (other == index)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*path, leaves[0]], log.root())


@given(SIZES, st.data())
def test_every_head_proves_that_it_extends_an_older_one(size: int, data: st.DataObject) -> None:
    log = Log(numbered(size))
    old = data.draw(st.integers(1, size))
    path = log.proof(merkle.consistency_spans(old, size))
    assert merkle.verify_consistency(old, size, log.root(old), log.root(), path)
    forged = merkle.leaf_hash(b"forged")
    assert not merkle.verify_consistency(old, size, forged, log.root(), path)
    assert not merkle.verify_consistency(old, size, log.root(old), forged, path)
    if path:
        assert not merkle.verify_consistency(old, size, log.root(old), log.root(), path[:-1])


def test_the_empty_log_is_the_beginning_of_every_log() -> None:
    assert merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, REFERENCE.root(), [])
    assert not merkle.verify_consistency(0, 8, REFERENCE.root(), REFERENCE.root(), [])
    assert not merkle.verify_consistency(9, 8, REFERENCE.root(), REFERENCE.root(), [])
    assert not merkle.verify_inclusion(merkle.leaf_hash(b""), 0, 0, [], merkle.EMPTY_ROOT)
