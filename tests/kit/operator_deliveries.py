"""Helpers of the operator's drills about webhooks: make and post transactions as Helius delivers them."""

from __future__ import annotations

from typing import Any

import msgspec

from kit.operator import Operator
from zmart.local.demo.world import DemoWorld
from zmart.market.types import Signature
from zmart.services.webhook import PATH

Delivery = dict[str, Any]
"""A transaction as a raw webhook delivers it: a JSON object."""


async def delivery_of(world: DemoWorld, signature: str) -> Delivery:
    """Return a landed transaction as a webhook would deliver it."""
    raw = await world.rpc.get_transaction_json(Signature(signature))
    assert raw is not None
    delivery: Delivery = msgspec.json.decode(raw)
    return delivery


async def deliver(operator: Operator, transaction: Delivery, secret: str, port: str = "api_port") -> int:
    """Post one transaction to the webhook with `secret` as authorization; return the status of the answer.

    `port` is the name of the setting with the receiver's port; the gateway's by default.
    """
    url = f"http://127.0.0.1:{getattr(operator.settings, port)}{PATH}"
    headers = {"authorization": secret, "content-type": "application/json"}
    answer = await operator.http.post(url, content=msgspec.json.encode([transaction]), headers=headers)
    return answer.status_code
