"""Execute an effect on chain exactly once.

The steps: check that the effect is not there yet; build, simulate and sign; store the signature; send; send the same
bytes again until the transaction is judged. Only a transaction that is judged Dead is signed again. A process that is
killed at any line resumes from what the journal stored: it judges the stored signature before it does anything else.
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
"""The rent exemption of an account without data, getMinimumBalanceForRentExemption(0)."""

_UNITS_MARGIN_PERCENT = 10


@dataclass(frozen=True)
class Intent:
    """Describe one effect that is to happen on chain.

    `instructions` builds the instructions again for every signing. `already_done` returns whether the account on chain
    shows the effect; it reads from a node that has reached at least the given slot. `pending` is the stored transaction
    of an intent that is resumed. `was_uncertain`: that transaction could not be judged in an earlier run.
    """

    id: str
    instructions: Callable[[], Awaitable[Sequence[Instruction]]]
    signers: Sequence[Keypair]
    already_done: Callable[[Slot | None], Awaitable[bool]]
    pending: PendingTransaction | None = None
    was_uncertain: bool = False


class IntentJournal(Protocol):
    """Store the progress of intents. Each method returns only when its record is durable."""

    async def save_signed(
        self, intent_id: str, signature: Signature, raw_tx: bytes, last_valid_block_height: int
    ) -> None:
        """Store a signed transaction before it is sent for the first time."""

    async def mark_sent(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction was sent at least once."""

    async def mark_landed(self, intent_id: str, signature: Signature, slot: Slot) -> None:
        """Record that the transaction was confirmed."""

    async def mark_dead(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction can never land."""

    async def mark_failed(self, intent_id: str, code: int, name: str, message: str) -> None:
        """Record that the program or the runtime refused the intent; `code` is -1 for the runtime."""

    async def mark_uncertain(self, intent_id: str, reason: str) -> None:
        """Record that the transaction may have landed but cannot be judged."""


class AlreadyDone(msgspec.Struct, frozen=True, tag=True):
    """Report that the account on chain shows the effect.

    Either nothing was sent, or another transaction had the same effect before.
    """


class Landed(msgspec.Struct, frozen=True, tag=True):
    """Report that the transaction was confirmed. `fee_lamports` is the fee that the payer paid."""

    signature: Signature
    slot: Slot
    fee_lamports: Lamports


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Report that the program refused, or the runtime (code -1).

    `signature` is None if the simulation failed and nothing was sent.
    """

    code: int
    name: str
    message: str
    signature: Signature | None = None


class Expired(msgspec.Struct, frozen=True, tag=True):
    """Report that every signed transaction expired without landing.

    None is in flight, so the intent may be executed again. `signings` is the number of transactions that were signed.
    """

    signings: int


class Uncertain(msgspec.Struct, frozen=True, tag=True):
    """Report that the transaction may have landed but cannot be judged.

    A person must decide, or a later run must judge it again.
    """

    signature: Signature
    reason: str


Outcome = AlreadyDone | Landed | Failed | Expired | Uncertain


class InsufficientFunds(ChainError):
    """Report that the fee payer cannot pay for the transaction and stay rent exempt. It was not sent."""


class SendPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the limits and intervals of a Sender.

    `max_signings`: transactions that are signed for one intent. `rebroadcast_s` and `poll_s`: seconds between two sends
    of the same bytes, and between two judgements. `uncertain_after_s`: seconds until a transaction that cannot be
    judged counts as uncertain; they must exceed the life of a blockhash (60 to 90 s on a real cluster).
    `recheck_for_s`: seconds for which an uncertain transaction is judged again. Meanwhile its intent is locked, and no
    person can resolve it. `max_priority_fee_lamports`: limit of the priority fee of one transaction.
    """

    max_signings: int = 3
    rebroadcast_s: float = 2.0
    poll_s: float = 0.4
    uncertain_after_s: float = 180.0
    recheck_for_s: float = 5.0
    max_priority_fee_lamports: Lamports = Lamports(1_000_000)


class Sender:
    """Execute intents, with one key that pays the fees.

    `rpc` reads and simulates. `witnesses` has one client for each endpoint, by default `rpc` alone: transactions are
    sent to all of them, one suffices to see that a transaction landed, and all must agree before it is judged Dead.
    """

    def __init__(
        self,
        program: Program,
        rpc: Rpc,
        payer: Keypair,
        journal: IntentJournal,
        *,
        witnesses: Sequence[Rpc] = (),
        policy: SendPolicy | None = None,
    ) -> None:
        self._program = program
        self._rpc = rpc
        self._witnesses = witnesses or (rpc,)
        self._payer = payer
        self._journal = journal
        self._policy = policy or SendPolicy()
        self._reached: Slot | None = None  # the next read of an account must be from this slot or later

    async def execute(self, intent: Intent) -> Outcome:
        """Execute an intent and return its outcome.

        Raises ChainError if the RPC fails, and InsufficientFunds if the payer cannot pay. In both cases no signed
        transaction is left unjudged, and the call may be repeated.
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
        """Simulate the transaction, then sign it with 10 % more compute units than the simulation used.

        Returns the program's error if the simulation failed. Raises InsufficientFunds.
        """
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
        """Check that the payer can pay `fee`. Raises InsufficientFunds.

        The payer must keep the rent exemption of an account without data, or the runtime refuses the transaction.
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
        """Send the same bytes until they are judged.

        Returns None if the transaction is Dead, else the intent's outcome. With `judge_first` the first send waits for
        `rebroadcast_s`.
        """
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
                verdict: Verdict = await judge(self._witnesses, attempt)
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
        """Send the transaction to every endpoint at once; return a refusal, or an empty text.

        A refusal decides nothing: the bytes may already be in flight, so only `judge` decides. An endpoint that is
        slower than `rebroadcast_s` is not waited for if another one has taken the transaction.
        """
        sends = {asyncio.create_task(_send(rpc, attempt)) for rpc in self._witnesses}
        try:
            done, waiting = await asyncio.wait(sends, timeout=self._policy.rebroadcast_s)
            while waiting and all(task.result() for task in done):  # only refusals so far
                more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                done |= more
        finally:
            for task in sends:
                task.cancel()
        return next(filter(None, (task.result() for task in done)), "")

    async def _confirm(self, intent: Intent, attempt: PendingTransaction, slot: Slot, err: object) -> Outcome:
        if err is not None:
            self._reached = slot
            return await self._failed(intent, self._program.transaction_error(err), attempt.signature)
        await self._journal.mark_landed(intent.id, attempt.signature, slot)
        return Landed(attempt.signature, slot, compute_budget.fee_lamports(attempt.transaction))

    async def _failed(self, intent: Intent, error: ProgramError, signature: Signature | None) -> Outcome:
        """Report a failure, unless the account on chain shows the effect.

        The program also refuses an effect that already exists. So the account is read first, from a node that has
        reached the slot of the refusal.
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


async def _send(rpc: Rpc, attempt: PendingTransaction) -> str:
    """Send a transaction to one endpoint; return its refusal, or an empty text."""
    try:
        await rpc.send_raw_transaction(attempt.raw_tx, skip_preflight=True, max_retries=0)
    except ChainError as error:
        return str(error)
    return ""
