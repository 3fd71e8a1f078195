"""Prove that a transaction or an account does not exist.

A node that reports absence may only lag. So absence is concluded only if every configured endpoint reports it from a
node that has reached a given slot, and only from valid answers. A failing node proves nothing: chain/json_rpc.py raises
ChainError for it, and so do these functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.market.types import Address, Signature, Slot

LONG_FINAL_SLOTS = 150
"""The life of a blockhash in slots.

A transaction that was seen in a slot has become final, or never will, once the chain is final this many slots after it.
"""
FAR_SLOTS = 1_000
"""A slot that a source claims is ignored if it is more than this many slots ahead of the node's."""


class UnknownTransaction(msgspec.Struct, frozen=True):
    """State that no endpoint has the transaction.

    Every endpoint had reached slot `reached` when it answered, and slot `final` was final.
    """

    reached: Slot
    final: Slot


async def unknown(rpcs: Sequence[Rpc], signature: Signature) -> UnknownTransaction | None:
    """Ask every endpoint for the transaction's status and for the transaction.

    Returns None if one endpoint has it. A caller that acts on absence must ask on two occasions. Raises ChainError if
    an endpoint cannot be asked or lags, or if it fails to return the transaction for another reason than absence.
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

    `claimed` is the transaction's slot according to its source, None if it names none. `unknown_since` is the slot of a
    node that did not have the transaction. The later of the two counts; a claim far ahead of the node is ignored.
    """
    if claimed is None or claimed > unknown_since + FAR_SLOTS:
        return unknown_since
    return max(claimed, unknown_since)


async def account(rpcs: Sequence[Rpc], address: Address, since: Slot | None = None) -> AccountInfo | None:
    """Return the account at `address`, or None if every endpoint reports that it does not exist.

    The first endpoint must report it twice. The reports that decide are at least as new as slot `since`, or without it
    as the newest confirmed slot of any endpoint. Raises ChainError if an endpoint cannot be asked.
    """
    return (await accounts(rpcs, [address], since))[0]


async def accounts(
    rpcs: Sequence[Rpc], addresses: Sequence[Address], since: Slot | None = None
) -> list[AccountInfo | None]:
    """Return several accounts in the order of `addresses`, each as `account` returns it."""
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
