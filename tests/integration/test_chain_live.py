"""Tests of the program on a local chain: every event is decoded, from fetched transactions and from live logs."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from contextlib import aclosing, suppress

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from kit.waiting import until
from zmart.chain import compose
from zmart.chain.config_check import check_program
from zmart.chain.event_extraction import extract_events
from zmart.chain.events import EVENT_TYPES
from zmart.chain.logs import walk
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.subscriptions import logs, slots
from zmart.chain.transactions import parse_transaction
from zmart.errors import ChainError, ConfigError
from zmart.local.chain.genesis import fund
from zmart.market.types import MarketState, VoteKind

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
SOL = 1_000_000_000
B = 100 * SOL
HOUR = 3_600


class Actor:
    """A user that sends instructions and reads the events or the error that they caused."""

    def __init__(self, chain, rpc):
        self.chain, self.rpc, self.program = chain, rpc, chain.program
        self.build, self.at = chain.program.instructions, chain.program.addresses
        self.seen, self.numbers = {}, itertools.count()

    async def wallet(self):
        keypair = Keypair()
        await fund(self.rpc, str(keypair.pubkey()), 1_000 * SOL)
        return keypair

    async def act(self, signer, *instructions, fails=False):
        """Send the instructions in one transaction and return its events.

        With `fails`, only simulate the transaction and return its error.
        """
        latest = await self.rpc.get_latest_blockhash()
        # Equal messages with one blockhash are one transaction: a distinct compute unit limit keeps them apart.
        message = compose.compile(
            signer.pubkey(), instructions, latest.blockhash, compute_unit_limit=500_000 + next(self.numbers)
        )
        tx = compose.sign(message, [signer])
        simulation = await self.rpc.simulate(bytes(tx))
        if fails:
            return self.program.transaction_error(simulation.err, simulation.logs)
        assert simulation.ok, (simulation.err, simulation.logs)
        signature = await self.rpc.send_raw_transaction(bytes(tx))
        await self.confirmed(signature)
        fetched = parse_transaction(await self.rpc.get_transaction_json(signature))
        result = extract_events(self.program, fetched)
        assert (result.unknown, result.needs_account_fallback) == (0, False)
        self.seen |= {type(e.event).__name__: e.event for e in result.events}
        return [e.event for e in result.events]

    async def confirmed(self, signature):
        await until(
            lambda: self.rpc.get_signature_statuses([signature]), lambda found: found.values[0] is not None
        )

    async def market(self, market_id):
        return self.program.accounts.market(await self.rpc.get_account(self.at.market(market_id)))

    async def travel(self, seconds):
        clock = await self.rpc.get_clock()
        await self.rpc.call(
            "surfnet_timeTravel", [{"absoluteTimestamp": (clock.unix_timestamp + seconds) * 1000}]
        )


@pytest.fixture
async def actor(local_chain):
    async with Rpc([local_chain.rpc_url]) as rpc:
        yield Actor(local_chain, rpc)


def name(keypair):
    return str(keypair.pubkey())


async def proposed(actor, creator):
    market_id = secrets.token_hex(32)
    (created,) = await actor.act(
        creator,
        actor.build.create_market(
            name(creator), market_id, b_parameter=B, initial_liquidity=70 * SOL, ipfs_question_hash=CID
        ),
    )
    assert (created.initial_liquidity, created.ipfs_question_hash) == (70 * SOL, CID)
    return market_id


async def active(actor, creator, voter):
    keys, build = actor.chain.keys, actor.build
    market_id = await proposed(actor, creator)
    await actor.act(voter, build.submit_proposal_vote(name(voter), market_id, True))
    await actor.act(
        keys.backend, build.aggregate_proposal_votes(name(keys.backend), market_id, likes=1, dislikes=0)
    )
    await actor.act(keys.admin, build.approve_proposal(name(keys.admin), market_id))
    await actor.act(creator, build.activate_market(name(creator), market_id))
    return market_id


async def disputed(actor, market_id, user):
    build = actor.build
    await actor.travel(25 * HOUR)
    await actor.act(
        user,
        build.resolve_market(name(user), market_id, proposed_outcome=False, ipfs_evidence_hash=CID),
    )
    await actor.travel(5)
    await actor.act(user, build.initiate_dispute(name(user), market_id))
    await actor.act(user, build.submit_dispute_vote(name(user), market_id, True))


async def test_every_event_of_the_program_is_read_from_its_real_transactions(actor):
    keys, build = actor.chain.keys, actor.build
    creator, user = await actor.wallet(), await actor.wallet()
    market_id = await active(actor, creator, user)
    fees = name(keys.fees)
    (bought,) = await actor.act(
        user, build.buy_shares(name(user), market_id, fees, outcome=True, target_cost=5 * SOL)
    )
    assert 0 < bought.cost <= 5 * SOL
    sold = await actor.act(
        user,
        build.sell_shares(
            name(user), market_id, fees, outcome=True, shares_to_sell=bought.shares // 2, min_proceeds=1
        ),
    )
    assert sold[0].shares == bought.shares // 2
    await disputed(actor, market_id, user)
    (final,) = await actor.act(keys.backend, build.finalize_market(name(keys.backend), market_id, (1, 0)))
    assert (final.final_outcome, final.dispute_agree, final.dispute_disagree) == (True, 1, 0)
    await actor.act(user, build.claim_winnings(name(user), market_id, name(user)))
    await actor.act(creator, build.withdraw_liquidity(name(creator), market_id))
    market = await actor.market(market_id)
    assert (market.state, market.was_disputed, market.ipfs_evidence_hash) == (
        MarketState.FINALIZED,
        True,
        CID,
    )

    other = await active(actor, creator, user)
    await disputed(actor, other, user)
    await actor.act(keys.backend, build.aggregate_dispute_votes(name(keys.backend), other, 1, 0))
    cancelled = await proposed(actor, creator)
    await actor.act(keys.admin, build.cancel_market(name(keys.admin), cancelled))
    await actor.act(keys.admin, build.emergency_pause(name(keys.admin)))
    await actor.act(keys.admin, build.emergency_pause(name(keys.admin)))
    await actor.act(
        keys.admin,
        build.update_global_config(
            name(keys.admin),
            protocol_fee_bps=300,
            resolver_reward_bps=200,
            liquidity_provider_fee_bps=500,
            proposal_approval_threshold=7000,
            dispute_success_threshold=6000,
        ),
    )
    genesis = await actor.rpc.get_signatures_for_address(actor.at.global_config())
    first = parse_transaction(await actor.rpc.get_transaction_json(genesis[-1].signature))
    actor.seen |= {type(e.event).__name__: e.event for e in extract_events(actor.program, first).events}
    assert actor.seen.keys() == EVENT_TYPES.keys()


async def test_accounts_of_a_market_are_found_and_decoded(actor):
    creator, voter = await actor.wallet(), await actor.wallet()
    market_id = await proposed(actor, creator)
    await actor.act(voter, actor.build.submit_proposal_vote(name(voter), market_id, False))
    address = actor.at.market(market_id)
    result = await actor.rpc.get_program_accounts(
        actor.program.address, data_size=83, memcmp=[(8, bytes(Pubkey.from_string(address))), (72, b"\0")]
    )
    (vote,) = [actor.program.accounts.vote_record(info) for info in result]
    assert (vote.market, vote.user, vote.vote) == (address, name(voter), False)
    assert result[0].address == actor.at.vote_record(address, name(voter), VoteKind.PROPOSAL)
    assert (await actor.market(market_id)).state is MarketState.PROPOSED


async def test_a_second_vote_is_refused_by_name(actor):
    creator, voter = await actor.wallet(), await actor.wallet()
    market_id = await proposed(actor, creator)
    vote = actor.build.submit_proposal_vote(name(voter), market_id, True)
    await actor.act(voter, vote)
    other = actor.build.submit_proposal_vote(name(voter), market_id, False)
    assert (await actor.act(voter, other, fails=True)).name == "AccountAlreadyInUse"


async def test_an_error_of_the_program_is_named_by_its_idl(actor):
    creator = await actor.wallet()
    market_id = await proposed(actor, creator)
    refused = await actor.act(creator, actor.build.activate_market(name(creator), market_id), fails=True)
    assert refused.name == "InvalidStateTransition"
    assert refused.code == 6006


async def test_several_events_in_one_transaction_keep_their_order(actor):
    creator, voter = await actor.wallet(), await actor.wallet()
    one, two = await proposed(actor, creator), await proposed(actor, creator)
    events = await actor.act(
        voter,
        actor.build.submit_proposal_vote(name(voter), two, True),
        compose.memo("between"),
        actor.build.submit_proposal_vote(name(voter), one, True),
    )
    assert [event.market_id for event in events] == [two, one]


async def test_start_up_is_refused_with_one_sentence_each(actor):
    rpc, program, keys = actor.rpc, actor.program, actor.chain.keys
    config = await check_program(rpc, program, backend=keys.backend.pubkey(), admin=keys.admin.pubkey())
    assert config.protocol_fee_wallet == name(keys.fees)
    with pytest.raises(ConfigError, match=r"backend key .* names .* as backend_authority"):
        await check_program(rpc, program, backend=keys.admin.pubkey())
    with pytest.raises(ConfigError, match=r"admin key .* as admin"):
        await check_program(rpc, program, admin=keys.backend.pubkey())
    with pytest.raises(ConfigError, match="no program at"):
        await check_program(rpc, Program(Keypair().pubkey(), program.idl))
    with pytest.raises(ConfigError, match="has no GlobalConfig"):
        await check_program(rpc, Program(compose.MEMO_PROGRAM, program.idl))
    stolen = Program(compose.MEMO_PROGRAM, program.idl)
    await rpc.call("surfnet_setAccount", [stolen.addresses.global_config(), {"lamports": 1_000_000_000}])
    with pytest.raises(ConfigError, match="is owned by"):
        await check_program(rpc, stolen)
    await rpc.call("surfnet_setAccount", [stolen.addresses.global_config(), {"lamports": 0}])


async def test_the_rpc_tells_plain_values(actor):
    rpc, keys = actor.rpc, actor.chain.keys
    slot = await rpc.get_slot()
    assert slot > 0
    assert (await rpc.get_block_height("finalized")).height <= (await rpc.get_block_height()).height
    assert (await rpc.get_clock()).unix_timestamp > 1_700_000_000
    assert await rpc.get_genesis_hash()
    assert await rpc.get_minimum_balance_for_rent_exemption(0) == 890_880
    assert all(fee >= 0 for fee in await rpc.get_recent_prioritization_fees([name(keys.fees)]))
    assert await rpc.get_account(name(Keypair())) is None
    result = await rpc.get_multiple_accounts([name(keys.fees)] * 101 + [name(Keypair())])
    assert [info is None for info in result] == [False] * 101 + [True]
    taker = Keypair()
    await actor.confirmed(await rpc.request_airdrop(name(taker), SOL))
    assert await rpc.get_balance(name(taker)) == SOL
    latest = await rpc.get_latest_blockhash()
    assert (await rpc.get_blockhash_validity(latest.blockhash)).valid
    assert not (await rpc.get_blockhash_validity("1" * 32)).valid


async def test_a_height_and_its_slot_are_those_of_one_block_at_the_requested_commitment(actor):
    """I4: the local chain answers getEpochInfo as a validator does; Surfpool returns the newest block's values."""
    newest, final = (
        await actor.rpc.get_block_height("processed"),
        await actor.rpc.get_block_height("finalized"),
    )
    assert newest.slot - final.slot >= 31
    assert final.slot <= await actor.rpc.get_slot("finalized")
    assert final.height <= await actor.rpc.call("getBlockHeight", [{"commitment": "finalized"}])
    assert newest.height > final.height
    by_default = await actor.rpc.call("getEpochInfo")
    assert final.slot <= by_default["absoluteSlot"] <= await actor.rpc.get_slot("finalized")
    async with Rpc([actor.chain.rpc_url], attempts=1) as rpc:
        assert (await rpc.get_block_height(since=final.slot)).slot > final.slot
        with pytest.raises(ChainError, match="-32016"):
            await rpc.get_block_height(since=newest.slot + 1_000_000)


