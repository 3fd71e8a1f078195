"""Send webhooks at 200 transactions per second to receiver and worker, which run in one process as in the service."""

from __future__ import annotations

import asyncio
import itertools
import time
from multiprocessing import get_context

import httpx
import msgspec
from indexer_load import Load

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.processes import free_port
from zmart.ops.host import leave_to_rest
from zmart.services.webhook import PATH
from zmart.settings import Settings
from zmart.store import inbox
from zmart.store.pool import Pool
from zmart.store.retrying import Outages

_PER_S = 200
_A_DELIVERY = 4
_LOOK_S = 0.01
_OPENING = 601


class Webhooks(msgspec.Struct):
    """Sorted seconds from sending: until each webhook was answered, and until each transaction was visible."""

    answered: list[float]
    visible: list[float]

    def answer_ms(self, share: float) -> float:
        return _at(self.answered, share)

    def visible_ms(self, share: float) -> float:
        return _at(self.visible, share)


def _at(values: list[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(share * len(values)))] * 1000, 1)


def _serve(url: str, port: int) -> None:
    import uvloop

    uvloop.run(_hosted(url, port))


async def _hosted(url: str, port: int) -> None:
    import uvicorn

    from zmart.services.indexer.projector import Projector
    from zmart.services.indexer.routes import webhook_app
    from zmart.services.indexer.wake_signal import WakeSignal
    from zmart.services.indexer.worker import Worker
    from zmart.services.webhook import WebhookReceiver

    settings = Settings(_env_file=None, zmart_env="local")
    program = Program.from_settings(settings)
    pool = await Pool.open(url, size=8)
    projector = Projector(program, settings.pricing_model)
    worker = Worker(pool, Rpc(["http://127.0.0.1:9"]), program, projector, settings.indexer_batch_size)
    signal = WakeSignal(asyncio.Event())
    leave_to_rest()
    app = webhook_app(WebhookReceiver(pool, settings))
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, access_log=False, loop="none", lifespan="off")
    )
    await asyncio.gather(server.serve(), worker.run(signal, Outages()), inbox.listen(pool, signal.wake))


async def webhooks(url: str, program: Program, seconds: int, backlog: int) -> Webhooks:
    """Send webhooks for `seconds`, with `backlog` deliveries in the inbox at the start; return the times."""
    pool = await Pool.open(url, size=2)
    await pool.execute(
        "INSERT INTO index_progress (program_id, genesis_hash) VALUES ($1, 'bench')", program.address
    )
    hints = Load(program, 2, markets=200, wallets=2_000).hints()
    await _store(pool, hints, _OPENING + backlog)
    fresh = list(itertools.islice(hints, _PER_S * seconds))
    port = free_port()
    process = get_context("spawn").Process(target=_serve, args=(url, port))
    process.start()
    try:
        return await _measure(pool, port, fresh)
    finally:
        process.kill()
        process.join()
        await pool.close()


async def _store(pool: Pool, hints, number: int) -> None:  # noqa: ANN001 - an iterator of hints
    for start in range(0, number, 1_000):
        await inbox.store(pool, "webhook", list(itertools.islice(hints, min(1_000, number - start))))


async def _measure(pool: Pool, port: int, fresh: list[inbox.Hint]) -> Webhooks:
    sent: dict[str, float] = {}
    answered: list[float] = []
    visible: list[float] = []
    limits = httpx.Limits(max_connections=32)
    leave_to_rest()  # avoids pauses of the sender's garbage collector
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits) as client:
        await _until_there(client)
        looking = asyncio.create_task(_look(pool, sent, visible))

        async def post(some: list[inbox.Hint]) -> None:
            body = b"[" + b",".join(hint.payload or b"" for hint in some) + b"]"
            started = time.perf_counter()
            sent.update({hint.signature: started for hint in some})
            answer = await client.post(PATH, content=body)
            answered.append(time.perf_counter() - started)
            assert answer.status_code == 200, answer.text

        async with asyncio.TaskGroup() as group:
            begun = time.perf_counter()
            for number, start in enumerate(range(0, len(fresh), _A_DELIVERY)):
                await asyncio.sleep(max(0.0, begun + number * _A_DELIVERY / _PER_S - time.perf_counter()))
                group.create_task(post(fresh[start : start + _A_DELIVERY]))
        async with asyncio.timeout(120):
            while sent:  # noqa: ASYNC110 - another task empties it
                await asyncio.sleep(_LOOK_S)
        looking.cancel()
    return Webhooks(sorted(answered), sorted(visible))


async def _until_there(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.get("/")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def _look(pool: Pool, sent: dict[str, float], visible: list[float]) -> None:
    """Look every 10 ms which sent transactions are indexed, and note how long each took, until cancelled."""
    while True:
        names = list(sent)
        rows = await pool.fetch("SELECT signature FROM chain_transactions WHERE signature = ANY($1)", names)
        now = time.perf_counter()
        visible += [now - sent.pop(row["signature"]) for row in rows]
        await asyncio.sleep(_LOOK_S)
