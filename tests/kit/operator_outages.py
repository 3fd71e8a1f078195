"""What an operator's drills about unavailable servers need: clients that ask once, and how soon all is ready again."""

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
"""The bounds that the page names below its table of unavailable servers."""
_STOP_S = 20.0
Answers = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class TimedResponse:
    """What a client got, and how soon. `requests_left`: of its rate limit; -1 where the response has no limit."""

    status: int
    retry_after_s: int
    requests_left: int
    seconds: float
    text: str

    def is_refused(self, within_s: float = REFUSED_WITHIN_S) -> bool:
        """Whether it is a 503 that says when to try again, and came in time."""
        return self.status == 503 and self.retry_after_s > 0 and self.seconds <= within_s

    def is_served(self, status: int = 200, within_s: float = REFUSED_WITHIN_S) -> bool:
        """Whether it has this status, and came in time."""
        return self.status == status and self.seconds <= within_s


class ImpatientClient:
    """A client of the gateway that asks once. It signs with the key of a user of the demo, in a session of its own."""

    def __init__(self, operator: Operator, user: DemoUser, port: int = 0) -> None:
        """Of the stack's gateway, or of one on another port."""
        self._http = operator.http
        self._url = f"http://127.0.0.1:{port or operator.settings.api_port}"
        self._program = operator.settings.solana_program_id_core
        self.user = user
        self.token = user._token

    async def get(self, path: str) -> TimedResponse:
        return await self._ask("GET", path)

    async def post(self, path: str, body: object = None, token: str | None = None) -> TimedResponse:
        """In the client's session, or in another one; "" is none."""
        bearer = self.token if token is None else token
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._ask("POST", path, json=body, headers=headers)

    async def comment(self, market_id: str, content: str) -> TimedResponse:
        return await self.post("/api/discussions", {"market_id": market_id, "content": content})

    async def vote(self, market_id: str) -> TimedResponse:
        """Like a proposal."""
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
        """Begin to sign in."""
        return await self.post("/api/auth/nonce", {"wallet": self.user.wallet}, token="")

    async def verify(self, message: str) -> TimedResponse:
        """Sign in with the message of a nonce."""
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
    """The services that are not ready, each with its reason."""
    reasons = await asyncio.gather(*(operator.reason(name) for name in SERVICES))
    return {name: reason for name, reason in zip(SERVICES, reasons, strict=True) if reason}


async def ready_in_time(operator: Operator) -> None:
    """Wait until all services are ready, from now on in no more time than the page says."""
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
    """A server of the stack is stopped within the block, and then started. All services are ready in time once
    `answers` says that it is back."""
    async with operator.without(process):
        yield
    await until(answers, within_s=GIVEN_UP_AFTER_S, every_s=0.02)
    await ready_in_time(operator)


def postgres_of(operator: Operator) -> Answers:
    """Whether PostgreSQL takes connections."""

    async def answers() -> bool:
        try:
            connection = await asyncpg.connect(operator.settings.require("database_url"), timeout=1)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await connection.close()
        return True

    return answers


def redis_of(operator: Operator) -> Answers:
    """Whether Redis answers."""

    async def answers() -> bool:
        try:
            async with Redis.from_url(operator.settings.require("redis_url")) as redis:
                return bool(await redis.ping())
        except (OSError, RedisError):
            return False

    return answers


def chain_of(operator: Operator) -> Answers:
    """Whether the RPC knows its slot."""

    async def answers() -> bool:
        try:
            async with Rpc([operator.settings.solana_rpc_url], 1.0, attempts=1) as rpc:
                return await rpc.get_slot() > 0
        except ChainError:
            return False

    return answers


def providers_of(operator: Operator) -> Answers:
    """Whether the providers' process answers."""

    async def answers() -> bool:
        url = f"http://127.0.0.1:{operator.settings.local_providers_port}/health"
        try:
            return (await operator.http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    return answers


@asynccontextmanager
async def beside(operator: Operator, service: str, **changes: str) -> AsyncIterator[int]:
    """Within the block another process of the service runs beside the stack's own, with the stack's settings, on the
    port that this gives."""
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
    """What /health on the port says; empty while nothing answers."""
    return await _page_of(operator, port, "health")


async def details_of(operator: Operator, port: int) -> dict[str, object]:
    """The details of /ready on the port, with its reason and its HTTP status; empty while nothing answers."""
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
    """The process ids of the services."""
    running = supervisor_of(operator.settings.zmart_home).processes()
    return {info.name: info.pid for info in running if info.name in SERVICES}


async def brought(world: DemoWorld, content: str, within_s: float = 20.0) -> None:
    """Wait until the socket has brought a comment."""
    await world.socket.wait_for(
        lambda m: m.type == "discussion" and content in str(m.data), f"the comment {content!r}", within_s
    )


def stayed_open(world: DemoWorld) -> bool:
    """Whether the world's socket was never closed, missed nothing and got nothing twice."""
    comments = [str(m.data) for m in world.socket.tape("activity") if m.type == "discussion"]
    return (world.socket.reconnects, world.socket.gaps) == (0, {}) and len(comments) == len({*comments})


@asynccontextmanager
async def redis_refuses_writes(operator: Operator, how: str) -> AsyncIterator[None]:
    """Within the block Redis answers each write with READONLY, as a replica, with OOM, as at its maxmemory, or with
    MISCONF, as one that cannot save to its disk."""
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
    """A folder stands where it saves to."""
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
    """Save until it ends so."""

    async def ended() -> bool:
        about = await redis.info("persistence")
        return not about["rdb_bgsave_in_progress"] and about["rdb_last_bgsave_status"] == outcome

    await redis.bgsave()
    await until(ended)
