"""A simulated chain: the real program in LiteSVM, with slots, blocks, history, waiting transactions and forks.

Slots follow virtual time. Each landed transaction is kept with every account that it wrote, so that a node can answer
as of any slot, and a fork can take the newest transactions back. There is one bank: a transaction is executed when its
slot is reached; nodes that lag see older versions of the accounts.
"""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from solders.account import Account
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata
from transaction_json import raw_of
from virtual_time import START, VirtualClock

from zmart.chain.program import Program
from zmart.local.chain.genesis import shipped_program

SLOT_S = 0.4
FIRST_SLOT = 1_000
FINAL_AFTER_SLOTS = 32
BLOCKHASH_LIVES_SLOTS = 150
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")
SYSTEM = Pubkey.default()
MOVED = 6
"""Slots after which a transaction lands again that a fork took back and keeps."""


@dataclass(frozen=True, eq=False)
class LandedTransaction:
    """A landed transaction; `before` and `after` are its writable accounts before and after its execution."""

    signature: str
    slot: int
    index: int
    tx: VersionedTransaction
    meta: object
    err: object
    before: dict[Pubkey, Account | None]
    after: dict[Pubkey, Account | None]

    @property
    def time(self) -> int:
        return time_of(self.slot)

    @property
    def fee(self) -> int:
        return self.meta.fee()

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(map(str, self.tx.message.account_keys))

    @cached_property
    def raw(self) -> bytes:
        """The JSON of the transaction as getTransaction returns it."""
        return raw_of(self)


@dataclass(order=True)
class _Waiting:
    slot: int
    number: int
    tx: VersionedTransaction = field(compare=False)


def time_of(slot: int) -> int:
    """Return the Unix time of the Clock that programs see in this slot."""
    return START + int((slot - FIRST_SLOT) * SLOT_S)


