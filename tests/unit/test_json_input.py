"""JSON from outside: whatever the decoder's failure, each reader raises its own kind of error."""

from __future__ import annotations

import ast
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from zmart.chain.clock import read_clock
from zmart.chain.helius import HeliusClient, HeliusError
from zmart.chain.json_rpc import decode_answer
from zmart.chain.rpc_answer import BadAnswer, read_answer
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import SignatureInfo
from zmart.chain.transactions import parse_transaction
from zmart.chain.webhooks import read_delivery
from zmart.client import Client
from zmart.errors import DecodeError, Invalid, ZmartError
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.market.encodings import describe
from zmart.market.json_input import JSON_ERRORS, is_shallow
from zmart.proofs import market_document
from zmart.services.websocket import protocol
from zmart.services.websocket.protocol import RefusedRequest

SOURCES = Path(__file__).parents[2] / "src" / "zmart"
UNREADABLE = {
    "nothing": b"",
    "cut": b'{"a":',
    "not UTF-8": b'{"signature":"\xff","IpfsHash":"\xff","error":"\xff","action":"\xff","question":"\xff"}',
    "half a surrogate pair": b'{"action":"\\ud800","IpfsHash":"\\ud800","error":"\\ud800"}',
    "deep": b'{"x":' + b"[" * 100_000,
    "deep and whole": b"[" * 50_000 + b"]" * 50_000,
    "another shape": b"7",
    "a number beyond all": b'{"slot":1e999,"IpfsHash":1e999,"error":1e999,"action":1e999}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "HTML": b"<html>Just a moment...</html>",
}


def replies(body: bytes) -> httpx.MockTransport:
    """Return a transport that answers every request with these bytes."""
    return httpx.MockTransport(lambda _: httpx.Response(200, content=body))


async def pin(body: bytes) -> None:
    async with PinataClient("http://pins", {}) as pins:
        pins._http = httpx.AsyncClient(transport=replies(body), base_url="http://pins")
        await pins.is_pinned("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG")


async def webhooks(body: bytes) -> None:
    async with HeliusClient("http://helius", "key") as helius:
        helius._http = httpx.AsyncClient(transport=replies(body), base_url="http://helius")
        await helius.webhooks()


async def api(body: bytes) -> None:
    http = httpx.AsyncClient(transport=replies(body), base_url="http://api")
    async with Client("http://api", http=http) as client:
        await client.market("ab" * 32)


def socket(body: bytes) -> None:
    request = protocol.parse(body)
    assert isinstance(request, RefusedRequest)
    raise Invalid("message", request.error)


def delivery(body: bytes) -> None:
    """Read a webhook delivery whose elements are all refused; raise DecodeError with the reasons."""
    read = read_delivery(body)
    assert not read.items
    raise DecodeError(" ".join(read.reasons))


def answer(body: bytes) -> None:
    read_answer(body, 1)


