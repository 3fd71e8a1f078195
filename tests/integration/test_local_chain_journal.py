"""Tests of the local chain's journal: an entry is written whole or not at all, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from solders.keypair import Keypair

from kit.chain_journal import fill_journal, run_script
from kit.servers import running
from kit.waiting import until
from zmart.chain.clock import ChainClock
from zmart.chain.compose import memo
from zmart.chain.rpc import Rpc
from zmart.chain.slot_bounds import SlotBounds
from zmart.errors import ZmartError
from zmart.local.chain.genesis import fund, send
from zmart.local.chain.server import ChainServer
from zmart.local.processes import free_port
from zmart.market.types import Address, ChainTime, Lamports, Slot, Wallet

SOL = 1_000_000_000


@pytest.fixture
async def rpc(chain: ChainServer) -> AsyncIterator[Rpc]:
    async with Rpc([chain.rpc_url], attempts=1) as client:
        yield client


def kill(chain: ChainServer) -> None:
    assert chain._process is not None
    chain._process.kill()
    chain._process.wait()


def journal_of(chain: ChainServer) -> Path:
    return chain.folder / "journal"


def new_wallet() -> Wallet:
    return Wallet(str(Keypair().pubkey()))


async def balance(rpc: Rpc, wallet: Wallet) -> int:
    account = await rpc.get_account(Address(wallet))
    return account.lamports if account else 0


async def recorded(chain: ChainServer, wallet: Wallet) -> None:
    await until(lambda: wallet in journal_of(chain).read_text())


async def test_a_chain_with_more_accounts_than_surfpool_has_room_for_events_comes_back(
    chain: ChainServer, rpc: Rpc
) -> None:
    """C3: a chain with more accounts than Surfpool's queue of events has room for starts again.

    Surfpool waits without limit once about 500 of its events are not taken, so they are taken during the restore, too.
    """
    wallet = new_wallet()
    await fund(rpc, wallet, Lamports(SOL))
    chain.stop()
    fill_journal(chain.folder, accounts=2_000, transactions=1_000)
    for stop in (chain.stop, lambda: kill(chain)):
        chain.start()
        assert await balance(rpc, wallet) == SOL
        exported = await rpc.call("surfnet_exportSnapshot", [{"filter": {}, "scope": "network"}])
        assert isinstance(exported, dict)
        assert len(exported["value"]) > 2_000
        stop()


RUN_LASTED = """
const [source, folder, seconds, slot, slotMs] = process.argv.slice(2).map((one) => Number(one) || one);
const journal = new (require(`${source}/journal.js`).Journal)(folder);
const unixTimestamp = Math.floor(Date.now() / 1000 + (slot * slotMs) / 1000) - seconds;
journal.commit([], {}, { slot, reserved: slot + 30, unixTimestamp });
console.log(JSON.stringify(journal.clock));
"""
"""Makes the journal of a stopped chain that of a run of so many seconds up to a slot: a run that continues it moves the
clock ahead by so much, since Surfpool counts its slots' time again from now."""
EPOCH_SLOTS = 432_000


@pytest.mark.parametrize(
    ("seconds", "slot", "slot_ms"),
    [
        pytest.param(1_500, 100_000, 400, id="25 minutes"),
        pytest.param(90_000, EPOCH_SLOTS - 300, 100, id="an epoch's end"),
        pytest.param(90_000, 100_000, 10, id="short slots", marks=pytest.mark.slow),
        pytest.param(90_000, 100_000, 10_000, id="long slots", marks=pytest.mark.slow),
    ],
)
async def test_after_a_long_run_the_slots_account_for_the_step_of_the_clock(
    tmp_path: Path, request: pytest.FixtureRequest, seconds: int, slot: int, slot_ms: int
) -> None:
    """P20: readers took the step for a wrong answer, and the RPC was suspended after every 25 minutes of light use."""
    addon = request.config.rootpath / ".zmart" / "node"
    ports = free_port(), free_port()
    with running(ChainServer(tmp_path / "chain", *ports, addon, slot_ms=slot_ms)) as chain:
        chain.stop()
        clock = json.loads(run_script(RUN_LASTED, chain.folder, seconds, slot, slot_ms))
        bounds = SlotBounds()
        bounds.learn(ChainClock(Slot(clock["slot"]), ChainTime(clock["unixTimestamp"])))
        chain.start()
        async with Rpc([chain.rpc_url], attempts=1) as rpc:
            after = await rpc.get_clock()
        assert after.slot > clock["slot"]
        assert after.unix_timestamp - clock["unixTimestamp"] >= seconds
        bounds.learn(after)


