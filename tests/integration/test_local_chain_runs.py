"""The local chain lets Surfpool forget after some number of transactions, and continues: for clients it is one chain.

Surfpool keeps every transaction in memory, and copies all of them for each instruction that it executes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex

import base58
import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from kit.servers import running
from kit.waiting import until, watched
from zmart.chain import compose
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.chain import node
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import load_keys
from zmart.local.chain.server import ChainServer
from zmart.local.processes import free_port
from zmart.market.types import Address, Lamports, Signature
from zmart.settings import Settings

RENEW_AFTER = 250
"""Transactions; 1,000 by default, which tests/faults/test_local_chain_size.py has."""
SLOTS = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe", "params": []})


@pytest.fixture
def chain(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ChainServer]:
    addon = request.config.rootpath / ".zmart" / "node"
    ports = free_port(), free_port()
    with running(ChainServer(tmp_path / "chain", *ports, addon, renew_after=RENEW_AFTER)) as server:
        yield server


@pytest.fixture
async def rpc(chain: ChainServer) -> AsyncIterator[Rpc]:
    async with Rpc([chain.rpc_url], attempts=1) as client:
        yield client


async def fill(rpc: Rpc, count: int) -> list[Signature]:
    """Let the chain execute `count` transactions, 20 at a time; return their signatures."""
    done: list[Signature] = []
    for first in range(0, count, 20):
        wanted = [_airdrop(rpc) for _ in range(min(20, count - first))]
        done += await asyncio.gather(*wanted)
    return done


async def _airdrop(rpc: Rpc) -> Signature:
    return await rpc.request_airdrop(Address(str(Keypair().pubkey())), Lamports(10**9))


@asynccontextmanager
async def next_run(chain: ChainServer) -> AsyncIterator[asyncio.Task[None]]:
    """Yield a task that ends once the chain continues in a new run, which closes its WebSocket's connections; await it
    at the end of the block."""
    async with connect(chain.ws_url, proxy=None) as connection:
        await connection.send(SLOTS)
        await connection.recv()
        renewed = asyncio.create_task(_closed(connection))
        yield renewed
        await asyncio.wait_for(renewed, 30)


async def _closed(connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()


async def funded(rpc: Rpc) -> Keypair:
    payer = Keypair()
    await rpc.request_airdrop(Address(str(payer.pubkey())), Lamports(10**9))
    return payer


def signed(payer: Keypair, blockhash: str, text: str) -> bytes:
    return bytes(compose.sign(compose.compile(payer.pubkey(), [compose.memo(text)], blockhash), [payer]))


async def landed(rpc: Rpc, signature: Signature) -> None:
    async def status() -> object:
        return (await rpc.get_signature_statuses([signature])).values[0]

    await until(status)


async def test_clients_see_one_chain_across_runs(chain: ChainServer, rpc: Rpc) -> None:
    """No request fails, nothing decreases, and every transaction is listed once, in both runs."""
    payer, genesis = await funded(rpc), await rpc.get_genesis_hash()
    sent: list[Signature] = []
    ended = asyncio.Event()

    async def send_on() -> None:
        while not ended.is_set():
            blockhash = (await rpc.get_latest_blockhash()).blockhash
            sent.append(await rpc.send_raw_transaction(signed(payer, blockhash, token_hex(8))))
            await landed(rpc, sent[-1])

    async def time() -> int:
        return (await rpc.get_clock("processed")).unix_timestamp

    async def slot() -> int:
        return await rpc.get_slot("processed")

    async def height() -> int:
        return (await rpc.get_block_height("processed")).height

    sending = asyncio.create_task(send_on())
    async with watched(slot, height, time) as shown:
        async with next_run(chain):
            done = await fill(rpc, RENEW_AFTER)
        count = len(sent)
        await until(lambda: len(sent) > count + 5)
    ended.set()
    await sending  # no transaction failed
    assert all(each == sorted(each) and len(each) > 20 for each in shown)
    assert await rpc.get_genesis_hash() == genesis
    listed = [line.signature for line in await rpc.get_signatures_for_address(Address(str(payer.pubkey())))]
    assert listed[:-1] == sent[::-1]  # the oldest is the airdrop
    for signature in [*done[::50], *sent]:
        assert await rpc.get_transaction_json(signature) is not None
        assert (await rpc.get_signature_statuses([signature])).values[0] is not None
    assert await rpc.get_balance(Address(str(payer.pubkey()))) == 10**9 - 5_000 * len(sent)


async def test_what_was_signed_in_the_run_before_lands_while_its_blockhash_is_valid_and_not_later(
    chain: ChainServer, rpc: Rpc
) -> None:
    payer = await funded(rpc)
    early = await rpc.get_latest_blockhash()
    await fill(rpc, RENEW_AFTER - 20)
    async with next_run(chain):
        late = await rpc.get_latest_blockhash()
        await fill(rpc, 20)
    signature = await rpc.send_raw_transaction(signed(payer, late.blockhash, "signed before"))
    await landed(rpc, signature)

    async def passed() -> bool:
        return (await rpc.get_block_height("finalized")).height > early.last_valid_block_height

    await until(passed)
    with pytest.raises(ChainError, match=r"(?i)blockhash not found"):
        await rpc.send_raw_transaction(signed(payer, early.blockhash, "too late"))


async def test_a_chain_continues_though_every_blockhash_that_it_gave_has_ended(
    chain: ChainServer, rpc: Rpc
) -> None:
    """Airdrops need no blockhash of a client's: a run may be full long after the last one was asked for."""
    payer = await funded(rpc)
    last = (await rpc.get_latest_blockhash()).last_valid_block_height

    async def ended() -> bool:
        return (await rpc.get_block_height("processed")).height > last

    await until(ended)
    assert chain._process is not None
    process = chain._process
    async with next_run(chain):
        await fill(rpc, RENEW_AFTER)
    fresh = await rpc.get_latest_blockhash()
    await landed(rpc, await rpc.send_raw_transaction(signed(payer, fresh.blockhash, "afterwards")))
    assert process.poll() is None


