"""Renew the API reference's vendored script: `python vendor/scalar.py`, after a change of VERSION and INTEGRITY.

It asks npm for the pinned package, checks the digest that npm publishes for it, and writes the one file that the page
needs, compressed. tests/unit/test_vendored.py holds the digest of the file.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "@scalar/api-reference", "1.76.0"
INTEGRITY = "sha512-pjqwnzmA9YK3ZX+IZSICMsywm4qI6HLSngR2py9H6TvFApHHuJjkTAd+gFJfnqJDzJuro8k7ji6JCtJ2U+Byng=="
MEMBER = "package/dist/browser/standalone.js"
FILE = Path(__file__).parents[1] / "src/zmart/services/gateway/explorer/static/vendor/scalar/standalone.js.gz"


def fetch(folder: Path) -> Path:
    """Have npm pack the package; raises ValueError if it is not the pinned one."""
    command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [packed] = folder.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise ValueError(f"{PACKAGE} {VERSION} has the digest sha512-{digest}, not {INTEGRITY}")
    return packed


def write(packed: Path) -> str:
    """Write the file, and return its digest; the compressed bytes depend on nothing but the content."""
    with tarfile.open(packed) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        content = member.read()
    FILE.write_bytes(gzip.compress(content, 9, mtime=0))
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(f"{FILE.name}: sha256 {write(fetch(Path(name)))}\n")
