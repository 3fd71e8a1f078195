"""Tests of `zmart clock`: it shows the chain's time, and advances the clock of a local chain only."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import msgspec
import pytest

from kit.commands import environment, run
from kit.http_servers import serving
from kit.machine_time import machine_time, seconds_since
from zmart.chain.rpc import Rpc
from zmart.local.chain.server import ChainServer

HOUR_S = 3_600
STARTS_WITHIN_S = 2
CLOCK = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="  # slot 0, 1970


class ValidatorNode:
    """An RPC node that answers as a validator of a public cluster: it has no method to set its clock.

    With `fails_first` its first answer is 503.
    """

    def __init__(self, *, fails_first: bool = False) -> None:
        self.asked: list[str] = []
        self._fails_first = fails_first

    async def __call__(self, scope, receive, send) -> None:
        call = json.loads((await receive())["body"])
        self.asked.append(call["method"])
        if self._fails_first and len(self.asked) == 1:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"overloaded"})
            return
        results = {"getVersion": {"solana-core": "3.1.8", "feature-set": 1}}
        results["getAccountInfo"] = {"context": {"slot": 7}, "value": {"data": [CLOCK, "base64"]}}
        body = {"jsonrpc": "2.0", "id": call["id"], "result": results[call["method"]]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def test_advance_moves_the_clock_of_the_local_chain_and_shows_both_clocks(
    chain: ChainServer, tmp_path: Path
) -> None:
    """P25: `zmart clock advance 50h` moves the chain's time by 50 hours.

    The test has a chain of its own, since other tests set the slot of the shared one.
    """
    env = environment(solana_rpc_url=chain.rpc_url, zmart_home=tmp_path)
    async with Rpc([chain.rpc_url]) as rpc:
        before = await rpc.get_clock()
        status, out, err = await run("clock", "advance", "50h", "--json", env=env)
        assert status == 0, err
        assert err == ""
        shown = msgspec.json.decode(out)
        after = await rpc.get_clock()
    assert after.unix_timestamp >= shown["chain_s"] >= before.unix_timestamp + 50 * HOUR_S
    assert after.slot >= shown["slot"] > before.slot
    assert shown["ahead_s"] == shown["chain_s"] - shown["host_s"] > 49 * HOUR_S
    status, out, err = await run("clock", env=env)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["chain", "host", "the"]
    assert out.endswith(" ahead\n")


async def test_no_clock_but_a_local_chain_s_is_advanced(tmp_path: Path) -> None:
    node = ValidatorNode()
    async with serving(node) as url:
        env = environment(solana_rpc_url=url, zmart_home=tmp_path)
        status, out, err = await run("clock", "advance", "2d", env=env)
        assert (status, out) == (1, "")
        assert err == (
            "The RPC of SOLANA_RPC_URL is no local chain: only the clock of a chain of `zmart up` can be advanced.\n"
        )
        assert node.asked == ["getVersion"]
        status, out, _ = await run("clock", "--json", env=env)
    assert status == 0
    assert msgspec.json.decode(out)["is_local_chain"] is False


async def test_a_command_repeats_a_call_that_failed_and_prints_nothing_but_its_result(tmp_path: Path) -> None:
    node = ValidatorNode(fails_first=True)
    async with serving(node) as url:
        env = environment(solana_rpc_url=url, zmart_home=tmp_path)
        status, out, err = await run("clock", "--json", env=env)
    assert (status, msgspec.json.decode(out)["slot"], err) == (0, 0, "")
    assert node.asked[:2] == ["getVersion", "getVersion"]


@pytest.mark.parametrize("arguments", [("clock",), ("clock", "advance", "2d")])
async def test_while_the_chain_hangs_the_clock_is_refused_within_five_seconds_in_one_sentence(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connections are accepted, and nothing is answered
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        env = environment(solana_rpc_url=url, zmart_home=tmp_path)
        began = machine_time()
        await run("clock", "--help", env=env)
        starts_within_s = seconds_since(began) + STARTS_WITHIN_S  # on a busy machine it takes longer
        began = machine_time()
        status, out, err = await run(*arguments, env=env)
        assert seconds_since(began) <= 5 + starts_within_s
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert re.match(
        r"The RPC at 127.0.0.1:\d+ did not answer .*: look at `zmart ps` and `zmart logs chain`;", err
    )


@pytest.mark.parametrize("duration", ["50", "tomorrow", "0h", "400d"])
async def test_what_is_no_duration_is_refused_before_the_chain_is_asked(
    duration: str, tmp_path: Path
) -> None:
    env = environment(solana_rpc_url="http://127.0.0.1:9", zmart_home=tmp_path)
    status, out, err = await run("clock", "advance", duration, env=env)
    assert (status, out) == (1, "")
    assert err == "A duration is written as 50h, 2d or 30m, and is at most 366d.\n"
