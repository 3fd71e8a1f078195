"""A5, A6, A14: tests of what the local chain's ports take of a client: the same bounds as the services'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from kit.raw_client import connected, request
from kit.servers import LocalChain
from zmart.local.chain.node import SOURCE, find_node
from zmart.local.processes import free_port

CALL = '{"jsonrpc":"2.0","id":1,"method":"getHealth"}'


def post(body: str) -> bytes:
    head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return request("/", head, "POST") + body.encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/", "X-Long: " + "y" * 20_000 + "\r\n"), 431),
        (request("/" + "p" * 20_000), 431),
        (post(f"[{','.join([CALL] * 1_001)}]"), 413),
        (post(f"[{','.join([CALL] * 1_000)}]"), 200),
    ],
    ids=["a long header", "a long path", "a long batch", "a batch"],
)
async def test_a_request_above_a_bound_is_refused(local_chain: LocalChain, sent: bytes, status: int) -> None:
    async with connected(local_chain.server.rpc_port) as client:
        client.writer.write(sent)
        line = await client.reader.readline()
        assert int(line.split()[1]) == status


async def test_each_call_of_a_batch_is_answered(local_chain: LocalChain) -> None:
    """Surfpool itself takes no batches."""
    calls = [
        {"jsonrpc": "2.0", "id": at, "method": method}
        for at, method in enumerate(["getSlot", "getVersion", "no"])
    ]
    async with httpx.AsyncClient(base_url=local_chain.rpc_url) as http:
        slot, version, refused = (await http.post("/", json=calls)).json()
    assert (slot["id"], version["id"], refused["id"]) == (0, 1, 2)
    assert slot["result"] > 0
    assert "solana-core" in version["result"]
    assert refused["error"]["code"] == -32601


async def test_a_head_that_does_not_come_ends_the_connection(local_chain: LocalChain) -> None:
    async with connected(local_chain.server.rpc_port) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert await client.reader.read() in (
            b"",
            b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
        )


@pytest.mark.parametrize(
    "deep", ["[" * 100_000, "[" * 50_000 + "]" * 50_000, '{"a":' * 20_000 + "1" + "}" * 20_000]
)
async def test_deep_nesting_costs_its_own_request_only(local_chain: LocalChain, deep: str) -> None:
    async with httpx.AsyncClient(base_url=local_chain.rpc_url) as http:
        await http.post(
            "/", content=f'[{CALL},{{"jsonrpc":"2.0","id":2,"method":"sendTransaction","params":{deep}}}]'
        )
        assert (
            await http.post("/", content=CALL, headers={"content-type": "application/json"})
        ).status_code == 200


# ------------------------------------------------------------------------------------------------ WebSocket's port

UNREAD_MS = 500


@asynccontextmanager
async def forwarder(target: int) -> AsyncIterator[int]:
    """Run the chain's own forwarder in front of `target`, with UNREAD_MS as its limit for readers; yield its port."""
    port = free_port()
    arguments = f"() => {target}, '127.0.0.1', {port}, {UNREAD_MS}"
    script = f"require('{SOURCE}/rpc.js').forward({arguments}).then(() => console.log('up'))"
    node = await asyncio.create_subprocess_exec(find_node(), "-e", script, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    try:
        assert await node.stdout.readline() == b"up\n"
        yield port
    finally:
        node.kill()
        await node.wait()


@pytest.mark.parametrize("reads", [False, True])
async def test_a_client_that_never_reads_is_let_go(reads: bool) -> None:
    """A14, A13: the WebSocket's port disconnects a client that never reads; a client that reads stays, however long."""
    ended, sent = asyncio.Event(), 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                sent += 65_536
                await asyncio.sleep(0.001)
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        target = server.sockets[0].getsockname()[1]
        async with forwarder(target) as port, connected(port) as client:
            if not reads:
                await asyncio.wait_for(ended.wait(), 20)
                assert sent < 64 * 1024 * 1024
                return
            loop = asyncio.get_running_loop()
            until_s = loop.time() + 3 * UNREAD_MS / 1000
            while loop.time() < until_s:
                assert await client.reader.read(65_536)
            assert not ended.is_set()
