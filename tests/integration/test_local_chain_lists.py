"""Tests of the local chain's lists of an address's transactions: complete at any moment, in the chain's order."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from itertools import count, groupby
from pathlib import Path
from secrets import token_hex

import psutil
import pytest
from solders.compute_budget import set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from kit.chain_journal import run_script
from kit.waiting import until
from zmart.chain import compose
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.chain.genesis import fund, send
from zmart.local.chain.server import ChainServer
from zmart.market.types import Address, Lamports, Signature, Wallet

SOL = 1_000_000_000
UNKNOWN = Signature("5" * 87)
REFUSED = Signature("1" * 64)
"""The signature under which Surfpool files refused transactions."""


@pytest.fixture
async def rpc(chain: ChainServer) -> AsyncIterator[Rpc]:
    async with Rpc([chain.rpc_url], attempts=1) as client:
        yield client


async def listed(rpc: Rpc, address: Address, **options: object) -> list[Signature]:
    lines = await rpc.get_signatures_for_address(address, **options)  # type: ignore[arg-type]
    return [line.signature for line in lines]


async def test_what_was_executed_before_a_list_was_requested_is_in_it(chain: ChainServer, rpc: Rpc) -> None:
    """A list has every transaction that was executed before it was requested, also while others arrive.

    A reader that knows that slots are final takes the list for everything in these slots.
    """
    payer = Keypair()
    address = Address(str(payer.pubkey()))
    await fund(rpc, Wallet(address), Lamports(SOL))
    executed: list[Signature] = []

    async def sends() -> None:
        for number in count():
            if number >= 40 and lists > 5:  # a busy machine makes lists more slowly than transactions
                return
            blockhash = (await rpc.get_latest_blockhash()).blockhash  # on a busy machine one ends meanwhile
            message = compose.compile(payer.pubkey(), [compose.memo(token_hex(8))], blockhash)
            executed.append(await rpc.send_raw_transaction(bytes(compose.sign(message, [payer]))))

    lists = 0
    sending = asyncio.gather(*(sends() for _ in range(5)))
    while not sending.done():
        before = set(executed)
        assert before <= set(await listed(rpc, address))
        lists += 1
    await sending
    lines = await rpc.get_signatures_for_address(address)
    assert lists > 5
    assert {line.signature for line in lines} == set(executed)
    assert [line.slot for line in lines] == sorted((line.slot for line in lines), reverse=True)
    for slot, newest_first in groupby(lines, key=lambda line: line.slot):
        block = await until(
            lambda slot=slot: rpc.call("getBlock", [slot, {"transactionDetails": "signatures"}])
        )
        in_block = [each for each in block["signatures"] if each in {line.signature for line in lines}]
        assert [line.signature for line in newest_first] == in_block[::-1]


async def test_pages_begin_and_end_as_on_a_validator_and_nonsense_is_an_error(rpc: Rpc) -> None:
    payer = Keypair()
    address = Address(str(payer.pubkey()))
    airdrop = await rpc.call("requestAirdrop", [address, SOL])
    for _ in range(3):
        await send(rpc, [compose.memo(token_hex(8))], [payer])
    whole = await listed(rpc, address)
    assert (len(whole), whole[-1]) == (4, airdrop)
    for options, expected in (
        ({"limit": 2}, whole[:2]),
        ({"before": whole[0], "limit": 1}, whole[1:2]),
        ({"before": whole[0], "until": whole[3]}, whole[1:3]),
        ({"before": whole[3]}, []),
        ({"before": UNKNOWN}, []),
        ({"until": UNKNOWN}, whole),
        ({"until": whole[0]}, []),
        ({"limit": None, "before": None, "until": None}, whole),
        ({"commitment": "finalized", "minContextSlot": await rpc.get_slot("processed")}, whole),
        (None, whole),
    ):
        lines = await rpc.call("getSignaturesForAddress", [address, options])
        assert [line["signature"] for line in lines] == expected, options  # type: ignore[attr-defined, index]
    for params in (
        ["no address"], ["1" * 200], [7], [address, {"limit": "two"}], [address, {"limit": -1}],
        [address, {"before": 7}], [address, "soon"], [], [address, {"minContextSlot": 2**40}],
    ):  # fmt: skip
        with pytest.raises(ChainError):
            await rpc.call("getSignaturesForAddress", params)


async def test_a_list_has_the_memos_also_after_a_restart(chain: ChainServer, rpc: Rpc) -> None:
    """A list has a transaction's memos as a validator writes them, also after a restart of the chain."""
    payer = Keypair()
    address = Address(str(payer.pubkey()))
    await fund(rpc, Wallet(address), Lamports(SOL))
    await send(rpc, [compose.memo("grüße"), compose.memo("2")], [payer])
    await send(rpc, [transfer_to_itself(payer)], [payer])

    async def memos() -> list[str | None]:
        return [line["memo"] for line in await rpc.call("getSignaturesForAddress", [address])]  # type: ignore[attr-defined]

    assert await memos() == [None, "[7] grüße; [1] 2"]
    chain.stop()
    chain.start()
    assert await memos() == [None, "[7] grüße; [1] 2"]


def transfer_to_itself(payer: Keypair) -> Instruction:
    return transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payer.pubkey(), lamports=1))


