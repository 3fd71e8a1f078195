"""A signed transaction is judged dead only by nodes that have reached the end of its lifetime.

Behind one URL there may be many nodes. Each question can be answered by another one, and one that is behind calls a
blockhash invalid, or a nonce another, that it has not seen yet.
"""

from __future__ import annotations

import itertools

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)

from kit.chain_story import PROGRAM
from zmart.chain import compose
from zmart.chain.accounts import AccountInfo
from zmart.chain.judge import Dead, Live, PendingTransaction, Seen, judge
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import BlockhashValidity, BlockHeight, SignatureStatus, Statuses
from zmart.services.gateway.api.relay import Relay

LIVES_BLOCKS, FINAL_AFTER_SLOTS, SKIPPED_SLOTS = 150, 32, 100
SEEN_AT, LANDED_AT, AHEAD, BEHIND = 1_000, 1_140, 1_400, 900
METHODS = ("height", "validity", "statuses", "nonce")
LAST_VALID = SEEN_AT + LIVES_BLOCKS - SKIPPED_SLOTS


class Pool:
    """One URL before two nodes: one at slot AHEAD, one at slot BEHIND, which answers the questions in `behind`.

    A block's height is its slot less SKIPPED_SLOTS. The transaction's blockhash, or its nonce, is that of slot SEEN_AT;
    the transaction landed in `landed_at`, if it did.
    """

    def __init__(self, behind=(), *, landed_at=None, nonce=None):
        self.behind, self.landed_at, self.nonce = behind, landed_at, nonce

    def slot(self, question):
        return BEHIND if question in self.behind else AHEAD

    async def get_signature_statuses(self, signatures, *, search_history=False):
        slot = self.slot("statuses")
        has_it = self.landed_at is not None and self.landed_at <= slot
        is_recent = search_history or (has_it and slot < self.landed_at + LIVES_BLOCKS)
        status = SignatureStatus(slot=self.landed_at, confirmation_status="finalized") if has_it else None
        return Statuses(context_slot=slot, values=[status if is_recent else None])

    async def get_block_height(self, commitment="confirmed", *, since=None):
        slot = self.slot("height") - (FINAL_AFTER_SLOTS if commitment == "finalized" else 0)
        if since is not None and slot < since:
            raise TransientRpcError("Minimum context slot has not been reached")
        return BlockHeight(slot - SKIPPED_SLOTS, slot)

    async def get_blockhash_validity(self, blockhash, commitment="confirmed"):
        slot = self.slot("validity")
        is_valid = self.nonce is None and SEEN_AT <= slot <= SEEN_AT + LIVES_BLOCKS
        return BlockhashValidity(is_valid, slot)

    async def get_account_with_slot(self, address, commitment="confirmed"):
        slot = self.slot("nonce") - FINAL_AFTER_SLOTS
        if slot < SEEN_AT or self.nonce is None:
            return slot, None
        value = self.nonce if self.landed_at is None or slot < self.landed_at else Hash.new_unique()
        data = bytes(40) + bytes(value) + bytes(8)
        owner = "11111111111111111111111111111111"
        return slot, AccountInfo(address=address, owner=owner, lamports=1, data=data)

    async def send_raw_transaction(self, raw, **_):
        return "sent"


def signed(*, nonce=False):
    """Return a transaction with a blockhash or a durable nonce, and that value."""
    payer, value = Keypair(), Hash.new_unique()
    pay = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=Pubkey.new_unique(), lamports=1))
    params = AdvanceNonceAccountParams(nonce_pubkey=Pubkey.new_unique(), authorized_pubkey=payer.pubkey())
    instructions = [advance_nonce_account(params), pay] if nonce else [pay]
    return compose.sign(compose.compile(payer.pubkey(), instructions, str(value)), [payer]), value


def pending_of(transaction):
    return PendingTransaction(str(transaction.signatures[0]), bytes(transaction), LAST_VALID)


every_mixture = pytest.mark.parametrize(
    "behind", [some for size in range(5) for some in itertools.combinations(METHODS, size)], ids="+".join
)


@every_mixture
async def test_a_blockhash_that_a_node_behind_does_not_know_yet_has_not_expired(behind):
    """I4: whichever nodes answer, a transaction that landed is not called dead: its user would sign it again."""
    transaction, _ = signed()
    verdict = await judge([Pool(behind, landed_at=LANDED_AT)], pending_of(transaction))
    assert isinstance(verdict, Seen if not {"height", "validity", "statuses"} & set(behind) else Live)


@every_mixture
async def test_a_blockhash_has_expired_once_nodes_past_its_end_say_so(behind):
    transaction, _ = signed()
    verdict = await judge([Pool(behind)], pending_of(transaction))
    asked = {"height", "validity", "statuses"}
    assert verdict == (Live() if asked & set(behind) else Dead(AHEAD))


@every_mixture
@pytest.mark.parametrize("landed_at", [None, LANDED_AT], ids=["stands", "landed"])
async def test_a_nonce_that_a_node_behind_does_not_know_yet_is_not_used_up(behind, landed_at):
    """I4: the nonce's account is newer than the node that reads it, also when the transaction was relayed."""
    transaction, nonce = signed(nonce=True)
    verdict = await judge([Pool(behind, landed_at=landed_at, nonce=nonce)], pending_of(transaction))
    assert isinstance(verdict, Seen if landed_at and not behind else Live)


async def test_the_end_of_a_relayed_blockhash_is_not_taken_from_a_node_behind():
    """I4: the relay learns no last valid height from its client; of a node behind it would be too low."""
    transaction, _ = signed()

    class Young(Pool):
        async def get_blockhash_validity(self, blockhash, commitment="confirmed"):
            return BlockhashValidity(True, SEEN_AT)

    relay = Relay(PROGRAM, Young({"height"}), None)
    with pytest.raises(TransientRpcError):
        await relay._pending(transaction, bytes(transaction))
    pending = await Relay(PROGRAM, Young(), None)._pending(transaction, bytes(transaction))
    assert pending.last_valid_block_height >= LAST_VALID
