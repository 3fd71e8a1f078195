"""Connect to Redis in one way, with the errors of the store.

Responses are bytes. A client does not retry unless the caller asks for it: a Redis that restarted may have lost its
last second, which the feed must notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from zmart.errors import Busy, ReadOnly, SettingError, StoreError, Unavailable, ZmartError
from zmart.feed import metrics
from zmart.hidden_packages import hidden

# redis-py imports what it finds of OpenTelemetry, for metrics that are off: 0.13 s and 3 MB of each process.
with hidden("opentelemetry"):
    from redis import exceptions
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

_KINDS: tuple[tuple[type[Exception], type[StoreError]], ...] = (
    (exceptions.ReadOnlyError, ReadOnly),
    (exceptions.OutOfMemoryError, ReadOnly),  # maxmemory with noeviction refuses writes alone
    (exceptions.TryAgainError, Busy),
    (exceptions.MaxConnectionsError, Busy),
    (exceptions.ClusterDownError, Unavailable),  # MASTERDOWN, too
    (exceptions.NoPermissionError, Unavailable),
    (exceptions.AskError, Unavailable),  # MOVED, too
    (exceptions.ConnectionError, Unavailable),  # LOADING, NOAUTH and WRONGPASS, too
    (exceptions.InvalidResponse, Unavailable),  # another server than Redis
    (exceptions.TimeoutError, Unavailable),
    (OSError, Unavailable),
)
_NO_DATABASE = "DB index is out of range"
_REFUSALS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "the password of REDIS_URL, or its user, is wrong or missing"),
    (
        exceptions.AuthenticationWrongNumberOfArgsError,
        "REDIS_URL must name the password alone, without a user",
    ),
    (exceptions.NoPermissionError, "the user of REDIS_URL may not use this command or key"),
    (exceptions.AskError, "REDIS_URL is a node of a cluster, use a single server (with replicas or without)"),
    (exceptions.InvalidResponse, "what listens at the address of REDIS_URL is no Redis"),
)
_NO_PERMISSION_IN_SCRIPT = "ACL failure in script"
_CHECK_KEY = "zmart:doctor"
_KINDS_BY_CODE: dict[str, type[StoreError]] = {
    "MISCONF": ReadOnly,  # it cannot save to its disk
    "NOREPLICAS": ReadOnly,
    "BUSY": Busy,  # a script runs
    "UNBLOCKED": Unavailable,  # it became a replica while a client waited
}
"""Replies that redis-py has no class for, by the first word, which is their code."""
_MESSAGES = {
    Unavailable: "Redis is unavailable",
    Busy: "Redis is busy",
    ReadOnly: "Redis accepts no writes",
}


class CommandRefused(ZmartError):
    """Redis knows no such command, or not with these arguments."""


class RedisClient(Redis):
    """Execute commands. Raises Unavailable, Busy and ReadOnly; any other exception is a bug.

    A pipeline needs `store_errors` around its execution.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in redis-py
        """Execute one command, as in redis-py."""
        with store_errors():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


def connect(
    redis_url: str,
    *,
    connections: int = 4,
    connect_s: float = 2.0,
    answer_s: float = 10.0,
    retries: int = 0,
) -> RedisClient:
    """Return a client, which connects when it is first used. Close it with `aclose()`. Raises SettingError.

    `retries` are for connections that were lost; what takes too long is not repeated: that would take as long again.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=connections,
            timeout=answer_s,
            socket_connect_timeout=connect_s,
            socket_timeout=answer_s,
            retry=Retry(NoBackoff(), retries, supported_errors=(exceptions.ConnectionError,)),
        )
        pool.connection_class(**pool.connection_kwargs)  # it judges the options, and connects when it is used
    except (ValueError, TypeError, exceptions.RedisError):  # its text may hold the password
        raise SettingError("REDIS_URL has an option that is unknown or wrong: see .env.example.") from None
    return cast("RedisClient", RedisClient.from_pool(pool))


async def plain_reply(client: RedisClient, command: Sequence[bytes]) -> object:
    """Send a command and return the reply as the server sent it. Raises StoreError, or CommandRefused with the server's
    own words."""
    client.response_callbacks.clear()
    try:
        return await client.execute_command(*command)
    except exceptions.ResponseError as problem:
        raise CommandRefused(str(problem)) from None


async def require_accepted(redis_url: str) -> None:
    """Raise SettingError or Unavailable if the server refuses REDIS_URL; return if it accepts it, or cannot be asked
    now."""
    client = connect(redis_url, connections=1, connect_s=1.0, answer_s=1.0)
    try:
        await client.ping()
    except StoreError as problem:
        if problem.setting:
            raise
    finally:
        await client.aclose()


async def require_writable(redis_url: str) -> None:
    """Write a key that expires at once. Raises SettingError and StoreError."""
    client = connect(redis_url, connections=1, answer_s=5.0)
    try:
        await client.set(_CHECK_KEY, b"1", px=1)
    finally:
        await client.aclose()


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise errors of redis-py within the block as those of the store."""
    try:
        yield
    except (exceptions.RedisError, OSError) as problem:
        error = redis_error(problem)
        if error is None:
            raise
        metrics.redis_errors.labels(type(error).__name__).inc()
        raise error from problem


def redis_error(problem: Exception) -> StoreError | None:
    """The error of the store for one of redis-py; None for a bug (a wrong command, a key of another type)."""
    kind = next((kind for error, kind in _KINDS if isinstance(problem, error)), None)
    if kind is None and isinstance(problem, exceptions.ResponseError):
        is_refused = str(problem).startswith((_NO_DATABASE, _NO_PERMISSION_IN_SCRIPT))
        kind = Unavailable if is_refused else _KINDS_BY_CODE.get(str(problem).partition(" ")[0])
    if kind is None:
        return None
    # The text of a failed connection holds the address; replies of the server say what is wrong.
    answered = getattr(problem, "status_code", None) or isinstance(problem, exceptions.ResponseError)
    reason = f"{type(problem).__name__}: {problem}" if answered else type(problem).__name__
    advice = next((text for error, text in _REFUSALS if isinstance(problem, error)), "")
    if not advice and str(problem).startswith(_NO_DATABASE):
        advice = "the number of the database in REDIS_URL is too high"
    if str(problem).startswith(_NO_PERMISSION_IN_SCRIPT):
        advice = "the user of REDIS_URL may not use this command or key"
    setting = "REDIS_URL" if advice else ""
    return kind(f"{_MESSAGES[kind]} ({reason}){advice and f': {advice}'}.", server="Redis", setting=setting)
