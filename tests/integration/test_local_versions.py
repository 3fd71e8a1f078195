"""I2: tests that no request of a client ends the local chain, and that the chain remembers what it accepts."""

from __future__ import annotations

import base64
import itertools
import random
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import base58
import httpx
import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from kit.waiting import until
from kit.wire_cases import broken_older, broken_v1, mutations, older, sound_v1
from zmart.chain.rpc import Rpc
from zmart.local.chain import node
from zmart.local.chain.genesis import fund
from zmart.local.chain.server import ChainServer
from zmart.market.types import Lamports, Signature, Wallet

TABLES = "AddressLookupTab1e1111111111111111111111111"


class Sender:
    """A wallet with SOL and a lookup table, which calls the chain's JSON-RPC directly."""

    def __init__(self, chain: ChainServer, rpc: Rpc, http: httpx.AsyncClient) -> None:
        self.chain, self.rpc, self.http = chain, rpc, http
        self.payer, self.table = Keypair(), Keypair().pubkey()

    async def prepare(self) -> Sender:
        await fund(self.rpc, Wallet(str(self.payer.pubkey())), Lamports(10**12))
        head = struct.pack("<IQQBB", 1, 2**64 - 1, 0, 0, 0).ljust(56, b"\0")
        account = {"lamports": 10**9, "owner": TABLES, "data": (head + bytes(Keypair().pubkey())).hex()}
        await self.ask("surfnet_setAccount", str(self.table), {**account, "executable": False})
        return self

    async def ask(self, method: str, *params: object) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: dict[str, Any] = (await self.http.post(self.chain.rpc_url, json=body)).json()
        return answer

    async def send(self, raw: bytes, *, check: bool = False) -> dict[str, Any]:
        options = {"encoding": "base64", "skipPreflight": not check}
        return await self.ask("sendTransaction", base64.b64encode(raw).decode(), options)

    async def blockhash(self) -> Hash:
        return Hash.from_string((await self.rpc.get_latest_blockhash()).blockhash)

    async def landed(self, signature: str) -> None:
        async def known() -> bool:
            return (await self.rpc.get_signature_statuses([Signature(signature)])).values[0] is not None

        await until(known)

    async def show(self, signature: str, ceiling: int | None, encoding: str = "json") -> dict[str, Any]:
        options = {"encoding": encoding, "commitment": "confirmed"}
        more = {} if ceiling is None else {"maxSupportedTransactionVersion": ceiling}
        return await self.ask("getTransaction", signature, options | more)

    async def block(self, slot: int, ceiling: int | None) -> dict[str, Any]:
        more = {} if ceiling is None else {"maxSupportedTransactionVersion": ceiling}
        return await self.ask("getBlock", slot, {"encoding": "json", "rewards": False, **more})

    async def closed(self, slot: int) -> None:
        async def shown() -> bool:
            return bool((await self.block(slot, 1))["result"])

        await until(shown)


@pytest.fixture
async def sender(chain: ChainServer) -> AsyncIterator[Sender]:
    async with Rpc([chain.rpc_url]) as rpc, httpx.AsyncClient(timeout=20) as http:
        yield await Sender(chain, rpc, http).prepare()


async def test_transactions_of_every_version_are_shown_also_after_a_restart(
    chain: ChainServer, sender: Sender
) -> None:
    """I2: a chain that was killed still shows transactions of every version, and refuses to execute them again."""
    sent: dict[str, tuple[str, bytes]] = {}
    blockhash = await sender.blockhash()
    cases = [*sound_v1(sender.payer, blockhash), *older(sender.payer, blockhash, sender.table)]
    for case, raw in cases:
        answer = await sender.send(raw, check=True)
        assert "result" in answer, (case, answer)
        sent[case] = (answer["result"], raw)
    for signature, _ in sent.values():
        await sender.landed(signature)
    before = {case: await sender.show(signature, 1) for case, (signature, _) in sent.items()}
    await sender.ask("getSignaturesForAddress", str(sender.payer.pubkey()))  # waits until all is written down
    kill(chain)
    chain.start()
    for case, (signature, raw) in sent.items():
        assert await sender.show(signature, 1) == before[case], case
        assert before[case]["result"]["meta"]["err"] is None, case
        shown = (await sender.show(signature, 1, "base64"))["result"]["transaction"]
        assert base64.b64decode(shown[0]) == raw, case
        for text, encoding in ((base64.b64encode(raw), "base64"), (base58.b58encode(raw), "base58")):
            second_result = await sender.ask("sendTransaction", text.decode(), {"encoding": encoding})
            assert second_result["error"]["code"] == -32002, (case, encoding)


