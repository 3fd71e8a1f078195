"""Serve the IPFS gateway: GET and HEAD of /ipfs/<cid>, without credentials, for blocks of publicly pinned files.

Source: specs.ipfs.tech/http-gateways/path-gateway and trustless-gateway; ranges as in RFC 9110 section 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from zmart.errors import Invalid, NotFound, StoreError
from zmart.ipfs.multiformats import RAW, Cid, parse_cid
from zmart.local.providers.http import HttpRefusal, HttpReply, HttpRequest
from zmart.local.providers.pinata import dags
from zmart.local.providers.pinata.pins import PinStore

PREFIX = "/ipfs/"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_IMMUTABLE = "public, max-age=29030400, immutable"


class Format(Enum):
    """The form of a response: the bytes of the file, the block that the CID names, or a CAR of all blocks."""

    FILE = ""
    RAW = "raw"
    CAR = "car"


_TYPES = {
    Format.RAW: "application/vnd.ipld.raw",
    Format.CAR: "application/vnd.ipld.car; version=1; order=dfs; dups=n",
}


class PinGateway:
    """Serve publicly pinned files; every block is checked against its CID before it is sent."""

    def __init__(self, store: PinStore) -> None:
        self._store = store
        self._blocks = store.blocks["public"]

    async def __call__(self, request: HttpRequest) -> HttpReply:
        """Answer one request. Raises HttpRefusal 400, 404, 405, 422 or 500."""
        if request.method not in ("GET", "HEAD"):
            raise HttpRefusal(405, {"error": "Use GET or HEAD."})
        try:
            cid = parse_cid(request.path.removeprefix(PREFIX).removesuffix("/"))
            return self._answer(request, cid, _format(request))
        except Invalid as problem:
            raise HttpRefusal(400, {"error": str(problem)}) from None
        except NotFound as problem:
            raise HttpRefusal(404, {"error": f"{problem} It is not pinned."}) from None
        except StoreError as problem:
            raise HttpRefusal(500, {"error": str(problem)}) from None
        except ValueError:
            raise HttpRefusal(
                422, {"error": "This block is not a UnixFS file; request it with ?format=raw."}
            ) from None

    def _answer(self, request: HttpRequest, cid: Cid, form: Format) -> HttpReply:
        total = self._total(cid, form)
        headers = self._headers(request, cid, form)
        if _matches(request.headers.get("if-none-match", ""), headers["etag"]):
            return HttpReply(304, headers)
        if total is None:
            return HttpReply(200, headers, dags.car(self._blocks, cid))
        headers["accept-ranges"] = "bytes"
        part = _range(request, total, headers["etag"])
        if part is not None and part[0] >= part[1]:
            return HttpReply(416, headers | {"content-range": f"bytes */{total}", "content-length": "0"})
        start, stop = part or (0, total)
        if part:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{total}"
        headers["content-length"] = str(stop - start)
        return HttpReply(206 if part else 200, headers, self._bytes(cid, form, start, stop))

    def _total(self, cid: Cid, form: Format) -> int | None:
        """Return the size of the whole content in bytes; None for a CAR, whose size is not known in advance."""
        if form is Format.CAR:
            self._blocks.get(cid)
            return None
        return len(self._blocks.get(cid)) if form is Format.RAW else dags.file_bytes(self._blocks, cid)

    def _bytes(self, cid: Cid, form: Format, start: int, stop: int) -> Iterable[bytes]:
        if form is Format.RAW or cid.codec == RAW:
            return (self._blocks.get(cid)[start:stop],)
        return dags.file_range(self._blocks, cid, start, stop)

    def _headers(self, request: HttpRequest, cid: Cid, form: Format) -> dict[str, str]:
        suffix = f".{form.value}" if form.value else ""
        pin = self._store.find("public", cid=str(cid))
        weak = "W/" if form is Format.CAR else ""
        headers = {
            "content-type": _TYPES.get(form) or (pin.label.mime if pin else "application/octet-stream"),
            "cache-control": _IMMUTABLE,
            "etag": f'{weak}"{cid}{suffix}"',
            "x-ipfs-path": f"{PREFIX}{cid}",
            "x-ipfs-roots": str(cid),
            "x-content-type-options": "nosniff",
            "access-control-allow-origin": "*",
            "content-security-policy": "default-src 'none'; sandbox",
            "vary": "accept",
        }
        if form is not Format.FILE:
            extension = {Format.RAW: "bin", Format.CAR: "car"}[form]
            headers["content-disposition"] = f'attachment; filename="{cid}.{extension}"'
        return headers


def _format(request: HttpRequest) -> Format:
    """Return the requested format: `?format=` takes precedence over `Accept`. Raises Invalid for an unknown format."""
    if (named := request.query.get("format")) is not None:
        for known in (Format.RAW, Format.CAR):
            if named == known.value:
                return known
        raise Invalid("format", "format is raw or car.")
    accepted = [kind.split(";")[0].strip() for kind in request.headers.get("accept", "").split(",")]
    return next((known for known, kind in _TYPES.items() if kind.split(";")[0] in accepted), Format.FILE)


def _matches(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return bool(header) and ("*" in tags or etag.removeprefix("W/") in tags)


def _range(request: HttpRequest, total: int, etag: str) -> tuple[int, int] | None:
    """Return the requested range as (start, stop), without the byte at `stop`; None if everything is requested.

    A range with start >= stop cannot be satisfied. A request with several ranges or an invalid range counts as one
    without a range, as RFC 9110 allows.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or request.headers.get("if-range", etag) != etag or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(total - int(last), 0), total
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, total) if last else total
