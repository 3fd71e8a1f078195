"""I4: durable nonce transactions, which can wait for long, do not displace other transactions from the rebroadcast."""

from __future__ import annotations

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account
from solders.transaction import VersionedTransaction

from zmart.chain.judge import PendingTransaction
from zmart.market.types import Signature
from zmart.services.gateway.api.rebroadcast import Rebroadcast

PAYER = Keypair()
ADVANCE = advance_nonce_account(
    AdvanceNonceAccountParams(nonce_pubkey=Pubkey.new_unique(), authorized_pubkey=PAYER.pubkey())
)


def attempt(number: int, *, with_nonce: bool) -> PendingTransaction:
    note = Instruction(Pubkey.default(), bytes([number]), [])
    calls = [ADVANCE, note] if with_nonce else [note]
    message = MessageV0.try_compile(PAYER.pubkey(), calls, [], Hash.default())
    tx = VersionedTransaction(message, [PAYER])
    return PendingTransaction(Signature(str(tx.signatures[0])), bytes(tx), 0)


def test_the_oldest_nonce_makes_room_for_a_new_one_and_never_one_of_another_kind() -> None:
    plain = [attempt(n, with_nonce=False) for n in range(3)]
    nonces = [attempt(n, with_nonce=True) for n in range(3)]
    flight = Rebroadcast(max_in_flight=2, max_with_nonce=2)
    for one in [*plain, *nonces, *plain]:
        flight.add(one)
    assert [flight.get(one.signature) for one in plain] == [plain[0], plain[1], None]
    assert [flight.get(one.signature) for one in nonces] == [None, nonces[1], nonces[2]]
