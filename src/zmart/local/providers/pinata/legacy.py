"""Serve Pinata's legacy API (docs.pinata.cloud/api-reference/endpoint/ipfs/...), which `PinataClient` uses."""

from __future__ import annotations

from typing import Literal

import msgspec

from zmart.local.providers.http import HttpRefusal, HttpReply, HttpRequest, json_reply
from zmart.local.providers.pinata.credentials import PinataCredentials
from zmart.local.providers.pinata.executor import PinExecutor
from zmart.local.providers.pinata.forms import UploadForm, bad_request
from zmart.local.providers.pinata.labels import label
from zmart.local.providers.pinata.pins import Label, Pin

PAGE_DEFAULT, PAGE_MAX = 10, 1_000
UNPIN = "/pinning/unpin/"

_Status = Literal["all", "pinned", "unpinned"]


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    keyvalues: dict[str, str | int | float] | None = None


class _Options(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    cid_version: Literal[0, 1, "0", "1"] = 0


class _PinListQuery(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    hash_contains: str = ""
    cid: str = ""
    status: _Status = "all"
    page_limit: int = PAGE_DEFAULT
    page_offset: int = 0
    include_count: bool = True


class LegacyApi:
    """Serve Pinata's legacy API, which pins files on the public network."""

    def __init__(self, pins_executor: PinExecutor, credentials: PinataCredentials) -> None:
        self._pins = pins_executor
        self._credentials = credentials

    async def __call__(self, request: HttpRequest) -> HttpReply:
        """Answer one request. Raises HttpRefusal 400, 401, 404 or 413."""
        if not self._credentials.allow(request):
            raise _refusal(401, "INVALID_CREDENTIALS", "Invalid/expired credentials")
        match request.method, request.path:
            case "POST", "/pinning/pinFileToIPFS":
                return await self._pin(request)
            case "DELETE", path if path.startswith(UNPIN):
                return await self._unpin(path.removeprefix(UNPIN))
            case "GET", "/data/pinList":
                return self._list(request)
            case "GET", "/data/testAuthentication":
                return json_reply({"message": "Congratulations! You are communicating with the Pinata API!"})
        raise _refusal(404, "NOT_FOUND", f"There is no {request.method} {request.path} here.")

    async def _pin(self, request: HttpRequest) -> HttpReply:
        pin, is_duplicate = await self._pins.upload(request, ("pinataMetadata", "pinataOptions"), _judged)
        answer: dict[str, object] = {
            "IpfsHash": pin.cid,
            "PinSize": pin.dag_bytes,
            "Timestamp": pin.pinned_at,
            "ID": pin.id,
            "Name": pin.label.name,
            "NumberOfFiles": 1,
            "MimeType": pin.label.mime,
        }
        return json_reply(answer | ({"isDuplicate": True} if is_duplicate else {}))

    async def _unpin(self, cid: str) -> HttpReply:
        pin = self._pins.store.find("public", cid=cid)
        if pin is None:
            details = f"The current user has not pinned the cid: {cid[:100]}"
            raise _refusal(400, "CURRENT_USER_HAS_NOT_PINNED_CID", details)
        await self._pins.unpin(pin)
        return HttpReply(200, {"content-type": "text/plain; charset=utf-8", "content-length": "2"}, (b"OK",))

    def _list(self, request: HttpRequest) -> HttpReply:
        try:
            query = msgspec.convert(request.query, _PinListQuery, strict=False)
        except msgspec.ValidationError as problem:
            raise bad_request(f"The query is wrong: {problem}") from None
        if not 0 < query.page_limit <= PAGE_MAX or query.page_offset < 0:
            raise bad_request(f"pageLimit is 1 to {PAGE_MAX}, pageOffset 0 or more.")
        matching = [pin for pin in self._pins.store.history("public") if _matches(pin, query)]
        page = matching[query.page_offset : query.page_offset + query.page_limit]
        rows = [_row(pin) for pin in page]
        return json_reply({"count": len(matching), "rows": rows} if query.include_count else {"rows": rows})


def _judged(form: UploadForm) -> tuple[int, Label]:
    metadata, options = form.json("pinataMetadata", _Metadata), form.json("pinataOptions", _Options)
    name = metadata.name or form.filename
    return int(options.cid_version), label(name, form.mime, "public", metadata.keyvalues or {})


def _matches(pin: Pin, query: _PinListQuery) -> bool:
    is_status = query.status == "all" or (query.status == "pinned") == (pin.unpinned_at is None)
    return is_status and query.hash_contains in pin.cid and query.cid in ("", pin.cid)


def _row(pin: Pin) -> dict[str, object]:
    return {
        "id": pin.id,
        "ipfs_pin_hash": pin.cid,
        "size": pin.dag_bytes,
        "user_id": "local",
        "date_pinned": pin.pinned_at,
        "date_unpinned": pin.unpinned_at,
        "metadata": {"name": pin.label.name, "keyvalues": pin.label.keyvalues},
        "regions": [],
        "mime_type": pin.label.mime,
        "number_of_files": 1,
    }


def _refusal(status: int, reason: str, details: str) -> HttpRefusal:
    return HttpRefusal(status, {"error": {"reason": reason, "details": details}})
