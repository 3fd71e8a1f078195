"""Tests of the RPC client against a small HTTP server that fails in every way in which RPC nodes fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.json_rpc import JsonRpc
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_answer import ANSWERS
from zmart.chain.rpc_errors import RpcError, TransientRpcError
from zmart.chain.versions import NEWEST_READABLE_VERSION
from zmart.errors import ChainError, ConfigError, UnsupportedVersion
from zmart.local.demo.world import patient_rpc
from zmart.settings import Settings

OK = {"result": 42}
GENESIS = "G" * 44
REFUSED = {"code": -32602, "message": "Invalid params"}


@asynccontextmanager
async def playing(*answers):
    """Serve `answers` in turn, the last one without end; yield the server's URL and the list of received requests.

    An answer is a JSON value, (status, body[, content type]), a function of the request's id that returns one of these,
    or None for silence. An object with a result or an error gets the JSON-RPC version and the request's id unless it
    has its own.
    """
    seen = []
    serving = set()  # a task that only its own event refers to is garbage

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
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
                status, body, *kind = _written(answer, seen[-1]["id"])
                head = b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n" % (status, len(body))
                head += b"".join(b"content-type: %s\r\n" % each.encode() for each in kind)
                writer.write(head + b"\r\n" + body)
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
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _written(answer, request_id):
    if callable(answer):
        answer = answer(request_id)
    if isinstance(answer, tuple):
        return answer
    if isinstance(answer, dict) and ("result" in answer or "error" in answer):
        answer = {"jsonrpc": "2.0", "id": request_id, **answer}
    return 200, json.dumps(answer).encode()


def said(request_id, **members):
    return json.dumps({"jsonrpc": "2.0", "id": request_id, **members}).encode()


NO_ANSWERS = {
    "quota": (402, b'{"message":"Payment required"}', "application/json"),
    "quota, as if all were well": {"message": "Payment required"},
    "an empty object": {},
    "null": lambda _: (200, b"null"),
    "a text": lambda _: (200, b'"ok"'),
    "a batch": lambda asked: (200, b"[" + said(asked, result=None) + b"]"),
    "an empty batch": lambda _: (200, b"[]"),
    "a page": (200, b"<html>out of order</html>", "text/html"),
    "an answer in a page": lambda asked: (200, said(asked, result=None), "text/html; charset=utf-8"),
    "no body": (200, b""),
    "no content": (204, b""),
    "another page": (302, b""),
    "no text": (200, b"\xff"),
    "half of an answer": lambda asked: (200, said(asked, result=None)[:-1]),
    "more than an answer": lambda asked: (200, said(asked, result=None) + b"x"),
    "too deep": lambda asked: (200, b'{"jsonrpc":"2.0","id":%d,"result":%s' % (asked, b"[" * 100_000)),
    "no version": lambda asked: (200, json.dumps({"id": asked, "result": None}).encode()),
    "version 1": {"jsonrpc": "1.0", "result": None},
    "version as a number": {"jsonrpc": 2.0, "result": None},
    "no id": lambda _: (200, b'{"jsonrpc":"2.0","result":null}'),
    "id null": {"id": None, "result": None},
    "another id": lambda asked: {"id": asked + 1, "result": None},
    "the id as text": lambda asked: {"id": str(asked), "result": None},
    "neither result nor error": lambda asked: (200, said(asked)),
    "both": {"result": None, "error": REFUSED},
    "both, the error null": {"result": None, "error": None},
    "error null": {"error": None},
    "error as text": {"error": "Payment required"},
    "error without a code": {"error": {"message": "Payment required"}},
    "error without a message": {"error": {"code": -32602}},
    "error with a code as text": {"error": {"code": "-32602", "message": "x"}},
    **{
        f"HTTP {status} with an answer": lambda asked, status=status: (status, said(asked, result=None))
        for status in (
            201,
            202,
            400,
            401,
            402,
            403,
            404,
            408,
            410,
            418,
            425,
            429,
            451,
            500,
            502,
            503,
            504,
            520,
            530,
        )
    },
    "HTTP 530 with an error": lambda asked: (530, said(asked, error=REFUSED), "application/json"),
    **{
        f"error {code}": {"error": {"code": code, "message": "it is broken"}}
        for code in (
            -32700,
            -32600,
            -32603,
            -32000,
            -32005,
            -32011,
            -32012,
            -32016,
            -32019,
            -32429,
            429,
            0,
            1,
        )
    },
}


async def test_what_is_no_json_rpc_answer_is_a_failure_of_the_node_and_never_nothing():
    """W3, C13, C24: a reply that is no JSON-RPC answer is a failure of the node, and never means "no transaction"."""
    believed = {}
    async with playing(*NO_ANSWERS.values()) as (url, seen), Rpc([url], attempts=1) as rpc:
        for name in NO_ANSWERS:
            try:
                believed[name] = await rpc.get_transaction_json("sig")
            except TransientRpcError:
                continue
        assert (believed, len(seen)) == ({}, len(NO_ANSWERS))


@pytest.mark.parametrize("name", ["quota", "an empty object", "no content", "a page", "error -32603"])
async def test_what_a_node_failed_to_answer_is_asked_again(name):
    """W3, C13, C24: a call to which a node gave no JSON-RPC answer is repeated, and the next answer counts."""
    async with playing(NO_ANSWERS[name], {"result": None}) as (url, seen), Rpc([url]) as rpc:
        assert await rpc.get_transaction_json("sig") is None
        assert len(seen) == 2


@pytest.mark.parametrize("code", sorted(ANSWERS))
async def test_an_error_that_answers_the_question_is_told_at_once(code):
    async with (
        playing({"error": {"code": code, "message": "no", "data": [1]}}) as (url, seen),
        Rpc([url]) as rpc,
    ):
        with pytest.raises(RpcError) as error:
            await rpc.get_transaction_json("sig")
        assert (error.value.code, error.value.data, len(seen)) == (code, [1], 1)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json-rpc", ""]
)
async def test_null_is_an_answer_when_it_is_said_properly(kind):
    def null(asked):
        return (200, said(asked, result=None), *([kind] if kind else []))

    async with playing(null) as (url, seen), Rpc([url]) as rpc:
        assert await rpc.get_transaction_json("sig") is None
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((402, b'{"message":"Payment required"}'), 'HTTP 402.*{"message":"Payment required"}'),
        (
            (200, b"<html> <b>out\nof order</b>", "text/html"),
            "text/html instead of JSON: <html> <b>out of order</b>",
        ),
        (
            {"error": {"code": -32603, "message": "Internal error: ledger"}},
            r"Internal error: ledger \(code -32603\)",
        ),
        ((500, b"x" * 100_000), "HTTP 500: x{190}x*…"),
    ],
)
async def test_a_failure_is_told_in_the_nodes_own_words(fault, words):
    async with playing(fault) as (url, _), Rpc([url], attempts=1) as rpc:
        with pytest.raises(TransientRpcError, match=words) as error:
            await rpc.get_slot()
        assert len(str(error.value)) < 400


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


async def test_a_silent_url_is_not_preferred_once_a_caller_has_given_up():
    """A caller with less patience than the RPC's time limit, as a probe is, must not wait for the same URL again."""
    async with playing(None) as (silent, _), playing(OK) as (good, _), Rpc([silent, good]) as rpc:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await rpc.get_slot()
        async with asyncio.timeout(1.2):
            assert await rpc.get_slot() == 42


