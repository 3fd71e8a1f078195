"""Name error codes: the program's own from its IDL, those of Anchor's framework and those of the System program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zmart.chain.idl import Idl
from zmart.errors import ProgramError
from zmart.market.json_input import described

SYSTEM_PROGRAM = "11111111111111111111111111111111"

# anchor-lang 0.32, lang/src/error.rs: those that a client of this program can meet.
ANCHOR = {
    100: ("InstructionMissing", "the data is shorter than 8 bytes"),
    101: ("InstructionFallbackNotFound", "the program has no such instruction"),
    102: ("InstructionDidNotDeserialize", "the arguments are too short or malformed"),
    103: ("InstructionDidNotSerialize", "the arguments could not be written"),
    1500: ("EventInstructionStub", "the program was built without emit_cpi"),
    2000: ("ConstraintMut", "an account that is changed was not passed as writable"),
    2001: ("ConstraintHasOne", "an account does not belong to the one passed with it"),
    2002: ("ConstraintSigner", "an account did not sign"),
    2003: ("ConstraintRaw", "a condition on an account is not met"),
    2004: ("ConstraintOwner", "an account has another owner"),
    2005: ("ConstraintRentExempt", "an account is not rent exempt"),
    2006: ("ConstraintSeeds", "an account is not at its derived address"),
    2009: ("ConstraintAssociated", "an associated account differs"),
    2011: ("ConstraintClose", "an account cannot be closed"),
    2012: ("ConstraintAddress", "an account has another address"),
    2019: ("ConstraintSpace", "an account has another size"),
    2500: ("RequireViolated", "a requirement is not met"),
    3000: ("AccountDiscriminatorAlreadySet", "the account is in use"),
    3001: ("AccountDiscriminatorNotFound", "the account holds no data of the program"),
    3002: ("AccountDiscriminatorMismatch", "the account is of another kind"),
    3003: ("AccountDidNotDeserialize", "the account's data is malformed"),
    3004: ("AccountDidNotSerialize", "the account's data does not fit"),
    3005: ("AccountNotEnoughKeys", "too few accounts were passed"),
    3006: ("AccountNotMutable", "an account that is changed was not passed as writable"),
    3007: ("AccountOwnedByWrongProgram", "an account is owned by another program"),
    3008: ("InvalidProgramId", "a program account is another program"),
    3009: ("InvalidProgramExecutable", "a program account is not executable"),
    3010: ("AccountNotSigner", "an account did not sign"),
    3011: ("AccountNotSystemOwned", "an account is not a plain wallet"),
    3012: ("AccountNotInitialized", "an account does not exist yet"),
    3015: ("AccountSysvarMismatch", "an account is another sysvar"),
    4100: ("DeclaredProgramIdMismatch", "the program was built for another id"),
}

# solana-system-interface, SystemError.
SYSTEM = {
    0: ("AccountAlreadyInUse", "the account exists already"),
    1: ("ResultWithNegativeLamports", "the payer has too few lamports"),
    3: ("InvalidAccountDataLength", "the account cannot have that size"),
    5: ("AddressWithSeedMismatch", "the address does not match its seed"),
}


def named(idl: Idl, code: int, system: bool = False) -> ProgramError:
    """Return the error for a `Custom(code)` of a transaction.

    With `system` the System program returned the code, in a call by our program. A code that no table has is named
    `Custom` and the number.
    """
    if not system and (own := idl.errors.get(code)):
        return ProgramError(code, own.name, own.msg or "the program refused")
    table = SYSTEM if system or code in SYSTEM else ANCHOR
    name, message = table.get(
        code, (f"Custom{code}", "the program returned a code that its IDL does not name")
    )
    return ProgramError(code, name, message)


def from_transaction(idl: Idl, err: object, logs: Sequence[str] = ()) -> ProgramError:
    """Return the error of a failed transaction, from its meta.err or a simulation's err.

    Errors of the runtime have no code of the program. They get the code -1 and the runtime's own name, e.g.
    BlockhashNotFound or InsufficientFundsForFee.
    """
    match err:
        case {"InstructionError": [int(index), {"Custom": int(code)}]}:
            return named(idl, code, system=_failed_first(logs) == SYSTEM_PROGRAM)
        case {"InstructionError": [int(index), reason]}:
            return ProgramError(-1, _label(reason), f"instruction {index} failed in the runtime")
    return ProgramError(-1, _label(err), "the runtime refused the transaction")


def _label(reason: object) -> str:
    if isinstance(reason, Mapping) and reason:
        return str(next(iter(reason)))
    return described(reason)


def _failed_first(logs: Sequence[str]) -> str:
    for line in logs:
        if line.startswith("Program ") and " failed: " in line and not line.startswith("Program log:"):
            return line.split(" ", 2)[1]
    return ""