def kill(chain: ChainServer) -> None:
    assert chain._process is not None
    chain._process.kill()
    chain._process.wait()


async def test_a_client_gets_no_version_that_it_does_not_know(chain: ChainServer, sender: Sender) -> None:
    """W1: a version above the client's maxSupportedTransactionVersion is the error -32015, as from a validator.

    That holds for the running chain and for what it reads from its journal.
    """
    blockhash = await sender.blockhash()
    sound = dict([*sound_v1(sender.payer, blockhash), *older(sender.payer, blockhash, sender.table)])
    oldest = {"v1": 1, "v0": 0, "legacy": -1}  # lowest ceiling that shows it; -1: none needed
    sent = {case: (await sender.send(sound[case]))["result"] for case in oldest}
    for signature in sent.values():
        await sender.landed(signature)
    slots = {case: (await sender.show(signature, 1))["result"]["slot"] for case, signature in sent.items()}
    for slot in slots.values():
        await sender.closed(slot)
    for _ in ("running", "restarted"):
        for case, ceiling in itertools.product(oldest, (None, 0, 1, 2)):
            is_shown = (-1 if ceiling is None else ceiling) >= oldest[case]
            shown = await sender.show(sent[case], ceiling)
            assert ("result" in shown) == is_shown, (case, ceiling, shown)
            assert is_shown or shown["error"]["code"] == -32015
            highest = max(oldest[other] for other in oldest if slots[other] == slots[case])
            block = await sender.block(slots[case], ceiling)
            assert ("result" in block) == ((-1 if ceiling is None else ceiling) >= highest), (case, ceiling)
        await sender.ask("zmart_save")
        kill(chain)
        chain.start()


@pytest.mark.parametrize("number", [90, pytest.param(5_000, marks=pytest.mark.slow)], ids=["90", "5000"])
async def test_nothing_that_can_be_sent_ends_the_chain(
    chain: ChainServer, sender: Sender, number: int
) -> None:
    """I2: every broken transaction, sent or simulated, gets a JSON-RPC answer, and the chain runs on."""
    blockhash = await sender.blockhash()
    good = [
        raw for _, raw in [*sound_v1(sender.payer, blockhash), *older(sender.payer, blockhash, sender.table)]
    ]
    broken = [*broken_v1(sender.payer, blockhash), *broken_older(sender.payer, blockhash, sender.table)]
    noise = mutations(sender.payer, good, random.Random(number), number)
    for at, (case, raw) in enumerate([*broken, *noise]):
        text = base64.b64encode(raw).decode()
        answer = await sender.send(raw, check=at % 2 == 0)
        assert isinstance(answer.get("error", {}).get("code", 0), int), (case, answer)
        assert "hang up" not in str(answer), (case, answer)
        for method, params in (
            ("simulateTransaction", [text, {"encoding": "base64"}]),
            ("simulateBundle", [{"encodedTransactions": [text]}]),
            ("surfnet_profileTransaction", [text]),
            ("sendBundle", [[text], {"encoding": "base64"}]),
        )[:: 1 if at < len(broken) else 4]:
            simulated = await sender.ask(method, *params)
            assert "hang up" not in str(simulated), (case, method, simulated)
    for case, raw in older(sender.payer, await sender.blockhash(), sender.table):
        answer = await sender.send(raw, check=True)
        assert "result" in answer, (case, answer)
        await sender.landed(answer["result"])
    assert "panicked" not in chain.log.read_text()


