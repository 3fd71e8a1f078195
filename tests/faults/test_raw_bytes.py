"""A5, A16, W12: for any bytes at any port, no service answers 500, closes with 1011, logs a traceback or grows."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx
import pytest
from websockets.frames import Opcode

from kit import raw_bytes
from kit.all_ports import ServicePort, all_ports
from kit.chain_story import Story
from kit.servers import LocalChain
from kit.sockets import handshake, parsed_frames

MIB = 1 << 20
SHORT, LONG = 1_400, int(os.environ.get("RAW_BYTES", "200000"))
SEED = int(os.environ.get("RAW_BYTES_SEED", "1"))
_TOGETHER = 48
_ANSWER_WITHIN_S = 0.15
_MOST_GROWN = 40 * MIB
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

GOOD = Story(2, markets=1, trades=3).txs[0].raw()
Port = tuple[str, int]
Draw = Callable[[Random], bytes]


def _delivery(draw: Random) -> bytes:
    return raw_bytes.delivery(draw, GOOD)


def _inputs(ports: dict[str, ServicePort], rpc_port: int, count: int) -> Iterator[tuple[Port, str, Draw]]:
    """Yield `count` times a port with its name, the kind of bytes to send there, and the function that draws them."""
    places: list[tuple[Port, str, Draw]] = [
        ((each.name, each.port), "http", raw_bytes.http_request) for each in ports.values()
    ]
    places.append((("rpc", rpc_port), "http", raw_bytes.http_request))
    places += [((name, ports[name].port), "http", _delivery) for name in ("gateway", "indexer")]
    socket = ("websocket", ports["websocket"].port)
    places += [(socket, "frames", raw_bytes.frames)] * 3
    for number in range(count):
        yield places[number % len(places)]


async def _send(port: int, sent: bytes) -> bytes:
    """Send bytes on a new connection; return what is answered within 0.15 s."""
    received = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError, TimeoutError):
            writer.write(sent)
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                while data := await reader.read(65_536):
                    received += data
    finally:
        writer.transport.abort()
    return received


def _judge(kind: str, received: bytes) -> str:
    """Return what is wrong with an answer: status 500, or a close frame with code 1011; "" when nothing is."""
    if kind == "http":
        statuses = {int(status) for status in _STATUS.findall(received)}
        return f"status {statuses}" if 500 in statuses else ""
    _, _, behind = received.partition(b"\r\n\r\n")
    codes = {
        int.from_bytes(frame.data[:2], "big")
        for frame in parsed_frames(behind)
        if frame.opcode is Opcode.CLOSE and frame.data
    }
    return f"closed with {codes}" if 1011 in codes else ""


async def _throw(ports: dict[str, ServicePort], rpc_port: int, first: int, count: int) -> list[str]:
    """Send `count` inputs, each drawn with its number (counted from `first`) as seed; return what was wrong."""
    numbered = enumerate(_inputs(ports, rpc_port, count), first)
    wrong: list[str] = []

    async def client() -> None:
        for number, ((name, port), kind, draw) in numbered:
            sent = draw(Random(f"{SEED}:{number}"))
            received = await _send(port, handshake() + sent if kind == "frames" else sent)
            if problem := _judge(kind, received):
                wrong.append(f"{name}: {problem} for {sent[:500]!r}")

    await asyncio.gather(*(client() for _ in range(_TOGETHER)))
    return wrong


async def _hold(chain: LocalChain, database_url: str, redis_url: str, tmp_path: Path, count: int) -> None:
    rpc_port = chain.server.rpc_port
    async with all_ports(chain, database_url, redis_url, tmp_path) as ports:
        wrong = await _throw(ports, rpc_port, 0, count // 4)
        before = {name: each.resident_bytes() for name, each in ports.items()}
        wrong += await _throw(ports, rpc_port, count // 4, count - count // 4)
        assert not wrong, "\n".join(wrong[:20])
        async with httpx.AsyncClient(timeout=30) as http:
            for each in ports.values():
                assert each.process.returncode is None, f"{each.name} ended"
                assert (await http.get(f"{each.url}/health")).status_code == 200
        for each in ports.values():
            logged = each.log.read_text(errors="replace")
            at = logged.find("Traceback")
            assert at < 0, f"{each.name}: {logged[max(0, at - 500) : at + 5_000]}"
        grown = {name: (each.resident_bytes() - before[name]) / MIB for name, each in ports.items()}
        print({name: f"{mib:.1f} MiB" for name, mib in grown.items()})
        assert max(grown.values()) * MIB < _MOST_GROWN, grown


async def test_no_bytes_make_a_service_fail(
    local_chain: LocalChain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await _hold(local_chain, database_url, redis_url, tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_200_000_inputs_make_no_service_fail(
    local_chain: LocalChain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await _hold(local_chain, database_url, redis_url, tmp_path, LONG)
