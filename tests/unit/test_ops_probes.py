"""The health and readiness probes report a service's state correctly, whatever the service does."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec
import pytest

from zmart import version
from zmart.ops.disk import full_disk
from zmart.ops.probes import Probes
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes


class Scripted:
    """A service with the readiness that a test gives: a value, an exception, or None for no answer."""

    name = "scripted"

    def __init__(self, said: Readiness | Exception | None, inner: AsgiApp | None = None) -> None:
        self._said = said
        self._inner = inner

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def readiness(self) -> Readiness:
        if self._said is None:
            await asyncio.Event().wait()
        if isinstance(self._said, Exception):
            raise self._said
        assert self._said is not None
        return self._said

    def health(self) -> Mapping[str, object]:
        return {"events": 7}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp | None:
        return probes(self._inner)


async def _get(
    service: Scripted, path: str, method: str = "GET", readiness_wait_s: float = 3.0
) -> httpx.Response:
    transport = httpx.ASGITransport(app=Probes(service, readiness_wait_s=readiness_wait_s))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        return await http.request(method, path)


async def test_alive_and_caught_up() -> None:
    service = Scripted(Readiness(ready=True, details={"lag_slots": 0}))
    health = await _get(service, "/health")
    assert health.json() | {"uptime_s": 0} == {
        "status": "ok",
        "service": "scripted",
        "uptime_s": 0,
        "version": version.VERSION,
        "commit": version.commit(),
        "events": 7,
    }
    assert (await _get(service, "/ready")).status_code == 200
    metrics = await _get(service, "/metrics")
    assert "python_info" in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Readiness(ready=False, reason="12 s behind"), "12 s behind"),
        (RuntimeError("broken"), "RuntimeError: broken"),
        (None, "did not answer within"),
    ],
)
async def test_not_ready_is_503_with_the_reason(said: Readiness | Exception | None, reason: str) -> None:
    answer = await _get(Scripted(said), "/ready", readiness_wait_s=0.05)
    assert answer.status_code == 503
    assert reason in answer.json()["reason"]
    assert "zmart_ready 0.0" in (await _get(Scripted(said), "/metrics")).text


async def test_the_metric_is_the_last_answer_of_ready() -> None:
    for ready in (False, True):
        await _get(Scripted(Readiness(ready=ready)), "/ready")
        assert f"zmart_ready {float(ready)}" in (await _get(Scripted(None), "/metrics")).text


async def test_other_paths_belong_to_the_service() -> None:
    async def inner(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    service = Scripted(Readiness(ready=True), inner)
    assert (await _get(service, "/api/x")).text == "/api/x"
    assert (await _get(service, "/health", "POST")).status_code == 299


async def test_an_unknown_path_of_a_service_without_routes_says_what_there_is() -> None:
    answer = await _get(Scripted(Readiness(ready=True)), "/nothing")
    assert answer.status_code == 404
    assert "/ready" in msgspec.json.decode(answer.content)["message"]


async def test_what_stands_behind_a_trouble_comes_first_and_no_ready_service_names_it() -> None:
    """C12: if the disk is full, the reason of an unready service begins with it; a ready service does not name it."""
    full = Path("/proc")  # a file system that never has room
    for ready in (False, True):
        probes = Probes(
            Scripted(Readiness(ready=ready, reason="PostgreSQL does not answer")),
            cause=lambda: full_disk(full),
        )
        reason = (await probes.readiness()).reason
        assert reason == f"{'' if ready else full_disk(full) + ' '}PostgreSQL does not answer"
    assert "The disk of /proc is full: free some space." in full_disk(full)


def test_a_disk_with_room_is_not_full(tmp_path: Path) -> None:
    assert full_disk(tmp_path) == full_disk(tmp_path / "not" / "there" / "yet") == ""
