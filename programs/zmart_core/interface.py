"""Write interface.h from the IDL, so that the program checks exactly the interface that clients read.

The header has the discriminators, the accounts of each instruction with their flags, and the error codes with
the log line of each (the text that Anchor programs print, which explorers and client libraries parse).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple, TypedDict


class IdlAccount(TypedDict, total=False):
    name: str
    writable: bool
    signer: bool
    address: str


class IdlInstruction(TypedDict):
    name: str
    discriminator: list[int]
    accounts: list[IdlAccount]


class IdlNamed(TypedDict):
    name: str
    discriminator: list[int]


class IdlError(TypedDict):
    code: int
    name: str


class Idl(TypedDict):
    instructions: list[IdlInstruction]
    accounts: list[IdlNamed]
    events: list[IdlNamed]
    errors: list[IdlError]


class ErrorLine(NamedTuple):
    code: int
    name: str
    message: str


# The codes of the Anchor framework that this program returns, with Anchor's own messages.
FRAMEWORK_ERRORS = [
    ErrorLine(101, "InstructionFallbackNotFound", "Fallback functions are not supported"),
    ErrorLine(102, "InstructionDidNotDeserialize", "The program could not deserialize the given instruction"),
    ErrorLine(2000, "ConstraintMut", "A mut constraint was violated"),
    ErrorLine(2001, "ConstraintHasOne", "A has one constraint was violated"),
    ErrorLine(2006, "ConstraintSeeds", "A seeds constraint was violated"),
    ErrorLine(3001, "AccountDiscriminatorNotFound", "No discriminator was found on the account"),
    ErrorLine(3002, "AccountDiscriminatorMismatch", "Account discriminator did not match what was expected"),
    ErrorLine(3003, "AccountDidNotDeserialize", "Failed to deserialize the account"),
    ErrorLine(3004, "AccountDidNotSerialize", "Failed to serialize the account"),
    ErrorLine(3005, "AccountNotEnoughKeys", "Not enough account keys given to the instruction"),
    ErrorLine(
        3007, "AccountOwnedByWrongProgram", "The given account is owned by a different program than expected"
    ),
    ErrorLine(3008, "InvalidProgramId", "Program ID was not as expected"),
    ErrorLine(3010, "AccountNotSigner", "The given account did not sign"),
    ErrorLine(3012, "AccountNotInitialized", "The program expected this account to be already initialized"),
]

# Accounts that an instruction creates (or may create). They can't be checked before the instruction runs.
MADE_HERE = {
    ("initialize_global_config", "global_config"),
    ("create_market", "market"),
    ("submit_proposal_vote", "vote_record"),
    ("submit_dispute_vote", "vote_record"),
    ("buy_shares", "position"),
}
KINDS = {"global_config": "CONFIG", "market": "MARKET", "position": "POSITION", "system_program": "SYSTEM"}


def write_interface(idl_path: Path) -> str:
    """Return the text of interface.h for the IDL at `idl_path`."""
    idl: Idl = json.loads(idl_path.read_text())
    sections = [
        "/* Generated from the IDL by interface.py: do not edit. */\n#pragma once",
        _discriminators("Account", idl["accounts"]),
        _discriminators("Event", idl["events"]),
        _error_codes(idl),
        _error_lines(idl),
        "typedef enum { ANY, SYSTEM, CONFIG, MARKET, POSITION } Kind;\n"
        "typedef struct { unsigned char kind, writable, signer; } Slot;",
        *[_accounts(instruction) for instruction in idl["instructions"]],
        _dispatch(idl["instructions"]),
    ]
    return "\n\n".join(sections) + "\n"


def _hex(discriminator: list[int]) -> str:
    return f"0x{int.from_bytes(bytes(discriminator), 'little'):016x}UL"


def _discriminators(kind: str, items: list[IdlNamed]) -> str:
    return "\n".join(f"#define {kind}{item['name']} {_hex(item['discriminator'])}" for item in items)


def _errors(idl: Idl) -> list[ErrorLine]:
    own = [ErrorLine(error["code"], error["name"], _sentence(error["name"])) for error in idl["errors"]]
    return FRAMEWORK_ERRORS + own


def _error_codes(idl: Idl) -> str:
    return "enum {\n" + "".join(f"  Err{error.name} = {error.code},\n" for error in _errors(idl)) + "};"


def _error_lines(idl: Idl) -> str:
    lines = [
        f'  X({code}, "AnchorError occurred. Error Code: {name}. Error Number: {code}. Error Message: {message}.")'
        for code, name, message in _errors(idl)
    ]
    return "#define ERROR_LINES(X) \\\n" + " \\\n".join(lines)


def _sentence(name: str) -> str:
    """Write an error's name as a sentence: `InvalidBParameter` -> `Invalid b parameter`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()


def _accounts(instruction: IdlInstruction) -> str:
    name = instruction["name"]
    indexes = ", ".join(f"{name}_{account['name']}" for account in instruction["accounts"])
    slots = ", ".join(_slot(name, account) for account in instruction["accounts"])
    return f"enum {{ {indexes} }};\nstatic const Slot {name}_slots[] = {{ {slots} }};"


def _slot(instruction: str, account: IdlAccount) -> str:
    made_here = (instruction, account["name"]) in MADE_HERE
    kind = "ANY" if made_here else KINDS.get(account["name"], "ANY")
    return f"{{ {kind}, {int(account.get('writable', False))}, {int(account.get('signer', False))} }}"


def _dispatch(instructions: list[IdlInstruction]) -> str:
    lines = [
        f'  X({item["name"]}, {_hex(item["discriminator"])}, "Instruction: {_camel(item["name"])}")'
        for item in instructions
    ]
    return "#define INSTRUCTIONS(X) \\\n" + " \\\n".join(lines)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
