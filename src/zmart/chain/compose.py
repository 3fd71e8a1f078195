"""Build version 0 transactions: signed by the backend's keys, or unsigned for a user's wallet."""

from __future__ import annotations

from collections.abc import Sequence

from solders.errors import SignerError
from solders.hash import Hash, ParseHashError
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.solders import CompileError
from solders.transaction import VersionedTransaction

from zmart.chain import compute_budget
from zmart.chain.versions import max_transaction_bytes
from zmart.errors import ChainError, Invalid

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_MAX_MEMO_BYTES = 566


def compile(
    payer: Pubkey,
    instructions: Sequence[Instruction],
    blockhash: str,
    *,
    compute_unit_limit: int | None = None,
    priority_fee_micro_lamports: int = 0,
) -> MessageV0:
    """Compile a version 0 message.

    The priority fee is in micro-lamports per compute unit. Raises ChainError if the message cannot be compiled.
    """
    budget = compute_budget.instructions(compute_unit_limit, priority_fee_micro_lamports)
    try:
        return MessageV0.try_compile(payer, [*budget, *instructions], [], Hash.from_string(blockhash))
    except (CompileError, ParseHashError, ValueError) as error:
        raise ChainError(f"The transaction cannot be compiled: {error}") from error


def sign(message: MessageV0, signers: Sequence[Keypair]) -> VersionedTransaction:
    """Sign a message; return the transaction.

    Raises ChainError unless `signers` are exactly those that the message requires, and if the transaction is too large.
    """
    try:
        return _checked(VersionedTransaction(message, _distinct(signers)))
    except (SignerError, ValueError) as error:
        raise ChainError(f"The transaction cannot be signed: {error}") from error


def unsigned(message: MessageV0) -> VersionedTransaction:
    """Return a transaction with an empty signature for each signer, for a wallet to sign.

    Raises ChainError if it is too large.
    """
    empty = [Signature.default()] * message.header.num_required_signatures
    return _checked(VersionedTransaction.populate(message, empty))


def memo(text: str, signers: Sequence[Pubkey] = ()) -> Instruction:
    """Build a memo instruction with UTF-8 text, signed by `signers` if there are any.

    Raises Invalid if the text has more than 566 bytes.
    """
    raw = text.encode()
    if len(raw) > _MAX_MEMO_BYTES:
        raise Invalid("memo", f"A memo has at most {_MAX_MEMO_BYTES} bytes; this one has {len(raw)}.")
    return Instruction(MEMO_PROGRAM, raw, [AccountMeta(signer, True, False) for signer in signers])


def _checked(tx: VersionedTransaction) -> VersionedTransaction:
    raw = bytes(tx)
    if len(raw) > (limit := max_transaction_bytes(raw)):
        raise ChainError(f"The transaction has {len(raw)} bytes; at most {limit} are allowed.")
    return tx


def _distinct(signers: Sequence[Keypair]) -> list[Keypair]:
    return list({signer.pubkey(): signer for signer in signers}.values())