async def test_a_broken_transaction_is_refused_as_a_validator_refuses_it(sender: Sender) -> None:
    """I2: a broken transaction is refused with -32602 before the runtime sees it, with or without the preflight."""
    cases = dict(broken_v1(sender.payer, await sender.blockhash()))
    for case in ("no signer", "an account index outside", "a program index outside", "version byte 0x82"):
        for check in (True, False):
            assert (await sender.send(cases[case], check=check))["error"]["code"] == -32602, case


async def test_one_request_that_cannot_be_read_harms_no_other(chain: ChainServer, sender: Sender) -> None:
    for body in (b"", b"null", b"[]", b"[null, 1]", b"{", b"[" * 100_000, b'{"method":"getTransaction"}'):
        assert (await sender.http.post(chain.rpc_url, content=body)).status_code in (200, 502)
    for method in ("sendTransaction", "simulateTransaction", "sendBundle", "getTransaction", "getBlock"):
        for params in ([], [None], [7], [[]], [{}], ["x", 7], {}):
            if (method, params) == ("getBlock", [7]):
                continue  # a slot like any other
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            assert "error" in (await sender.http.post(chain.rpc_url, json=body)).json(), (method, params)
    assert chain.answers()


def test_a_runtime_that_ended_ends_the_chain_and_one_failed_answer_does_not(tmp_path: Path) -> None:
    """I2: a runtime that has ended ends the chain's process; one failed answer does not.

    A process whose runtime has panicked would answer without end, and do nothing.
    """
    script = tmp_path / "check.js"
    script.write_text(ENDED_OR_NOT)
    source = Path(node.__file__).parent
    done = subprocess.run([node.find_node(), script, source], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ended by 2 of 4; written after 3 failures\n"), done.stderr


ENDED_OR_NOT = """
const { guards } = require(`${process.argv[2]}/sending.js`);
const { Recorder } = require(`${process.argv[2]}/recorder.js`);

async function main() {
  let ended = 0;
  const { sendTransaction } = guards({ past: new Set() }, () => { ended += 1; });
  const answers = [
    { code: -32005, message: 'Node is unhealthy' },
    { code: -32002, message: 'Failed to process transaction: receiving on an empty and disconnected channel' },
    { code: -32002, message: 'Transaction simulation failed: Blockhash not found' },
    { code: -32602, message: 'invalid' },
  ];
  for (const error of answers) sendTransaction.after(JSON.stringify({ jsonrpc: '2.0', error, id: 1 }));

  const unanswered = ['getTransaction', 'getBlockHeight', 'getMultipleAccounts'];
  const written = [];
  const call = async (method) => {
    if (unanswered[0] === method) throw Object.assign(new Error('socket hang up'), { asked: unanswered.shift() });
    if (method === 'getBlockHeight') return 7;
    if (method === 'getMultipleAccounts') return { value: [null] };
    const message = { accountKeys: ['a'], instructions: [] };
    return { slot: 1, meta: { err: null }, version: 9, transaction: { message, 0: 'AA==' } };
  };
  const events = [[], [{ kind: 'x', transactionSignature: 's' }]];
  const chain = { drainEvents: () => events.shift() ?? [] };
  const journal = { commit: (transactions) => written.push(...transactions) };
  const fail = (problem) => { console.log(problem); process.exit(1); };
  const recorder = new Recorder(chain, call, journal, { genesis: {}, heightOffset: 0, slotMs: 50, fail });
  let flushes = 0;
  while (!written.length) { await recorder.flush(); flushes += 1; }
  console.log(`ended by ${ended} of ${answers.length}; written after ${flushes - 1} failures`);
}
main();
"""
