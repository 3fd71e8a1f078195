"""Tests of `zmart run providers` as the stack runs it: used through the project's own clients, killed, measured."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from kit import commands
from kit.http_servers import is_ready
from kit.providers import API_KEY, JWT, SECRET
from kit.waiting import until
from zmart.ipfs.cid import cid_of
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.local.processes import free_port

RSS_MAX_MB = 75


@pytest.fixture
def environment(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return commands.environment(
        zmart_home=tmp_path / "home",
        local_providers_port=port,
        indexer_port=free_port(),
        pinata_api_url=url,
        pinata_jwt=JWT,
        helius_api_url=url,
        helius_api_key=API_KEY,
        helius_webhook_secret=SECRET,
    )


@asynccontextmanager
async def running(environment):
    """Yield the running process, which the block may kill."""
    process = await asyncio.create_subprocess_exec(
        *commands.ZMART, "run", "providers", env=environment, stdout=-3
    )
    try:
        async with httpx.AsyncClient(base_url=environment["PINATA_API_URL"]) as http:
            await until(lambda: is_ready(http))
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def client(environment):
    return PinataClient(environment["PINATA_API_URL"], {"authorization": f"Bearer {JWT}"}, "local")


async def test_the_projects_own_client_pins_reads_back_and_unpins(environment):
    url = environment["PINATA_API_URL"]
    data = os.urandom(700_000)
    async with running(environment), client(environment) as pinata:
        await pinata.check()
        for version in (0, 1):
            pinned = await pinata.pin(data, "a file", cid_version=version, keyvalues={"day": "2026-01-01"})
            assert pinned.cid == cid_of(data, version)
            assert await pinata.is_pinned(pinned.cid)
            assert await fetch_from_gateway(url, pinned.cid) == data
            assert await pinata.unpin(pinned.cid)
            assert not await pinata.unpin(pinned.cid)
            assert not await pinata.is_pinned(pinned.cid)
            with pytest.raises(PinError, match="404"):
                await fetch_from_gateway(url, pinned.cid)
        async with PinataClient(url, {"authorization": "Bearer another"}) as stranger:
            with pytest.raises(PinError, match="Check PINATA_JWT"):
                await stranger.check()


async def test_every_acknowledged_pin_survives_kill_9_at_any_moment(environment):
    url = environment["PINATA_API_URL"]
    acknowledged: dict[str, bytes] = {}
    unpinned: set[str] = set()

    async def work(pinata, number):
        try:
            for count in range(1_000):
                data = f"{number}/{count}/{os.getpid()}".encode() + os.urandom(300_000)
                cid = (await pinata.pin(data, "a file")).cid
                acknowledged[cid] = data
                if count % 3 == 2:
                    acknowledged.pop(cid)
                    await pinata.unpin(cid)
                    unpinned.add(cid)
        except (PinError, asyncio.CancelledError):
            return

    for round_number in range(3):
        async with running(environment) as process, client(environment) as pinata:
            workers = [asyncio.create_task(work(pinata, number)) for number in range(3)]
            target = len(acknowledged) + 5 + round_number
            await until(lambda target=target: len(acknowledged) >= target)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers)
    async with running(environment):
        for cid, data in acknowledged.items():
            assert await fetch_from_gateway(url, cid) == data
        for cid in unpinned:
            with pytest.raises(PinError, match="404"):
                await fetch_from_gateway(url, cid)


async def test_it_stays_small_whatever_is_uploaded(environment, tmp_path):
    url = environment["PINATA_API_URL"]
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1_000_000) * 60)
    headers = {"authorization": f"Bearer {JWT}"}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # counting branches takes memory of its own
    async with running(environment) as process, httpx.AsyncClient(base_url=url, timeout=60) as http:
        with large.open("rb") as file:
            answer = await http.post(
                "/pinning/pinFileToIPFS", files={"file": ("large", file)}, headers=headers
            )
        size = 0
        async with http.stream("GET", f"/ipfs/{answer.json()['IpfsHash']}") as got:
            async for piece in got.aiter_bytes():
                size += len(piece)
        assert size == 60_000_000
        rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        assert rss_mb < RSS_MAX_MB


async def test_who_is_refused_in_the_middle_of_an_upload_can_go_on(environment):
    url = environment["PINATA_API_URL"]
    async with running(environment), httpx.AsyncClient(base_url=url) as http:
        for _ in range(3):
            answer = await http.post("/pinning/pinFileToIPFS", files={"file": ("x", bytes(2_000_000))})
            assert answer.status_code == 401
        assert (await http.get("/health")).json()["status"] == "ok"


async def test_a_client_that_goes_away_in_the_middle_of_an_upload_leaves_nothing(environment, tmp_path):
    port = int(environment["LOCAL_PROVIDERS_PORT"])
    async with running(environment):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            "POST /pinning/pinFileToIPFS HTTP/1.1\r\nhost: pins\r\ncontent-length: 1000000\r\n"
            f"authorization: Bearer {JWT}\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        )
        writer.write(head.encode() + bytes(400_000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        url = environment["PINATA_API_URL"]
        async with client(environment) as pinata:
            await pinata.pin(b"still works", "x")
        async with httpx.AsyncClient(base_url=url) as http:
            metrics = (await http.get("/metrics")).text
        assert 'zmart_providers_pins{network="public"} 1.0' in metrics
    assert not list((tmp_path / "home" / "pins" / "incoming").iterdir())


async def test_sigterm_ends_it_in_order(environment):
    async with running(environment) as process:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_taken_port_is_one_sentence(environment):
    with socket.create_server(("127.0.0.1", int(environment["LOCAL_PROVIDERS_PORT"]))):
        status, _, err = await command(environment, "run", "providers")
    assert status == 1
    assert "LOCAL_PROVIDERS_PORT" in err
    assert len(err.strip().splitlines()) == 1


async def test_webhooks_are_registered_listed_and_deleted_by_command(environment, local_chain):
    chain = {"SOLANA_RPC_URL": local_chain.rpc_url, "SOLANA_WS_URL": local_chain.ws_url}
    environment |= chain
    async with running(environment):
        url = f"http://127.0.0.1:{environment['INDEXER_PORT']}/api/webhooks/helius"
        status, out, _ = await command(environment, "webhook", "register")
        assert (status, out.split()[0], url in out) == (0, "updated:", True)
        status, out, _ = await command(
            environment, "webhook", "register", "--url", "https://example.org/hook", "--json"
        )
        [webhook] = json.loads(out)
        assert webhook["webhookType"] == "raw"
        assert SECRET not in out
        status, out, _ = await command(environment, "webhook", "list")
        assert len(out.splitlines()) == 2
        assert SECRET not in out
        assert "INACTIVE" not in out
        one = f"{environment['HELIUS_API_URL']}/v0/webhooks/{webhook['webhookID']}"
        async with httpx.AsyncClient(params={"api-key": API_KEY}) as http:
            assert (await http.patch(one, json={"active": False})).status_code == 200
        status, out, _ = await command(environment, "webhook", "list")
        assert ["INACTIVE" in line for line in out.splitlines()] == [False, True]
        status, out, _ = await command(
            environment, "webhook", "register", "--url", "https://example.org/hook"
        )
        assert (status, out.startswith("enabled again: ")) == (0, True)
        status, out, _ = await command(environment, "webhook", "delete", webhook["webhookID"], "--yes")
        assert status == 0
        status, _, err = await command(environment, "webhook", "delete", webhook["webhookID"], "--yes")
        assert (status, "no webhook" in err) == (1, True)
        wrong = environment | {"HELIUS_API_KEY": "another"}
        status, _, err = await command(wrong, "webhook", "list")
        assert (status, "Check HELIUS_API_KEY" in err) == (1, True)
    devnet = environment | {"ZMART_ENV": "devnet"}
    status, _, err = await command(devnet, "webhook", "register")
    assert (status, "PUBLIC_API_URL" in err) == (1, True)


async def command(environment, *arguments):
    process = await asyncio.create_subprocess_exec(
        *commands.ZMART,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
