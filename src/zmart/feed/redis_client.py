"""Create the Redis clients of all services, whose errors are StoreErrors.

Responses are bytes. A client does not retry commands unless its creator asks for it: a Redis that restarted may have
lost its last second of writes, which the feed must notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from zmart.errors import Busy, ReadOnly, SettingError, StoreError, Unavailable, ZmartError
from zmart.feed import metrics
from zmart.hidden_packages import hidden

# redis-py imports OpenTelemetry if it is installed, for metrics that are off: 0.13 s and 3 MB in each process.
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
_CLOSED_TRANSPORT = "the handler is closed"
"""The end of the RuntimeError that uvloop raises for a write to a connection that has just ended. asyncio's own loop
ignores such a write, and redis-py then raises ConnectionError, since no answer can come."""
_KINDS_BY_CODE: dict[str, type[StoreError]] = {
    "MISCONF": ReadOnly,  # it cannot save to its disk
    "NOREPLICAS": ReadOnly,
    "BUSY": Busy,  # a script runs
    "UNBLOCKED": Unavailable,  # it became a replica while a client waited
}
"""The errors for replies of Redis that redis-py has no class for, by the reply's first word, which is its code."""
_MESSAGES = {
    Unavailable: "Redis is unavailable",
    Busy: "Redis is busy",
    ReadOnly: "Redis accepts no writes",
}


class CommandRefused(ZmartError):
    """Report that Redis does not know a command, or refuses its arguments."""


class RedisClient(Redis):
    """A client of redis-py whose commands raise Unavailable, Busy or ReadOnly; any other exception is a bug.

    The execution of a pipeline raises errors of redis-py unless it runs within `store_errors`.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in redis-py
        """Execute one command as redis-py does, but raise its errors as StoreErrors."""
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
    """Return a client, which connects when it is first used; close it with `aclose()`. Raises SettingError.

    The client has at most `connections` connections. `connect_s` and `answer_s` limit the seconds to connect and to
    wait for an answer. `retries` is how often a command is repeated after its connection was lost; a command that timed
    out is not repeated, since that would take as long again.
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
        pool.connection_class(**pool.connection_kwargs)  # validates the options; it does not connect yet
    except (ValueError, TypeError, exceptions.RedisError):  # its text may hold the password
        raise SettingError("REDIS_URL has an option that is unknown or wrong: see .env.example.") from None
    return cast("RedisClient", RedisClient.from_pool(pool))


async def plain_reply(client: RedisClient, command: Sequence[bytes]) -> object:
    """Send a command and return the reply as the server sent it.

    Raises StoreError, or CommandRefused with the server's own message.
    """
    client.response_callbacks.clear()
    try:
        return await client.execute_command(*command)
    except exceptions.ResponseError as problem:
        raise CommandRefused(str(problem)) from None


async def require_accepted(redis_url: str) -> None:
    """Raise SettingError, or a StoreError with its `setting`, if REDIS_URL is invalid or the server refuses it.

    Return if the server accepts REDIS_URL or cannot be asked now.
    """
    client = connect(redis_url, connections=1, connect_s=1.0, answer_s=1.0)
    try:
        await client.ping()
    except StoreError as problem:
        if problem.setting:
            raise
    finally:
        await client.aclose()


async def require_writable(redis_url: str, answer_s: float = 5.0) -> None:
    """Check that Redis accepts writes, with a key that expires at once, within `answer_s`.

    Raises SettingError or StoreError.
    """
    client = connect(redis_url, connections=1, answer_s=answer_s)
    try:
        await client.set(_CHECK_KEY, b"1", px=1)
    finally:
        await client.aclose()


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise errors of redis-py, and those of a lost connection, within the block as StoreErrors, and count them."""
    try:
        yield
    except (exceptions.RedisError, OSError, RuntimeError) as problem:
        error = redis_error(problem)
        if error is None:
            raise
        metrics.redis_errors.labels(type(error).__name__).inc()
        raise error from problem


def redis_error(problem: Exception) -> StoreError | None:
    """Return the StoreError for an error of redis-py; None for a bug, such as a wrong command or a key's wrong type."""
    kind = next((kind for error, kind in _KINDS if isinstance(problem, error)), None)
    if kind is None and isinstance(problem, exceptions.ResponseError):
        is_refused = str(problem).startswith((_NO_DATABASE, _NO_PERMISSION_IN_SCRIPT))
        kind = Unavailable if is_refused else _KINDS_BY_CODE.get(str(problem).partition(" ")[0])
    if isinstance(problem, RuntimeError) and str(problem).endswith(_CLOSED_TRANSPORT):
        kind = Unavailable
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
