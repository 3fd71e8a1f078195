"""Pin files with Pinata, or with another server of its legacy API, such as the local pin store.

The CID of a file is computed here first; an answer with a different CID is refused. API: docs.pinata.cloud, `pinning`
and `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import httpx
import msgspec

from zmart import bounded_http
from zmart.bounded_http import HttpAnswer
from zmart.errors import SettingError
from zmart.ipfs.cid import cid_of
from zmart.ipfs.multiformats import parse_cid
from zmart.ipfs.pinning import PinError, Pinned
from zmart.loopback import client_options
from zmart.market.integers import parse_decimal
from zmart.market.json_input import JSON_ERRORS
from zmart.market.text_input import one_line
from zmart.retries import retry_context
from zmart.settings import Settings

_ATTEMPTS = 4
_TIMEOUT_S = 30.0
_RETRY_AFTER_MAX_S = 60
_MESSAGE_CHARS = 500
_NOT_PINNED = "CURRENT_USER_HAS_NOT_PINNED_CID"

_T = TypeVar("_T")


class _PinAnswer(msgspec.Struct, frozen=True, rename={"cid": "IpfsHash", "provider_id": "ID"}):
    cid: str
    provider_id: str = ""


class _PinRow(msgspec.Struct, frozen=True):
    ipfs_pin_hash: str
    date_unpinned: str | None = None


class _PinList(msgspec.Struct, frozen=True):
    rows: list[_PinRow]


class PinataClient:
    """A client of Pinata or another server of its legacy API. Use as an async context manager, or call `close()`.

    A call is attempted up to four times while the provider is unavailable, busy or at its rate limit.
    """

    def __init__(
        self,
        api_url: str,
        credentials: Mapping[str, str],
        name: str = "pinata",
        within_s: float = _TIMEOUT_S,
    ) -> None:
        self.name = name
        self._within_s = within_s
        self._http = httpx.AsyncClient(
            base_url=api_url, headers=dict(credentials), timeout=within_s, **client_options(api_url)
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> PinataClient:
        """Return a client by PINATA_JWT, or PINATA_API_KEY and PINATA_SECRET_KEY. Raises SettingError without these."""
        name = "local" if settings.is_local else "pinata"
        return cls(settings.pinata_api_url, _credentials(settings), name)

    async def __aenter__(self) -> PinataClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._http.aclose()

    async def pin(
        self, data: bytes, name: str, *, cid_version: int = 1, keyvalues: Mapping[str, str] | None = None
    ) -> Pinned:
        """Upload `data` as the file `name` and return its pin. Raises PinError, also if the provider's CID differs."""
        expected = cid_of(data, cid_version)
        mime_type = "application/json" if name.endswith(".json") else "application/octet-stream"
        answer = await self._call(
            "POST",
            "/pinning/pinFileToIPFS",
            files={"file": (name, data, mime_type)},
            data={
                "pinataMetadata": _text({"name": name, "keyvalues": dict(keyvalues or {})}),
                "pinataOptions": _text({"cidVersion": cid_version}),
            },
        )
        pinned = _decode(answer, _PinAnswer)
        if pinned.cid != expected:
            stored = one_line(pinned.cid, _MESSAGE_CHARS)
            raise PinError(f"{self.name} stored {name} as {stored}, but its bytes are {expected}.")
        return Pinned(expected, self.name, one_line(pinned.provider_id, _MESSAGE_CHARS), len(data))

    async def unpin(self, cid: str) -> bool:
        """Unpin `cid`, and return False if it was not pinned. Raises PinError, and Invalid for an invalid CID."""
        try:
            await self._call("DELETE", f"/pinning/unpin/{parse_cid(cid)}")
        except _Refused as refusal:
            if _NOT_PINNED in refusal.body:
                return False
            raise
        return True

    async def is_pinned(self, cid: str) -> bool:
        """Return whether `cid` is pinned. Raises PinError, and Invalid for an invalid CID."""
        query = {"hashContains": str(parse_cid(cid)), "status": "pinned"}
        answer = await self._call("GET", "/data/pinList", params=query)
        rows = _decode(answer, _PinList).rows
        return any(row.ipfs_pin_hash == cid and row.date_unpinned is None for row in rows)

    async def check(self) -> None:
        """Check the credentials. Raises PinError if the provider is unavailable or refuses them."""
        await self._call("GET", "/data/testAuthentication")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> bytes:
        try:
            async for attempt in retry_context(on=_is_retryable, attempts=_ATTEMPTS, wait_max=10):
                with attempt:
                    answer = await bounded_http.request(
                        self._http,
                        method,
                        path,
                        within_s=self._within_s,
                        params=params,
                        files=files,
                        data=data,
                    )
                    if not answer.is_success:
                        raise _Refused(self.name, answer)
        except httpx.HTTPError as problem:
            raise PinError(
                f"{self.name} does not answer ({type(problem).__name__}): check PINATA_API_URL."
            ) from problem
        return answer.content


class _Refused(PinError):
    def __init__(self, provider: str, answer: HttpAnswer) -> None:
        self.status = answer.status_code
        self.body = one_line(answer.text[:_MESSAGE_CHARS], _MESSAGE_CHARS)
        self.retry_after = answer.headers.get("retry-after", "")
        advice = " Check PINATA_JWT or the key pair." if self.status in (401, 403) else ""
        super().__init__(f"{provider} refused with status {self.status}: {self.body}.{advice}")


def _is_retryable(problem: Exception) -> bool | timedelta:
    if isinstance(problem, httpx.TransportError):
        return True
    if not isinstance(problem, _Refused) or (problem.status != 429 and problem.status < 500):
        return False
    if _NOT_PINNED in problem.body:
        return False
    seconds = parse_decimal(problem.retry_after)
    return True if seconds is None else timedelta(seconds=min(seconds, _RETRY_AFTER_MAX_S))


def _credentials(settings: Settings) -> dict[str, str]:
    if jwt := settings.pinata_jwt.get_secret_value():
        return {"authorization": f"Bearer {jwt}"}
    key, secret = settings.pinata_api_key.get_secret_value(), settings.pinata_secret_key.get_secret_value()
    if not (key and secret):
        raise SettingError("Set PINATA_JWT, or PINATA_API_KEY with PINATA_SECRET_KEY (see .env.example).")
    return {"pinata_api_key": key, "pinata_secret_api_key": secret}


def _text(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()


def _decode(answer: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=shape)
    except JSON_ERRORS as problem:
        problem_text = one_line(str(problem), _MESSAGE_CHARS)
        raise PinError(f"The pin provider's answer cannot be read: {problem_text}.") from None
