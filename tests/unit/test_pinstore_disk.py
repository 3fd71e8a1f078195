"""Files of the pin store survive a crash of its process, and damaged files are noticed."""

from __future__ import annotations

import resource
import signal

import pytest

from kit.pinstore import CHUNK, block_files, content, pin_store
from zmart.errors import StoreError
from zmart.ipfs.multiformats import parse_cid
from zmart.local.providers.journal import DiskMap


def block_path(home, cid):
    name = parse_cid(cid).digest.hex()
    return home / "pins" / "blocks" / "public" / name[:2] / name


async def test_another_process_on_the_same_folder_has_the_same_pins(tmp_path):
    data = content(3 * CHUNK)
    async with pin_store(tmp_path) as pins:
        first = await pins.pin(data, name="kept", keyvalues={"n": 1})
        gone = (await pins.pin(b"gone"))["IpfsHash"]
        await pins.unpin(gone)
        before = await pins.listed()
    async with pin_store(tmp_path) as pins:
        assert await pins.listed() == before
        assert (await pins.get(first["IpfsHash"])).content == data
        assert (await pins.get(gone)).status_code == 404
        assert (await pins.pin(data))["isDuplicate"]


async def test_blocks_that_no_pin_names_are_cleared_at_the_start(tmp_path):
    async with pin_store(tmp_path) as pins:
        await pins.pin(content(2 * CHUNK))
        stored = block_files(tmp_path)
    folder = block_path(tmp_path, "bafkreidgspmmjne3ihjhiygw7bdobbdqslw4q66izg7drsptn4yojrbwty").parent
    folder.mkdir(exist_ok=True)
    (folder / ("ab" * 32)).write_bytes(b"of an upload that was cut off")
    (folder / ("cd" * 32 + ".draft")).write_bytes(b"of a block that was cut off")
    async with pin_store(tmp_path):
        assert block_files(tmp_path) == stored


async def test_a_damaged_block_is_not_served_and_a_new_pin_repairs_it(tmp_path):
    async with pin_store(tmp_path) as pins:
        cid = (await pins.pin(b"as it was"))["IpfsHash"]
        block_path(tmp_path, cid).write_bytes(b"as it is not")
        answer = await pins.get(cid)
        assert answer.status_code == 500
        assert "damaged" in answer.json()["error"]
        assert (await pins.pin(b"as it was"))["isDuplicate"]
        assert (await pins.get(cid)).content == b"as it was"


async def test_an_answer_breaks_off_where_damage_begins(tmp_path):
    data = content(3 * CHUNK)
    async with pin_store(tmp_path) as pins:
        cid = (await pins.pin(data))["IpfsHash"]
        leaf = (await pins.pin(data[CHUNK : 2 * CHUNK]))["IpfsHash"]
        block_path(tmp_path, leaf).write_bytes(b"damaged")
        with pytest.raises(StoreError, match="damaged"):
            await pins.get(cid)


async def test_a_damaged_node_keeps_the_store_from_clearing_but_not_from_starting(tmp_path):
    async with pin_store(tmp_path) as pins:
        cid = (await pins.pin(content(3 * CHUNK)))["IpfsHash"]
        other = (await pins.pin(b"other"))["IpfsHash"]
    files = block_files(tmp_path)
    block_path(tmp_path, cid).write_bytes(b"damaged")
    async with pin_store(tmp_path) as pins:
        assert block_files(tmp_path) == files
        assert (await pins.unpin(other)).status_code == 200
        assert (await pins.get(other)).status_code == 200  # kept, since the damaged node may refer to it
        assert (await pins.unpin(cid)).status_code == 200


def test_a_line_that_a_crash_cut_off_is_forgotten(tmp_path):
    path = tmp_path / "journal"
    journal = DiskMap(path, int)
    journal.put("a", 1)
    journal.put("b", 2)
    journal.drop("a")
    journal.close()
    whole = path.read_bytes()
    for truncated in range(len(whole)):
        path.write_bytes(whole[:truncated])
        journal = DiskMap(path, int)
        lines = whole[:truncated].count(b"\n")
        assert journal.values == [{}, {"a": 1}, {"a": 1, "b": 2}][lines]
        journal.put("c", 3)
        journal.close()
        journal = DiskMap(path, int)
        assert journal.values["c"] == 3
        journal.close()


def test_damage_elsewhere_in_the_journal_is_said(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b'["a",1]\nnonsense\n["b",2]\n')
    with pytest.raises(StoreError, match="line 2"):
        DiskMap(path, int)


def test_a_journal_of_many_changes_is_made_short(tmp_path):
    path = tmp_path / "journal"
    journal = DiskMap(path, int)
    for n in range(300):
        journal.put("a", n)
    journal.close()
    journal = DiskMap(path, int)
    assert journal.values == {"a": 299}
    assert path.read_bytes() == b'["a",299]\n'
    journal.close()


def test_a_change_that_the_disk_cut_short_is_refused_and_the_next_one_counts(tmp_path):
    """C15: a change of which the disk takes only a part is refused, and the next change is stored correctly."""
    path = tmp_path / "map"
    journal = DiskMap(path, int)
    journal.put("before", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
    try:
        for _ in range(2):
            with pytest.raises(StoreError, match="is the disk full"):
                journal.put("during", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    journal.put("after", 3)
    assert journal.values == {"before": 1, "after": 3}
    journal.close()
    assert DiskMap(path, int).values == {"before": 1, "after": 3}
