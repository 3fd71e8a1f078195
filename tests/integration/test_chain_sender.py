"""Tests of the sender on a local chain: an effect happens once, also if the process is killed at any step.

The effect is a transfer to a new account, whose balance shows how often it happened.
"""

from __future__ import annotations

import asyncio
import gc

import pytest
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from kit.waiting import until
from zmart.chain import compose, compute_budget
from zmart.chain.judge import Dead, Live, PendingTransaction, Seen, judge
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureStatus, Statuses
from zmart.chain.sender import (
    PAYER_RENT_LAMPORTS,
    AlreadyDone,
    Expired,
    Failed,
    InsufficientFunds,
    Intent,
    Landed,
    Sender,
    SendPolicy,
    Uncertain,
)
from zmart.errors import ChainError
from zmart.local.chain.genesis import fund, prepare_chain, shipped_program
from zmart.local.chain.keys import load_keys
from zmart.local.chain.server import ChainServer
from zmart.local.processes import free_port
from zmart.market.types import Wallet

AMOUNT = 5_000_000
QUICK = SendPolicy(rebroadcast_s=0.3, poll_s=0.02, uncertain_after_s=20)
AWAY = "http://127.0.0.1:1"


class Killed(BaseException):
    """The exception that stands for a killed process: no handler of Exception catches it."""


class Journal:
    """A journal in memory of the steps that a database would store; `die_at` kills before or after one of them."""

    def __init__(self):
        self.steps, self.stored, self.die_at = [], None, None

    async def _step(self, name, *values):
        if self.die_at == ("before", name):
            raise Killed
        if name == "save_signed":
            self.stored = PendingTransaction(*values)
        self.steps.append((name, *values))
        if self.die_at == ("after", name):
            raise Killed

    async def save_signed(self, intent_id, signature, raw_tx, last_valid_block_height):
        await self._step("save_signed", signature, raw_tx, last_valid_block_height)

    async def mark_sent(self, intent_id, signature):
        await self._step("mark_sent", signature)

    async def mark_landed(self, intent_id, signature, slot):
        await self._step("mark_landed", signature, slot)

    async def mark_dead(self, intent_id, signature):
        await self._step("mark_dead", signature)

    async def mark_failed(self, intent_id, code, name, message):
        await self._step("mark_failed", code, name, message)

    async def mark_uncertain(self, intent_id, reason):
        await self._step("mark_uncertain", reason)

    @property
    def names(self):
        return [step[0] for step in self.steps]


class Effect:
    """A transfer of lamports from `payer` to a new account, whose balance counts it."""

    def __init__(self, program, rpc, payer):
        self.program, self.rpc, self.payer = program, rpc, payer
        self.target = Keypair().pubkey()
        self.journal = Journal()

    def instruction(self, lamports=AMOUNT):
        return transfer(
            TransferParams(from_pubkey=self.payer.pubkey(), to_pubkey=self.target, lamports=lamports)
        )

    def intent(self, pending=None, lamports=AMOUNT, look=False, was_uncertain=False):
        async def instructions():
            return [self.instruction(lamports)]

        async def already_done(since):
            return look and await self.balance() > 0

        return Intent("one", instructions, [], already_done, pending, was_uncertain)

    def sender(self, rpc=None, **more):
        return Sender(self.program, rpc or self.rpc, self.payer, self.journal, **{"policy": QUICK} | more)

    async def balance(self):
        return await self.rpc.get_balance(Wallet(str(self.target)))

    async def signed(self, blockhash=None):
        """Return a signed transaction that was not sent, as a process leaves it that died before sending."""
        latest = await self.rpc.get_latest_blockhash()
        message = compose.compile(self.payer.pubkey(), [self.instruction()], blockhash or latest.blockhash)
        tx = compose.sign(message, [self.payer])
        return PendingTransaction(str(tx.signatures[0]), bytes(tx), latest.last_valid_block_height)

    async def until_expired(self, attempt):
        await until(
            lambda: judge([self.rpc], attempt),
            lambda found: isinstance(found, Dead),
            within_s=60,
            every_s=0.1,
        )


def compose_units(attempt):
    """Return the compute unit limit that a transaction requests."""
    message = attempt.transaction.message
    budget = [i.data for i in message.instructions if i.data[:1] == bytes([2])]
    return int.from_bytes(budget[0][1:5], "little")


@pytest.fixture
async def rpc(local_chain):
    async with Rpc([local_chain.rpc_url]) as client:
        yield client


@pytest.fixture
async def effect(local_chain, rpc):
    return Effect(local_chain.program, rpc, local_chain.keys.faucet)


