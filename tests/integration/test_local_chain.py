"""Tests of the local chain, which is Surfpool with a journal: what happened stays, whatever ended the process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from solders.keypair import Keypair

from kit.waiting import until
from zmart.chain.clock import ChainClock
from zmart.chain.compose import memo
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ConfigError
from zmart.local.chain import node
from zmart.local.chain.genesis import fund, prepare_chain, send, shipped_program
from zmart.local.chain.keys import ChainKeys, load_keys
from zmart.local.chain.server import ChainServer
from zmart.market.types import Address, Lamports, Signature, Wallet
from zmart.settings import Settings


@pytest.fixture
async def rpc(chain: ChainServer) -> AsyncIterator[Rpc]:
    async with Rpc([chain.rpc_url]) as client:
        yield client


@pytest.fixture
def keys(tmp_path: Path) -> ChainKeys:
    return load_keys(tmp_path / "keys")


@pytest.fixture
def program() -> Program:
    return Program.from_settings(Settings(_env_file=None))


async def toggle_pause(rpc: Rpc, program: Program, keys: ChainKeys, *, unique: bool = True) -> None:
    pause = program.instructions.emergency_pause(Wallet(str(keys.admin.pubkey())))
    await send(rpc, [pause, memo(token_hex(8))] if unique else [pause], [keys.admin])


async def is_paused(rpc: Rpc, program: Program) -> bool:
    info = await rpc.get_account(program.addresses.global_config())
    assert info is not None
    return program.accounts.global_config(info).is_paused


async def history(rpc: Rpc, program: Program) -> list[Signature]:
    return [line.signature for line in await rpc.get_signatures_for_address(program.address)]


async def finalized(rpc: Rpc, signature: Signature) -> None:
    async def status() -> str | None:
        found = (await rpc.get_signature_statuses([signature])).values[0]
        return found and found.confirmation_status

    await until(status, lambda found: found == "finalized")


def restart(chain: ChainServer, *, kill: bool) -> None:
    assert chain._process is not None
    if kill:
        chain._process.kill()
        chain._process.wait()
    else:
        chain.stop()
    chain.start()


async def test_a_new_chain_has_the_program_and_its_config_once(
    rpc: Rpc, program: Program, keys: ChainKeys
) -> None:
    done = await prepare_chain(rpc, program, keys, shipped_program())
    assert len(done) == 2
    assert await prepare_chain(rpc, program, keys, shipped_program()) == []
    info = await rpc.get_account(program.addresses.global_config())
    assert info is not None
    config = program.accounts.global_config(info)
    assert config.admin == str(keys.admin.pubkey())
    assert config.backend_authority == str(keys.backend.pubkey())
    assert config.protocol_fee_wallet == str(keys.fees.pubkey())


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill -9"])
async def test_accounts_history_and_identity_survive_a_restart(
    chain: ChainServer, rpc: Rpc, program: Program, keys: ChainKeys, kill: bool
) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    await toggle_pause(rpc, program, keys)
    before = await history(rpc, program)
    await finalized(rpc, before[0])
    genesis_hash, raw = await rpc.get_genesis_hash(), await rpc.get_transaction_json(before[0])
    slot_of = (await rpc.get_signatures_for_address(program.address))[0].slot
    restart(chain, kill=kill)
    assert await is_paused(rpc, program)
    assert await history(rpc, program) == before
    assert await rpc.get_genesis_hash() == genesis_hash
    assert await rpc.get_transaction_json(before[0]) == raw
    assert await rpc.get_block_signatures(slot_of) == [before[0]]
    assert (await rpc.get_signature_statuses(before)).values[0] is not None
    await toggle_pause(rpc, program, keys)
    assert not await is_paused(rpc, program)


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill -9"])
async def test_slots_time_and_block_height_never_go_back(chain: ChainServer, rpc: Rpc, kill: bool) -> None:
    later = int(time.time() * 1000) + 49 * 3600 * 1000
    await rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": later}])
    slot, height, clock = (
        await rpc.get_slot("processed"),
        (await rpc.get_block_height("processed")).height,
        await now(rpc),
    )
    restart(chain, kill=kill)
    assert await rpc.get_slot("processed") > slot
    assert (await rpc.get_block_height("processed")).height > height
    assert (await now(rpc)).unix_timestamp >= clock.unix_timestamp


async def test_moving_the_clock_never_takes_slots_back(rpc: Rpc) -> None:
    last = await rpc.get_slot("processed")
    for seconds in (25 * 3600, 5, 60, 3600, 73 * 3600, 1, 43_200, 1):
        target = (await now(rpc)).unix_timestamp + seconds
        await rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target * 1000}])
        slot = await rpc.get_slot("processed")
        assert slot > last
        assert target <= (await now(rpc)).unix_timestamp <= target + 5
        last = slot


async def now(rpc: Rpc) -> ChainClock:
    return await rpc.get_clock("processed")


async def test_pages_of_history_go_on_across_a_restart(
    chain: ChainServer, rpc: Rpc, program: Program, keys: ChainKeys
) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    for _ in range(3):
        await toggle_pause(rpc, program, keys)
    restart(chain, kill=False)
    for _ in range(3):
        await toggle_pause(rpc, program, keys)
    whole = await history(rpc, program)
    assert len(whole) == 7
    paged: list[Signature] = []
    while True:
        page = await rpc.get_signatures_for_address(
            program.address, before=paged[-1] if paged else None, limit=2
        )
        if not page:
            break
        paged += [line.signature for line in page]
    assert paged == whole
    for at, newest in enumerate(whole):
        newer = await rpc.get_signatures_for_address(program.address, until=newest)
        assert [line.signature for line in newer] == whole[:at]


async def test_the_same_act_after_a_restart_is_another_transaction(
    chain: ChainServer, rpc: Rpc, program: Program, keys: ChainKeys
) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    for _ in range(3):  # Surfpool numbers its blockhashes from the same start every time
        await toggle_pause(rpc, program, keys, unique=False)
        restart(chain, kill=False)
    assert len(set(await history(rpc, program))) == 4


async def test_what_was_signed_before_a_restart_cannot_land_after_it(
    chain: ChainServer, rpc: Rpc, program: Program, keys: ChainKeys
) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    blockhash = await rpc.get_latest_blockhash()
    restart(chain, kill=True)
    assert (await rpc.get_block_height("processed")).height > blockhash.last_valid_block_height


async def test_a_line_that_was_cut_by_the_end_does_not_count(
    chain: ChainServer, rpc: Rpc, program: Program, keys: ChainKeys
) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    before = await history(rpc, program)
    chain.stop()
    with (chain.folder / "journal").open("ab") as journal:
        journal.write(b'T {"signature":"never","addresses":[]}\nC {"accounts":{"' + str(program.id).encode())
    chain.start()
    assert await history(rpc, program) == before
    assert await prepare_chain(rpc, program, keys, shipped_program()) == []


def test_a_journal_made_compact_says_the_same(tmp_path: Path) -> None:
    script = tmp_path / "check.js"
    script.write_text(COMPACT_AND_COMPARE)
    source = Path(node.__file__).parent / "journal.js"
    done = subprocess.run(
        [node.find_node(), script, source, tmp_path / "chain"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "same, and smaller\n"), done.stderr


COMPACT_AND_COMPARE = """
const assert = require('assert');
const fs = require('fs');
const { Journal } = require(process.argv[2]);
async function main() {
const journal = new Journal(process.argv[3]);
for (let i = 0; i < 200; i += 1) {
  const transaction = { signature: `s${i}`, slot: i >> 1, blockTime: i, err: null, blockhash: `b${i}`,
    addresses: ['ä', `a${i % 7}`], meta: { note: 'ü'.repeat(i) } };
  const account = { lamports: i, owner: 'o', data: 'eA=='.repeat(50), executable: false };
  journal.commit([transaction], { [`a${i % 7}`]: account, gone: i % 2 ? null : account }, { slot: i, height: i });
}
const seen = (j) => [[...j.accounts], [...j.byAddress], [...j.bySlot], j.clock,
  [...j.transactions.keys()].map((s) => j.read(s))];
const before = seen(journal);
const size = fs.statSync(journal.file).size;
journal.compact();
assert.deepStrictEqual(seen(journal), before);
assert.ok(fs.statSync(journal.file).size < size);
journal.commit([], { late: { lamports: 1, owner: 'o', data: '', executable: false } }, { slot: 999 });
const again = new Journal(process.argv[3]);
await again.readTransactions();
assert.strictEqual(again.clock.slot, 999);
assert.strictEqual(again.clock.height, 199);
assert.deepStrictEqual(seen(again)[4], before[4]);
assert.strictEqual(again.past.size, 200);
console.log('same, and smaller');
}
main();
"""


async def test_an_account_that_was_emptied_stays_empty(chain: ChainServer, rpc: Rpc) -> None:
    wallet = Wallet(str(Keypair().pubkey()))
    await fund(rpc, wallet, Lamports(5_000_000_000))
    await rpc.call("zmart_save")
    await rpc.call("surfnet_resetAccount", [wallet])
    restart(chain, kill=False)
    assert await rpc.get_account(Address(wallet)) is None


async def test_block_times_are_the_chains_seconds(rpc: Rpc, program: Program, keys: ChainKeys) -> None:
    await prepare_chain(rpc, program, keys, shipped_program())
    line = (await rpc.get_signatures_for_address(program.address))[0]
    assert line.block_time is not None
    assert abs(line.block_time - (await now(rpc)).unix_timestamp) <= 2


async def test_batches_of_requests_are_answered_in_order(rpc: Rpc, chain: ChainServer) -> None:
    import httpx

    async with httpx.AsyncClient() as client:
        requested: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": 1, "method": "getGenesisHash"},
            {"jsonrpc": "2.0", "id": 2, "method": "getSlot"},
            {"jsonrpc": "2.0", "id": 3, "method": "noSuchMethod"},
        ]
        answers = (await client.post(chain.rpc_url, json=requested)).json()
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["result"] == await rpc.get_genesis_hash()
    assert answers[2]["error"]["code"] == -32601


def test_a_node_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v16.20.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(node, "_wheel_folder", lambda: None)
    with pytest.raises(ConfigError, match="version 16: run `make setup`"):
        node.find_node()
