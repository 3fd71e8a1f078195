"""Prove that a transaction or an account does not exist.

A node that reports absence may only lag. So absence is concluded from valid answers of nodes that have reached a
given slot, of every configured endpoint, asked twice. A failing node proves nothing: chain/json_rpc.py raises for its
answers, and so does everything here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.chain.json_rpc import TransientRpcError
from zmart.chain.rpc import Rpc
from zmart.market.types import Address, Signature, Slot

LONG_FINAL_SLOTS = 150
"""A blockhash's life: a transaction of a slot has landed before the chain is final this many slots after it."""
FAR_SLOTS = 1_000
"""A claimed slot this far ahead of the node is ignored."""


class UnknownTransaction(msgspec.Struct, frozen=True):
    """State that no endpoint has the transaction: each was past slot `reached`, and slot `final` was final."""

    reached: Slot
    final: Slot


async def unknown(rpcs: Sequence[Rpc], signature: Signature) -> UnknownTransaction | None:
    """Ask every endpoint for the transaction by its status and by itself; return None if one has it.

    A caller that acts on absence must ask on two occasions. Raises ChainError if an endpoint cannot be asked, lags,
    or cannot return the transaction for another reason than its absence.
    """
    answers = [await _unknown_to(rpc, signature) for rpc in rpcs]
    absent = [answer for answer in answers if answer is not None]
    if len(absent) < len(answers):
        return None
    return UnknownTransaction(min(a.reached for a in absent), min(a.final for a in absent))


async def _unknown_to(rpc: Rpc, signature: Signature) -> UnknownTransaction | None:
    await rpc.check_chain()  # another chain has none of our transactions
    final = await rpc.get_slot("finalized")
    statuses = await rpc.get_signature_statuses([signature], search_history=True)
    if statuses.values[0] is not None:
        return None
    if statuses.context_slot < final:
        raise TransientRpcError(
            f"The node that returned a status is at slot {statuses.context_slot}, before the final slot {final}."
        )
    if await rpc.get_transaction_json(signature) is not None:
        return None
    return UnknownTransaction(statuses.context_slot, final)


def required_slot(claimed: Slot | None, unknown_since: Slot) -> Slot:
    """Return the slot that must be past and final before a transaction counts as absent.

    The transaction was reported as of slot `claimed`; a node at slot `unknown_since` did not have it.
    """
    if claimed is None or claimed > unknown_since + FAR_SLOTS:
        return unknown_since
    return max(claimed, unknown_since)


async def account(rpcs: Sequence[Rpc], address: Address, since: Slot | None = None) -> AccountInfo | None:
    """Return the account at `address`, or None if every endpoint reports twice that it does not exist.

    The reports are at least as new as slot `since`, or else as the newest confirmed slot of any endpoint. Raises
    ChainError if an endpoint cannot be asked.
    """
    return (await accounts(rpcs, [address], since))[0]


async def accounts(
    rpcs: Sequence[Rpc], addresses: Sequence[Address], since: Slot | None = None
) -> list[AccountInfo | None]:
    """Return several accounts as `account` does, in the order of `addresses`."""
    infos = await rpcs[0].get_multiple_accounts(addresses, since=since)
    if None not in infos:
        return infos
    newest = since if since is not None else max([await rpc.get_slot() for rpc in rpcs])
    for rpc in rpcs:
        missing = [address for address, info in zip(addresses, infos, strict=True) if info is None]
        second = dict(zip(missing, await rpc.get_multiple_accounts(missing, since=newest), strict=True))
        infos = [info or second.get(address) for address, info in zip(addresses, infos, strict=True)]
        if None not in infos:
            break
    return infos