@pytest.fixture(scope="module")
def fast_chain(tmp_path_factory, request):
    """Yield a chain with slots of 5 ms and its keys: a blockhash of it expires within a second or two."""
    folder = tmp_path_factory.mktemp("fast")
    server = ChainServer(
        folder / "chain", free_port(), free_port(), request.config.rootpath / ".zmart/node", slot_ms=5
    )
    try:
        server.start()
        yield server, load_keys(folder / "keys")
    finally:
        server.stop()


@pytest.fixture
async def fast(fast_chain, local_chain):
    server, keys = fast_chain
    async with Rpc([server.rpc_url]) as client:
        await prepare_chain(client, local_chain.program, keys, shipped_program())
        yield Effect(local_chain.program, client, keys.faucet)


async def test_an_intent_is_stored_before_it_is_sent_and_lands(effect):
    before = await effect.rpc.get_balance(Wallet(str(effect.payer.pubkey())))
    outcome = await effect.sender().execute(effect.intent())
    assert isinstance(outcome, Landed)
    assert effect.journal.names == ["save_signed", "mark_sent", "mark_landed"]
    assert await effect.balance() == AMOUNT
    paid = before - await effect.rpc.get_balance(Wallet(str(effect.payer.pubkey())))
    assert paid == AMOUNT + outcome.fee_lamports


async def test_what_the_account_shows_is_not_sent_again(effect):
    await effect.sender().execute(effect.intent())
    second_result = Effect(effect.program, effect.rpc, effect.payer)
    second_result.target = effect.target
    assert await second_result.sender().execute(second_result.intent(look=True)) == AlreadyDone()
    assert second_result.journal.names == []


@pytest.mark.parametrize(
    "die_at",
    [
        ("before", "save_signed"),
        ("after", "save_signed"),
        ("before", "mark_sent"),
        ("after", "mark_sent"),
        ("before", "mark_landed"),
        ("after", "mark_landed"),
    ],
    ids=lambda step: "-".join(step),
)
async def test_killed_at_any_step_it_still_happens_once(effect, die_at):
    effect.journal.die_at = die_at
    with pytest.raises(Killed):
        await effect.sender().execute(effect.intent())
    effect.journal.die_at = None
    outcome = await effect.sender().execute(effect.intent(pending=effect.journal.stored))
    assert isinstance(outcome, Landed)
    assert effect.journal.names.count("save_signed") == 1
    assert await effect.balance() == AMOUNT


async def test_a_stored_transaction_is_sent_as_it_was_signed(effect):
    pending = await effect.signed()
    outcome = await effect.sender().execute(effect.intent(pending))
    assert isinstance(outcome, Landed)
    assert outcome.signature == pending.signature
    assert effect.journal.names == ["mark_sent", "mark_landed"]


async def test_two_processes_with_the_same_stored_transaction_cause_one_effect(effect):
    pending = await effect.signed()
    outcomes = await asyncio.gather(*(effect.sender().execute(effect.intent(pending)) for _ in range(4)))
    assert {outcome.signature for outcome in outcomes} == {pending.signature}
    assert await effect.balance() == AMOUNT


async def test_a_refusal_by_the_program_sends_nothing(effect, local_chain):
    async def instructions():
        return [
            local_chain.program.instructions.approve_proposal(Wallet(str(effect.payer.pubkey())), "ab" * 32)
        ]

    async def already_done(since):
        return False

    outcome = await effect.sender().execute(Intent("two", instructions, [], already_done))
    assert isinstance(outcome, Failed)
    assert (outcome.name, outcome.signature) == ("AccountNotInitialized", None)
    assert effect.journal.names == ["mark_failed"]


@pytest.mark.parametrize("missing", [1, PAYER_RENT_LAMPORTS])
async def test_a_payer_that_cannot_pay_the_fee_and_keep_its_rent_signs_nothing(effect, missing):
    poor = Effect(effect.program, effect.rpc, Keypair())
    enough = compute_budget.SIGNATURE_LAMPORTS + PAYER_RENT_LAMPORTS
    await fund(effect.rpc, Wallet(str(poor.payer.pubkey())), enough - missing)
    with pytest.raises(InsufficientFunds, match=f"needs {enough}: send it SOL"):
        await poor.sender().execute(poor.intent())
    assert poor.journal.names == []


