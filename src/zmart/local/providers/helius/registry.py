"""The registered webhooks: what may be registered, kept on disk."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from zmart.errors import Invalid
from zmart.local.providers.journal import Journal

ADDRESSES_MAX = 16
WEBHOOKS_MAX = 50

_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_URL = re.compile(r"https?://[!-~]{1,2000}")
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
        if not _HEADER.fullmatch(self.auth_header):
            raise Invalid("authHeader", "authHeader must be printable ASCII, 1000 characters at most.")


class Webhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registration, as the API answers it."""

    webhook_id: str = msgspec.field(name="webhookID")
    wallet: str = "local"
    webhook_url: str = msgspec.field(name="webhookURL")
    transaction_types: list[str]
    account_addresses: list[str]
    webhook_type: WebhookType
    auth_header: str
    txn_status: TransactionStatus


class Registry:
    """Webhooks by their id, the oldest first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._journal = Journal(path, Webhook)

    def all(self) -> list[Webhook]:
        return list(self._journal.values.values())

    def find(self, webhook_id: str) -> Webhook | None:
        return self._journal.values.get(webhook_id)

    def put(self, order: Order, webhook_id: str = "") -> Webhook:
        """Register, or replace what has that id. Raises Invalid."""
        order.check()
        if not webhook_id and len(self._journal.values) >= WEBHOOKS_MAX:
            raise Invalid("webhookID", f"There are {WEBHOOKS_MAX} webhooks already; delete one.")
        fields = msgspec.structs.asdict(order)
        webhook = Webhook(webhook_id=webhook_id or str(uuid.uuid4()), **fields)
        if webhook != self.find(webhook.webhook_id):
            self._journal.put(webhook.webhook_id, webhook)
        return webhook

    def delete(self, webhook_id: str) -> None:
        self._journal.drop(webhook_id)

    def close(self) -> None:
        self._journal.close()
