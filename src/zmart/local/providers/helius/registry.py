"""The registered webhooks: what may be registered, kept on disk."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from zmart.errors import Invalid
from zmart.local.providers.journal import Journal

ADDRESSES_MAX = 16
WEBHOOKS_MAX = 50
GRACE_S = 24 * 3600.0

_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_URL = re.compile(r"https?://[!-~]{1,2000}")
_ENCODING = re.compile(r"[A-Za-z0-9+]{1,32}")
_HEADER = re.compile(r"[ -~]{0,1000}")

WebhookType = Literal["raw", "rawDevnet", "enhanced", "enhancedDevnet"]
TransactionStatus = Literal["all", "success", "failed"]


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a client asks for, under Helius' names."""

    webhook_url: str = msgspec.field(name="webhookURL")
    transaction_types: list[str]
    account_addresses: list[str]
    webhook_type: WebhookType = "raw"
    auth_header: str = ""
    encoding: str = "jsonParsed"
    txn_status: TransactionStatus = "all"

    def check(self) -> None:
        """Raises Invalid, naming the field."""
        if not _URL.fullmatch(self.webhook_url):
            raise Invalid("webhookURL", "webhookURL must be an http or https URL.")
        if not self.transaction_types or not all(map(_TYPE.fullmatch, self.transaction_types)):
            raise Invalid("transactionTypes", 'transactionTypes must be names like "ANY", at least one.')
        if not self.account_addresses or not all(map(_ADDRESS.fullmatch, self.account_addresses)):
            raise Invalid("accountAddresses", "accountAddresses must be base58 addresses, at least one.")
        if len(self.account_addresses) > ADDRESSES_MAX:
            raise Invalid(
                "accountAddresses", f"accountAddresses: the local Helius watches {ADDRESSES_MAX} at most."
            )
        if not _ENCODING.fullmatch(self.encoding):
            raise Invalid("encoding", 'encoding must be a name like "jsonParsed".')
        if not _HEADER.fullmatch(self.auth_header):
            raise Invalid("authHeader", "authHeader must be printable ASCII, 1000 characters at most.")


class Webhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registration, as the API answers it."""

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


class Toggle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What PATCH takes."""

    active: bool


class Registry:
    """Webhooks by their id, the oldest first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._journal = Journal(path, Webhook)
        self._grace_until: dict[str, float] = {}

    def all(self) -> list[Webhook]:
        return list(self._journal.values.values())

    def find(self, webhook_id: str) -> Webhook | None:
        return self._journal.values.get(webhook_id)

    def put(self, order: Order, webhook_id: str = "") -> Webhook:
        """Register, or replace what has that id, which stays switched on or off. Raises Invalid."""
        order.check()
        if not webhook_id and len(self._journal.values) >= WEBHOOKS_MAX:
            raise Invalid("webhookID", f"There are {WEBHOOKS_MAX} webhooks already; delete one.")
        fields = msgspec.structs.asdict(order)
        before = self.find(webhook_id)
        active = before is None or before.active
        webhook = Webhook(webhook_id=webhook_id or str(uuid.uuid4()), active=active, **fields)
        if webhook != before:
            self._journal.put(webhook.webhook_id, webhook)
        return webhook

    def toggle(self, webhook: Webhook, active: bool) -> Webhook:
        """Switch it on, with 24 hours in which failures do not switch it off, or off."""
        changed = msgspec.structs.replace(webhook, active=active)
        self._journal.put(changed.webhook_id, changed)
        if active:
            self._grace_until[changed.webhook_id] = time.monotonic() + GRACE_S
        return changed

    def is_in_grace(self, webhook_id: str) -> bool:
        return time.monotonic() < self._grace_until.get(webhook_id, 0.0)

    def delete(self, webhook_id: str) -> None:
        self._journal.drop(webhook_id)

    def close(self) -> None:
        self._journal.close()
