"""Call the program's pricing functions in LiteSVM, one function in each transaction."""

from __future__ import annotations

import base64
import struct
import sys
from enum import IntEnum
from pathlib import Path

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import TransactionMetadata

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "programs" / "zmart_core"))
from build import compile_object  # noqa: E402
from linker import link  # noqa: E402

ERROR_NAMES = {
    6014: "InsufficientShares",
    6033: "OverflowError",
    6035: "DivisionByZero",
    6039: "ExponentTooLarge",
    6042: "InvalidBParameter",
}
Answer = tuple[int, int] | str


class Call(IntEnum):
    """The functions that math_probe.c can call, with their numbers there."""

    NOTHING = 0
    COST = 1
    PRICE = 2
    BUY = 3
    SELL = 4
    MULDIV = 5


class MathProbe:
    """The compiled pricing functions. A call of the probe returns the function's two results, or its error's name."""

    def __init__(self) -> None:
        self._program = Pubkey.new_unique()
        self._payer = Keypair()
        self._svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self._svm.airdrop(self._payer.pubkey(), 10**12)
        self._svm.add_program(self._program, link(compile_object(HERE / "math_probe.c")))
        self._overhead = 0
        self._overhead = self.units(Call.NOTHING)

    def __call__(self, which: Call, *arguments: int) -> Answer:
        line = next(log for log in self._send(which, arguments).logs() if log.startswith("Program data: "))
        error, first, second = struct.unpack("<3Q", base64.b64decode(line.removeprefix("Program data: ")))
        return ERROR_NAMES[error] if error else (first, second)

    def units(self, which: Call, *arguments: int) -> int:
        """Return the compute units that the function consumes, without those of the probe around it."""
        return self._send(which, arguments).compute_units_consumed() - self._overhead

    def _send(self, which: Call, arguments: tuple[int, ...]) -> TransactionMetadata:
        data = struct.pack("<5Q", which, *arguments, *[0] * (4 - len(arguments)))
        message = Message([Instruction(self._program, data, [])], self._payer.pubkey())
        sent = self._svm.send_transaction(Transaction.new_unsigned(message))
        assert isinstance(sent, TransactionMetadata), sent
        return sent
