"""Validate and store webhook registrations."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from zmart.errors import Invalid
from zmart.local.providers.journal import DiskMap
from zmart.market.identifiers import is_address

ADDRESSES_MAX = 16
WEBHOOKS_MAX = 50
GRACE_S = 24 * 3600.0

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_URL = re.compile(r"https?://[!-~]{1,2000}")
_ENCODING = re.compile(r"[A-Za-z0-9+]{1,32}")
_HEADER = re.compile(r"[ -~]{0,1000}")

WebhookType = Literal["raw", "rawDevnet", "enhanced", "enhancedDevnet"]
TransactionStatus = Literal["all", "success", "failed"]


class WebhookOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a request that registers or updates a webhook; in JSON the fields have Helius' names."""

    webhook_url: str = msgspec.field(name="webhookURL")
    transaction_types: list[str]
    account_addresses: list[str]
    webhook_type: WebhookType = "raw"
    auth_header: str = ""
    encoding: str = "jsonParsed"
    txn_status: TransactionStatus = "all"

    def check(self) -> None:
        """Validate the fields. Raises Invalid, which names the field."""
        if not _URL.fullmatch(self.webhook_url):
            raise Invalid("webhookURL", "webhookURL must be an http or https URL.")
        if not self.transaction_types or not all(map(_TYPE.fullmatch, self.transaction_types)):
            raise Invalid("transactionTypes", 'transactionTypes must be names like "ANY", at least one.')
        if not self.account_addresses or not all(map(is_address, self.account_addresses)):
            raise Invalid("accountAddresses", "accountAddresses must be base58 addresses, at least one.")
        if len(self.account_addresses) > ADDRESSES_MAX:
            raise Invalid(
                "accountAddresses", f"accountAddresses: the local Helius watches {ADDRESSES_MAX} at most."
            )
        if not _ENCODING.fullmatch(self.encoding):
            raise Invalid("encoding", 'encoding must be a name like "jsonParsed".')
        if not _HEADER.fullmatch(self.auth_header):
            raise Invalid("authHeader", "authHeader must be printable ASCII, 1000 characters at most.")


class RegisteredWebhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registered webhook, as it is stored and as the API returns it."""

    webhook_id: str = msgspec.field(name="webhookID")
    wallet: str = "local"
    project: str = "local"
    webhook_url: str = msgspec.field(name="webhookURL")
    transaction_types: list[str]
    account_addresses: list[str]
    webhook_type: WebhookType
    auth_header: str
    encoding: str = "jsonParsed"
    txn_status: TransactionStatus
    active: bool = True


class WebhookToggle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PATCH request: whether the webhook is to be enabled."""

    active: bool


class WebhookRegistry:
    """Store webhooks in the file at `path`, by their id. Changes raise StoreError if they cannot be written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._journal = DiskMap(path, RegisteredWebhook)
        self._grace_until: dict[str, float] = {}

    def all(self) -> list[RegisteredWebhook]:
        """Return all webhooks, the oldest first."""
        return list(self._journal.values.values())

    def find(self, webhook_id: str) -> RegisteredWebhook | None:
        """Return the webhook with that id, or None."""
        return self._journal.values.get(webhook_id)

    def put(self, order: WebhookOrder, webhook_id: str = "") -> RegisteredWebhook:
        """Register a webhook, or replace the one with `webhook_id`, and return it. Raises Invalid, StoreError.

        A replaced webhook stays enabled or disabled; a new one is enabled.
        """
        order.check()
        if not webhook_id and len(self._journal.values) >= WEBHOOKS_MAX:
            raise Invalid("webhookID", f"There are {WEBHOOKS_MAX} webhooks already; delete one.")
        fields = msgspec.structs.asdict(order)
        before = self.find(webhook_id)
        active = before is None or before.active
        webhook = RegisteredWebhook(webhook_id=webhook_id or str(uuid.uuid4()), active=active, **fields)
        if webhook != before:
            self._journal.put(webhook.webhook_id, webhook)
        return webhook

    def toggle(self, webhook: RegisteredWebhook, active: bool) -> RegisteredWebhook:
        """Enable or disable a webhook, and return it. For the next 24 hours failures do not disable an enabled one."""
        changed = msgspec.structs.replace(webhook, active=active)
        self._journal.put(changed.webhook_id, changed)
        if active:
            self._grace_until[changed.webhook_id] = time.monotonic() + GRACE_S
        return changed

    def is_in_grace(self, webhook_id: str) -> bool:
        """Return whether the webhook was enabled in the last 24 hours, so that failures do not disable it."""
        return time.monotonic() < self._grace_until.get(webhook_id, 0.0)

    def delete(self, webhook_id: str) -> None:
        """Delete the webhook with that id, if it exists."""
        self._journal.drop(webhook_id)

    def close(self) -> None:
        """Close the registry's file."""
        self._journal.close()
