"""What an operator's drills about deliveries by webhook need: transactions as Helius delivers them, true and false."""

from __future__ import annotations

from typing import Any

import msgspec

from kit.operator import Operator
from zmart.local.demo.world import DemoWorld
from zmart.market.types import Signature
from zmart.services.webhook import PATH

Delivery = dict[str, Any]
"""A transaction as a raw webhook delivers it."""


async def delivery_of(world: DemoWorld, signature: str) -> Delivery:
    """The transaction as the chain has it."""
    raw = await world.rpc.get_transaction_json(Signature(signature))
    assert raw is not None
    delivery: Delivery = msgspec.json.decode(raw)
    return delivery


async def deliver(operator: Operator, transaction: Delivery, secret: str, port: str = "api_port") -> int:
    """Post one transaction to the webhook of the gateway or of another port; the status of the answer."""
    url = f"http://127.0.0.1:{getattr(operator.settings, port)}{PATH}"
    headers = {"authorization": secret, "content-type": "application/json"}
    answer = await operator.http.post(url, content=msgspec.json.encode([transaction]), headers=headers)
    return answer.status_code
