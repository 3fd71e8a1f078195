"""Call Helius' webhook management API: /v0/webhooks (www.helius.dev/docs/api-reference/webhooks).

Webhooks are registered with the type raw: enhanced ones carry no logs, and without logs there are no events. Helius
disables a webhook (`active: false`) whose endpoint fails too often; PATCH enables it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from zmart import bounded_http
from zmart.errors import ChainError
from zmart.loopback import client_options
from zmart.market.json_input import JSON_ERRORS
from zmart.market.text_input import one_line
from zmart.market.types import Address
from zmart.settings import Settings

WEBHOOK_PATH = "/api/webhooks/helius"
"""The path at which the indexer and the gateway accept webhook deliveries."""

TIMEOUT_S = 15.0
RawType = Literal["raw", "rawDevnet"]
"""Helius' name of a webhook that delivers raw transactions, of mainnet or of devnet."""

_Response = TypeVar("_Response")
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class HeliusError(ChainError):
    """Report that Helius is unavailable, refused a call, or sent an unusable response.

    `status` is the HTTP status of a refusal, and 0 in every other case.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class HeliusWebhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Hold a registered webhook as Helius returns it, without its authHeader, which is a secret.

    Optional fields are None if the response omits them. Fields that are not listed here are ignored.
    """

    webhook_id: _Text = msgspec.field(name="webhookID")
    webhook_url: _Text = msgspec.field(name="webhookURL")
    webhook_type: str | None = None
    transaction_types: list[str] | None = None
    account_addresses: list[str] | None = None
    txn_status: str | None = None
    encoding: str | None = None
    active: bool | None = None


class Registration(msgspec.Struct, frozen=True):
    """Hold the result of `register`: the webhook, whether it was created, and whether it had to be enabled."""

    webhook: HeliusWebhook
    is_new: bool
    is_reactivated: bool


class HeliusClient:
    """Call Helius' webhook API.

    Use the client as an async context manager. Every call raises HeliusError if it fails or takes longer than
    `within_s` seconds.
    """

    def __init__(self, api_url: str, api_key: str, within_s: float = TIMEOUT_S) -> None:
        self._within_s = within_s
        self._host = httpx.URL(api_url).host
        self._http = httpx.AsyncClient(
            base_url=api_url, params={"api-key": api_key}, timeout=TIMEOUT_S, **client_options(api_url)
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> HeliusClient:
        """Build a client of HELIUS_API_URL. Raises SettingError if HELIUS_API_KEY is not set."""
        return cls(settings.helius_api_url, settings.require("helius_api_key"))

    async def __aenter__(self) -> HeliusClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def webhooks(self) -> list[HeliusWebhook]:
        """List every webhook of this API key.

        A response that is not a valid list raises HeliusError; it never counts as an empty list.
        """
        return _decode(await self._call("GET", "/v0/webhooks"), list[HeliusWebhook])

    async def register(
        self, url: str, addresses: Sequence[Address], auth_header: str, webhook_type: RawType
    ) -> Registration:
        """Have Helius post transactions of `addresses` to `url`, with `auth_header` as Authorization header.

        A webhook that already posts to `url` is changed and, if it is disabled, enabled. So a repeated call is
        harmless.
        """
        request = {
            "webhookURL": url,
            "transactionTypes": ["ANY"],
            "accountAddresses": list(addresses),
            "webhookType": webhook_type,
            "authHeader": auth_header,
        }
        existing = next((each for each in await self.webhooks() if _same(each.webhook_url, url)), None)
        if existing is None:
            created = _decode(await self._call("POST", "/v0/webhooks", request), HeliusWebhook)
            return Registration(created, is_new=True, is_reactivated=False)
        changed = _decode(await self._call("PUT", _path(existing.webhook_id), request), HeliusWebhook)
        active = existing.active if changed.active is None else changed.active
        if active is False:
            return Registration(await self.activate(existing.webhook_id), is_new=False, is_reactivated=True)
        return Registration(changed, is_new=False, is_reactivated=False)

    async def activate(self, webhook_id: str) -> HeliusWebhook:
        """Enable a webhook.

        Helius then keeps it enabled for 24 hours, even if its endpoint fails. Raises HeliusError if the response does
        not show it enabled.
        """
        response = _decode(await self._call("PATCH", _path(webhook_id), {"active": True}), HeliusWebhook)
        if response.active is not True:
            raise HeliusError(f"Helius did not enable webhook {webhook_id}: see its dashboard.")
        return response

    async def delete(self, webhook_id: str) -> bool:
        """Delete a webhook; return False if it does not exist."""
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
            response = await bounded_http.request(
                self._http, method, path, within_s=self._within_s, content=content, headers=headers
            )
        except httpx.HTTPError as problem:
            # The problem's own text may hold the URL, and with it the key.
            reason = type(problem).__name__
            raise HeliusError(f"Helius at {self._host} does not answer ({reason}).") from None
        if response.is_success:
            return response.content
        advice = " Check HELIUS_API_KEY." if response.status_code in (401, 403) else ""
        message = one_line(response.text[:300], 300)
        raise HeliusError(
            f"Helius refused {method} with status {response.status_code}: {message}.{advice}",
            response.status_code,
        )


def _path(webhook_id: str) -> str:
    return f"/v0/webhooks/{quote(webhook_id, safe='')}"


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _decode(response: bytes, shape: type[_Response]) -> _Response:
    try:
        return msgspec.json.decode(response, type=shape)
    except JSON_ERRORS as problem:
        raise HeliusError(f"The response of Helius cannot be read: {problem}.") from None
