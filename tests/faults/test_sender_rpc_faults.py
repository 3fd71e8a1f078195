"""An effect happens once even if the RPC drops, delays, lies, forgets or breaks.

The effect is a transfer to a new account, which would happen again with each new transaction: the account's balance
tells how often it happened. The proxy is an HTTP server before the local chain.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from contextlib import asynccontextmanager, suppress

import pytest
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from kit.rpc_proxy import (
    Broken,
    Late,
    Proxy,
    Say,
    chosen,
    drops,
    first_of,
    half,
    honest,
    loses_history,
    not_found,
)
from kit.waiting import until
from zmart.chain import compose, compute_budget
from zmart.chain.judge import Live, PendingTransaction, judge
from zmart.chain.rpc import Rpc
from zmart.chain.sender import AlreadyDone, Failed, Intent, Landed, Sender, SendPolicy, Uncertain
from zmart.errors import ChainError
from zmart.local.chain import node
from zmart.local.chain.genesis import fund
from zmart.local.chain.server import ChainServer
from zmart.local.processes import free_port
from zmart.market.types import Wallet

AMOUNT = 5_000_000
QUICK = SendPolicy(rebroadcast_s=0.1, poll_s=0.02, uncertain_after_s=30)
BRIEF = SendPolicy(rebroadcast_s=0.1, poll_s=0.02, uncertain_after_s=0.5)


class Killed(BaseException):
    """Stands for the sender's process being killed."""


class Journal:
    """Stores attempts as the database does, in memory; with `chance`, one in five writes raises Killed instead."""

    def __init__(self):
        self.names, self.stored, self.chance = [], None, None

    def _step(self, name):
        if self.chance is not None and self.chance.random() < 0.2:
            raise Killed
        self.names.append(name)

    async def save_signed(self, intent_id, *attempt):
        self._step("signed")
        self.stored = PendingTransaction(*attempt)

    async def mark_sent(self, intent_id, signature):
        self._step("sent")

    async def mark_landed(self, intent_id, signature, slot):
        self._step("landed")

    async def mark_dead(self, intent_id, signature):
        self._step("dead")
        self.stored = None

    async def mark_failed(self, intent_id, code, name, message):
        self._step("failed")

    async def mark_uncertain(self, intent_id, reason):
        self._step("uncertain")


class World:
    """A local chain, a direct client of it, a proxy before it, and one effect: a transfer to `target`."""

    def __init__(self, program, payer, direct, proxy):
        self.program, self.payer, self.direct, self.proxy = program, payer, direct, proxy
        self.journal, self.target = Journal(), Keypair().pubkey()
        self.asked_since = []

    @classmethod
    @asynccontextmanager
    async def on(cls, url, program):
        payer = Keypair()
        async with Rpc([url]) as direct, Proxy.before(url) as proxy:
            await fund(direct, Wallet(str(payer.pubkey())), 10**12)
            yield cls(program, payer, direct, proxy)

    def instruction(self, lamports=AMOUNT):
        return transfer(
            TransferParams(from_pubkey=self.payer.pubkey(), to_pubkey=self.target, lamports=lamports)
        )

    async def balance(self, rpc=None):
        return await (rpc or self.direct).get_balance(Wallet(str(self.target)))

    async def execute(self, *, policy=QUICK, second=None, look=True, attempts=5, timeout_s=2.0):
        """Execute the effect through the proxy, from the stored attempt on, as a process of a service does.

        `look`: the check whether the effect has already happened can see the account's balance.
        """
        async with Rpc([self.proxy.url], timeout_s, attempts) as rpc:

            async def instructions():
                return [self.instruction()]

            async def already_done(since):
                self.asked_since.append(since)
                return look and await self.balance(rpc) > 0

            sender = Sender(
                self.program,
                rpc,
                self.payer,
                self.journal,
                witnesses=(rpc, second) if second else (),
                policy=policy,
            )
            return await sender.execute(Intent("one", instructions, [], already_done, self.journal.stored))

    async def advance(self, blocks):
        """Send `blocks` transactions of another wallet; on the chain of `transaction_url`, each makes a block."""
        other = Keypair()
        await fund(self.direct, Wallet(str(other.pubkey())), 10**12)
        for number in range(blocks):
            latest = await self.direct.get_latest_blockhash()
            pay = transfer(
                TransferParams(from_pubkey=other.pubkey(), to_pubkey=other.pubkey(), lamports=number)
            )
            tx = compose.sign(compose.compile(other.pubkey(), [pay], latest.blockhash), [other])
            await self.direct.send_raw_transaction(bytes(tx), skip_preflight=True)

    async def hash_expired(self, attempt):
        """Wait until the attempt's blockhash is invalid and the finalized height has passed its last valid one."""
        blockhash = str(attempt.transaction.message.recent_blockhash)

        async def over():
            if (await self.direct.get_blockhash_validity(blockhash)).valid:
                return False
            return (await self.direct.get_block_height("finalized")).height > attempt.last_valid_block_height

        await until(over, within_s=60)


