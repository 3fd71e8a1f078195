"""Build v0 transactions: signed by our own keys, or unsigned for a user's wallet."""

from __future__ import annotations

from collections.abc import Sequence

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.errors import SignerError
from solders.hash import Hash, ParseHashError
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.solders import CompileError
from solders.transaction import VersionedTransaction

from zmart.chain.versions import max_transaction_bytes
from zmart.errors import ChainError, Invalid
from zmart.market.types import Lamports

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
MAX_COMPUTE_UNITS = 1_400_000
SIGNATURE_LAMPORTS = 5_000
_MAX_MEMO_BYTES = 566


def compile(
    payer: Pubkey,
    instructions: Sequence[Instruction],
    blockhash: str,
    *,
    compute_unit_limit: int | None = None,
    priority_fee_micro_lamports: int = 0,
) -> MessageV0:
    """Compile a v0 message; the priority fee is per compute unit. Raises ChainError if it cannot be compiled."""
    budget: list[Instruction] = []
    if compute_unit_limit is not None:
        budget.append(set_compute_unit_limit(min(compute_unit_limit, MAX_COMPUTE_UNITS)))
    if priority_fee_micro_lamports:
        budget.append(set_compute_unit_price(priority_fee_micro_lamports))
    try:
        return MessageV0.try_compile(payer, [*budget, *instructions], [], Hash.from_string(blockhash))
    except (CompileError, ParseHashError, ValueError) as error:
        raise ChainError(f"The transaction cannot be compiled: {error}") from error


def sign(message: MessageV0, signers: Sequence[Keypair]) -> VersionedTransaction:
    """Sign a message. Raises ChainError unless `signers` are exactly those that the message requires."""
    try:
        return _checked(VersionedTransaction(message, _distinct(signers)))
    except (SignerError, ValueError) as error:
        raise ChainError(f"The transaction cannot be signed: {error}") from error


def unsigned(message: MessageV0) -> VersionedTransaction:
    """Build a transaction with an empty signature per signer, as wallets expect one to sign."""
    empty = [Signature.default()] * message.header.num_required_signatures
    return _checked(VersionedTransaction.populate(message, empty))


def memo(text: str, signers: Sequence[Pubkey] = ()) -> Instruction:
    """Build a memo instruction (UTF-8), signed by `signers` if given. Raises Invalid if it is too long."""
    raw = text.encode()
    if len(raw) > _MAX_MEMO_BYTES:
        raise Invalid("memo", f"A memo has at limit {_MAX_MEMO_BYTES} bytes; this one has {len(raw)}.")
    return Instruction(MEMO_PROGRAM, raw, [AccountMeta(signer, True, False) for signer in signers])


def fee_lamports(tx: VersionedTransaction) -> Lamports:
    """Return the transaction's fee: signatures, plus price times limit of compute units, rounded up."""
    limit, price = 0, 0
    for instruction in tx.message.instructions:
        if tx.message.account_keys[instruction.program_id_index] != COMPUTE_BUDGET:
            continue
        data = bytes(instruction.data)
        if data[:1] == b"\2":
            limit = int.from_bytes(data[1:5], "little")
        elif data[:1] == b"\3":
            price = int.from_bytes(data[1:9], "little")
    priority = -(-limit * price // 1_000_000)
    return Lamports(tx.message.header.num_required_signatures * SIGNATURE_LAMPORTS + priority)


def _checked(tx: VersionedTransaction) -> VersionedTransaction:
    raw = bytes(tx)
    if len(raw) > (limit := max_transaction_bytes(raw)):
        raise ChainError(f"The transaction has {len(raw)} bytes; at most {limit} are allowed.")
    return tx


def _distinct(signers: Sequence[Keypair]) -> list[Keypair]:
    return list({signer.pubkey(): signer for signer in signers}.values())