async def test_the_same_act_in_each_run_is_another_transaction(chain: ChainServer, rpc: Rpc) -> None:
    """Surfpool gives every run the same blockhashes: clients are given random ones instead."""
    payer = await funded(rpc)
    sent: list[Signature] = []
    used = ""
    for run in (1, 2):
        async with next_run(chain) as renewed:
            filling: asyncio.Task[list[Signature]] | None = None
            while filling is None or not renewed.done():
                if (
                    filling is None and len(sent) > 20 * run
                ):  # so many in each run, however slow the machine is
                    filling = asyncio.create_task(fill(rpc, RENEW_AFTER))
                blockhash = (await rpc.get_latest_blockhash("processed")).blockhash
                if blockhash != used:
                    used = blockhash
                    sent.append(await rpc.send_raw_transaction(signed(payer, blockhash, "the same")))
            await filling
    assert len(sent) == len(set(sent)) > 40
    for signature in sent:
        await landed(rpc, signature)


RANDOM = """
const [addon, source, delayMs, early] = process.argv.slice(2);
const { Surfnet } = require(addon);
const { Blockhashes, isSurfpools } = require(`${source}/blockhashes.js`);
const { caller } = require(`${source}/rpc.js`);
const chain = Surfnet.startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs: 20 });
setInterval(() => chain.drainEvents(), 10);
const call = caller(chain.rpcUrl);
const OFFSET = 1000;
const height = async () => OFFSET + await call('getBlockHeight', { commitment: 'processed' });
const isValid = async (hash) => (await call('isBlockhashValid', hash, { commitment: 'processed' })).value;
const later = () => new Promise((resolve) => { setTimeout(resolve, Math.random() * Number(delayMs)); });
async function main() {
  const blockhashes = new Blockhashes(async (...asked) => { await later(); return call(...asked); }, OFFSET);
  const seen = new Map();
  let ended = 0;
  const judge = async (hash, lastHeight) => {
    const before = await height();
    const valid = await isValid(hash);
    const after = await height();
    if (valid && before > lastHeight) throw new Error(`${hash} is valid at ${before}, after ${lastHeight}`);
    if (!valid && after < lastHeight - Number(early)) throw new Error(`${hash} ended at ${after} of ${lastHeight}`);
    if (!valid) ended += 1;
  };
  const first = await height(); // Surfpool counts from 31 until it has made its first block, and from 2 after it
  while (await height() === first) await new Promise((resolve) => { setTimeout(resolve, 5); });
  const began = await height();
  while (await height() < began + 220 || seen.size < 20) { // a busy machine is given fewer in as many blocks
    const asked = ['processed', 'confirmed', 'finalized'].map((commitment) => blockhashes.latest([{ commitment }]));
    for (const { value: { blockhash, lastValidBlockHeight } } of await Promise.all(asked)) {
      if (isSurfpools(blockhash)) throw new Error(`${blockhash} is Surfpool's own`);
      if (!await isValid(blockhash)) throw new Error(`${blockhash} is not valid`);
      seen.set(blockhash, lastValidBlockHeight);
    }
    const all = [...seen];
    for (let n = 0; n < 4; n += 1) await judge(...all[Math.floor(Math.random() * all.length)]);
  }
  for (const one of seen) await judge(...one);
  if (seen.size < 20 || !ended) throw new Error(`only ${seen.size} blockhashes, ${ended} ended`);
  console.log('all valid');
  process.exit(0);
}
main().catch((problem) => { console.error(problem); process.exit(1); });
"""


