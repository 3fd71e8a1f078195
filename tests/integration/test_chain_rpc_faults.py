"""An RPC that fails in every way that RPCs fail, played by a small HTTP server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from zmart.chain.json_rpc import JsonRpc, RpcError, TransientRpcError
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError, ConfigError

OK = {"jsonrpc": "2.0", "id": 1, "result": 42}


@asynccontextmanager
async def playing(*answers):
    """A server that gives the answers in turn, the last one for ever; yields (url, list of requests seen).
    An answer is a JSON value, (status, bytes), or None for silence."""
    seen = []

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                seen.append(json.loads(await reader.readexactly(size)))
                answer = answers[min(len(seen), len(answers)) - 1]
                if answer is None:
                    await asyncio.Event().wait()
                status, body = answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode())
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?api-key=s3cret", seen
    finally:
        server.close()


@pytest.mark.parametrize(
    "fault",
    [
        (429, b"slow down"),
        (503, b""),
        (200, b"<html>"),
        (200, b""),
        (200, b"\xff"),
        {"error": {"code": -32005, "message": "Node is behind by 42 slots"}},
    ],
)
async def test_a_passing_fault_is_tried_again(fault):
    async with playing(fault, OK) as (url, seen), Rpc([url]) as rpc:
        assert await rpc.get_slot() == 42
        assert len(seen) == 2


async def test_the_second_url_answers_while_the_first_is_away():
    async with playing((500, b"")) as (bad, asked_bad), playing(OK) as (good, asked_good):
        async with Rpc([bad, good]) as rpc:
            assert [await rpc.get_slot() for _ in range(3)] == [42, 42, 42]
        assert (len(asked_bad), len(asked_good)) == (1, 3)


async def test_the_second_url_answers_while_the_first_refuses_connections():
    async with playing(OK) as (good, _), Rpc(["http://127.0.0.1:1", good]) as rpc:
        assert await rpc.get_slot() == 42


async def test_silence_ends_at_the_time_limit():
    async with playing(None) as (url, _), Rpc([url], timeout_s=0.1, attempts=2) as rpc:
        with pytest.raises(TransientRpcError, match="did not answer getSlot"):
            await rpc.get_slot()


async def test_a_refusal_is_not_tried_again_and_tells_its_code():
    refusal = {"error": {"code": -32602, "message": "Invalid params", "data": {"why": 1}}}
    async with playing(refusal) as (url, seen), Rpc([url]) as rpc:
        with pytest.raises(RpcError, match="Invalid params") as error:
            await rpc.call("getNothing")
        assert (error.value.code, error.value.data, len(seen)) == (-32602, {"why": 1}, 1)


@pytest.mark.parametrize(
    "fault", [(401, b""), (403, b"bad api key s3cret"), (500, b"s3cret"), (200, b"s3cret")]
)
async def test_no_message_tells_the_key_in_the_url(fault):
    async with playing(fault) as (url, _), Rpc([url], attempts=2) as rpc:
        with pytest.raises(ChainError) as error:
            await rpc.get_slot()
        assert "s3cret" not in str(error.value)
        assert "127.0.0.1" in str(error.value)


@pytest.mark.parametrize("result", ["x", None, [], {"value": 1}, -1.5])
async def test_an_answer_of_another_shape_is_a_chain_error(result):
    async with playing({"result": result}) as (url, _), Rpc([url]) as rpc:
        for ask in (rpc.get_slot, rpc.get_latest_blockhash, rpc.get_clock):
            with pytest.raises(ChainError):
                await ask()


async def test_a_list_of_another_length_is_a_chain_error():
    answer = {"result": {"context": {"slot": 1}, "value": []}}
    async with playing(answer) as (url, _), Rpc([url]) as rpc:
        with pytest.raises(ChainError, match="number"):
            await rpc.get_signature_statuses(["x"])
        with pytest.raises(ChainError, match="number"):
            await rpc.get_multiple_accounts(["x"])


async def test_a_skipped_slot_holds_no_block():
    skipped = {"error": {"code": -32007, "message": "Slot 5 was skipped"}}
    async with playing(skipped, {"result": None}) as (url, _), Rpc([url]) as rpc:
        assert await rpc.get_block_signatures(5) is None
        assert await rpc.get_block_signatures(5) is None


async def test_the_json_of_a_transaction_is_passed_on_untouched():
    body = b'{"jsonrpc":"2.0","result": {"slot" : 7,\n "x":[1,2]} ,"id":1}'
    async with playing((200, body)) as (url, _), Rpc([url]) as rpc:
        assert await rpc.get_transaction_json("sig") == b'{"slot" : 7,\n "x":[1,2]}'


async def test_an_account_can_be_asked_for_as_of_a_slot():
    answer = {"result": {"context": {"slot": 9}, "value": None}}
    async with playing(answer) as (url, seen), Rpc([url]) as rpc:
        await rpc.get_account("address")
        await rpc.get_account("address", since=7)
    assert [call["params"][1].get("minContextSlot") for call in seen] == [None, 7]


async def test_many_calls_share_the_connections():
    async with playing(OK) as (url, seen), JsonRpc([url]) as rpc:
        await asyncio.gather(*(rpc.request("getSlot") for _ in range(100)))
        assert len({call["id"] for call in seen}) == 100


def test_without_a_url_it_says_what_to_set():
    with pytest.raises(ConfigError, match="SOLANA_RPC_URL"):
        Rpc([])
