"""The gateway's relay calls a transaction "expired" only when it can never land."""

from __future__ import annotations

import base64
import json
import random
import secrets

import pytest
from redis.asyncio import Redis

from kit.chain_life import CID, SOL, name
from kit.nonces import Nonce
from kit.rpc_proxy import Body, Call, Edit, Fault, Proxy, drops, first_of, not_found
from kit.services import running_service
from kit.waiting import until
from zmart.chain import compose
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError, ProgramError
from zmart.services.gateway.api.relay import Relay

AGAIN_S = 0.05


class World:
    """A local chain, a proxy before it that misbehaves by script, and a relay that uses the proxy."""

    def __init__(self, local_chain, rpc, proxied, proxy, redis):
        self.program, self.rpc, self.proxied, self.proxy, self.redis = (
            local_chain.program, rpc, proxied, proxy, redis,
        )  # fmt: skip
        self.relay = self.another()

    def another(self):
        """Return a new relay, as in a gateway that has just started."""
        return Relay(self.program, self.proxied, self.redis, AGAIN_S)

    def call(self, owner):
        return self.program.instructions.create_market(
            name(owner),
            secrets.token_hex(32),
            b_parameter=10 * SOL,
            initial_liquidity=7 * SOL,
            ipfs_question_hash=CID,
        )

    async def send(self, transaction):
        return await self.relay.send(base64.b64encode(bytes(transaction)).decode())

    async def status(self, signature, relay=None):
        return (await (relay or self.relay).state_of(signature)).status

    async def becomes(self, signature, wanted, relay=None):
        async def is_so():
            return await self.status(signature, relay) == wanted

        await until(is_so)


@pytest.fixture
async def world(local_chain, redis_url):
    async with (
        Rpc([local_chain.rpc_url]) as rpc,
        Proxy.before(local_chain.rpc_url) as proxy,
        Rpc([proxy.url]) as proxied,
        Redis.from_url(redis_url) as redis,
    ):
        yield World(local_chain, rpc, proxied, proxy, redis)


@pytest.mark.parametrize("blocks", [1, pytest.param(160, marks=pytest.mark.slow)])
async def test_a_transaction_with_a_standing_nonce_is_live_and_sent_again_until_it_lands(world, blocks):
    """I4: a node drops the transaction for longer than any blockhash is valid; another gateway resumes from Redis."""
    nonce = await Nonce(world.rpc).create()
    world.proxy.script = drops
    signature = await world.send(await nonce.signed(world.call(nonce.owner)))
    await blocks_later(world.rpc, blocks)
    assert await world.status(signature) == "live"
    later = world.another()
    async with running_service(later):
        assert await world.status(signature, later) == "live"
        tries = len(world.proxy.sent)
        await until(lambda: len(world.proxy.sent) >= tries + 2)
        assert len(set(world.proxy.sent)) == 1
        world.proxy.script = lambda call: None
        await world.becomes(signature, "landed", later)


async def blocks_later(rpc, blocks):
    height = (await rpc.get_block_height("finalized")).height + blocks

    async def reached():
        return (await rpc.get_block_height("finalized")).height > height

    await until(reached)


@pytest.mark.parametrize("how", ["advance", "close"])
async def test_a_nonce_that_moved_on_without_it_makes_it_expired(world, how):
    """I4: the nonce is advanced, or its account closed, before the transaction lands."""
    nonce = await Nonce(world.rpc).create()
    world.proxy.script = drops
    transaction = await nonce.signed(world.call(nonce.owner))
    signature = await world.send(transaction)
    assert await world.status(signature) == "live"
    await getattr(nonce, how)()
    await world.becomes(signature, "expired")
    with pytest.raises(ChainError):
        await world.rpc.send_raw_transaction(bytes(transaction))


def behind(account, old, slot):
    """Return the script of a node that is behind, at `slot`, where the account held `old`."""

    def script(call: Call) -> Fault | None:
        if call.method != "getAccountInfo" or call.params[0] != account:
            return None
        return Edit(lambda result: {"context": {"slot": slot}, "value": old["value"]})

    return script


async def test_a_node_that_is_behind_buries_no_nonce(world):
    """I4: a node that is behind returns an older value of the nonce account, or no account."""
    nonce = await Nonce(world.rpc).create()
    account = str(nonce.account.pubkey())
    old = await world.rpc.call("getAccountInfo", [account, {"encoding": "base64"}])
    slot = old["context"]["slot"]
    await until(world.rpc.get_slot, lambda now: now > slot)  # otherwise both values would have the same slot
    await nonce.advance()
    world.proxy.script = drops
    signature = await world.send(await nonce.signed(world.call(nonce.owner)))
    world.proxy.script = first_of(drops, behind(account, old, slot))
    assert await world.status(signature) == "live"
    world.proxy.script = first_of(drops, behind(account, {"value": None}, slot))
    assert await world.status(signature) == "live"


