"""A5, A6, A14: what the local chain's RPC takes of a client, as the services do."""

from __future__ import annotations

import httpx
import pytest

from kit.raw_client import connected, request
from kit.servers import LocalChain

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
