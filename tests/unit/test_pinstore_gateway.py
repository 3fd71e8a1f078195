"""The local IPFS gateway serves whole files, ranges, blocks and CARs, and checks each before it is sent."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.pinstore import CHUNK, content, pin_store
from zmart.ipfs.cid import cid_of
from zmart.ipfs.multiformats import cid_from_binary, parse_cid, read_varint

LARGE = content(3 * CHUNK + 1_000)


@pytest.fixture
async def pins(tmp_path):
    async with pin_store(tmp_path) as client:
        yield client


@pytest.fixture
async def large(pins):
    return (await pins.pin(LARGE, 0))["IpfsHash"]


async def test_a_file_is_immutable_and_says_so(pins, large):
    answer = await pins.get(large)
    assert answer.content == LARGE
    assert answer.headers["cache-control"] == "public, max-age=29030400, immutable"
    assert answer.headers["etag"] == f'"{large}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-ipfs-path"] == f"/ipfs/{large}"
    assert answer.headers["content-length"] == str(len(LARGE))


async def test_head_says_the_same_without_the_bytes(pins, large):
    head, get = await pins.http.head(f"/ipfs/{large}"), await pins.get(large)
    assert head.headers == get.headers
    assert head.content == b""


@pytest.mark.parametrize("tag", ['"{cid}"', 'W/"{cid}"', '"other", "{cid}"', "*"])
async def test_who_has_it_already_gets_no_bytes(pins, large, tag):
    answer = await pins.get(large, **{"if-none-match": tag.format(cid=large)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert (await pins.get(large, **{"if-none-match": '"other"'})).status_code == 200


async def test_what_is_not_here_is_404_even_for_who_has_it(pins):
    cid = cid_of(b"never pinned", 1)
    assert (await pins.get(cid, **{"if-none-match": f'"{cid}"'})).status_code == 404


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, len(LARGE) + 10), length=st.integers(1, 2 * CHUNK))
async def test_any_range_is_that_part(pins, large, first, length):
    last = first + length - 1
    answer = await pins.get(large, range=f"bytes={first}-{last}")
    if first >= len(LARGE):
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(LARGE)}"
        return
    assert answer.status_code == 206
    assert answer.content == LARGE[first : last + 1]
    last = min(last, len(LARGE) - 1)
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(LARGE)}"


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=-1000", LARGE[-1000:]), ("bytes=5-", LARGE[5:]), (f"bytes=-{10**9}", LARGE)],
)
async def test_open_ranges(pins, large, asked, part):
    answer = await pins.get(large, range=asked)
    assert (answer.status_code, answer.content) == (206, part)


@pytest.mark.parametrize("asked", ["bytes=1-2,4-5", "bytes=9-3", "lines=1-2", "bytes=-", "bytes=a-b"])
async def test_what_is_no_single_range_gets_the_whole(pins, large, asked):
    answer = await pins.get(large, range=asked)
    assert (answer.status_code, answer.content) == (200, LARGE)


async def test_a_range_of_another_file_gets_the_whole(pins, large):
    assert (await pins.get(large, range="bytes=0-1", **{"if-range": '"other"'})).status_code == 200
    assert (await pins.get(large, range="bytes=0-1", **{"if-range": f'"{large}"'})).status_code == 206


async def test_an_empty_file_has_no_ranges(pins):
    cid = (await pins.pin(b""))["IpfsHash"]
    assert (await pins.get(cid)).content == b""
    assert (await pins.get(cid, range="bytes=0-0")).status_code == 416
    assert (await pins.get(cid, range="bytes=-5")).status_code == 416


async def test_a_block_can_be_had_as_it_is(pins, large):
    by_query = await pins.http.get(f"/ipfs/{large}?format=raw")
    by_header = await pins.get(large, accept="application/vnd.ipld.raw")
    assert by_query.content == by_header.content
    assert parse_cid(large).matches(by_query.content)
    assert by_query.headers["content-type"] == "application/vnd.ipld.raw"
    assert by_query.headers["etag"] == f'"{large}.raw"'


def blocks_of(car: bytes):
    """Return the root CID and the blocks, as (CID, bytes), of a CARv1."""
    length, at = read_varint(car, 0)
    header = car[at : at + length]
    root = cid_from_binary(header[header.index(b"\x2a\x58") + 4 :][:34])
    blocks, at = [], at + length
    while at < len(car):
        length, at = read_varint(car, at)
        size = 34 if car[at : at + 2] == b"\x12\x20" else 36
        blocks.append((cid_from_binary(car[at : at + size]), car[at + size : at + length]))
        at += length
    return root, blocks


@pytest.mark.parametrize(
    "asked", [{"params": {"format": "car"}}, {"headers": {"accept": "application/vnd.ipld.car"}}]
)
async def test_a_car_holds_every_block_once(pins, asked):
    twice = LARGE[:CHUNK] * 2 + LARGE[CHUNK:]
    cid = (await pins.pin(twice, 0))["IpfsHash"]
    answer = await pins.http.get(f"/ipfs/{cid}", **asked)
    root, blocks = blocks_of(answer.content)
    assert str(root) == cid
    assert str(blocks[0][0]) == cid
    assert all(each.matches(block) for each, block in blocks)
    assert len(blocks) == len({each.binary for each, _ in blocks}) == 5
    assert answer.headers["etag"] == f'W/"{cid}.car"'


async def test_the_same_bytes_answer_to_both_versions_of_their_cid(pins):
    cid = (await pins.pin(LARGE, 0))["IpfsHash"]
    newer = "b" + base64.b32encode(b"\x01\x70" + parse_cid(cid).binary).decode().lower().rstrip("=")
    assert (await pins.get(newer)).content == LARGE


@pytest.mark.parametrize(
    "path", ["x", "", "../pins.jsonl", "%2e%2e%2fpins.jsonl", "bafy", "Qm" + "1" * 44, "a/b"]
)
async def test_what_is_no_cid_is_refused(pins, path):
    assert (await pins.http.get(f"/ipfs/{path}")).status_code in (400, 404)


async def test_an_unknown_format_and_another_method_are_refused(pins, large):
    assert (await pins.http.get(f"/ipfs/{large}?format=tar")).status_code == 400
    assert (await pins.http.delete(f"/ipfs/{large}")).status_code == 405


async def test_a_raw_block_asked_for_as_a_file_of_nodes_is_refused(pins):
    cid = parse_cid((await pins.pin(b"raw leaf"))["IpfsHash"])
    node = type(cid)(1, 0x70, cid.digest)
    assert (await pins.get(str(node))).status_code == 422


async def test_the_type_that_the_uploader_gave_is_kept_if_it_is_one(pins):
    for given_type, stored in (
        ("text/plain", "text/plain"),
        ("x\r\nset-cookie: a=b", "application/octet-stream"),
    ):
        data = given_type.encode()
        body = (
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\ncontent-type: '
            + given_type.encode().replace(b"\r\n", b" ")
            + b"\r\n\r\n"
            + data
            + b"\r\n--b--\r\n"
        )
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = await pins.http.post("/pinning/pinFileToIPFS", content=body, headers=headers)
        cid = answer.json()["IpfsHash"]
        assert (await pins.get(cid)).headers["content-type"] == stored