@pytest.mark.parametrize(("delay_ms", "early_blocks"), [(0, 15), (60, 60)], ids=["idle", "busy"])
def test_blockhashes_are_random_and_valid_as_long_as_their_block_height_says(
    tmp_path: Path, request: pytest.FixtureRequest, delay_ms: int, early_blocks: int
) -> None:
    """Each is valid at once and never after its last valid block height. It ends few blocks before that, also on a busy
    machine, where blocks are made while the sysvar is rewritten: there it used to end after some 60 blocks of 150."""
    script = tmp_path / "random.js"
    script.write_text(RANDOM)
    addon = (request.config.rootpath / ".zmart" / "node" / node.ADDON).parent
    done = subprocess.run(
        [node.find_node(), script, addon, node.SOURCE, str(delay_ms), str(early_blocks)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (0, "all valid\n"), done.stderr


async def killed_while_it_renews(chain: ChainServer, rpc: Rpc, after_s: float) -> None:
    """Kill the chain `after_s` seconds after the last transaction before a renewal; what it showed must remain."""
    done = await fill(rpc, RENEW_AFTER - 1)
    payer = await funded(rpc)
    address = Address(str(payer.pubkey()))
    listed: list[Signature] = []
    slots: list[int] = []

    async def go_on() -> None:
        while True:
            blockhash = (await rpc.get_latest_blockhash()).blockhash
            await rpc.send_raw_transaction(signed(payer, blockhash, token_hex(8)))
            listed[:] = [line.signature for line in await rpc.get_signatures_for_address(address)]
            slots.append(await rpc.get_slot("processed"))

    going = asyncio.create_task(go_on())
    await asyncio.wait([going], timeout=after_s)
    assert chain._process is not None
    chain._process.kill()
    with suppress(ChainError):
        await going
    chain._process.wait()
    chain.start()
    assert await rpc.get_slot("processed") >= max(slots, default=0)
    still = [line.signature for line in await rpc.get_signatures_for_address(address)]
    assert still[len(still) - len(listed) :] == listed
    for signature in [*done[::100], *listed]:
        assert await rpc.get_transaction_json(signature) is not None


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_kill_while_the_chain_renews_loses_nothing(chain: ChainServer, rpc: Rpc, seed: int) -> None:
    await killed_while_it_renews(chain, rpc, random.Random(seed).uniform(0.3, 1.8))


# ------------------------------------------------------------------------------------------ what a new run begins with

LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
LOOKUP_TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")


async def send(rpc: Rpc, instructions: list[Instruction], signers: list[Keypair]) -> bytes:
    blockhash = (await rpc.get_latest_blockhash()).blockhash
    raw = bytes(compose.sign(compose.compile(signers[0].pubkey(), instructions, blockhash), signers))
    await landed(rpc, await rpc.send_raw_transaction(raw))
    return raw


async def restarted(chain: ChainServer, rpc: Rpc) -> None:
    await rpc.call("zmart_save")
    chain.stop()
    chain.start()


async def renewed(chain: ChainServer, rpc: Rpc) -> None:
    async with next_run(chain):
        await fill(rpc, RENEW_AFTER)


RUNS = pytest.mark.parametrize("begin_anew", [restarted, renewed], ids=["a restart", "a renewal"])


@RUNS
async def test_a_buffer_and_a_program_that_a_transaction_named_are_as_before(
    chain: ChainServer, rpc: Rpc, tmp_path: Path, begin_anew: Callable[[ChainServer, Rpc], Awaitable[None]]
) -> None:
    """A buffer was lost, a program lost its authority, and a chain that knew a built-in program did not start again."""
    program = Program.from_settings(Settings(_env_file=None))
    await prepare_chain(rpc, program, load_keys(tmp_path / "keys"), shipped_program())
    payer, buffer = await funded(rpc), Keypair()
    made = CreateAccountParams(
        from_pubkey=payer.pubkey(), to_pubkey=buffer.pubkey(), lamports=10**8, space=100, owner=LOADER
    )
    filled = [AccountMeta(buffer.pubkey(), False, True), AccountMeta(payer.pubkey(), False, False)]
    await send(
        rpc, [create_account(made), Instruction(LOADER, struct.pack("<I", 0), filled)], [payer, buffer]
    )
    named = Instruction(compose.memo("").program_id, b"named", [AccountMeta(LOOKUP_TABLES, False, False)])
    with suppress(ChainError):  # the memo program demands that its accounts sign
        await rpc.send_raw_transaction(await _failing(rpc, named, payer), skip_preflight=True)
    addresses = [str(buffer.pubkey()), str(program.id), str(LOOKUP_TABLES), str(_data_of(program))]
    before = [await _account(rpc, address) for address in addresses]
    await begin_anew(chain, rpc)
    assert [await _account(rpc, address) for address in addresses] == before
    await send(rpc, [compose.memo("afterwards")], [payer])


async def _failing(rpc: Rpc, instruction: Instruction, payer: Keypair) -> bytes:
    blockhash = (await rpc.get_latest_blockhash()).blockhash
    return bytes(compose.sign(compose.compile(payer.pubkey(), [instruction], blockhash), [payer]))


def _data_of(program: Program) -> Pubkey:
    return Pubkey.find_program_address([bytes(Pubkey.from_string(str(program.id)))], LOADER)[0]


async def _account(rpc: Rpc, address: str) -> object:
    """Return owner and data of an account; a program's own lamports are those of Surfpool after a restart."""
    found = (await rpc.call("getAccountInfo", [address, {"encoding": "base64"}]))["value"]
    return found["owner"], found["data"][0], found["executable"]


AGAIN: dict[str, Callable[[str, str], tuple[str, list[object]]]] = {
    "base64": lambda b64, b58: ("sendTransaction", [b64, {"encoding": "base64"}]),
    "base58": lambda b64, b58: ("sendTransaction", [b58]),
    "null": lambda b64, b58: ("sendTransaction", [b58, {"encoding": None}]),
    "an array": lambda b64, b58: ("sendTransaction", [b64, [True, None, "base64", None, None]]),
    "a bundle": lambda b64, b58: ("sendBundle", [[b64], {"encoding": "base64"}]),
    "a bundle, null": lambda b64, b58: ("sendBundle", [[b58], {"encoding": None}]),
    "a bundle, an array": lambda b64, b58: ("sendBundle", [[b64], [True, None, "base64", None, None]]),
}


@RUNS
async def test_a_transaction_is_not_executed_again(
    chain: ChainServer, rpc: Rpc, begin_anew: Callable[[ChainServer, Rpc], Awaitable[None]]
) -> None:
    """Surfpool forgets it, so each form in which it may be sent is refused before."""
    payer = await funded(rpc)
    address = Address(str(payer.pubkey()))
    raw = await send(rpc, [compose.memo("once")], [payer])
    await begin_anew(chain, rpc)
    before = await rpc.get_balance(address)
    for form, call in AGAIN.items():
        method, params = call(base64.b64encode(raw).decode(), base58.b58encode(raw).decode())
        with pytest.raises(ChainError, match=r"already been processed|must be an object"):
            raise AssertionError(f"{form}: {await rpc.call(method, params)}")
        assert await rpc.get_balance(address) == before, form
