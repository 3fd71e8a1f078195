"""CIDs that zmart computes equal those that Kubo and Pinata compute for the same content."""

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from aleph_cid import CidHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of, cid_of_stream, parse_cid, same_file
from zmart.ipfs.multiformats import DAG_PB, read_varint, varint
from zmart.ipfs.unixfs import CHUNK_BYTES, FileBuilder, decode_node

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cid_vectors.json").read_text())["vectors"]
PROFILES = {"kubo-v0": 0, "kubo-v1-raw": 1}


def content_of(generator: dict) -> bytes:
    if generator["kind"] == "literal":
        return generator["utf8"].encode()
    if generator["kind"] == "zeros":
        return bytes(generator["length"])
    length, seed = generator["length"], generator["seed"]
    digests = (hashlib.sha256(f"{seed}:{n}".encode()).digest() for n in range(-(-length // 32)))
    return b"".join(digests)[:length]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_every_reference_vector_gives_its_cid_and_its_dag_size(vector):
    data = content_of(vector["generator"])
    assert hashlib.sha256(data).hexdigest() == vector["sha256"]
    for profile, version in PROFILES.items():
        builder = FileBuilder(version)
        builder.write(data)
        dag = builder.finish()
        assert str(dag.cid) == vector["cids"][profile]
        assert dag.dag_bytes == vector["dag_size"][profile]
        assert dag.file_bytes == len(data)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3 * CHUNK_BYTES), st.integers(0, 255))
def test_any_file_has_the_cid_that_an_independent_implementation_gives(length, filler):
    data = bytes([filler]) * length
    for version, oracle in enumerate((CidHasher.for_ipfs(), CidHasher.for_ipfs_v1_raw_leaves())):
        oracle.update(data)
        assert cid_of(data, version) == oracle.finalize()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=200_000), max_size=6), st.sampled_from([0, 1]))
def test_the_cid_does_not_depend_on_how_a_file_is_cut_into_pieces(pieces, version):
    assert cid_of_stream(pieces, version) == cid_of(b"".join(pieces), version)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 3 * CHUNK_BYTES), st.sampled_from([0, 1]))
def test_the_blocks_of_a_file_give_back_its_bytes(length, version):
    data = hashlib.shake_128(str(length).encode()).digest(length)
    blocks = {}
    builder = FileBuilder(version, lambda cid, block: blocks.__setitem__(cid, block))
    builder.write(data)

    def read(cid):
        assert cid.matches(blocks[cid])
        if cid.codec != DAG_PB:
            return blocks[cid]
        node = decode_node(blocks[cid])
        return node.data + b"".join(read(link.cid) for link in node.links)

    assert read(builder.finish().cid) == data


@given(st.binary(max_size=100), st.sampled_from([0, 1]))
def test_a_cid_survives_parsing(data, version):
    text = cid_of(data, version)
    assert str(parse_cid(text)) == text
    assert same_file(text, data)
    assert not same_file(text, data + b"!")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Qm",
        "QmWfVY9y3xjsixTgbd9AorQxH7VtMpzfx2HaWtsoUYecaY"[:-1],
        "QmWfVY9y3xjsixTgbd9AorQxH7VtMpzfx2HaWtsoUYeca0",
        "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeQ",
        "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yer",
        "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",
        "../../etc/passwd",
        "b" + "a" * 10_000,
    ],
)
def test_what_is_no_canonical_cid_is_refused(text):
    with pytest.raises(Invalid):
        parse_cid(text)


@given(st.text(max_size=70))
def test_parsing_any_text_either_gives_a_cid_or_says_invalid(text):
    with contextlib.suppress(Invalid):
        assert str(parse_cid(text)) == text


@given(st.binary(max_size=300))
def test_decoding_any_block_either_gives_a_node_or_says_so(block):
    with contextlib.suppress(ValueError):
        node = decode_node(block)
        assert node.file_bytes >= len(node.data)


@given(st.integers(0, 2**63 - 1))
def test_varints_come_back(number):
    assert read_varint(varint(number), 0) == (number, len(varint(number)))