@pytest.mark.parametrize("waits", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["now", "later"])
async def test_a_blockhash_that_a_node_does_not_know_yet_is_not_over(world, waits):
    """I4, for transactions without a nonce: they expire by the block height, not by the answer of one node."""
    payer = (await Nonce(world.rpc).create()).owner
    latest = await world.rpc.get_latest_blockhash()
    message = compose.compile(payer.pubkey(), [world.call(payer)], latest.blockhash)

    def knows_no_blockhash(call: Call) -> Fault | None:
        unknown = call.method == "isBlockhashValid"
        return Edit(lambda result: {**result, "value": False}) if unknown else None

    world.proxy.script = first_of(drops, knows_no_blockhash)
    signature = await world.send(compose.sign(message, [payer]))
    assert await world.status(signature) == "live"
    if waits:
        await world.becomes(signature, "expired")
        assert (await world.rpc.get_block_height("finalized")).height > latest.last_valid_block_height


@pytest.mark.parametrize("seed", [1, 2, *[pytest.param(n, marks=pytest.mark.slow) for n in range(3, 40)]])
async def test_expired_is_only_said_of_bytes_that_never_land(world, seed):
    """I4: nonces are used or advanced; the node drops transactions, is behind or forgets; gateways restart."""
    chance = random.Random(seed)
    nonce = await Nonce(world.rpc).create()
    account, sent = str(nonce.account.pubkey()), {}
    for _ in range(8):
        transaction = await nonce.signed(world.call(nonce.owner))
        old = await world.rpc.call("getAccountInfo", [account, {"encoding": "base64"}])
        world.proxy.script = drops
        signature = await world.send(transaction)
        sent[signature] = transaction
        act = chance.choice(["land", "advance", "advance", "restart", "wait"])
        if act == "land":
            await world.rpc.send_raw_transaction(bytes(transaction))
            await until(lambda signature=signature: known(world.rpc, signature))
        elif act == "advance":
            await nonce.advance()
        elif act == "restart":
            world.relay = world.another()
        world.proxy.script = first_of(
            drops, chance.choice([not_found, behind(account, old, old["context"]["slot"]), lambda call: None])
        )
        for one, bytes_of in sent.items():
            if world.proxy.script is not None and await world.status(one) == "expired":
                assert await refused(world.rpc, bytes(bytes_of)), (act, one)
    world.proxy.script = drops
    await nonce.advance()
    for signature in sent:
        landed = await known(world.rpc, signature)
        await world.becomes(signature, "landed" if landed else "expired")


async def known(rpc, signature):
    return (await rpc.get_signature_statuses([signature], search_history=True)).values[0] is not None


async def refused(rpc, raw):
    """Return whether the chain refuses the transaction now; one that it accepts, it would execute."""
    try:
        await rpc.send_raw_transaction(raw)
    except ChainError:
        return True
    return False


def refuses(err: object):
    """Return the script of a node whose preflight of each transaction fails with `err`."""
    body = json.dumps({"code": -32002, "message": "Simulation failed", "data": {"err": err, "logs": []}})
    answer = Body('{"jsonrpc":"2.0","id":%d,"error":' + body + "}")

    def script(call: Call) -> Fault | None:
        is_checked = call.method == "sendTransaction" and not call.params[1]["skipPreflight"]
        return answer if is_checked else None

    return script


SLIPPAGE = {"InstructionError": [1, {"Custom": 6015}]}


@pytest.mark.parametrize("has_redis", [True, False])
async def test_a_landed_transaction_that_is_sent_again_is_not_refused(world, has_redis):
    """I4: a client repeats its request when the lifetime is over: told "too old", its user would trade once more."""
    nonce = await Nonce(world.rpc).create()
    transaction = await nonce.signed(world.call(nonce.owner))
    signature = await world.send(transaction)
    await world.becomes(signature, "landed")
    world.relay = world.another() if has_redis else Relay(world.program, world.proxied, None, AGAIN_S)
    world.proxy.script = refuses("BlockhashNotFound")
    assert await world.send(transaction) == signature


@pytest.mark.parametrize("by_another", [False, True])
async def test_a_transaction_in_flight_that_is_sent_again_is_not_refused(world, by_another):
    """I4: a node has accepted the transaction, which may land although its preflight fails at the second request."""
    nonce = await Nonce(world.rpc).create()
    transaction = await nonce.signed(world.call(nonce.owner))
    world.proxy.script = drops
    signature = await world.send(transaction)
    world.relay = world.another() if by_another else world.relay
    world.proxy.script = refuses(SLIPPAGE)
    assert await world.send(transaction) == signature
    await nonce.advance()
    await world.becomes(signature, "expired")
    with pytest.raises(ProgramError, match="SlippageExceeded"):
        await world.send(transaction)


async def test_a_transaction_that_no_node_has_accepted_is_refused_each_time(world):
    """I4: it cannot land, and each request with it says so."""
    nonce = await Nonce(world.rpc).create()
    transaction = await nonce.signed(world.call(nonce.owner))
    world.proxy.script = refuses(SLIPPAGE)
    for _ in range(2):
        with pytest.raises(ProgramError, match="SlippageExceeded"):
            await world.send(transaction)
