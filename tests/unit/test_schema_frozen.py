"""Released migrations never change, because there are databases that they created."""

import pytest

from zmart.store import migrations

FROZEN = {
    "0001": "5d4c85707ee325ba8ca9dba1b8d5b48838d3892f99b11b7e75851f8b0e839a9f",
    "0002": "44cbe15f182dee059f92212362aeb3482a01cf2c3d36ac33737a1dda620d57dc",
    "0003": "cd76776df4ae051d3307d124acbbd830e5cba9d8fe95acaef6b2a65960de3665",
    "0004": "d056a9d441225f30ef40b813b6f7d584fcf578f20d9fdcf877a0f9e10ab3bb96",
    "0005": "20d7eb18053a3c63e084ed701fa1f60662b4b9a24afba1a8346f8ba49d928598",
    "0006": "e1bcaa92ce867cab32891c8cd7b6b22f10bed926a6c6ab1740fe213c3ff20143",
    "0007": "42869617548134533bdcf5d7b80825c315ebf177057e86c1d4841a712d269ef6",
}


@pytest.mark.parametrize("revision", FROZEN)
def test_a_released_migration_has_the_text_that_it_was_released_with(revision: str) -> None:
    assert migrations.fingerprint(revision) == FROZEN[revision], (
        f"Migration {revision} made databases that exist: leave it as it was, and add a migration."
    )


def test_every_migration_is_frozen() -> None:
    assert tuple(FROZEN) == migrations.REVISIONS


def test_line_ends_are_no_part_of_a_fingerprint(tmp_path, monkeypatch) -> None:
    before = migrations.fingerprint("0001")
    (tmp_path / "0001_first").mkdir()
    for path in migrations.VERSIONS.glob("0001_first/*.sql"):
        (tmp_path / "0001_first" / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(migrations, "VERSIONS", tmp_path)
    assert migrations.fingerprint("0001") == before
