"""The vendored files that pages load equal, byte for byte, those that npm publishes: their digests are listed here."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from zmart.services.gateway.explorer import assets

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "src/zmart/services/gateway/explorer/static/vendor"
DIGESTS = {
    "vendor/scalar/standalone.js": "dcb027152bf20bf2f6dcd66e8f9fb073c1a9e274cf0b94b939a7d99ab8947060",
}


def test_the_reference_is_the_script_of_the_pinned_package() -> None:
    for name, digest in DIGESTS.items():
        found = assets.content_of(name, accepts_gzip=False)
        assert found is not None
        assert hashlib.sha256(found[0]).hexdigest() == digest


def test_a_stored_file_is_sent_compressed_only_to_who_takes_that() -> None:
    [name] = DIGESTS
    compressed, plain = (
        assets.content_of(name, accepts_gzip=True),
        assets.content_of(name, accepts_gzip=False),
    )
    assert compressed is not None
    assert plain is not None
    assert (compressed[1], plain[1]) == (True, False)
    assert gzip.decompress(compressed[0]) == plain[0]
    assert assets.content_of("vendor/scalar/none.js", accepts_gzip=True) is None


def test_a_large_file_is_decompressed_once_for_all_who_do_not_accept_gzip() -> None:
    first, second = (assets.content_of("vendor/scalar/standalone.js", accepts_gzip=False) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first[0] is second[0]


def test_every_vendored_folder_has_a_licence_and_a_line() -> None:
    listed = (VENDOR / "THIRD_PARTY.md").read_text("utf-8")
    for folder in (path for path in VENDOR.iterdir() if path.is_dir()):
        assert (folder / "LICENSE").is_file()
        assert f"| {folder.name}/" in listed


def test_the_build_step_pins_the_version_of_the_list() -> None:
    step = (ROOT / "vendor" / "scalar.py").read_text("utf-8")
    package, version = re.findall(r'"(@scalar/api-reference)", "([0-9.]+)"', step)[0]
    assert f"{package} {version}," in (VENDOR / "THIRD_PARTY.md").read_text("utf-8")
    assert re.search(r'INTEGRITY = "sha512-[A-Za-z0-9+/]{86}=="', step)
