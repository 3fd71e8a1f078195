"""Helius' webhook management API: /v0/webhooks (www.helius.dev/docs/api-reference/webhooks).

Registered webhooks are of type raw: enhanced ones carry no logs, and without logs there are no events. Helius switches
a webhook off (`active: false`) whose endpoint fails too often; PATCH switches it on again.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from zmart.errors import ChainError
from zmart.market.types import Address
from zmart.settings import Settings

WEBHOOK_PATH = "/api/webhooks/helius"
"""Where the indexer and the gateway take deliveries."""

TIMEOUT_S = 15.0
RawType = Literal["raw", "rawDevnet"]

_Answer = TypeVar("_Answer")
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class HeliusError(ChainError):
    """Helius is away, refused, or answered something that cannot be used. `status` is 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Webhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registration as Helius has it, without its authHeader, which is a secret. `active` is None where the answer
    does not say; fields that are not named here are ignored."""

    webhook_id: _Text = msgspec.field(name="webhookID")
    webhook_url: _Text = msgspec.field(name="webhookURL")
    webhook_type: str | None = None
    transaction_types: list[str] | None = None
    account_addresses: list[str] | None = None
    txn_status: str | None = None
    encoding: str | None = None
    active: bool | None = None


class Registration(msgspec.Struct, frozen=True):
    """What `register` did: made a new webhook or changed the known one, and whether it had to be switched on."""

    webhook: Webhook
    is_new: bool
    is_revived: bool


class HeliusClient:
    """Use as an async context manager. Every call may raise HeliusError."""

    def __init__(self, api_url: str, api_key: str) -> None:
        self._host = httpx.URL(api_url).host
        self._http = httpx.AsyncClient(base_url=api_url, params={"api-key": api_key}, timeout=TIMEOUT_S)

    @classmethod
    def from_settings(cls, settings: Settings) -> HeliusClient:
        """Raises ConfigError when HELIUS_API_KEY is not set."""
        return cls(settings.helius_api_url, settings.require("helius_api_key"))

    async def __aenter__(self) -> HeliusClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def webhooks(self) -> list[Webhook]:
        """Every registration of this key. An answer that is not such a list raises: it is never taken for none."""
        return _decode(await self._call("GET", "/v0/webhooks"), list[Webhook])

    async def register(
        self, url: str, addresses: Sequence[Address], auth_header: str, webhook_type: RawType
    ) -> Registration:
        """Have transactions of `addresses` posted to `url` with that Authorization header. A webhook that posts there
        already is changed and switched on instead, so that a repetition is harmless."""
        order = {
            "webhookURL": url,
            "transactionTypes": ["ANY"],
            "accountAddresses": list(addresses),
            "webhookType": webhook_type,
            "authHeader": auth_header,
        }
        known = next((each for each in await self.webhooks() if _same(each.webhook_url, url)), None)
        if known is None:
            made = _decode(await self._call("POST", "/v0/webhooks", order), Webhook)
            return Registration(made, is_new=True, is_revived=False)
        changed = _decode(await self._call("PUT", _path(known.webhook_id), order), Webhook)
        active = known.active if changed.active is None else changed.active
        if active is False:
            return Registration(await self.activate(known.webhook_id), is_new=False, is_revived=True)
        return Registration(changed, is_new=False, is_revived=False)

    async def activate(self, webhook_id: str) -> Webhook:
        """Switch a webhook on. Helius then leaves it on for 24 hours, whatever its endpoint answers."""
        answer = _decode(await self._call("PATCH", _path(webhook_id), {"active": True}), Webhook)
        if answer.active is not True:
            raise HeliusError(f"Helius did not switch webhook {webhook_id} on: see its dashboard.")
        return answer

    async def delete(self, webhook_id: str) -> bool:
        """False when there is no such webhook."""
        try:
            await self._call("DELETE", _path(webhook_id))
        except HeliusError as problem:
            if problem.status != httpx.codes.NOT_FOUND:
                raise
            return False
        return True

    async def _call(self, method: str, path: str, body: object = None) -> bytes:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if content else {}
        try:
            answer = await self._http.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as problem:
            # The problem's own text may hold the URL, and with it the key.
            reason = type(problem).__name__
            raise HeliusError(f"Helius at {self._host} does not answer ({reason}).") from None
        if answer.is_success:
            return answer.content
        advice = " Check HELIUS_API_KEY." if answer.status_code in (401, 403) else ""
        said = answer.text[:300]
        raise HeliusError(
            f"Helius refused {method} with status {answer.status_code}: {said}.{advice}", answer.status_code
        )


def _path(webhook_id: str) -> str:
    return f"/v0/webhooks/{quote(webhook_id, safe='')}"


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _decode(answer: bytes, shape: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(answer, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise HeliusError(f"Helius' answer cannot be read: {problem}.") from None