Door = Callable[[bytes], object]
DOORS: dict[str, tuple[Door, type[Exception]]] = {
    "an RPC's answer": (lambda body: read_answer(body, 1), BadAnswer),
    "a result of an RPC": (
        lambda body: decode_answer(list[SignatureInfo], "getSignaturesForAddress", body),
        TransientRpcError,
    ),
    "the clock": (read_clock, BadAnswer),
    "a transaction": (parse_transaction, DecodeError),
    "a webhook": (delivery, DecodeError),
    "a document": (market_document.read, Invalid),
    "the socket": (socket, Invalid),
}
REMOTE: dict[str, tuple[Callable[[bytes], Awaitable[object]], type[Exception]]] = {
    "the pin provider": (pin, PinError),
    "Helius": (webhooks, HeliusError),
    "our API, for its client": (api, ZmartError),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("door", DOORS)
def test_bytes_that_cannot_be_read_are_the_door_s_own_error(door: str, kind: str) -> None:
    """A16, W12: bytes that cannot be decoded raise the error that this reader's callers expect."""
    read, error = DOORS[door]
    with pytest.raises(error):
        read(UNREADABLE[kind])


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("door", REMOTE)
async def test_an_answer_that_cannot_be_read_is_the_client_s_own_error(door: str, kind: str) -> None:
    """A16: an answer that cannot be decoded raises the client's own error."""
    call, error = REMOTE[door]
    with pytest.raises(error):
        await call(UNREADABLE[kind])


FETCHED = (
    '{"slot":1,"version":%s,"meta":{"err":%s,"logMessages":[]},"transaction":{"signatures":["' + "1" * 64
    + '"],"message":{"accountKeys":["' + "1" * 32 + '"],"instructions":[]}}}'
)  # fmt: skip
NESTED = {
    "a webhook's slot": (delivery, '[{"slot":%s,"signature":"x"}]'),
    "a webhook's signature": (delivery, '[{"slot":1,"signature":%s}]'),
    "a transaction's error": (parse_transaction, FETCHED % (0, "%s")),
    "a transaction's version": (parse_transaction, FETCHED % ("%s", "null")),
    "an RPC's error": (answer, '{"jsonrpc":"2.0","id":1,"error":%s}'),
    "a socket's action": (socket, '{"action":%s}'),
    "a socket's market": (socket, '{"action":"subscribe","market_id":%s}'),
    "a socket's channels": (socket, '{"action":"subscribe","channels":[%s]}'),
    "a document's question": (market_document.read, '{"question":%s}'),
    "a document's tags": (market_document.read, '{"question":"Will it?","tags":[%s]}'),
}


@pytest.mark.parametrize("levels", [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("where", NESTED)
def test_a_value_that_is_nested_as_deeply_as_the_decoder_takes_is_refused_in_words(
    where: str, levels: tuple[str, str]
) -> None:
    """A16: deeply nested JSON is refused with a short message, even at a depth that the decoder just accepts.

    At that depth, other code that walks through the value would overflow the stack.
    """
    read, form = NESTED[where]
    limit = sys.getrecursionlimit()
    for depth in range(max(20, limit - 500), limit + 20):
        value = levels[0] * depth + "1" + levels[1] * depth
        with pytest.raises((ZmartError, BadAnswer)) as refused:
            read((form % value).encode())
        assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    ("value", "levels"),
    [(1, 0), ("[[[", 0), ([], 1), ({}, 1), ([1, [2]], 2), ({"a": {"b": [3]}}, 3), ([[], [[]]], 3)],
    ids=str,
)
def test_levels_of_arrays_and_objects_are_counted(value: object, levels: int) -> None:
    assert is_shallow(value, levels)
    assert not levels or not is_shallow(value, levels - 1)


def test_an_error_of_a_transaction_that_the_runtime_may_give_is_read() -> None:
    raw = FETCHED % (0, '{"InstructionError":[2,{"Custom":6001}]}')
    assert parse_transaction(raw.encode()).err == {"InstructionError": [2, {"Custom": 6001}]}


@pytest.mark.parametrize("text", ["\0", "a\0b", "11 1", "5x\n", "", "é"])
def test_a_node_names_transactions_in_base58_alone(text: str) -> None:
    """A16: a node's answer with a signature that is not base58 is refused, so such text is never stored."""
    listed = msgspec.json.encode([{"signature": text, "slot": 1}])
    with pytest.raises(TransientRpcError):
        decode_answer(list[SignatureInfo], "getSignaturesForAddress", listed)


async def test_what_a_provider_says_is_one_line_of_printable_text() -> None:
    """A16: a provider's error text becomes one short printable line, so NUL and control characters are not stored."""
    said = "gone\0\x1b[31m\u202e\nnow " * 200
    async with PinataClient("http://pins", {}) as pins:
        refusing = httpx.MockTransport(lambda _: httpx.Response(402, content=said.encode()))
        pins._http = httpx.AsyncClient(transport=refusing, base_url="http://pins")
        with pytest.raises(PinError) as refusal:
            await pins.check()
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 700


def test_no_module_forgets_an_exception_of_the_decoder() -> None:
    """Code that catches an exception of the decoder catches all of its kinds, by a common name."""
    listed = {"MsgspecError", "DecodeError"}
    found = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                names = {
                    part.attr
                    for part in ast.walk(node.type)
                    if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "msgspec"
                }
                if names & listed:
                    found.append(f"{path.relative_to(SOURCES)}:{node.lineno}")
    assert found == []


def test_deeply_nested_text_is_described_and_not_followed() -> None:
    assert describe("[" * 50_000) == "in none of these encodings"
    for body in UNREADABLE.values():
        with pytest.raises(JSON_ERRORS):
            msgspec.json.decode(body, type=SignatureInfo)
