"""Compute the content identifier of a file, equal to what Kubo and Pinata compute for the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

from zmart.ipfs.multiformats import DAG_PB, Cid, parse_cid
from zmart.ipfs.unixfs import FileBuilder

__all__ = ["Cid", "FileCheck", "cid_of", "cid_of_stream", "parse_cid", "same_file"]


def cid_of(data: bytes, version: int) -> str:
    """Return the CID of a file with these bytes. Version 0: 46 characters (`Qm...`, what the program stores); version
    1: base32 with raw leaves (`baf...`)."""
    return cid_of_stream((data,), version)


def cid_of_stream(pieces: Iterable[bytes], version: int) -> str:
    """Return the CID of a file that comes in pieces of any size; memory is bounded by a chunk and the open nodes."""
    builder = FileBuilder(version)
    for piece in pieces:
        builder.write(piece)
    return str(builder.finish().cid)


def same_file(cid: str, data: bytes) -> bool:
    """Return whether `data` is the file that `cid` names (as Kubo's default layouts build it). Raises Invalid."""
    check = FileCheck(cid)
    check.write(data)
    return check.holds()


class FileCheck:
    """Check piece by piece whether a file is the one that a CID names. Raises Invalid for an invalid CID.

    The CID's version states how it is written, not with which layout the file was added: both are tried.
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
        """Return whether the pieces are the file that the CID names."""
        roots = [builder.finish().cid for builder in self._builders]
        return any((root.codec, root.digest) == (self._cid.codec, self._cid.digest) for root in roots)
