"""Frames, messages, queues and the delivery of the live feed, tested without a socket."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from zmart.feed.wire import WireMessage
from zmart.services.websocket import frames, protocol
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.hub import SocketHub
from zmart.services.websocket.limits import SocketLimits


class Wire(asyncio.Transport):
    """A transport that collects the written bytes in `writes`."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


def parsed(data: bytes) -> list[Frame]:
    reader = StreamReader()
    reader.feed_data(data)
    result = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False)
        with pytest.raises(StopIteration) as done:
            next(parsing)
        result.append(done.value.value)
    return result


def message(offset: int, *channels: str, market: str = "m") -> WireMessage:
    tail = b'"offset":%d}' % offset
    return WireMessage(offset=offset, type="trade", market_id=market, channels=channels, tail=tail)


def offsets(data: list[bytes]) -> list[int]:
    return [json.loads(frame.data)["offset"] for frame in parsed(b"".join(data)) if frame.opcode == 1]


@given(st.integers(0, 70_000))
def test_frames_are_what_another_implementation_reads(length):
    payload = b"x" * length
    [frame] = parsed(frames.text(payload))
    assert (frame.opcode, frame.data, frame.fin) == (1, payload, True)


def test_a_close_frame_carries_code_and_reason_and_fits():
    [frame] = parsed(frames.close(frames.CloseCode.TOO_SLOW, "r" * 200))
    assert frame.data[:2] == (4008).to_bytes(2, "big")
    assert len(frame.data) == 125


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_request_or_refused(data):
    assert isinstance(protocol.parse(data), protocol.ClientRequest)


@given(st.dictionaries(st.sampled_from(["action", "market_id", "channel", "epoch", "offset"]),
                       st.none() | st.integers() | st.text(max_size=300)))  # fmt: skip
def test_no_answer_to_a_refused_message_repeats_more_of_it_than_a_little(said):
    request = protocol.parse(json.dumps(said).encode())
    if isinstance(request, protocol.RefusedRequest):
        assert len(request.error) < 64 + protocol.ECHO_MAX


async def test_one_batch_is_one_write_to_each_reader_in_order_of_offsets():
    hub, limits = SocketHub(), SocketLimits()
    hub.begin("e", 0)
    wires = [Wire(), Wire(), Wire()]
    trades, both, nothing = (SocketConnection(wire, "c", "a", limits) for wire in wires)
    hub.join("trades", trades)
    hub.join("trades", both)
    hub.join("markets", both)
    hub.publish(
        [message(1, "trades"), message(2, "markets"), message(3, "trades", "markets"), message(4, "votes:m")]
    )
    assert [offsets(wire.writes) for wire in wires] == [[1, 3], [1, 2, 3, 3], []]
    assert [len(wire.writes) for wire in wires] == [1, 1, 0]
    assert not nothing.closing


async def test_readers_of_one_channel_share_the_same_bytes():
    hub, wires = SocketHub(), [Wire(), Wire()]
    hub.begin("e", 0)
    for wire in wires:
        hub.join("trades", SocketConnection(wire, "c", "a", SocketLimits()))
    hub.publish([message(1, "trades"), message(2, "trades")])
    assert wires[0].writes[0] is wires[1].writes[0]


async def test_readers_of_one_channel_get_amounts_in_the_form_that_each_asked_for():
    hub, wires = SocketHub(), [Wire(), Wire(), Wire()]
    hub.begin("e", 0)
    connections = [SocketConnection(wire, "c", "a", SocketLimits()) for wire in wires]
    hub.join("trades", connections[0])
    for connection in connections[1:]:
        hub.join("trades", connection, as_text=True)
    tail = b'"offset":1,"data":{"cost":9223372036854775807}}'
    hub.publish([WireMessage(offset=1, type="trade", market_id="m", channels=("trades",), tail=tail)])
    [[number], [text], _] = [parsed(b"".join(wire.writes)) for wire in wires]
    assert json.loads(number.data)["data"]["cost"] == 2**63 - 1
    assert json.loads(text.data)["data"]["cost"] == "9223372036854775807"
    assert wires[1].writes[0] is wires[2].writes[0]
    hub.leave("trades", connections[1], as_text=True)
    hub.publish([message(2, "trades")])
    assert [len(wire.writes) for wire in wires] == [2, 1, 2]


async def test_who_left_or_ended_gets_nothing_more():
    hub, wire = SocketHub(), Wire()
    hub.begin("e", 0)
    connection = SocketConnection(wire, "c", "a", SocketLimits())
    hub.join("trades", connection)
    hub.leave("trades", connection)
    hub.publish([message(1, "trades")])
    assert wire.writes == []


async def test_memory_gives_back_what_it_holds_and_says_when_it_does_not():
    hub = SocketHub()
    hub.begin("e", 10)
    assert hub.since(10) == []
    assert hub.since(9) is None
    hub.publish([message(11, "trades"), message(12, "trades")])
    assert [each.offset for each in hub.since(10) or []] == [11, 12]
    assert [each.offset for each in hub.since(11) or []] == [12]
    assert hub.since(9) is None
    await asyncio.wait_for(hub.reached(12), 1)


async def test_a_slow_reader_of_all_markets_waits_with_the_latest_of_each_in_order():
    hub, wire = SocketHub(), Wire()
    hub.begin("e", 0)
    connection = SocketConnection(wire, "c", "a", SocketLimits(queue_bytes=100))
    hub.join("markets", connection)
    connection.paused()
    for offset in range(1, 100):
        hub.publish([message(offset, "markets", market=f"m{offset % 3}")])
    assert wire.writes == []
    connection.resumed()
    assert offsets(wire.writes) == [97, 98, 99]
    assert not connection.closing


async def test_a_slow_reader_of_a_tape_is_closed_when_its_queue_is_full():
    hub, wire = SocketHub(), Wire()
    hub.begin("e", 0)
    connection = SocketConnection(wire, "c", "a", SocketLimits(queue_bytes=200))
    hub.join("trades", connection)
    connection.paused()
    for offset in range(1, 20):
        hub.publish([message(offset, "trades")])
    assert connection.closing
    [frame] = parsed(b"".join(wire.writes))
    assert frame.data[:2] == (4008).to_bytes(2, "big")
