"""Serve Pinata's files API v3 (docs.pinata.cloud/api-reference/endpoint/upload-a-file, list-files,
delete-file-by-id)."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from zmart.local.providers.http import HttpRefusal, HttpReply, HttpRequest, json_reply
from zmart.local.providers.pinata.credentials import PinataCredentials
from zmart.local.providers.pinata.executor import PinExecutor
from zmart.local.providers.pinata.forms import UploadForm
from zmart.local.providers.pinata.labels import label
from zmart.local.providers.pinata.pins import Label, Network, Pin
from zmart.market.integers import parse_decimal

FILES = "/v3/files"
PAGE_DEFAULT, PAGE_MAX = 10, 1_000

_FIELDS = ("name", "network", "keyvalues", "cid_version")
_VERSIONS = {"0": 0, "v0": 0, "1": 1, "v1": 1}


class _FilesQuery(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    limit: int = PAGE_DEFAULT
    page_token: str = ""
    cid: str = ""
    name: str = ""
    order: Literal["ASC", "DESC"] = "DESC"


class FilesApi:
    """Serve Pinata's v3 files API, for public and private files."""

    def __init__(self, pins_executor: PinExecutor, credentials: PinataCredentials) -> None:
        self._pins = pins_executor
        self._credentials = credentials

    async def __call__(self, request: HttpRequest) -> HttpReply:
        """Answer one request. Raises HttpRefusal 400, 401, 404 or 413."""
        if not self._credentials.allow(request):
            raise _refusal(401, "Not authorized")
        match request.method, request.path.removeprefix(FILES).strip("/").split("/"):
            case "POST", [""]:
                return await self._upload(request)
            case "GET", [network]:
                return self._list(_network(network), request)
            case "GET", [network, pin_id]:
                return json_reply({"data": _file(self._pin(network, pin_id))})
            case "DELETE", [network, pin_id]:
                await self._pins.unpin(self._pin(network, pin_id))
                return json_reply({"data": None})
        raise _refusal(404, f"There is no {request.method} {request.path} here.")

    async def _upload(self, request: HttpRequest) -> HttpReply:
        try:
            pin, is_duplicate = await self._pins.upload(request, _FIELDS, _judged)
        except HttpRefusal as refusal:
            message = refusal.body.get("error") if isinstance(refusal.body, dict) else refusal.body
            raise _refusal(refusal.status, str(message)) from None
        return json_reply({"data": _file(pin) | ({"is_duplicate": True} if is_duplicate else {})})

    def _pin(self, network: str, pin_id: str) -> Pin:
        pin = self._pins.store.find(_network(network), pin_id=pin_id)
        if pin is None:
            raise _refusal(404, "File not matching")
        return pin

    def _list(self, network: Network, request: HttpRequest) -> HttpReply:
        try:
            query = msgspec.convert(request.query, _FilesQuery, strict=False)
        except msgspec.ValidationError as problem:
            raise _refusal(400, f"The query is wrong: {problem}") from None
        offset = parse_decimal(query.page_token or "0")
        if not 0 < query.limit <= PAGE_MAX or offset is None:
            raise _refusal(400, f"limit is 1 to {PAGE_MAX}, pageToken what an answer gave.")
        pins = self._pins.store.pinned(network)
        matching = [pin for pin in pins if query.cid in ("", pin.cid) and query.name in pin.label.name]
        page = (matching if query.order == "ASC" else matching[::-1])[offset : offset + query.limit]
        token = str(offset + len(page)) if offset + len(page) < len(matching) else ""
        return json_reply({"data": {"files": [_file(pin) for pin in page], "next_page_token": token}})


def _judged(form: UploadForm) -> tuple[int, Label]:
    version = _VERSIONS.get(form.fields.get("cid_version", "v1"))
    if version is None:
        raise _refusal(400, "cid_version is v0 or v1")
    network = _network(form.fields.get("network", "private"))
    name = form.fields.get("name") or form.filename
    return version, label(name, form.mime, network, form.json("keyvalues", dict[str, str]))


def _network(name: str) -> Network:
    networks: tuple[Network, ...] = get_args(Network)
    for network in networks:
        if name == network:
            return network
    raise _refusal(400, "network is public or private")


def _file(pin: Pin) -> dict[str, object]:
    return {
        "id": pin.id,
        "user_id": "local",
        "group_id": None,
        "name": pin.label.name,
        "cid": pin.cid,
        "created_at": pin.pinned_at,
        "size": pin.file_bytes,
        "number_of_files": 1,
        "mime_type": pin.label.mime,
        "keyvalues": pin.label.keyvalues,
        "vectorized": False,
        "network": pin.label.network,
    }


def _refusal(status: int, message: str) -> HttpRefusal:
    return HttpRefusal(status, {"error": {"code": status, "message": message}})