class SimulatedChain:
    """The chain; `landed` holds its transactions in chain order, without those that a fork took back.

    The functions in `on_landing` are called with each transaction that lands, those in `on_fork` with each that a fork
    takes back.
    """

    def __init__(self, clock: VirtualClock, program: Program) -> None:
        self.clock = clock
        self.program = program
        self.svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0)
        self.svm.add_program(Pubkey.from_string(program.address), shipped_program())
        self.landed: list[LandedTransaction] = []
        self.by_signature: dict[str, LandedTransaction] = {}
        self.by_address: dict[str, list[LandedTransaction]] = defaultdict(list)
        self.on_landing: list[Callable[[LandedTransaction], None]] = []
        self.on_fork: list[Callable[[LandedTransaction], None]] = []
        self._waiting: list[_Waiting] = []
        self._versions: dict[Pubkey, list[tuple[int, Account | None]]] = defaultdict(list)
        self._numbers = 0
        self._hashes: dict[str, int] = {}

    # --- time

    @property
    def slot(self) -> int:
        """The newest slot, which a node without a lag reports as confirmed."""
        return FIRST_SLOT + int(self.clock.seconds / SLOT_S)

    def blockhash(self, slot: int) -> str:
        name = str(Pubkey(hashlib.sha256(b"blockhash %d" % slot).digest()))
        self._hashes[name] = slot
        return name

    def is_valid(self, blockhash: str, slot: int) -> bool:
        """Return whether a bank of that slot knows the blockhash and accepts it."""
        made = self._hashes.get(blockhash)
        return made is not None and made <= slot <= made + BLOCKHASH_LIVES_SLOTS

    # --- transactions

    def submit(self, tx: VersionedTransaction, after_slots: int = 1) -> str:
        """Let a transaction land after some slots and return its signature.

        It does not land if it has landed before, or if its blockhash is too old by then.
        """
        self._numbers += 1
        self._waiting.append(_Waiting(self.slot + after_slots, self._numbers, tx))
        return str(tx.signatures[0])

    def catch_up(self) -> None:
        """Execute the waiting transactions whose slot has been reached."""
        due = sorted(w for w in self._waiting if w.slot <= self.slot)
        if not due:
            return
        self._waiting = [w for w in self._waiting if w.slot > self.slot]
        for waiting in due:
            self._land(waiting.tx, max(waiting.slot, self.landed[-1].slot if self.landed else 0))

    def _land(self, tx: VersionedTransaction, slot: int) -> None:
        signature = str(tx.signatures[0])
        if signature in self.by_signature or not self.is_valid(str(tx.message.recent_blockhash), slot):
            return
        index = self.landed[-1].index + 1 if self.landed and self.landed[-1].slot == slot else 0
        before = {key: self.svm.get_account(key) for key in _written(tx)}
        self._set_clock(slot)
        result = self.svm.send_transaction(tx)
        failed = isinstance(result, FailedTransactionMetadata)
        meta = result.meta() if failed else result
        err = msgspec.json.decode(result.to_json())["err"] if failed else None
        after = {key: self.svm.get_account(key) for key in before}
        if failed and err in ("AccountNotFound", "InsufficientFundsForFee", "SignatureFailure"):
            return  # no leader includes it in a block
        rows = LandedTransaction(signature, slot, index, tx, meta, err, before, after)
        self._add(rows)

    def _add(self, found: LandedTransaction) -> None:
        self.landed.append(found)
        self.by_signature[found.signature] = found
        for key in found.keys:
            self.by_address[key].append(found)
        for key, account in found.after.items():
            self._versions[key].append((found.slot, account))
        for reported in self.on_landing:
            reported(found)

    def fork(self, depth: int, keep: Callable[[LandedTransaction], bool]) -> list[LandedTransaction]:
        """Take the newest `depth` transactions back, but none that is final or nearly so; return them.

        Those for which `keep` is true land again, MOVED slots later.
        """
        gone: list[LandedTransaction] = []
        while self.landed and len(gone) < depth and self.landed[-1].slot > self.slot - FINAL_AFTER_SLOTS + 8:
            gone.append(self._take_back())
        for item in reversed(gone):
            for reported in self.on_fork:
                reported(item)
            if keep(item):
                self._numbers += 1
                self._waiting.append(_Waiting(self.slot + MOVED, self._numbers, item.tx))
        return gone

    def _take_back(self) -> LandedTransaction:
        last = self.landed.pop()
        del self.by_signature[last.signature]
        for key in last.keys:
            self.by_address[key].pop()
        for key, account in last.before.items():
            self._versions[key].pop()
            self.svm.set_account(key, account or Account(0, b"", SYSTEM))
        return last

    def simulate(self, tx: VersionedTransaction) -> object:
        self._set_clock(self.slot)
        return self.svm.simulate_transaction(tx)

    def _set_clock(self, slot: int) -> None:
        clock = self.svm.get_clock()
        clock.slot, clock.unix_timestamp = slot, time_of(slot)
        self.svm.set_clock(clock)

    # --- accounts

    def fund(self, wallet: Keypair, lamports: int) -> None:
        """Give a wallet lamports before the run begins; its account exists from slot 0 on."""
        account = Account(lamports, b"", SYSTEM)
        self.svm.set_account(wallet.pubkey(), account)
        self._versions[wallet.pubkey()].append((0, account))

    def account(self, address: str, slot: int | None = None) -> Account | None:
        """Return an account as of a slot (by default the newest), also the program's or the Clock; None without one."""
        slot = self.slot if slot is None else slot
        key = Pubkey.from_string(address)
        if key == CLOCK:
            return Account(1, struct.pack("<QqQQq", slot, START, 0, 0, time_of(slot)), SYSVARS)
        versions = self._versions.get(key)
        if versions is None:
            return self.svm.get_account(key)
        result = next((account for at, account in reversed(versions) if at <= slot), None)
        return result if result is not None and result.lamports else None

    def accounts_of_program(self, slot: int | None = None) -> dict[str, Account]:
        owner = Pubkey.from_string(self.program.address)
        result = {str(key): self.account(str(key), slot) for key in list(self._versions)}
        return {key: account for key, account in result.items() if account and account.owner == owner}


def _written(tx: VersionedTransaction) -> list[Pubkey]:
    message = tx.message
    return [key for n, key in enumerate(message.account_keys) if message.is_maybe_writable(n)]
