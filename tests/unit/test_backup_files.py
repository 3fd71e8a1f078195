"""The folder of an unfinished backup is made again, whatever stands in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zmart.ops.backup.files import new_backup


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "zmart.dump").write_text("half")


@pytest.mark.parametrize(
    "make", [Path.touch, a_folder, lambda path: path.symlink_to("elsewhere")], ids=["file", "folder", "link"]
)
def test_what_a_killed_backup_or_a_person_left_is_replaced(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / ".unfinished")
    with new_backup(tmp_path) as draft:
        assert draft.is_dir()
        assert list(draft.iterdir()) == []
    assert not draft.exists()


def test_a_link_to_a_folder_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    a_folder(tmp_path / "elsewhere")
    (tmp_path / ".unfinished").symlink_to(tmp_path / "elsewhere")
    with new_backup(tmp_path):
        pass
    assert (tmp_path / "elsewhere" / "zmart.dump").read_text() == "half"