async def test_callers_that_wait_together_for_the_chain_of_a_silent_url_turn_to_the_next_one_together():
    """Otherwise each of them would wait for its time limit, one after the other."""

    async def recorded():
        return SimpleNamespace(genesis_hash=GENESIS, final_slot=0, final_time=0)

    def answer(_):
        return {"result": GENESIS if seen[-1]["method"] == "getGenesisHash" else 42}

    with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts nothing
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with playing(answer) as (good, seen), Rpc([silent, good], timeout_s=0.5) as rpc:
            rpc.guard_with(EndpointGuard(recorded))
            async with asyncio.timeout(4):
                assert (
                    await asyncio.gather(*(rpc.get_minimum_balance_for_rent_exemption(0) for _ in range(16)))
                    == [42] * 16
                )


async def test_one_call_at_a_time_tries_a_url_that_failed_after_ever_longer_pauses():
    """Otherwise all calls would wait for a URL that is down each time that its pause is over."""
    state = {"answer": (500, b"")}
    async with (
        playing(lambda _: state["answer"]) as (first, seen),
        playing(OK) as (good, _),
        Rpc([first, good]) as rpc,
    ):
        endpoint = rpc._rpc._endpoints[0]
        for tried in range(1, 4):
            assert await asyncio.gather(*(rpc.get_slot() for _ in range(10))) == [42] * 10
            assert len(seen) == (10 if tried == 1 else 9 + tried)  # the first time nobody knows
            left_s = endpoint.paused_until - time.monotonic()
            assert left_s == pytest.approx(15 * 2 ** (tried - 1), abs=7)
            endpoint.paused_until = time.monotonic()
        state["answer"] = {"result": 43}
        assert sorted(await asyncio.gather(*(rpc.get_slot() for _ in range(3)))) == [42, 42, 43]
        assert await rpc.get_slot() == 43


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
    "fault",
    [
        (401, b""),
        (403, b"bad api key s3cret"),
        (500, b"s3cret"),
        (200, b"s3cret"),
        {"error": {"code": -32600, "message": "bad api key s3cret"}},
        {"error": {"code": -32602, "message": "bad api key s3cret"}},
    ],
)
async def test_no_message_tells_the_key_in_the_url(fault):
    async with playing(fault) as (url, _), Rpc([url], attempts=2) as rpc:
        with pytest.raises(ChainError) as error:
            await rpc.get_slot()
        assert "s3cret" not in str(error.value)
        assert "127.0.0.1" in str(error.value)


