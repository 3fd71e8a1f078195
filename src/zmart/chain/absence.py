"""Whether something does not exist. A node that says so may be behind, so that is concluded only from proper answers of
nodes that have come far enough, of every endpoint that there is, and from more than one of them.

What a failing node says proves nothing: chain/json_rpc.py raises for it, and so does everything here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.chain.json_rpc import TransientRpcError
from zmart.chain.rpc import Rpc
from zmart.market.types import Address, Signature, Slot

LONG_FINAL_SLOTS = 150
"""A blockhash's life: what was to land in a slot has landed long before the chain is final so far behind it."""
FAR_SLOTS = 1_000
"""A slot that is claimed so far ahead of the node is not believed."""


class Unknown(msgspec.Struct, frozen=True):
    """Nobody asked has it: each was past slot `reached`, and the chain was final through slot `final`."""

    reached: Slot
    final: Slot


async def unknown(rpcs: Sequence[Rpc], signature: Signature) -> Unknown | None:
    """That no endpoint has the transaction, by its status and by itself; None when one has it. Each is asked twice; who
    concludes something asks on two occasions. Raises ChainError when one cannot be asked, is behind, or cannot give the
    transaction for another reason than that there is none."""
    found = [await _unknown_to(rpc, signature) for rpc in rpcs]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return Unknown(min(one.reached for one in known), min(one.final for one in known))


async def _unknown_to(rpc: Rpc, signature: Signature) -> Unknown | None:
    final = await rpc.get_slot("finalized")
    statuses = await rpc.get_signature_statuses([signature], search_history=True)
    if statuses.values[0] is not None:
        return None
    if statuses.context_slot < final:
        raise TransientRpcError(
            f"The node that was asked for a status is at slot {statuses.context_slot}, behind the final slot {final}."
        )
    if await rpc.get_transaction_json(signature) is not None:
        return None
    return Unknown(statuses.context_slot, final)


def gone_through(claimed: Slot | None, unknown_since: Slot) -> Slot:
    """The slot that has to be final and past for a transaction, named as of `claimed`, which a node at slot
    `unknown_since` did not have."""
    if claimed is None or claimed > unknown_since + FAR_SLOTS:
        return unknown_since
    return max(claimed, unknown_since)


async def account(rpcs: Sequence[Rpc], address: Address, since: Slot | None = None) -> AccountInfo | None:
    """The account at `address`; None only if every endpoint says so twice, from at least slot `since`, or else from
    the newest confirmed slot that any of them knows. Raises ChainError when one cannot be asked."""
    return (await accounts(rpcs, [address], since))[0]


async def accounts(
    rpcs: Sequence[Rpc], addresses: Sequence[Address], since: Slot | None = None
) -> list[AccountInfo | None]:
    """The same for several, in the order asked for."""
    found = await rpcs[0].get_multiple_accounts(addresses, since=since)
    if None not in found:
        return found
    newest = since if since is not None else max([await rpc.get_slot() for rpc in rpcs])
    for rpc in rpcs:
        missing = [address for address, info in zip(addresses, found, strict=True) if info is None]
        again = dict(zip(missing, await rpc.get_multiple_accounts(missing, since=newest), strict=True))
        found = [info or again.get(address) for address, info in zip(addresses, found, strict=True)]
        if None not in found:
            break
    return found
