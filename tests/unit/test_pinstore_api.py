"""The local pin store answers as Pinata's documentation says, and checks credentials and requests strictly."""

from __future__ import annotations

import json

import pytest

from kit.pinstore import KEYS, block_files, content, pin_store
from zmart.ipfs.cid import cid_of


@pytest.fixture
async def pins(tmp_path):
    async with pin_store(tmp_path) as client:
        yield client


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("size", [0, 11, 256 * 1024, 256 * 1024 + 1, 3 * 256 * 1024 + 5])
async def test_the_cid_is_the_one_that_kubo_gives(pins, version, size):
    data = content(size)
    answer = await pins.pin(data, version)
    assert answer["IpfsHash"] == cid_of(data, version)
    assert (await pins.get(answer["IpfsHash"])).content == data


async def test_a_second_pin_of_a_file_is_the_first_one(pins):
    first = await pins.pin(b"same")
    second_result = await pins.pin(b"same")
    assert "isDuplicate" not in first
    assert second_result == first | {"isDuplicate": True}
    assert (await pins.listed())["count"] == 1


async def test_the_default_of_the_legacy_api_is_version_0(pins):
    answer = await pins.http.post("/pinning/pinFileToIPFS", files={"file": ("x", b"x")})
    assert answer.json()["IpfsHash"] == cid_of(b"x", 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer another"},
        {"authorization": "Basic a-jwt"},
        {"authorization": "", **KEYS, "pinata_api_key": "another"},
        {"authorization": "", **KEYS, "pinata_secret_api_key": ""},
    ],
)
async def test_wrong_credentials_open_nothing(pins, headers):
    legacy = await pins.http.get("/data/testAuthentication", headers=headers)
    assert legacy.status_code == 401
    assert legacy.json()["error"]["reason"] == "INVALID_CREDENTIALS"
    newer = await pins.http.get("/v3/files/public", headers=headers)
    assert newer.status_code == 401
    assert newer.json()["error"]["code"] == 401


async def test_a_key_pair_opens_as_well_as_a_jwt(pins):
    for headers in ({}, {"authorization": "", **KEYS}):
        answer = await pins.http.get("/data/testAuthentication", headers=headers)
        assert answer.status_code == 200
        assert "Congratulations" in answer.json()["message"]


async def test_without_credentials_in_the_settings_nobody_is_let_in(tmp_path):
    from zmart.local.providers.http import HttpRequest
    from zmart.local.providers.pinata.credentials import PinataCredentials
    from zmart.settings import Settings

    scope = {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer "), (b"pinata_api_key", b"")],
    }
    assert not PinataCredentials(Settings(_env_file=None)).allow(HttpRequest(scope, None))


async def test_unpinning_twice_says_that_it_is_not_pinned(pins):
    cid = (await pins.pin(b"gone soon"))["IpfsHash"]
    first, second = await pins.unpin(cid), await pins.unpin(cid)
    assert (first.status_code, first.text) == (200, "OK")
    assert second.status_code == 400
    assert second.json()["error"]["reason"] == "CURRENT_USER_HAS_NOT_PINNED_CID"


async def test_what_is_not_pinned_any_more_is_not_served_and_not_kept(pins, tmp_path):
    cid = (await pins.pin(content(600_000)))["IpfsHash"]
    assert len(block_files(tmp_path)) == 4
    await pins.unpin(cid)
    assert (await pins.get(cid)).status_code == 404
    assert not block_files(tmp_path)


async def test_a_block_that_another_pin_needs_stays(pins):
    shared = content(256 * 1024)
    small = (await pins.pin(shared))["IpfsHash"]
    large = (await pins.pin(shared + b"more"))["IpfsHash"]
    await pins.unpin(small)
    assert (await pins.get(large)).content == shared + b"more"
    await pins.unpin(large)
    assert (await pins.get(small)).status_code == 404


async def test_the_list_filters_counts_and_pages(pins):
    cids = [(await pins.pin(b"%d" % n, name=f"file {n}"))["IpfsHash"] for n in range(12)]
    await pins.unpin(cids[3])
    assert [row["ipfs_pin_hash"] for row in (await pins.listed())["rows"]] == cids[:1:-1]
    assert (await pins.listed())["count"] == 12
    assert (await pins.listed(status="pinned"))["count"] == 11
    [row] = (await pins.listed(status="unpinned"))["rows"]
    assert row["ipfs_pin_hash"] == cids[3]
    assert row["date_unpinned"] >= row["date_pinned"]
    [row] = (await pins.listed(hashContains=cids[5][4:40]))["rows"]
    assert row["metadata"] == {"name": "file 5", "keyvalues": {}}
    page = await pins.listed(pageLimit=5, pageOffset=10, includeCount="false")
    assert [row["ipfs_pin_hash"] for row in page["rows"]] == cids[1::-1]
    assert "count" not in page


