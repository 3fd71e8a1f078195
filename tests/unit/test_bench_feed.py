"""How the live feed's benchmark judges its measurements, and how its bare server sends."""

import asyncio
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import bare_feed
import websocket_report
from feed_servers import BARE, NAMES, NOTIFY, OURS, REPLICATION
from readers import handshake
from websocket_report import FeedLoad

from zmart.services.websocket import frames


def load(per_cpu_second: float, p99_ms: float = 10.0) -> FeedLoad:
    return FeedLoad(1000.0, per_cpu_second, 5.0, p99_ms, 80.0, 0.0)


def rows(ours, notify, replication, bare):
    loads = {OURS: [ours], NOTIFY: [notify], REPLICATION: [replication], BARE: [bare]}
    return {row.server: row for row in websocket_report.rows(1_000, 40, loads)}


def test_bare_sends_are_no_peer():
    """Bare sends are the upper limit of any server, so no goal is judged against them."""
    judged = rows(load(260), load(100), load(90), load(400, p99_ms=1.0))
    assert [goal.met for goal in judged[OURS].goals] == [True, False]
    assert judged[OURS].to_peer == 2.6
    assert judged[BARE].to_peer == 4.0
    assert not judged[BARE].goals
    assert BARE not in NAMES


async def test_a_client_without_room_is_disconnected_instead_of_cut_short():
    """A message that was sent in part would garble the following ones. A lost client makes the run fail instead."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        clients = {ours}
        data = frames.text(b"x" * 60_000)
        for _ in range(100):
            bare_feed.send(data, clients)
        assert not clients
        assert ours.fileno() == -1


async def test_who_asks_for_the_feed_gets_each_change():
    changes: set[socket.socket] = set()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    accepting = asyncio.create_task(bare_feed.accept(listener, changes))
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(handshake("/"))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        bare_feed.send(frames.text(b"one"), changes)
        assert await reader.readexactly(5) == b"\x81\x03one"
    accepting.cancel()
    writer.close()
    for each in (*changes, listener):
        each.close()
