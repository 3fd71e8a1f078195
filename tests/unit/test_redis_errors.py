"""Every error of redis-py means unavailable, busy, read-only or a bug; one table lists which."""

from __future__ import annotations

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from zmart.errors import Busy, ReadOnly, StoreError, Unavailable
from zmart.feed.redis_client import redis_error

REPLIES = {
    "READONLY You can't write against a read only replica.": ReadOnly,
    "OOM command not allowed when used memory > 'maxmemory'.": ReadOnly,
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": ReadOnly,
    "NOREPLICAS Not enough good replicas to write.": ReadOnly,
    "LOADING Redis is loading the dataset in memory": Unavailable,
    "NOAUTH Authentication required.": Unavailable,
    "WRONGPASS invalid username-password pair or user is disabled.": Unavailable,
    "NOPERM this user has no permissions to run the 'set' command": Unavailable,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": Unavailable,
    "CLUSTERDOWN The cluster is down": Unavailable,
    "ERR max number of clients reached": Unavailable,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": Busy,
    "TRYAGAIN Multiple keys request during rehashing of slot": Busy,
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": Unavailable,
    "ERR ACL failure in script: User default has no permissions to run the 'xadd' command": Unavailable,
    "MOVED 3999 127.0.0.1:6381": Unavailable,
    "ASK 3999 127.0.0.1:6381": Unavailable,
    "WRONGTYPE Operation against a key holding the wrong kind of value": None,
    "ERR unknown command 'SETT'": None,
    "ERR syntax error": None,
    "NOSCRIPT No matching script. Please use EVAL.": None,  # redis-py itself loads the script and repeats the call
}


@pytest.mark.parametrize(("reply", "kind"), REPLIES.items(), ids=[reply.split(" ")[0] for reply in REPLIES])
def test_a_reply_of_the_server_has_the_kind_of_its_code(reply: str, kind: type[StoreError] | None) -> None:
    result = redis_error(BaseParser.parse_error(reply))
    assert (None if result is None else type(result)) is kind
    assert result is None or result.server == "Redis"


@pytest.mark.parametrize(
    "problem", [exceptions.ConnectionError("x"), exceptions.TimeoutError("x"), ConnectionResetError(), TimeoutError()],
    ids=repr,
)  # fmt: skip
def test_a_server_that_cannot_be_reached_is_unavailable(problem: Exception) -> None:
    assert type(redis_error(problem)) is Unavailable


@pytest.mark.parametrize(
    "problem",
    [
        exceptions.DataError("Invalid input of type: 'dict'"),
        RuntimeError("Task got bad yield"),
        RecursionError("maximum recursion depth exceeded"),
    ],
    ids=repr,
)
def test_a_wrong_call_is_a_bug(problem: Exception) -> None:
    assert redis_error(problem) is None


def test_no_address_is_told_when_it_cannot_be_reached() -> None:
    problem = exceptions.ConnectionError("Error 111 connecting to redis.internal:6379. Connection refused.")
    assert "redis.internal" not in str(redis_error(problem))
