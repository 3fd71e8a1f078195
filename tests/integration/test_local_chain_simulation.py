"""Tests of simulateTransaction on the local chain with a blockhash of the node's choice."""

from __future__ import annotations

import base64

import base58
import httpx
import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from kit.servers import LocalChain
from kit.transactions_v1 import signed_v1
from zmart.chain import compose

SIMULATIONS = 200
LONG_ENDED = str(Hash(bytes([7] * 32)))


async def result_of(http: httpx.AsyncClient, method: str, *params: object) -> dict:
    answer = await http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    return answer.json()["result"]["value"]


def unsigned(payer: Keypair, memo: str) -> bytes:
    return bytes(compose.unsigned(compose.compile(payer.pubkey(), [compose.memo(memo)], LONG_ENDED)))


async def funded(http: httpx.AsyncClient) -> Keypair:
    payer = Keypair()
    params = [str(payer.pubkey()), 10**9]
    await http.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "requestAirdrop", "params": params})
    return payer


@pytest.mark.parametrize("form", ["base64", "base58", "default encoding", "version 1"])
async def test_a_replaced_blockhash_is_one_that_the_chain_gives_clients_and_knows(
    local_chain: LocalChain, form: str
) -> None:
    async with httpx.AsyncClient(base_url=local_chain.rpc_url) as http:
        payer = await funded(http)
        raw = unsigned(payer, "x")
        if form == "version 1":
            raw = signed_v1(payer, [compose.memo("x")], LONG_ENDED)
        in_base58 = form in {"base58", "default encoding"}
        text = base58.b58encode(raw).decode() if in_base58 else base64.b64encode(raw).decode()
        named = {} if form == "default encoding" else {"encoding": "base58" if in_base58 else "base64"}
        options = {"commitment": "confirmed", **named}
        kept = await result_of(http, "simulateTransaction", text, options)
        assert (kept["err"], kept["replacementBlockhash"]) == ("BlockhashNotFound", None)
        replaced = await result_of(
            http, "simulateTransaction", text, {**options, "replaceRecentBlockhash": True}
        )
        assert replaced["err"] is None, replaced
        given = replaced["replacementBlockhash"]
        assert not given["blockhash"].startswith("SURFNET"), "a blockhash that each run of Surfpool has"
        newest = await result_of(http, "getLatestBlockhash", {"commitment": "processed"})
        assert 0 <= newest["lastValidBlockHeight"] - given["lastValidBlockHeight"] < 150
        assert await result_of(http, "isBlockhashValid", given["blockhash"], {"commitment": "processed"})


async def test_a_simulation_with_a_replaced_blockhash_never_lacks_it_while_clients_get_new_ones(
    local_chain: LocalChain,
) -> None:
    """Surfpool did not find its own newest blockhash when a block was made while new ones were given."""
    async with httpx.AsyncClient(base_url=local_chain.rpc_url) as http:
        payer = await funded(http)
        options = {"encoding": "base64", "replaceRecentBlockhash": True}
        for number in range(SIMULATIONS):
            await result_of(http, "getLatestBlockhash", {"commitment": "confirmed"})
            text = base64.b64encode(unsigned(payer, str(number))).decode()
            assert (await result_of(http, "simulateTransaction", text, options))["err"] is None