@pytest.mark.parametrize(
    "query", ["pageLimit=0", "pageLimit=1001", "pageOffset=-1", "status=lost", "pageLimit=x", "typo=1"]
)
async def test_a_wrong_query_is_refused(pins, query):
    answer = await pins.http.get(f"/data/pinList?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


BOUNDARY = b"--b\r\n"
PART = b'content-disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"no form", "multipart/form-data; boundary=b"),
        (b"{}", "application/json"),
        (BOUNDARY + PART + b"--b--", "multipart/form-data"),
        (BOUNDARY + PART, "multipart/form-data; boundary=b"),
        (BOUNDARY + PART[:40], "multipart/form-data; boundary=b"),
        (BOUNDARY + PART + BOUNDARY + PART + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (BOUNDARY + PART.replace(b'"file"', b'"other"') + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (BOUNDARY + PART.replace(b'; filename="f"', b"") + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
async def test_a_bad_form_is_refused_and_leaves_nothing(pins, tmp_path, body, kind):
    for path in ("/pinning/pinFileToIPFS", "/v3/files"):
        answer = await pins.http.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
    assert not block_files(tmp_path)
    assert not list((tmp_path / "pins" / "incoming").iterdir())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pinataOptions", '{"cidVersion": 2}'),
        ("pinataOptions", '{"wrapWithDirectory": true}'),
        ("pinataOptions", "[" * 50_000),
        ("pinataOptions", "{"),
        ("pinataMetadata", '{"name": 5}'),
        ("pinataMetadata", json.dumps({"name": "n" * 256})),
        ("pinataMetadata", json.dumps({"keyvalues": {"k": ["nested"]}})),
        ("pinataMetadata", json.dumps({"keyvalues": {str(n): "v" for n in range(11)}})),
        ("pinataMetadata", json.dumps({"keyvalues": {"k": "v" * 256}})),
        ("pinataMetadata", json.dumps({"keyvalues": {"k": "v" * 65_536}})),
    ],
)
async def test_wrong_options_are_refused(pins, field, value):
    answer = await pins.http.post("/pinning/pinFileToIPFS", files={"file": ("x", b"x")}, data={field: value})
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(pins):
    pins.executor.file_max_bytes = pins.executor.frame_max_bytes = 1_000
    for size in (1_001, 3_000):
        answer = await pins.http.post("/pinning/pinFileToIPFS", files={"file": ("x", bytes(size))})
        assert answer.status_code in (400, 413)
    assert (await pins.listed())["count"] == 0


async def test_v3_keeps_a_file_private_unless_told_otherwise(pins):
    private = await pins.upload(b"secret")
    assert private["network"] == "private"
    assert private["cid"] == cid_of(b"secret", 1)
    assert (await pins.get(private["cid"])).status_code == 404
    public = await pins.upload(b"secret", network="public", name="told", keyvalues='{"a": "b"}')
    assert (public["name"], public["keyvalues"]) == ("told", {"a": "b"})
    assert (await pins.get(public["cid"])).content == b"secret"
    assert (await pins.listed())["count"] == 1


async def test_v3_lists_pages_and_deletes_by_id(pins):
    files = [await pins.upload(b"%d" % n, network="public", cid_version="v0") for n in range(3)]
    url = "/v3/files/public"
    first = (await pins.http.get(url, params={"limit": 2})).json()["data"]
    rest = (await pins.http.get(url, params={"limit": 2, "pageToken": first["next_page_token"]})).json()[
        "data"
    ]
    assert first["files"] + rest["files"] == files[::-1]
    assert rest["next_page_token"] == ""
    assert (await pins.http.get(url, params={"cid": files[1]["cid"]})).json()["data"]["files"] == [files[1]]
    one = f"{url}/{files[1]['id']}"
    assert (await pins.http.get(one)).json()["data"] == files[1]
    assert (await pins.http.delete(f"/v3/files/private/{files[1]['id']}")).status_code == 404
    assert (await pins.http.delete(one)).json() == {"data": None}
    assert (await pins.http.delete(one)).status_code == 404
    assert (await pins.get(files[1]["cid"])).status_code == 404


async def test_v3_says_when_a_file_was_there_already(pins):
    first = await pins.upload(b"twice")
    assert await pins.upload(b"twice") == first | {"is_duplicate": True}


@pytest.mark.parametrize(
    "fields", [{"network": "both"}, {"cid_version": "v2"}, {"keyvalues": '{"a": 1}'}, {"group_id": "g"}]
)
async def test_v3_refuses_what_it_does_not_know(pins, fields):
    answer = await pins.http.post("/v3/files", files={"file": ("x", b"x")}, data=fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


async def test_what_is_not_here_is_said_with_what_is(pins):
    for path in ("/", "/v0/webhooks", "/pinning/pinJSONToIPFS", "/v3/nothing"):
        answer = await pins.http.post(path)
        assert answer.status_code == 404
        assert answer.json()["error"]