async def test_signatures_are_paged_newest_first_and_blocks_tell_their_order(actor):
    voter = await actor.wallet()
    for _ in range(3):
        await actor.act(voter, compose.memo("page", [voter.pubkey()]))
    page = await actor.rpc.get_signatures_for_address(name(voter), limit=2)
    rest = await actor.rpc.get_signatures_for_address(name(voter), before=page[-1].signature)
    assert len(page) == 2
    assert [info.slot for info in [*page, *rest]] == sorted(
        (info.slot for info in [*page, *rest]), reverse=True
    )
    newer = await actor.rpc.get_signatures_for_address(name(voter), until=page[-1].signature)
    assert [info.signature for info in newer] == [page[0].signature]
    block = await until(lambda: actor.rpc.get_block_signatures(page[0].slot))
    assert page[0].signature in block
    # The local chain answers for a signature of 64 times "1" with a failed transaction, hence a generated one.
    assert await actor.rpc.get_transaction_json(str(Keypair().sign_message(b"not sent"))) is None


@pytest.fixture
async def cuttable(local_chain):
    """Yield the address of a proxy of the chain's WebSocket, and a function that cuts the proxy's connections."""
    host, port = "127.0.0.1", local_chain.server.ws_port
    open_writers = set()

    async def pipe(reader, writer):
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        with suppress(ConnectionError):
            there, here = await asyncio.open_connection(host, port)
            open_writers.update({writer, here})
            await asyncio.gather(pipe(reader, here), pipe(there, writer))

    def cut():
        for writer in list(open_writers):
            writer.transport.abort()
        open_writers.clear()

    server = await asyncio.start_server(serve, host, 0)
    yield f"ws://{host}:{server.sockets[0].getsockname()[1]}", cut
    cut()
    server.close()


async def test_live_logs_go_on_after_the_connection_is_cut(actor, cuttable):
    url, cut = cuttable
    connections = itertools.count()
    connected = asyncio.Queue()
    creator = await actor.wallet()
    async with aclosing(
        logs(url, actor.program.address, on_connect=lambda: connected.put_nowait(next(connections)))
    ) as notices:
        for expected in range(2):
            received = asyncio.ensure_future(anext(notices))
            assert await asyncio.wait_for(connected.get(), 10) == expected
            market_id = await proposed(actor, creator)
            notice = await asyncio.wait_for(received, 10)
            payloads = walk(notice.logs, actor.program.address).payloads
            assert actor.program.events.decode(payloads[0].data).market_id == market_id
            assert notice.err is None
            cut()


async def test_slots_are_told_as_they_come(local_chain):
    async with aclosing(slots(local_chain.ws_url)) as ticks:
        first = await asyncio.wait_for(anext(ticks), 10)
        assert await asyncio.wait_for(anext(ticks), 10) > first
