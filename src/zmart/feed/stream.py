"""Store the feed as a Redis stream: entry ids are offsets, and the offsets are consecutive.

A script appends atomically and only directly after the last entry. So two relays, a Redis that lost its last second of
writes, or a repeated call can neither leave a hole nor write a change twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zmart.feed.redis_client import RedisClient
from zmart.feed.wire import WireMessage

WIRE_VERSION = 1
"""A part of the stream's name, so that processes of two releases never read each other's encoding."""

MAX_ENTRIES = 20_000
"""About how many of the newest changes are kept in Redis; older ones are read from PostgreSQL."""

_KEEP_SECONDS = 2 * 24 * 3600

# KEYS[1] stream; ARGV: first offset, most entries, seconds to keep, then type, market, channels, tail of each.
# Returns the last offset in the stream afterwards, or -1 for an empty one.
_APPEND = """
local last = -1
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if newest[1] then last = tonumber(string.match(newest[1][1], '^%d+')) end
local offset = tonumber(ARGV[1])
for i = 4, #ARGV, 4 do
    if last == -1 or offset == last + 1 then
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], string.format('%d-0', offset),
                   't', ARGV[i], 'm', ARGV[i + 1], 'c', ARGV[i + 2], 'b', ARGV[i + 3])
        last = offset
    end
    offset = offset + 1
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return last
"""


class FeedStream:
    """Read and write the stream of one epoch. All methods raise StoreError if Redis cannot execute the command."""

    def __init__(self, redis: RedisClient, epoch: str) -> None:
        self._redis = redis
        self._append = redis.register_script(_APPEND)
        self.name = f"zmart:feed:{WIRE_VERSION}:{epoch}"

    async def last(self) -> int | None:
        """Return the newest offset in the stream, or None if it is empty."""
        newest = await self._redis.xrevrange(self.name, count=1)
        return _offset(newest[0][0]) if newest else None

    async def reset(self) -> None:
        """Delete the stream. That is needed when the changes after its last entry have been pruned from PostgreSQL."""
        await self._redis.delete(self.name)

    async def append(self, messages: Sequence[WireMessage]) -> int:
        """Append messages with consecutive offsets and return the last offset in the stream.

        The result is smaller than the last offset of `messages` if these did not follow the stream's last entry. Then
        the caller continues from the result.
        """
        arguments: list[str | bytes | int] = [messages[0].offset, MAX_ENTRIES, _KEEP_SECONDS]
        for message in messages:
            arguments += (message.type, message.market_id, " ".join(message.channels), message.tail)
        return int(await self._append(keys=[self.name], args=arguments))

    async def read_after(self, offset: int, limit: int, wait_ms: int) -> list[WireMessage]:
        """Return up to `limit` messages after `offset`; wait up to `wait_ms` milliseconds for the first.

        The first message is later than `offset` + 1 if the stream no longer holds the ones before it.
        """
        response = await self._redis.xread({self.name: f"{offset}-0"}, count=limit, block=wait_ms)
        if not response:
            return []
        return [_message(identity, fields) for identity, fields in _entries(response)]


def _entries(answer: Any) -> Any:  # noqa: ANN401  # redis-py types neither of the two shapes of an answer
    # RESP2: [[stream, entries]]; RESP3: {stream: [entries]}
    return answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))[0]


def _message(identity: bytes, fields: dict[bytes, bytes]) -> WireMessage:
    return WireMessage(
        offset=_offset(identity),
        type=fields[b"t"].decode(),
        market_id=fields[b"m"].decode(),
        channels=tuple(fields[b"c"].decode().split(" ")),
        tail=fields[b"b"],
    )


def _offset(identity: bytes | str | None) -> int:
    assert isinstance(identity, bytes), "this client decodes nothing"
    return int(identity.partition(b"-")[0])
