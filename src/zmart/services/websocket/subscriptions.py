"""How a subscription begins: fresh, replayed from an offset, or with the truth that something cannot be replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import structlog

from zmart.feed.channels import Channel, ChannelName
from zmart.feed.wire import WireMessage, encode
from zmart.services.websocket import frames, metrics, protocol
from zmart.services.websocket.connection import Connection, Subscription
from zmart.services.websocket.hub import Hub
from zmart.services.websocket.limits import Limits
from zmart.services.websocket.protocol import (
    ErrorCode,
    Outcome,
    Place,
    Refused,
    Subscribe,
    Target,
    Unsubscribe,
)
from zmart.services.websocket.state import Picture, States
from zmart.store import change_feed
from zmart.store.pool import Pool, is_away

_PAGE = 2_000  # offsets that one step of a replay looks at
_REPLAYS_AT_ONCE = 8
_SLICE_BYTES = 64 * 1024
_AGAIN_S = 0.5

log = structlog.get_logger()


class Subscriptions:
    """Begins and ends subscriptions. Every method answers the client itself."""

    def __init__(self, hub: Hub, states: States, pool: Pool, limits: Limits) -> None:
        self._hub = hub
        self._states = states
        self._pool = pool
        self._limits = limits
        self._replays = asyncio.Semaphore(_REPLAYS_AT_ONCE)

    async def subscribe(self, connection: Connection, request: Subscribe) -> None:
        """Answer with the state, then everything behind it; or with everything behind the client's offset."""
        try:
            channel = await self._channel(request.target)
            if channel is None:
                self._refuse(connection, _unknown(request.target))
            elif self._is_one_too_many(connection, str(channel)):
                self._refuse(connection, _TOO_MANY)
                connection.close(frames.CloseCode.POLICY, _TOO_MANY.error)
            elif request.offset is None or str(channel) in connection.subscriptions:
                await self._fresh(connection, request.target, channel)
            else:
                await self._resume(connection, request, channel, request.offset)
        except Exception as problem:
            if not is_away(problem):
                raise
            self._refuse(connection, _AWAY)

    async def unsubscribe(self, connection: Connection, request: Unsubscribe) -> None:
        """Harmless for what was not subscribed."""
        try:
            channel = await self._channel(request.target)
        except Exception as problem:
            if not is_away(problem):
                raise
            self._refuse(connection, _AWAY)
            return
        if channel is None:
            self._refuse(connection, _unknown(request.target))
            return
        name = str(channel)
        subscription = connection.subscriptions.pop(name, None)
        if subscription is not None:
            subscription.active = False
            self._hub.leave(name, connection)
            metrics.subscriptions.dec()
        connection.send(
            protocol.unsubscribed(request.target, name, channel.market_id, self._place(), _told(connection))
        )

    async def _channel(self, target: Target) -> Channel | None:
        if target.name.market is None:
            return Channel(target.name.kind)
        market_id = await self._states.market_id(target.name.market)
        return None if market_id is None else Channel(target.name.kind, market_id)

    def _is_one_too_many(self, connection: Connection, name: str) -> bool:
        held = connection.subscriptions
        return name not in held and len(held) >= self._limits.subscriptions

    async def _fresh(self, connection: Connection, target: Target, channel: Channel) -> None:
        picture = await self._picture(channel)
        if picture is None:
            # PostgreSQL is away: messages may still come by Redis, the state may be asked for again.
            self._begin(connection, target, channel, self._place(), Outcome.FRESH, None)
        else:
            self._begin(connection, target, channel, _place_of(picture), Outcome.FRESH, picture)

    async def _resume(
        self, connection: Connection, request: Subscribe, channel: Channel, offset: int
    ) -> None:
        target = request.target
        same_epoch = request.epoch == self._hub.epoch
        if same_epoch and offset <= self._hub.position and self._hub.since(offset) is not None:
            place = Place(self._hub.epoch, offset)
            self._begin(connection, target, channel, place, Outcome.REPLAYED, None)
            return
        picture = await self._states.picture(channel)
        head = await change_feed.head(self._pool)
        if request.epoch == head.epoch and head.kept_from - 1 <= offset <= head.head:
            place = Place(head.epoch, offset)
            self._begin(connection, target, channel, place, Outcome.REPLAYED, None)
            return
        place = _place_of(picture)
        connection.send(protocol.gap(str(channel), channel.market_id, place, offset + 1))
        self._begin(connection, target, channel, place, Outcome.GAP, picture)

    async def _picture(self, channel: Channel) -> Picture | None:
        try:
            return await self._states.picture(channel)
        except Exception as problem:
            if not is_away(problem):
                raise
            return None

    def _begin(
        self,
        connection: Connection,
        target: Target,
        channel: Channel,
        place: Place,
        outcome: Outcome,
        picture: Picture | None,
    ) -> None:
        """Register, answer, and let the messages behind `place` follow."""
        name = str(channel)
        if connection.closing:
            return
        if place.epoch != self._hub.epoch:
            self._refuse(connection, _AWAY)  # a new epoch: this server is about to notice it
            return
        is_new = name not in connection.subscriptions
        if is_new:
            connection.subscriptions[name] = Subscription(channel, target.by_market)
            metrics.subscriptions.inc()
            metrics.begun.labels(outcome.value).inc()
        snapshot = picture.snapshot if picture else None
        connection.send(
            protocol.subscribed(target, name, channel.market_id, place, outcome, snapshot, _told(connection))
        )
        if is_new:
            self._follow(connection, connection.subscriptions[name], place.offset)

    def _follow(self, connection: Connection, subscription: Subscription, offset: int) -> None:
        """Go live at once where memory allows it, else by a task of the connection."""
        if self._go_live(connection, subscription, offset):
            return
        task = asyncio.create_task(self._catch_up(connection, subscription, offset))
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    def _go_live(self, connection: Connection, subscription: Subscription, offset: int) -> bool:
        """Send what is missing and join the readers in one go, when it is little enough for that."""
        missed = self._hub.since(offset) if offset <= self._hub.position else None
        if missed is None:
            return False
        payloads = _payloads(subscription, missed)
        if sum(map(len, payloads)) > self._limits.queue_bytes // 4:
            return False
        connection.send_all(payloads)
        self._hub.join(str(subscription.channel), connection)
        return True

    async def _catch_up(self, connection: Connection, subscription: Subscription, offset: int) -> None:
        """Replay in pages, as fast as the client takes them, until the hub's own position is reached."""
        while True:
            await self._hub.reached(offset)
            await connection.writable()
            if not subscription.active or self._go_live(connection, subscription, offset):
                return
            try:
                offset = await self._replay(connection, subscription, offset)
            except Exception as problem:
                if not is_away(problem):
                    log.exception("replay failed", channel=str(subscription.channel))
                    raise
                await asyncio.sleep(_AGAIN_S)

    async def _replay(self, connection: Connection, subscription: Subscription, offset: int) -> int:
        """One page, out of memory or PostgreSQL; the offset up to which the client is served now."""
        upto = min(offset + _PAGE, self._hub.position)
        missed = self._hub.since(offset)
        if missed is None:
            channel = subscription.channel
            async with self._replays:
                changes = await change_feed.read_filtered(
                    self._pool, offset, upto, channel.topics, channel.market_id
                )
                head = await change_feed.head(self._pool)
            if head.epoch != self._hub.epoch:
                await asyncio.sleep(_AGAIN_S)  # the hub is about to close everybody for a new epoch
                return offset
            if head.kept_from > offset + 1:
                return await self._gap_on_the_way(connection, subscription, offset)
            missed = [encode(change, head.epoch) for change in changes]
        for payloads in _slices(_payloads(subscription, [each for each in missed if each.offset <= upto])):
            await connection.writable()
            if subscription.active:
                connection.send_all(payloads)
        return upto

    async def _gap_on_the_way(self, connection: Connection, subscription: Subscription, offset: int) -> int:
        """A replay was slower than the pruning of the feed: say so, and go on from the state."""
        channel = subscription.channel
        picture = await self._states.picture(channel)
        target = Target(ChannelName(channel.kind, channel.market_id), subscription.by_market)
        place, name, market_id = _place_of(picture), str(channel), channel.market_id
        told = _told(connection)
        connection.send(protocol.gap(name, market_id, place, offset + 1))
        connection.send(
            protocol.subscribed(target, name, market_id, place, Outcome.GAP, picture.snapshot, told)
        )
        return picture.head

    def _place(self) -> Place:
        return Place(self._hub.epoch, self._hub.position)

    def _refuse(self, connection: Connection, refused: Refused) -> None:
        metrics.errors.labels(refused.code.value).inc()
        connection.send(protocol.error(self._place(), refused))


_TOO_MANY = Refused("Too many subscriptions on this connection", ErrorCode.TOO_MANY_SUBSCRIPTIONS)
_AWAY = Refused("The database is away for the moment: try again", ErrorCode.UNAVAILABLE)


def _unknown(target: Target) -> Refused:
    return Refused(f"Unknown market: {target.said}", ErrorCode.UNKNOWN_MARKET)


def _payloads(subscription: Subscription, messages: Iterable[WireMessage]) -> list[bytes]:
    name = str(subscription.channel)
    return [message.payload(name) for message in messages if name in message.channels]


def _slices(payloads: list[bytes]) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    size = 0
    for payload in payloads:
        held.append(payload)
        size += len(payload)
        if size >= _SLICE_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _place_of(picture: Picture) -> Place:
    return Place(picture.epoch, picture.head)


def _told(connection: Connection) -> list[str]:
    """The subscriptions as the client named them: markets by their id, the others by channel."""
    return [
        (held.channel.market_id or name) if held.by_market else name
        for name, held in connection.subscriptions.items()
    ]