@pytest.fixture(scope="module")
def fast_url(tmp_path_factory, request):
    """Run a chain with slots of 5 ms, on which a blockhash expires within a second or two; return its URL."""
    folder, addon = tmp_path_factory.mktemp("fast"), request.config.rootpath / ".zmart/node"
    server = ChainServer(folder, free_port(), free_port(), addon, slot_ms=5)
    try:
        server.start()
        yield server.rpc_url
    finally:
        server.stop()


@pytest.fixture
async def world(local_chain, fast_url):
    async with World.on(fast_url, local_chain.program) as opened:
        yield opened


@pytest.fixture(scope="module")
def transaction_url(request):
    """Run a chain that makes a block for each transaction, as Surfpool does by default; return its URL."""
    script, addon = request.path.with_name("transaction_chain.js"), request.config.rootpath / ".zmart/node"
    with subprocess.Popen(
        [node.find_node(), script, addon], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


async def test_sends_that_are_dropped_are_sent_again(world):
    world.proxy.script = lambda call: drops(call) if call.number <= 3 else None
    assert isinstance(await world.execute(), Landed)
    assert len(set(world.proxy.sent)) == 1, "the same bytes"
    assert world.journal.names == ["signed", "sent", "landed"]
    assert await world.balance() == AMOUNT


async def test_what_never_arrived_is_signed_anew_when_it_is_dead(world):
    world.proxy.script = lambda call: drops(call) if "dead" not in world.journal.names else None
    assert isinstance(await world.execute(), Landed)
    assert world.journal.names == ["signed", "sent", "dead", "signed", "sent", "landed"]
    assert await world.balance() == AMOUNT
    before, after = world.asked_since
    assert before is None
    assert after > 0, "the account is looked at as of the slot in which the first was dead"


async def test_an_answer_that_is_late_or_lost_decides_nothing(world):
    def script(call):
        if call.method != "sendTransaction":
            return Late(0.3) if call.number % 3 == 0 else None
        return Broken("reset", heard=True) if call.number == 1 else Late(0.5)

    world.proxy.script = script
    assert isinstance(await world.execute(), Landed)
    assert world.journal.names == ["signed", "sent", "landed"]
    assert await world.balance() == AMOUNT


@pytest.mark.parametrize("lie", [not_found, loses_history], ids=["not found", "no history"])
async def test_a_lie_about_the_signature_does_not_stand_against_the_account(world, lie):
    """The transaction landed while its process was dead, and the RPC does not know its signature."""
    world.proxy.script = not_found
    assert isinstance(await world.execute(policy=BRIEF, look=False), Uncertain)
    pending = world.journal.stored
    await world.hash_expired(pending)
    world.proxy.script = lie
    outcome = await world.execute()
    assert isinstance(outcome, AlreadyDone | Landed)
    assert "failed" not in world.journal.names
    assert world.journal.names.count("signed") == 1
    assert await world.balance() == AMOUNT


async def test_an_honest_second_endpoint_outweighs_a_first_that_lies_about_everything(world):
    world.proxy.script = not_found
    assert isinstance(await world.execute(policy=BRIEF, look=False), Uncertain)
    await world.hash_expired(world.journal.stored)
    assert isinstance(await world.execute(second=world.direct, look=False), Landed)
    assert await world.balance() == AMOUNT


async def test_where_nothing_can_be_known_it_is_uncertain_and_nothing_more_is_signed(world):
    def script(call):
        away = call.method in ("getSignatureStatuses", "getEpochInfo", "getBalance")
        return Broken("503") if away and world.journal.stored else None

    world.proxy.script = script
    outcome = await world.execute(policy=BRIEF, attempts=1)
    assert isinstance(outcome, Uncertain)
    for _ in range(2):
        assert isinstance(await world.execute(policy=BRIEF, attempts=1), Uncertain)
    assert world.journal.names.count("signed") == 1
    world.proxy.script = honest
    assert isinstance(await world.execute(), Landed)
    assert await world.balance() == AMOUNT


async def test_an_uncertain_one_is_settled_by_the_account(world):
    world.proxy.script = lambda call: (
        Broken("503") if call.method == "getSignatureStatuses" and world.journal.stored else None
    )
    assert await world.execute(policy=BRIEF, attempts=1) == AlreadyDone()
    assert await world.balance() == AMOUNT


@pytest.mark.parametrize("seed", [1, 2])
async def test_with_errors_on_half_of_the_calls_it_lands_once(world, seed):
    world.proxy.script = half(seed)
    outcome = None
    for _ in range(10):
        try:
            outcome = await world.execute(timeout_s=1.0)
        except ChainError:
            continue
        if not isinstance(outcome, Uncertain):
            break
    assert isinstance(outcome, Landed | AlreadyDone)
    assert world.proxy.bad > 3
    assert await world.balance() == AMOUNT


async def test_bytes_that_come_to_the_chain_after_their_time_do_nothing(world):
    world.proxy.script = lambda call: drops(call) if "dead" not in world.journal.names else None
    assert isinstance(await world.execute(), Landed)
    for late in dict.fromkeys(world.proxy.sent):
        with suppress(ChainError):  # the RPC may refuse it
            await world.direct.send_raw_transaction(late, skip_preflight=True)
    await world.hash_expired(world.journal.stored)
    assert await world.balance() == AMOUNT


async def test_a_blockhash_expires_by_other_peoples_transactions(transaction_url, local_chain):
    """Each transaction makes a block. An attempt is live for 150 blocks, and dead once these are finalized."""
    async with World.on(transaction_url, local_chain.program) as world:
        world.proxy.script = drops
        carrying = asyncio.create_task(world.execute())

        async def signed():
            return world.journal.stored

        await until(signed)
        attempt = world.journal.stored
        await world.advance(100)
        assert isinstance(await judge([world.direct], attempt), Live)
        assert world.journal.names == ["signed", "sent"]
        while "dead" not in world.journal.names:
            await world.advance(20)
        world.proxy.script = honest
        assert isinstance(await asyncio.wait_for(carrying, 20), Landed)
        assert world.journal.names == ["signed", "sent", "dead", "signed", "sent", "landed"]
        with suppress(ChainError):
            await world.direct.send_raw_transaction(attempt.raw_tx, skip_preflight=True)
        await world.advance(3)
        assert await world.balance() == AMOUNT


@pytest.mark.parametrize(("fees", "expected"), [([], 0), ([7, 1, 9, 3], 9), ([10**9] * 4, "cap")])
async def test_the_priority_fee_follows_recent_ones_up_to_its_cap(world, fees, expected):
    lines = [{"slot": n, "prioritizationFee": fee} for n, fee in enumerate(fees)]
    world.proxy.script = lambda call: Say(lines) if call.method == "getRecentPrioritizationFees" else None
    policy = SendPolicy(rebroadcast_s=0.1, poll_s=0.02, max_priority_fee_lamports=300)
    assert isinstance(await world.execute(policy=policy), Landed)
    fee = compute_budget.fee_lamports(world.journal.stored.transaction) - compute_budget.SIGNATURE_LAMPORTS
    if expected == "cap":
        assert 290 <= fee <= 300
    else:
        assert fee == -(-expected * 495 // 1_000_000)


async def wild(world, seed):
    """Execute the effect repeatedly under changing faults and kills until it is done; check that it happened once."""
    options = [honest, drops, not_found, loses_history, half(seed), first_of(not_found, half(seed + 1, 0.3))]
    world.proxy.script = chosen(seed, options, 12)
    world.journal.chance = random.Random(seed)
    outcomes = []
    for life in range(60):
        if life == 40:
            world.proxy.script, world.journal.chance = honest, None
        try:
            outcomes.append(await world.execute(policy=BRIEF, timeout_s=1.0, attempts=3))
        except (Killed, ChainError):
            continue
        if isinstance(outcomes[-1], Landed | AlreadyDone):
            break
    assert isinstance(outcomes[-1], Landed | AlreadyDone), (seed, outcomes)
    assert not any(isinstance(outcome, Failed) for outcome in outcomes), (seed, outcomes)
    assert await world.balance() == AMOUNT, (seed, world.journal.names)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_it_happens_once(world, seed):
    await wild(world, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
async def test_whatever_happens_it_happens_once_in_long_runs(world, seed):
    await wild(world, seed)
