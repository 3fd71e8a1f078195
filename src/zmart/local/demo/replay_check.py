"""Check that a client that replays channels of the live feed receives what a live client has received."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from zmart.errors import ZmartError
from zmart.local.demo.recorder import RecordedMessage, SocketRecorder

_REPLAYS = 5


async def compare_with_replay(url: str, live: SocketRecorder, channels: Iterable[str]) -> str:
    """Compare what `live` recorded of `channels` with a replay from its first offset; return a summary.

    Raises ZmartError, which names the first difference, or says that no replay was without a gap.
    """
    tapes = {channel: live.tape(channel) for channel in channels}
    replays = await _replays(url, live, tapes)
    for channel, tape in tapes.items():
        offsets = [message.offset for message in tape]
        if offsets != sorted(set(offsets)):
            raise ZmartError(f"{channel}: offsets are not strictly rising: {offsets}")
        replayed = _outside(live.gaps.get(channel, []), replays[channel])[: len(tape)]
        difference = _first_difference(tape, replayed)
        if difference:
            raise ZmartError(f"{channel}: the replay differs from the live messages: {difference}")
    total, gaps = sum(map(len, tapes.values())), sum(map(len, live.gaps.values()))
    return f"{total} messages in {len(tapes)} channels, {live.reconnects} reconnects, {gaps} gaps"


async def _replays(
    url: str, live: SocketRecorder, tapes: Mapping[str, Sequence[RecordedMessage]]
) -> dict[str, list[RecordedMessage]]:
    """Return the messages of each channel, from the live client's first offset through its last one of the channel.

    A replay that names an epoch that has ended, as after a fail-over of PostgreSQL, is answered by a gap: it is then
    begun again with the new epoch, in which the earlier changes have the same offsets.
    """
    epoch = live.epoch
    for _ in range(_REPLAYS):
        async with SocketRecorder.listening(url, [], since=(epoch, live.first_offset - 1)) as late:
            for channel in tapes:
                await late.add(channel)
            for channel, tape in tapes.items():
                if tape:
                    await late.through(channel, tape[-1].offset)
        if not late.gaps:
            return {channel: late.tape(channel) for channel in tapes}
        epoch = late.epoch
    raise ZmartError(f"each of {_REPLAYS} replays had a gap: {late.gaps}")


def _outside(gaps: Sequence[range], tape: list[RecordedMessage]) -> list[RecordedMessage]:
    return [message for message in tape if not any(message.offset in gap for gap in gaps)]


def _first_difference(live: Sequence[RecordedMessage], replayed: Sequence[RecordedMessage]) -> str:
    for received, repeated in zip_longest(live, replayed):
        if received is None or repeated is None or received.offset != repeated.offset:
            return f"{[each.offset for each in replayed]}, not {[each.offset for each in live]}"
        if received.data != repeated.data:
            return f"#{received.offset} has {_differing(repeated.data, received.data)}"
    return ""


def _differing(replayed: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*replayed, *live} if replayed.get(name) != live.get(name))
    return ", ".join(f"{name} {replayed.get(name)!r}, not {live.get(name)!r}" for name in names)