async def test_a_tenth_more_units_than_simulated_are_asked_for(effect):
    await effect.sender().execute(effect.intent())
    limit = compose_units(effect.journal.stored)
    assert limit == -(-450 * 11 // 10)  # a transfer and two instructions of the compute budget, 150 each


async def test_a_failure_on_chain_is_told_with_its_signature(effect):
    latest = await effect.rpc.get_latest_blockhash()
    message = compose.compile(effect.payer.pubkey(), [effect.instruction(lamports=10**18)], latest.blockhash)
    tx = compose.sign(message, [effect.payer])
    pending = PendingTransaction(str(tx.signatures[0]), bytes(tx), latest.last_valid_block_height)
    await effect.rpc.send_raw_transaction(pending.raw_tx, skip_preflight=True)
    outcome = await effect.sender().execute(effect.intent(pending))
    assert isinstance(outcome, Failed)
    assert (outcome.name, outcome.signature) == ("ResultWithNegativeLamports", pending.signature)


async def test_what_somebody_else_did_first_is_done_and_no_failure(effect):
    """The outcome is AlreadyDone if the simulation fails and the account shows the effect.

    Another process caused the effect in between.
    """
    done = False

    async def already_done(since):
        nonlocal done
        done, answer = True, done
        return answer

    intent = Intent("x", effect.intent(lamports=10**18).instructions, [], already_done)
    assert await effect.sender().execute(intent) == AlreadyDone()
    assert effect.journal.names == []


async def test_a_dead_transaction_is_signed_anew_and_happens_once(fast):
    pending = await fast.signed()
    await fast.until_expired(pending)
    outcome = await fast.sender().execute(fast.intent(pending))
    assert isinstance(outcome, Landed)
    assert outcome.signature != pending.signature
    assert fast.journal.names == ["mark_dead", "save_signed", "mark_sent", "mark_landed"]
    assert await fast.balance() == AMOUNT


async def test_killed_after_it_buried_a_dead_one_it_still_happens_once(fast):
    pending = await fast.signed()
    await fast.until_expired(pending)
    fast.journal.die_at = ("after", "mark_dead")
    with pytest.raises(Killed):
        await fast.sender().execute(fast.intent(pending))
    fast.journal.die_at = None
    assert isinstance(await fast.sender().execute(fast.intent(pending)), Landed)
    assert await fast.balance() == AMOUNT


async def test_a_landed_transaction_is_never_dead_however_old(fast):
    pending = await fast.signed()
    first = await fast.sender().execute(fast.intent(pending))
    await fast.until_expired(await fast.signed())
    assert isinstance(await judge([fast.rpc], pending), Seen)
    second_result = await fast.sender().execute(fast.intent(pending))
    assert isinstance(second_result, Landed)
    assert second_result.slot == first.slot
    assert await fast.balance() == AMOUNT


async def test_only_both_endpoints_together_bury_a_transaction(fast):
    pending = await fast.signed()
    await fast.until_expired(pending)
    policy = SendPolicy(rebroadcast_s=0.2, poll_s=0.02, uncertain_after_s=0.5)
    async with Rpc([AWAY], timeout_s=0.2, attempts=1) as away:
        with pytest.raises(ChainError):
            await judge([fast.rpc, away], pending)
        outcome = await fast.sender(witnesses=[fast.rpc, away], policy=policy).execute(fast.intent(pending))
    assert isinstance(outcome, Uncertain)
    assert outcome.signature == pending.signature
    assert fast.journal.names == ["mark_sent", "mark_uncertain"]
    assert await fast.balance() == 0


class Node:
    """An endpoint that answers getSignatureStatuses `after_s` seconds later, with a status or an error."""

    def __init__(self, answer, after_s=0.0):
        self.answer, self.after_s = answer, after_s

    async def get_signature_statuses(self, signatures, **_):
        await asyncio.sleep(self.after_s)
        if isinstance(self.answer, ChainError):
            raise self.answer
        status = self.answer and SignatureStatus(slot=5, err=None, confirmation_status=self.answer)
        return Statuses(values=[status], context_slot=5)


FAILS = ChainError("no")


@pytest.mark.parametrize(
    ("nodes", "verdict"),
    [
        ([Node(FAILS), Node("confirmed")], Seen),
        ([Node("confirmed"), Node(FAILS)], Seen),
        ([Node("processed"), Node("confirmed", 0.05)], Seen),
        ([Node(None), Node("finalized", 0.05)], Seen),
        ([Node("confirmed", 0.05), Node(None, 60)], Seen),
        ([Node("processed"), Node(FAILS)], Live),
        ([Node("processed"), Node(None, 60)], Live),
        ([Node(None), Node(FAILS)], ChainError),
        ([Node(None), Node("confirmed", 60)], ChainError),
        ([Node(FAILS), Node(FAILS)], ChainError),
    ],
)
async def test_one_endpoint_suffices_to_see_that_a_transaction_landed(monkeypatch, nodes, verdict):
    monkeypatch.setattr("zmart.chain.judge.OTHERS_WITHIN_S", 0.3)
    unheard, loop = [], asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    pending = PendingTransaction("5" * 64, b"", 0)
    if verdict is ChainError:
        with pytest.raises(ChainError):
            await judge(nodes, pending)
    else:
        assert isinstance(await judge(nodes, pending), verdict)
    await asyncio.sleep(0)
    gc.collect()
    assert unheard == []


async def test_a_slow_endpoint_gets_the_transaction_while_the_other_one_refuses_it(effect, local_chain):
    """It is given up only if another one has taken the transaction."""
    pending, taken = await effect.signed(), []

    class Slow(Rpc):
        async def send_raw_transaction(self, raw, *, skip_preflight=False, max_retries=None):
            await asyncio.sleep(0.5)
            taken.append(await super().send_raw_transaction(raw, skip_preflight=skip_preflight))
            return taken[0]

    policy = SendPolicy(rebroadcast_s=0.1, poll_s=0.02, uncertain_after_s=20)
    async with Rpc([AWAY], timeout_s=0.2, attempts=1) as away, Slow([local_chain.rpc_url]) as slow:
        outcome = await effect.sender(witnesses=[away, slow], policy=policy).execute(effect.intent(pending))
    assert isinstance(outcome, Landed)
    assert len(taken) >= 1


async def test_an_uncertain_transaction_is_settled_when_it_is_taken_up_again(fast):
    pending = await fast.signed()
    await fast.until_expired(pending)
    policy = SendPolicy(poll_s=0.02, uncertain_after_s=0.1)
    async with Rpc([AWAY], timeout_s=0.2, attempts=1) as away:
        assert isinstance(
            await fast.sender(witnesses=[fast.rpc, away], policy=policy).execute(fast.intent(pending)),
            Uncertain,
        )
    assert isinstance(await fast.sender(witnesses=[fast.rpc, fast.rpc]).execute(fast.intent(pending)), Landed)
    assert await fast.balance() == AMOUNT


async def test_an_uncertain_transaction_is_judged_again_briefly_and_stays_uncertain_meanwhile(fast):
    """An uncertain intent is judged again only for `recheck_for_s` and stays uncertain.

    So a person finds it in the list of uncertain intents and can resolve it between two attempts.
    """
    pending = await fast.signed()
    await fast.until_expired(pending)
    policy = SendPolicy(rebroadcast_s=0.02, poll_s=0.02, uncertain_after_s=600, recheck_for_s=0.1)
    async with Rpc([AWAY], timeout_s=0.2, attempts=1) as away:
        sender = fast.sender(witnesses=[fast.rpc, away], policy=policy)
        assert isinstance(await sender.execute(fast.intent(pending, was_uncertain=True)), Uncertain)
    assert fast.journal.names == ["mark_uncertain"]


async def test_signing_anew_has_an_end(fast, fast_chain):
    """If no sent transaction arrives, each signing expires, and after `max_signings` the outcome is Expired."""

    class Deaf(Rpc):
        async def send_raw_transaction(self, raw, *, skip_preflight=False, max_retries=None):
            raise ChainError("not delivered")

    policy = SendPolicy(max_signings=2, rebroadcast_s=0.2, poll_s=0.02, uncertain_after_s=30)
    async with Deaf([fast_chain[0].rpc_url]) as deaf:
        assert await fast.sender(deaf, policy=policy).execute(fast.intent()) == Expired(2)
    assert fast.journal.names == ["save_signed", "mark_sent", "mark_dead"] * 2


async def test_without_any_rpc_nothing_is_signed(effect):
    async with Rpc([AWAY], timeout_s=0.2, attempts=1) as away:
        with pytest.raises(ChainError):
            await effect.sender(away).execute(effect.intent())
    assert effect.journal.names == []


async def test_moving_the_chains_clock_makes_nothing_expire(effect):
    pending = await effect.signed()
    clock = await effect.rpc.get_clock()
    await effect.rpc.call(
        "surfnet_timeTravel", [{"absoluteTimestamp": (clock.unix_timestamp + 49 * 3600) * 1000}]
    )
    for _ in range(5):
        assert isinstance(await judge([effect.rpc], pending), Live)
    outcome = await effect.sender().execute(effect.intent(pending))
    assert isinstance(outcome, Landed)
    assert outcome.signature == pending.signature
    assert (await effect.rpc.get_clock()).unix_timestamp >= clock.unix_timestamp + 49 * 3600