@pytest.mark.parametrize("number", [800, pytest.param(1_500, marks=pytest.mark.slow)])
async def test_more_changes_at_once_than_surfpool_has_room_for_events_are_all_recorded(
    chain: ChainServer, rpc: Rpc, number: int
) -> None:
    """C3: more changes at once than Surfpool's queue of events has room for are all recorded.

    Events are taken even while the chain waits for an answer of Surfpool.
    """
    wallets = [new_wallet() for _ in range(number)]  # Surfpool waits behind 500 events
    for at in range(0, len(wallets), 100):
        await asyncio.gather(*(fund(rpc, wallet, Lamports(SOL)) for wallet in wallets[at : at + 100]))
    looked_at = wallets[:: number // 30]
    for wallet in looked_at:  # those that were funded at once are recorded in any order
        await recorded(chain, wallet)
    kill(chain)
    chain.start()
    assert {await balance(rpc, wallet) for wallet in looked_at} == {SOL}


async def test_a_full_disk_stops_transactions_and_no_process_and_nothing_is_lost(
    chain: ChainServer, rpc: Rpc
) -> None:
    """C15, C4: a full disk makes the chain refuse transactions, but ends no process and loses nothing.

    A limit of the file's size cuts a write short, as a full disk does. What was executed is written once there is room.
    """
    assert chain._process is not None
    process = psutil.Process(chain._process.pid)
    payer, before, during, after = Keypair(), new_wallet(), new_wallet(), new_wallet()
    await fund(rpc, Wallet(str(payer.pubkey())), Lamports(SOL))
    await fund(rpc, before, Lamports(SOL))
    await recorded(chain, before)
    process.rlimit(psutil.RLIMIT_FSIZE, (journal_of(chain).stat().st_size + 100, resource.RLIM_INFINITY))
    await fund(rpc, during, Lamports(2 * SOL))

    async def refusal() -> str:
        try:
            await send(rpc, [memo(str(during))], [payer])
        except ZmartError as problem:
            return str(problem)
        return ""

    await until(refusal, lambda sentence: "free some space" in sentence)
    assert await balance(rpc, during) == 2 * SOL
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(refusal, lambda sentence: not sentence)
    await fund(rpc, after, Lamports(3 * SOL))
    await recorded(chain, after)
    kill(chain)
    chain.start()
    assert [await balance(rpc, wallet) for wallet in (before, during, after)] == [SOL, 2 * SOL, 3 * SOL]


async def test_a_write_that_was_cut_short_before_others_does_not_end_a_start(
    chain: ChainServer, rpc: Rpc
) -> None:
    """C15: a line that was cut short, with whole lines behind it, is left out at the start.

    Earlier releases wrote on behind the part of a line that a full disk had taken.
    """
    first, second = new_wallet(), new_wallet()
    await fund(rpc, first, Lamports(SOL))
    await recorded(chain, first)
    chain.stop()
    with journal_of(chain).open("ab") as journal:
        journal.write(b'T {"signature":"torn","slot":7,"meta":{"logMessages":["Program \\"x\\"')
    fill_journal_line(chain, second)
    chain.start()
    assert [await balance(rpc, wallet) for wallet in (first, second)] == [SOL, 5]
    assert "1 damaged lines are left out" in chain.log.read_text()
    assert "damaged" not in chain.log.read_text().rpartition("damaged lines")[2]


def fill_journal_line(chain: ChainServer, wallet: Wallet) -> None:
    system = "1" * 32
    account = f'{{"lamports":5,"owner":"{system}","data":"","executable":false}}'
    with journal_of(chain).open("ab") as journal:
        journal.write(f'C {{"accounts":{{"{wallet}":{account}}},"clock":{{"slot":9000}}}}\n'.encode())


def test_a_journal_that_was_cut_anywhere_holds_the_last_whole_state(tmp_path: Path) -> None:
    """C15: a journal that is cut at any byte of its last writes gives the last whole state, and can be written on."""
    assert run_script(CUT_ANYWHERE, tmp_path / "chain") == "every cut holds a whole state\n"


CUT_ANYWHERE = """
const assert = require('assert');
const fs = require('fs');
const [source, folder] = process.argv.slice(2);
const { Journal } = require(`${source}/journal.js`);
console.error = () => {};
const account = (lamports) => ({ lamports, owner: 'o', data: 'eA==', executable: false });
const transaction = (at) => ({ signature: `s${at}`, slot: at, blockTime: at, err: null, blockhash: `b${at}`,
  addresses: ['ä'], meta: { logMessages: ['Program log: {"quoted": 1}'] } });

async function main() {
  const journal = new Journal(folder);
  const ends = [];
  for (let at = 0; at < 6; at += 1) {
    journal.commit([transaction(at)], { a: account(at) }, { slot: at });
    if (at === 3) journal.writeState();
    ends.push(journal.lines.end);
  }
  const whole = fs.readFileSync(journal.file);
  for (let cut = ends[0]; cut <= whole.length; cut += 1) {
    fs.writeFileSync(journal.file, whole.subarray(0, cut));
    const read = new Journal(folder);
    await read.readTransactions();
    const state = read.clock.slot;
    assert.ok(cut >= ends[state] - (state === 3 ? ends[3] : 0) && !(cut >= ends[state + 1]), `${cut}: ${state}`);
    assert.strictEqual(read.accounts.get('a').lamports, state);
    assert.deepStrictEqual([...read.transactions.keys()], Array.from({ length: state + 1 }, (_, at) => `s${at}`));
    read.commit([transaction(9)], { a: account(9) }, { slot: 9 });
    const again = new Journal(folder);
    await again.readTransactions();
    assert.strictEqual(again.accounts.get('a').lamports, 9);
    assert.strictEqual(again.damaged, 0);
    assert.deepStrictEqual(again.read('s9'), transaction(9));
    again.lines.close();
    read.lines.close();
  }
  console.log('every cut holds a whole state');
}
main();
"""


def test_lines_from_the_end_are_those_from_the_beginning_wherever_chunks_end(tmp_path: Path) -> None:
    """C3: a file's lines read from the end are those read from the beginning, wherever chunks end.

    The last state is looked for from the end. Text behind the last line feed is no line, and neither is text beyond the
    file's valid end.
    """
    assert run_script(LINES, tmp_path / "chain") == "600 files read both ways\n"


LINES = """
const assert = require('assert');
const fs = require('fs');
const [source, folder] = process.argv.slice(2);
const { JournalFile } = require(`${source}/journal_file.js`);
let seed = 7;
const below = (limit) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % limit; };
const text = () => Array.from({ length: below(9) }, () => '\\u00e4b\\u{1f600}'[below(3)] ?? 'x').join('');

for (let round = 0; round < 600; round += 1) {
  const parts = Array.from({ length: below(8) }, text);
  const content = Buffer.from(parts.map((part) => `${part}\\n`).join('') + (below(2) ? text() : ''));
  fs.writeFileSync(`${folder}/lines`, content);
  const file = new JournalFile(`${folder}/lines`, 1 + below(12));
  const taken = (lines) => Array.from(lines, ([bytes, offset]) => [bytes.toString('hex'), offset]);
  const fromEnd = taken(file.linesFromEnd()).reverse();
  file.end = content.length;
  assert.deepStrictEqual(fromEnd, taken(file.lines()));
  assert.strictEqual(fromEnd.length, parts.length);
  for (const [bytes, offset] of fromEnd) assert.ok(content.subarray(offset).toString('hex').startsWith(`${bytes}0a`));
  file.end = fromEnd[0] ? fromEnd[0][1] + fromEnd[0][0].length / 2 + 1 : 0;
  assert.strictEqual(taken(file.lines()).length, Math.min(1, parts.length));
  file.close();
}
console.log('600 files read both ways');
"""


def test_a_transaction_that_cannot_be_indexed_costs_no_other(tmp_path: Path) -> None:
    assert run_script(DAMAGED_TRANSACTION, tmp_path / "chain") == "s1 1\n"


DAMAGED_TRANSACTION = """
const fs = require('fs');
const [source, folder] = process.argv.slice(2);
const { Journal } = require(`${source}/journal.js`);
console.error = () => {};
const journal = new Journal(folder);
for (let at = 0; at < 2; at += 1) {
  const times = { slot: at, blockTime: at };
  const shown = { signature: `s${at}`, ...times, err: null, blockhash: `b${at}`, addresses: [], meta: {} };
  journal.commit([shown], {}, { slot: at });
}
fs.writeFileSync(journal.file, fs.readFileSync(journal.file, 'utf8').replace('addresses', 'addressez'));
const read = new Journal(folder);
read.readTransactions().then(() => console.log(...read.transactions.keys(), read.damaged));
"""


def test_a_last_state_that_cannot_be_read_leaves_the_one_before_it_and_all_changes(tmp_path: Path) -> None:
    assert run_script(DAMAGED_STATE, tmp_path / "chain") == "3 1\n"


DAMAGED_STATE = """
const fs = require('fs');
const [source, folder] = process.argv.slice(2);
const { Journal } = require(`${source}/journal.js`);
console.error = () => {};
const journal = new Journal(folder);
const account = (lamports) => ({ lamports, owner: 'o', data: '', executable: false });
for (let at = 1; at < 4; at += 1) {
  journal.commit([], { a: account(at), [`only ${at}`]: account(at) }, { slot: at });
  if (at < 3) journal.writeState();
}
const text = fs.readFileSync(journal.file, 'utf8');
const at = text.indexOf(':', text.lastIndexOf('S {'));
fs.writeFileSync(journal.file, `${text.slice(0, at)}#${text.slice(at + 1)}`);
const read = new Journal(folder);
console.log(['only 1', 'only 2', 'only 3'].filter((name) => read.accounts.has(name)).length, read.damaged);
"""
