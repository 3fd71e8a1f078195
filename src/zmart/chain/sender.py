"""Execute an effect on chain exactly once.

already done? -> build, simulate, sign -> store the signature -> send -> send the same bytes again -> judge. Only a
transaction that is judged Dead is signed again. A process that is killed at any line resumes from what the journal
stored: the stored signature is judged before anything else is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import msgspec
from solders.instruction import Instruction
from solders.keypair import Keypair

from zmart.chain import compose, compute_budget
from zmart.chain.judge import Dead, Live, PendingTransaction, Seen, Verdict, judge
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SimulationResult
from zmart.errors import ChainError, ProgramError
from zmart.market.types import Address, Lamports, Signature, Slot

PAYER_RENT_LAMPORTS = Lamports(890_880)
"""getMinimumBalanceForRentExemption(0)."""

_UNITS_MARGIN_PERCENT = 10


@dataclass(frozen=True)
class Intent:
    """Describe one effect that is to happen.

    `instructions` builds it again for every signing; `already_done` reads the account on chain from a node that has
    reached at least the given slot. `pending` is the stored transaction of an intent that is resumed; `was_uncertain`:
    it could not be judged before.
    """

    id: str
    instructions: Callable[[], Awaitable[Sequence[Instruction]]]
    signers: Sequence[Keypair]
    already_done: Callable[[Slot | None], Awaitable[bool]]
    pending: PendingTransaction | None = None
    was_uncertain: bool = False


class IntentJournal(Protocol):
    """Store the progress of intents. Each method returns only when it is durable."""

    async def save_signed(
        self, intent_id: str, signature: Signature, raw_tx: bytes, last_valid_block_height: int
    ) -> None:
        """Store a signed transaction before it is sent."""

    async def mark_sent(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction was sent at least once."""

    async def mark_landed(self, intent_id: str, signature: Signature, slot: Slot) -> None:
        """Record that the transaction was confirmed."""

    async def mark_dead(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction can never land."""

    async def mark_failed(self, intent_id: str, code: int, name: str, message: str) -> None:
        """Record that the program or the runtime refused the intent."""

    async def mark_uncertain(self, intent_id: str, reason: str) -> None:
        """Record that the transaction may have landed and cannot be judged."""


class AlreadyDone(msgspec.Struct, frozen=True, tag=True):
    """Result: the account on chain shows the effect. Nothing was sent, or another sender had sent it before."""


class Landed(msgspec.Struct, frozen=True, tag=True):
    """Result: the transaction was confirmed. `fee_lamports` is what the payer paid."""

    signature: Signature
    slot: Slot
    fee_lamports: Lamports


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Result: the program or (code -1) the runtime refused. `signature` is None if the simulation failed and nothing
    was sent."""

    code: int
    name: str
    message: str
    signature: Signature | None = None


class Expired(msgspec.Struct, frozen=True, tag=True):
    """Result: every signed transaction expired without landing. None is in flight; the intent may be executed again."""

    signings: int


class Uncertain(msgspec.Struct, frozen=True, tag=True):
    """State that the transaction may have landed and cannot be judged: it needs a person, or a later resume."""

    signature: Signature
    reason: str


Outcome = AlreadyDone | Landed | Failed | Expired | Uncertain


class InsufficientFunds(ChainError):
    """Report that the fee payer cannot pay for the action and stay rent exempt. Nothing was signed."""


class SendPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Hold limits and intervals. `uncertain_after_s` must exceed a blockhash's life (60 to 90 s on a real
    cluster). An uncertain transaction is judged again for `recheck_for_s`: meanwhile its intent is locked, and no
    person can resolve it."""

    max_signings: int = 3
    rebroadcast_s: float = 2.0
    poll_s: float = 0.4
    uncertain_after_s: float = 180.0
    recheck_for_s: float = 5.0
    max_priority_fee_lamports: Lamports = Lamports(1_000_000)


class Sender:
    """Execute intents with one paying key. `second_rpc` must agree before anything is judged Dead."""

    def __init__(
        self,
        program: Program,
        rpc: Rpc,
        payer: Keypair,
        journal: IntentJournal,
        *,
        second_rpc: Rpc | None = None,
        policy: SendPolicy | None = None,
    ) -> None:
        self._program = program
        self._rpc = rpc
        self._rpcs = (rpc, second_rpc) if second_rpc else (rpc,)
        self._payer = payer
        self._journal = journal
        self._policy = policy or SendPolicy()
        self._reached: Slot | None = None  # the next read of an account must be from this slot or later

    async def execute(self, intent: Intent) -> Outcome:
        """Execute an intent and return its outcome.

        Raises ChainError (InsufficientFunds among them) if no RPC could be asked or the payer cannot pay. Nothing was
        signed again then, and the call may be repeated.
        """
        attempt = intent.pending
        if attempt and (outcome := await self._follow(intent, attempt, judge_first=True)):
            return outcome
        for signing in range(1, self._policy.max_signings + 1):
            if await intent.already_done(self._reached):
                return AlreadyDone()
            prepared = await self._prepare(intent, signing)
            if isinstance(prepared, ProgramError):
                return await self._failed(intent, prepared, None)
            await self._journal.save_signed(
                intent.id, prepared.signature, prepared.raw_tx, prepared.last_valid_block_height
            )
            if outcome := await self._follow(intent, prepared, judge_first=False):
                return outcome
        done = await intent.already_done(self._reached)
        return AlreadyDone() if done else Expired(self._policy.max_signings)

    async def _prepare(self, intent: Intent, signing: int) -> PendingTransaction | ProgramError:
        """Simulate, then sign with a tenth more compute units than the simulation used."""
        instructions = await intent.instructions()
        balance = await self._rpc.get_balance(Address(str(self._payer.pubkey())))
        self._can_pay(balance, Lamports(compute_budget.SIGNATURE_LAMPORTS * (1 + len(intent.signers))))
        simulation = await self._simulate(intent, instructions)
        if not simulation.ok:
            self._reached = max(self._reached or simulation.slot, simulation.slot)
            return self._program.transaction_error(simulation.err, simulation.logs)
        units = compute_budget.unit_limit(simulation.units, _UNITS_MARGIN_PERCENT)
        usual = await compute_budget.usual_price(self._rpc, instructions)
        price = compute_budget.raised_price(usual, signing)
        latest = await self._rpc.get_latest_blockhash()
        message = compose.compile(
            self._payer.pubkey(),
            instructions,
            latest.blockhash,
            compute_unit_limit=units,
            priority_fee_micro_lamports=compute_budget.capped_price(
                price, units, self._policy.max_priority_fee_lamports
            ),
        )
        tx = compose.sign(message, [self._payer, *intent.signers])
        self._can_pay(balance, compute_budget.fee_lamports(tx))
        return PendingTransaction(Signature(str(tx.signatures[0])), bytes(tx), latest.last_valid_block_height)

    def _can_pay(self, balance: Lamports, fee: Lamports) -> None:
        """Check the payer's balance. Raises InsufficientFunds.

        A payer must keep what an account without data needs for rent exemption, or the runtime refuses.
        """
        needed = fee + PAYER_RENT_LAMPORTS
        if balance < needed:
            raise InsufficientFunds(
                f"The fee payer {self._payer.pubkey()} has {balance} lamports and needs {needed}: send it SOL."
            )

    async def _simulate(self, intent: Intent, instructions: Sequence[Instruction]) -> SimulationResult:
        latest = await self._rpc.get_latest_blockhash()
        message = compose.compile(
            self._payer.pubkey(),
            instructions,
            latest.blockhash,
            compute_unit_limit=compute_budget.MAX_UNITS,
            priority_fee_micro_lamports=1,  # the instruction that sets a price costs units, too
        )
        simulation = await self._rpc.simulate(
            bytes(compose.sign(message, [self._payer, *intent.signers])), verify_signatures=True
        )
        if simulation.err == "BlockhashNotFound":
            raise ChainError("The RPC that simulates does not have the latest blockhash yet.")
        return simulation

    async def _follow(
        self, intent: Intent, attempt: PendingTransaction, *, judge_first: bool
    ) -> Outcome | None:
        """Send the same bytes until they are judged; returns None if they are dead."""
        started = time.monotonic()
        send_at = started + (self._policy.rebroadcast_s if judge_first else 0.0)
        was_uncertain = judge_first and intent.was_uncertain
        limit_s = self._policy.recheck_for_s if was_uncertain else self._policy.uncertain_after_s
        sent, reason = was_uncertain, "it neither landed nor expired in time"  # uncertain until it is judged
        while True:
            if time.monotonic() >= send_at:
                reason = await self._broadcast(attempt) or reason
                send_at = time.monotonic() + self._policy.rebroadcast_s
                if not sent:
                    await self._journal.mark_sent(intent.id, attempt.signature)
                    sent = True
            try:
                verdict: Verdict = await judge(self._rpcs, attempt)
            except ChainError as error:
                verdict, reason = Live(), str(error)
            match verdict:
                case Seen(slot, err):
                    return await self._confirm(intent, attempt, slot, err)
                case Dead(slot):
                    self._reached = slot
                    await self._journal.mark_dead(intent.id, attempt.signature)
                    return None
                case Live():
                    if time.monotonic() - started > limit_s:
                        return await self._uncertain(intent, attempt, reason)
                    await asyncio.sleep(self._policy.poll_s)
                case _:
                    assert_never(verdict)

    async def _broadcast(self, attempt: PendingTransaction) -> str:
        """Send to every endpoint; returns the last refusal, or "".

        A refusal decides nothing: the bytes may already be in flight, so only `judge` decides.
        """
        refusal = ""
        for rpc in self._rpcs:
            try:
                await rpc.send_raw_transaction(attempt.raw_tx, skip_preflight=True, max_retries=0)
            except ChainError as error:
                refusal = str(error)
        return refusal

    async def _confirm(self, intent: Intent, attempt: PendingTransaction, slot: Slot, err: object) -> Outcome:
        if err is not None:
            self._reached = slot
            return await self._failed(intent, self._program.transaction_error(err), attempt.signature)
        await self._journal.mark_landed(intent.id, attempt.signature, slot)
        return Landed(attempt.signature, slot, compute_budget.fee_lamports(attempt.transaction))

    async def _failed(self, intent: Intent, error: ProgramError, signature: Signature | None) -> Outcome:
        """Report a failure, unless the effect exists.

        The program refuses what has already been done, so the account is read first, from a node that knows the bank
        that refused.
        """
        if await intent.already_done(self._reached):
            return AlreadyDone()
        await self._journal.mark_failed(intent.id, error.code, error.name, str(error))
        return Failed(error.code, error.name, str(error), signature)

    async def _uncertain(self, intent: Intent, attempt: PendingTransaction, reason: str) -> Outcome:
        try:
            if await intent.already_done(None):
                return AlreadyDone()
        except ChainError as error:
            reason = str(error)
        await self._journal.mark_uncertain(intent.id, reason)
        return Uncertain(attempt.signature, reason)
