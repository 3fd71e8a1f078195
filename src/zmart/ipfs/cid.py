"""Compute the content identifier (CID) of a file, equal to the one that Kubo and Pinata compute for the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

from zmart.ipfs.multiformats import DAG_PB, Cid, parse_cid
from zmart.ipfs.unixfs import FileBuilder

__all__ = ["Cid", "FileCheck", "cid_of", "cid_of_stream", "parse_cid", "same_file"]


def cid_of(data: bytes, version: int) -> str:
    """Return the CID of a file with these bytes.

    Version 0 has 46 characters (`Qm...`); the program stores this form. Version 1 is base32, with raw leaves
    (`baf...`).
    """
    return cid_of_stream((data,), version)


def cid_of_stream(pieces: Iterable[bytes], version: int) -> str:
    """Return the CID of a file that is given in pieces of any size, of which only one chunk is held in memory."""
    builder = FileBuilder(version)
    for piece in pieces:
        builder.write(piece)
    return str(builder.finish().cid)


def same_file(cid: str, data: bytes) -> bool:
    """Return whether `data` is the file that `cid` names, in one of Kubo's default layouts.

    Raises Invalid for an invalid CID.
    """
    check = FileCheck(cid)
    check.write(data)
    return check.holds()


class FileCheck:
    """Check piece by piece whether a file is the one that a CID names. Raises Invalid for an invalid CID.

    The version of a CID says how the CID is written, not with which layout the file was added, so both layouts are
    tried.
    """

    def __init__(self, cid: str) -> None:
        self._cid = parse_cid(cid)
        # Only the layout with raw leaves has a root that is not dag-pb.
        layouts = (0, 1) if self._cid.codec == DAG_PB else (1,)
        self._builders = [FileBuilder(version) for version in layouts]

    def write(self, piece: bytes) -> None:
        """Add the next piece of the file."""
        for builder in self._builders:
            builder.write(piece)

    def holds(self) -> bool:
        """Return whether the pieces so far are the file that the CID names; call it once, after the last piece."""
        roots = [builder.finish().cid for builder in self._builders]
        return any((root.codec, root.digest) == (self._cid.codec, self._cid.digest) for root in roots)