async def test_refused_transactions_have_no_status_and_are_in_no_list(chain: ChainServer, rpc: Rpc) -> None:
    """A transaction with an unknown blockhash, or of a payer without lamports, is on no validator's chain.

    Surfpool files all of them under one signature, with the slot of the newest. An index that knew it in another slot
    would have waited without limit for it to become final.
    """
    payer, poor = Keypair(), Keypair()
    address = Address(str(payer.pubkey()))
    await fund(rpc, Wallet(address), Lamports(SOL))
    await send(rpc, [compose.memo("first")], [payer])
    before = await listed(rpc, address)
    instruction = transfer_to_itself(payer)
    refused: list[Signature] = []
    for signer, blockhash in (
        (payer, str(Hash.new_unique())),
        (poor, (await rpc.get_latest_blockhash()).blockhash),
        (payer, str(Hash.new_unique())),
    ):
        signers = [payer] if signer is payer else [poor, payer]
        message = compose.compile(signer.pubkey(), [instruction], blockhash)
        sent = await rpc.send_raw_transaction(bytes(compose.sign(message, signers)), skip_preflight=True)
        refused.append(sent)
        await send(rpc, [compose.memo(token_hex(8))], [payer])  # in a later slot
    names = [*refused, REFUSED]

    async def traces() -> list[object]:
        encodings = ("json", "base64")
        calls = [
            rpc.call("getTransaction", [name, {"encoding": each}]) for name in names for each in encodings
        ]
        statuses = (await rpc.get_signature_statuses(names, search_history=True)).values
        return [each for each in (*statuses, *await asyncio.gather(*calls)) if each is not None]

    for _ in range(2):
        assert await traces() == []
        assert len(await listed(rpc, address)) == len(before) + 3
        assert await listed(rpc, Address(str(poor.pubkey()))) == []
        chain.stop()
        chain.start()


async def test_recent_fees_are_those_of_transactions_with_an_account(rpc: Rpc) -> None:
    payer, other = Keypair(), Keypair()
    address = str(payer.pubkey())
    await fund(rpc, Wallet(address), Lamports(SOL))
    await send(rpc, [set_compute_unit_price(7_000), compose.memo("dear")], [payer])
    await send(rpc, [compose.memo("cheap")], [payer])

    async def fees(*params: object) -> list[int]:
        lines = await rpc.call("getRecentPrioritizationFees", list(params))
        return [line["prioritizationFee"] for line in lines]  # type: ignore[attr-defined]

    assert await fees([address]) == [7_000]
    assert await fees() == await fees([]) == [7_000]
    assert await fees([str(other.pubkey())]) == []
    with pytest.raises(ChainError):
        await fees(["no address"])
    await until(lambda: fees([address]), lambda recent: recent == [])


async def test_a_list_that_would_lack_a_transaction_is_refused(chain: ChainServer, rpc: Rpc) -> None:
    """C15: a list is refused while it would lack an executed transaction that the journal cannot hold."""
    wallet = Wallet(str(Keypair().pubkey()))
    assert chain._process is not None
    process = psutil.Process(chain._process.pid)
    end = (chain.folder / "journal").stat().st_size + 100
    process.rlimit(psutil.RLIMIT_FSIZE, (end, resource.RLIM_INFINITY))
    await rpc.call("requestAirdrop", [wallet, SOL])
    with pytest.raises(ChainError, match="Node is unhealthy: the journal cannot be written"):
        await listed(rpc, Address(wallet))
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(lambda: _length_of_list(rpc, wallet), lambda length: length == 1)


async def _length_of_list(rpc: Rpc, wallet: Wallet) -> int:
    try:
        return len(await listed(rpc, Address(wallet)))
    except ChainError:
        return -1


def test_a_refused_transaction_that_an_earlier_release_wrote_down_is_left_out(tmp_path: Path) -> None:
    assert run_script(WRITTEN_DOWN, tmp_path / "chain") == "one two\n"


WRITTEN_DOWN = """
const { Journal } = require(`${process.argv[2]}/journal.js`);
const journal = new Journal(process.argv[3]);
for (const [at, signature] of ['one', '1'.repeat(64), 'two'].entries()) {
  const shown = { signature, slot: at, blockTime: at, err: null, blockhash: 'b', addresses: ['x'], meta: {} };
  journal.commit([shown], {}, { slot: at });
}
const read = new Journal(process.argv[3]);
read.readTransactions().then(() => console.log(...read.byAddress.get('x')));
"""


def test_a_transaction_that_surfpool_showed_late_is_listed_in_its_slot(tmp_path: Path) -> None:
    run_script(LATE, tmp_path / "chain")


LATE = """
const assert = require('assert');
const { Journal } = require(`${process.argv[2]}/journal.js`);
const journal = new Journal(process.argv[3]);
for (const [signature, slot] of [['a', 1], ['b', 3], ['c', 3], ['late', 2], ['d', 4], ['later', 1]]) {
  const transaction = { signature, slot, blockTime: 0, err: null, blockhash: 'b', addresses: ['x'], meta: {} };
  journal.commit([transaction], {}, { slot, height: slot });
}
assert.deepStrictEqual(journal.byAddress.get('x'), ['a', 'later', 'late', 'b', 'c', 'd']);
"""