@pytest.mark.parametrize("result", ["x", None, [], {"value": 1}, -1.5])
async def test_an_answer_of_another_shape_is_a_chain_error(result):
    async with playing({"result": result}) as (url, _), Rpc([url], attempts=1) as rpc:
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
    async with (
        playing(
            lambda asked: (200, b'{"jsonrpc":"2.0","result": {"slot" : 7,\n "x":[1,2]} ,"id":%d}' % asked)
        ) as (url, _),
        Rpc([url]) as rpc,
    ):
        assert await rpc.get_transaction_json("sig") == b'{"slot" : 7,\n "x":[1,2]}'


@pytest.mark.parametrize(
    "begins", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"]
)
async def test_a_node_whose_answer_drips_for_ever_is_given_up_for_the_next_one(begins):
    """W3, C13: a node whose answer arrives byte by byte without end is given up, and the next node is asked."""

    async def drip(reader, writer):
        writer.write(begins)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while True:
                writer.write(b"a: b\r\n" if begins.count(b"\r\n") == 1 else b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    dripping = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with playing(OK) as (url, seen), JsonRpc([dripping, url], timeout_s=0.1) as rpc:
            async with asyncio.timeout(30):
                assert await rpc.request("getSlot") == b"42"
        assert len(seen) == 1
    finally:
        server.close()


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


TOO_NEW = {"error": {"code": -32015, "message": "Transaction version (2) is not supported by the client"}}


async def test_a_transaction_that_is_too_new_is_an_error_of_its_own():
    """I1: a transaction of an unreadable version raises UnsupportedVersion: it is neither absent nor a node's failure.

    That holds also for a node that ignores maxSupportedTransactionVersion.
    """
    async with playing(TOO_NEW) as (url, seen), Rpc([url]) as rpc:
        with pytest.raises(UnsupportedVersion, match="Transaction version"):
            await rpc.get_transaction_json("sig")
        with pytest.raises(UnsupportedVersion):
            await rpc.get_block_signatures(5)
    assert [call["params"][1]["maxSupportedTransactionVersion"] for call in seen] == [
        NEWEST_READABLE_VERSION
    ] * 2
    async with playing({"result": {"slot": 7, "version": 2}}) as (url, _), Rpc([url]) as rpc:
        with pytest.raises(UnsupportedVersion, match="version 2"):
            await rpc.get_transaction_json("sig")


async def test_the_demo_waits_for_a_chain_whose_process_is_started_again():
    """C3: the killed chain was back after 2.2 s, and the demo's last check had failed by then."""
    absent = (503, b"")
    async with playing(*[absent] * 6, OK) as (url, _), Rpc([url]) as rpc:
        with pytest.raises(TransientRpcError):
            await rpc.get_slot()
    async with playing(*[absent] * 6, OK) as (url, seen):
        async with patient_rpc(Settings(solana_rpc_url=url)) as rpc:
            assert await rpc.get_slot() == OK["result"]
        assert len(seen) == 7
