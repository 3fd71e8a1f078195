"""Helpers of the operator's drills about unavailable servers: outages, clients without retries, time to readiness."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from kit import commands
from kit.machine_time import machine_time, seconds_since
from kit.operator import Operator
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld
from zmart.local.processes import free_port
from zmart.local.stack import read_record, supervisor_of
from zmart.market.times import iso
from zmart.services.contract import SERVICES

READY_WITHIN_S, GIVEN_UP_AFTER_S = 6.0, 60.0
REFUSED_WITHIN_S, REFUSED_ON_CHAIN_WITHIN_S = 2.0, 5.0
"""The bounds in seconds that docs/operations.md names below its table of unavailable servers."""
_STOP_S = 20.0
Answers = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class TimedResponse:
    """A response and the seconds until it came.

    `retry_after_s` is 0 without that header. `requests_left` is what is left of the client's rate limit; -1 where the
    response names no limit.
    """

    status: int
    retry_after_s: int
    requests_left: int
    seconds: float
    text: str

    def is_refused(self, within_s: float = REFUSED_WITHIN_S) -> bool:
        """Return whether the response is a 503 with Retry-After that came within `within_s` seconds."""
        return self.status == 503 and self.retry_after_s > 0 and self.seconds <= within_s

    def is_served(self, status: int = 200, within_s: float = REFUSED_WITHIN_S) -> bool:
        """Return whether the response has this status and came within `within_s` seconds."""
        return self.status == status and self.seconds <= within_s


class ImpatientClient:
    """A client of a gateway that never retries. It has the key and the session of a user of the demo."""

    def __init__(self, operator: Operator, user: DemoUser, port: int = 0) -> None:
        """Ask the stack's gateway, or the gateway on `port`."""
        self._http = operator.http
        self._url = f"http://127.0.0.1:{port or operator.settings.api_port}"
        self._program = operator.settings.solana_program_id_core
        self.user = user
        self.token = user._token

    async def get(self, path: str) -> TimedResponse:
        return await self._ask("GET", path)

    async def post(self, path: str, body: object = None, token: str | None = None) -> TimedResponse:
        """Post in the client's session, or with another session `token`; "" means without a session."""
        bearer = self.token if token is None else token
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._ask("POST", path, json=body, headers=headers)

    async def comment(self, market_id: str, content: str) -> TimedResponse:
        return await self.post("/api/discussions", {"market_id": market_id, "content": content})

    async def vote(self, market_id: str) -> TimedResponse:
        """Send a signed vote for the market's proposal."""
        statement = (
            f"ZMART vote\nprogram: {self._program}\nmarket: {market_id}\nkind: proposal\nchoice: like\n"
            f"wallet: {self.user.wallet}\nissued: {iso(datetime.now(UTC))}"
        )
        signature = str(self.user.key.sign_message(statement.encode()))
        signed = {"wallet": self.user.wallet, "statement": statement, "signature": signature}
        return await self.post(
            "/api/votes/proposal", {"market_id": market_id, "vote_choice": "like", **signed}, token=""
        )

    async def nonce(self) -> TimedResponse:
        """Request the message that has to be signed to sign in."""
        return await self.post("/api/auth/nonce", {"wallet": self.user.wallet}, token="")

    async def verify(self, message: str) -> TimedResponse:
        """Sign in with the message from `nonce`."""
        signature = str(self.user.key.sign_message(message.encode()))
        signed = {"wallet": self.user.wallet, "message": message, "signature": signature}
        return await self.post("/api/auth/verify", signed, token="")

    async def _ask(self, method: str, path: str, **options: object) -> TimedResponse:
        began = machine_time()
        answer = await self._http.request(method, self._url + path, **options)  # type: ignore[arg-type]
        left = re.search(r";r=(\d+)", answer.headers.get("ratelimit", ""))
        return TimedResponse(
            answer.status_code,
            int(answer.headers.get("retry-after", 0)),
            int(left[1]) if left else -1,
            seconds_since(began),
            answer.text,
        )


async def unready(operator: Operator) -> dict[str, str]:
    """Return the reasons of the services that are not ready, by service."""
    reasons = await asyncio.gather(*(operator.reason(name) for name in SERVICES))
    return {name: reason for name, reason in zip(SERVICES, reasons, strict=True) if reason}


async def ready_in_time(operator: Operator) -> None:
    """Wait until all services are ready; AssertionError when that takes more than READY_WITHIN_S seconds."""
    began, waited_for = machine_time(), {}
    while reasons := await unready(operator):
        waited_for = reasons
        assert seconds_since(began) < GIVEN_UP_AFTER_S, reasons
        await asyncio.sleep(0.05)
    took_s = seconds_since(began)
    print(f"ready after {took_s:.1f} s; last: {waited_for}")
    assert took_s <= READY_WITHIN_S, (took_s, waited_for)


@asynccontextmanager
async def outage(operator: Operator, process: str, answers: Answers) -> AsyncIterator[None]:
    """Stop a server of the stack within the block, and start it afterwards.

    Then wait until `answers` says that the server is back, and check that all services are soon ready.
    """
    async with operator.without(process):
        yield
    await until(answers, within_s=GIVEN_UP_AFTER_S, every_s=0.02)
    await ready_in_time(operator)


