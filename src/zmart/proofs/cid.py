"""The content identifier of a file, computed here, equal to what Kubo and Pinata compute for the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

from zmart.proofs.multiformats import Cid, parse_cid
from zmart.proofs.unixfs import FileBuilder

__all__ = ["Cid", "cid_of", "cid_of_stream", "parse_cid", "same_file"]


def cid_of(data: bytes, version: int) -> str:
    """The CID of a file with these bytes. Version 0: 46 characters (`Qm...`, what the program stores);
    version 1: base32 with raw leaves (`baf...`)."""
    return cid_of_stream((data,), version)


def cid_of_stream(pieces: Iterable[bytes], version: int) -> str:
    """The same for a file that comes in pieces of any size; memory is bounded by a chunk and the open nodes."""
    builder = FileBuilder(version)
    for piece in pieces:
        builder.write(piece)
    return str(builder.finish().cid)


def same_file(cid: str, data: bytes) -> bool:
    """Whether `data` is the file that `cid` names (as Kubo's default layouts build it). Raises Invalid."""
    return cid_of(data, parse_cid(cid).version) == cid
