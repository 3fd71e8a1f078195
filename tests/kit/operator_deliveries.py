"""What an operator's drills about the index's data need: commands with their exit status, and deliveries by webhook."""

from __future__ import annotations

from typing import Any

import msgspec

from kit import commands
from kit.operator import Operator
from zmart.local.stack import read_record
from zmart.market.types import Signature
from zmart.services.webhook import PATH


async def command(operator: Operator, *arguments: str, ends_with: int = 0, **settings: object) -> str:
    """`zmart ...` as an operator runs it beside the stack; what it printed."""
    record = read_record(operator.settings.zmart_home)
    assert record is not None
    env = commands.environment(**{**record.environment, **{k.upper(): v for k, v in settings.items()}})
    status, out, err = await commands.run(*arguments, env=env)
    assert status == ends_with, f"zmart {' '.join(arguments)}: {out}{err}"
    return out


async def deliver(operator: Operator, transaction: object, secret: str) -> int:
    """Post one transaction to the gateway's webhook; the status of the answer."""
    url = f"http://127.0.0.1:{operator.settings.api_port}{PATH}"
    headers = {"authorization": secret, "content-type": "application/json"}
    answer = await operator.http.post(url, content=msgspec.json.encode([transaction]), headers=headers)
    return answer.status_code


async def newest_transaction(operator: Operator, rpc: Any, program: str) -> tuple[Signature, dict[str, Any]]:
    """The program's newest transaction, as a raw webhook delivers it."""
    listed = await rpc.call("getSignaturesForAddress", [program, {"limit": 1, "commitment": "confirmed"}])
    signature = listed[0]["signature"]
    options = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    return signature, await rpc.call("getTransaction", [signature, options])
