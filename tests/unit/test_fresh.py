"""`zmart up --fresh` deletes a stack's data, but neither its backups nor the lock of the running start."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmart.errors import ConfigError
from zmart.local.stack import erase_home
from zmart.local.stack_locks import only_one_start
from zmart.settings import load_settings


def test_fresh_keeps_backups_and_the_lock_of_the_start(tmp_path: Path) -> None:
    backup = tmp_path / "backups" / "zmart-20260101T000000Z" / "zmart.dump"
    for path in (backup, tmp_path / "logs" / "gateway.log", tmp_path / "keys" / "admin.json"):
        path.parent.mkdir(parents=True)
        path.write_text("content")
    with only_one_start(tmp_path):
        erase_home(load_settings(zmart_home=tmp_path))
        assert backup.read_text() == "content"
        assert {path.name for path in tmp_path.iterdir()} == {"backups", ".starting"}
        with pytest.raises(ConfigError, match="Another `zmart up` is starting"), only_one_start(tmp_path):
            pass


def test_fresh_deletes_nothing_that_is_not_of_a_stack(tmp_path: Path) -> None:
    """ZMART_HOME may have been set to a folder with files of its own, such as the user's home."""
    own = tmp_path / "documents" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("content")
    (tmp_path / ".profile").write_text("content")
    (tmp_path / "releases.json").write_text("[]")
    erase_home(load_settings(zmart_home=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"documents", ".profile"}
    assert own.read_text() == "content"


def test_fresh_deletes_the_data_behind_a_link_to_another_disk(tmp_path: Path) -> None:
    home, disk = tmp_path / "home", tmp_path / "disk"
    home.mkdir()
    disk.mkdir()
    (disk / "journal").write_text("content")
    (home / "chain").symlink_to(disk)
    erase_home(load_settings(zmart_home=home))
    assert not (home / "chain").exists()
    assert not (disk / "journal").exists()