def postgres_of(operator: Operator) -> Answers:
    """Return a function that tells whether PostgreSQL accepts connections."""

    async def answers() -> bool:
        try:
            connection = await asyncpg.connect(operator.settings.require("database_url"), timeout=1)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await connection.close()
        return True

    return answers


def redis_of(operator: Operator) -> Answers:
    """Return a function that tells whether Redis answers PING."""

    async def answers() -> bool:
        try:
            async with Redis.from_url(operator.settings.require("redis_url")) as redis:
                return bool(await redis.ping())
        except (OSError, RedisError):
            return False

    return answers


def chain_of(operator: Operator) -> Answers:
    """Return a function that tells whether the RPC answers getSlot."""

    async def answers() -> bool:
        try:
            async with Rpc([operator.settings.solana_rpc_url], 1.0, attempts=1) as rpc:
                return await rpc.get_slot() > 0
        except ChainError:
            return False

    return answers


def providers_of(operator: Operator) -> Answers:
    """Return a function that tells whether /health of the local providers is answered with 200."""

    async def answers() -> bool:
        url = f"http://127.0.0.1:{operator.settings.local_providers_port}/health"
        try:
            return (await operator.http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    return answers


@asynccontextmanager
async def beside(operator: Operator, service: str, **changes: str) -> AsyncIterator[int]:
    """Run a second process of the service within the block, with the stack's settings and `changes`; yield its port."""
    record = read_record(operator.settings.zmart_home)
    assert record is not None
    port = free_port()
    own = {name.upper(): value for name, value in changes.items()}
    env = commands.environment(**{**record.environment, **own, SERVICES[service].upper(): str(port)})
    log = operator.settings.zmart_home / "logs" / f"{service}-beside.log"
    with log.open("ab") as out:
        process = await commands.start("run", service, env=env, stdout=out, stderr=out)
    try:
        await until(lambda: health_of(operator, port), bool, within_s=_STOP_S)
        yield port
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), _STOP_S)


async def health_of(operator: Operator, port: int) -> dict[str, object]:
    """Return the JSON object of /health on the port, with `http_status`; empty while nothing answers."""
    return await _page_of(operator, port, "health")


async def details_of(operator: Operator, port: int) -> dict[str, object]:
    """Return the details of /ready on the port with its other fields and `http_status`; empty while nothing answers."""
    said = await _page_of(operator, port, "ready")
    details = said.pop("details", {})
    return {**said, **(details if isinstance(details, dict) else {})}


async def _page_of(operator: Operator, port: int, page: str) -> dict[str, object]:
    try:
        answer = await operator.http.get(f"http://127.0.0.1:{port}/{page}")
    except httpx.TransportError:
        return {}
    return {**answer.json(), "http_status": answer.status_code}


def pids_of(operator: Operator) -> dict[str, int]:
    """Return the process ids of the services by name."""
    running = supervisor_of(operator.settings.zmart_home).processes()
    return {info.name: info.pid for info in running if info.name in SERVICES}


async def brought(world: DemoWorld, content: str, within_s: float = 20.0) -> None:
    """Wait until the world's socket has received a comment that contains `content`."""
    await world.socket.wait_for(
        lambda m: m.type == "discussion" and content in str(m.data), f"the comment {content!r}", within_s
    )


def stayed_open(world: DemoWorld) -> bool:
    """Return whether the world's socket was never closed, missed nothing and got no comment twice."""
    comments = [str(m.data) for m in world.socket.tape("activity") if m.type == "discussion"]
    return (world.socket.reconnects, world.socket.gaps) == (0, {}) and len(comments) == len({*comments})


@asynccontextmanager
async def redis_refuses_writes(operator: Operator, how: str) -> AsyncIterator[None]:
    """Have Redis refuse each write within the block, with the error `how`.

    A replica answers "READONLY", a full Redis "OOM", and one that cannot save to its disk "MISCONF".
    """
    async with Redis.from_url(operator.settings.require("redis_url")) as redis:
        match how:
            case "READONLY":
                refusing = _replica(redis)
            case "OOM":
                refusing = _full(redis)
            case _:
                refusing = _unsaved(redis)
        async with refusing:
            with pytest.raises(ResponseError):
                await redis.set("drill", 1)
            yield
        await redis.set("drill", 1, ex=1)


@asynccontextmanager
async def _replica(redis: Redis) -> AsyncIterator[None]:
    await redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        await redis.replicaof("NO", "ONE")


@asynccontextmanager
async def _full(redis: Redis) -> AsyncIterator[None]:
    await redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        await redis.config_set("maxmemory", 0)


@asynccontextmanager
async def _unsaved(redis: Redis) -> AsyncIterator[None]:
    """Make saving fail within the block: a folder has the name of the file to which Redis saves."""
    folder = (
        Path((await redis.config_get("dir"))["dir"]) / (await redis.config_get("dbfilename"))["dbfilename"]
    )
    folder.mkdir()
    try:
        await redis.config_set("save", "3600 1")
        await _save(redis, "err")
        yield
    finally:
        folder.rmdir()
        await _save(redis, "ok")
        await redis.config_set("save", "")


async def _save(redis: Redis, outcome: str) -> None:
    """Start a save and wait until its outcome is `outcome`: "ok" or "err"."""

    async def ended() -> bool:
        about = await redis.info("persistence")
        return not about["rdb_bgsave_in_progress"] and about["rdb_last_bgsave_status"] == outcome

    await redis.bgsave()
    await until(ended)
