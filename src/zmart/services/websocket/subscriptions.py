"""Begin and end subscriptions: with the state, by a replay from an offset, or after reporting a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import structlog

from zmart.errors import StoreError
from zmart.feed.channels import Channel, ChannelName
from zmart.feed.messages import OutcomeName
from zmart.feed.wire import WireMessage, encode
from zmart.services.websocket import frames, metrics, protocol
from zmart.services.websocket.connection import SocketConnection, Subscription
from zmart.services.websocket.fair_share import FairShare
from zmart.services.websocket.hub import SocketHub
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.protocol import (
    FeedOffset,
    RefusedRequest,
    SubscribeRequest,
    SubscriptionTarget,
    UnsubscribeRequest,
)
from zmart.services.websocket.state import ChannelState, ChannelStates
from zmart.store import change_feed
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within

_PAGE = 2_000  # offsets per step of a replay
_PAGE_MESSAGES = 200
"""How many messages a step of a replay sends at most: they stay in memory until the client has read them."""
_CONCURRENT_REPLAYS, _REPLAYS_OF_ONE_ADDRESS = 8, 2
_CONCURRENT_CHECKS, _CHECKS_OF_ONE_ADDRESS = 4, 2
_CONCURRENT_READS, _READS_OF_ONE_ADDRESS = 8, 4
_SLICE_BYTES = 64 * 1024
_RETRY_S = 0.5
_ANSWER_WITHIN_S = 1.8
_STATE_WITHIN_S = 1.5

log = structlog.get_logger()


class Subscriptions:
    """Begin and end the subscriptions of connections. Both public methods send their answer to the client."""

    def __init__(self, hub: SocketHub, states: ChannelStates, pool: Pool, limits: SocketLimits) -> None:
        self._hub = hub
        self._states = states
        self._pool = pool
        self._limits = limits
        self._replays = FairShare(_CONCURRENT_REPLAYS, _REPLAYS_OF_ONE_ADDRESS)
        self._checks = FairShare(_CONCURRENT_CHECKS, _CHECKS_OF_ONE_ADDRESS)
        """Permits to check a client's offset in the database, apart from replays, so that no check waits for these."""
        self._reads = FairShare(_CONCURRENT_READS, _READS_OF_ONE_ADDRESS)
        """Permits to read the state of a channel."""

    async def subscribe(self, connection: SocketConnection, request: SubscribeRequest) -> None:
        """Begin a subscription: send the channel's state, or resume after the client's offset, then all later messages.

        If the offset cannot be replayed, a gap is reported and the state sent. While PostgreSQL is unavailable, a
        subscription without an offset begins without a state; a request that needs PostgreSQL otherwise is refused.
        """
        try:
            async with answer_within(_ANSWER_WITHIN_S):
                await self._subscribe(connection, request)
        except StoreError:
            self._refuse_for_now(connection, request)

    async def _subscribe(self, connection: SocketConnection, request: SubscribeRequest) -> None:
        channel = await self._channel(request.target)
        if channel is None:
            self._refuse(connection, protocol.unknown_market(request.target))
        elif self._exceeds_limit(connection, str(channel)):
            self._refuse(connection, _TOO_MANY)
            connection.close(frames.CloseCode.POLICY, _TOO_MANY.error)
        elif request.offset is None or str(channel) in connection.subscriptions:
            await self._fresh(connection, request, channel)
        else:
            await self._resume(connection, request, channel, request.offset)

    async def unsubscribe(self, connection: SocketConnection, request: UnsubscribeRequest) -> None:
        """End a subscription and confirm it; the answer is the same if there is none."""
        try:
            async with answer_within(_ANSWER_WITHIN_S):
                channel = await self._channel(request.target)
        except StoreError:
            self._refuse(connection, _DATABASE_UNAVAILABLE)
            return
        if channel is None:
            self._refuse(connection, protocol.unknown_market(request.target))
            return
        name = str(channel)
        subscription = connection.subscriptions.pop(name, None)
        if subscription is not None:
            subscription.active = False
            self._hub.leave(name, connection, as_text=subscription.as_text)
            metrics.subscriptions.dec()
        connection.send(
            protocol.unsubscribed(request.target, channel, self._position(), _named_subscriptions(connection))
        )

    async def _channel(self, target: SubscriptionTarget) -> Channel | None:
        if target.name.market is None:
            return Channel(target.name.kind)
        market_id = await self._states.market_id(target.name.market)
        return None if market_id is None else Channel(target.name.kind, market_id)

    def _exceeds_limit(self, connection: SocketConnection, name: str) -> bool:
        subscriptions = connection.subscriptions
        return name not in subscriptions and len(subscriptions) >= self._limits.subscriptions

    async def _fresh(self, connection: SocketConnection, request: SubscribeRequest, channel: Channel) -> None:
        state = await self._state(connection, channel)
        if state is None:
            # PostgreSQL is unavailable: Redis may still deliver messages, and the client may request the state again.
            self._begin(connection, request, channel, self._position(), "fresh", None)
        else:
            self._begin(connection, request, channel, _offset_of(state), "fresh", state)

    async def _resume(
        self, connection: SocketConnection, request: SubscribeRequest, channel: Channel, offset: int
    ) -> None:
        if not connection.has_resumed:
            connection.has_resumed = True
            metrics.reconnected.inc()
        same_epoch = request.epoch == self._hub.epoch
        if same_epoch and offset <= self._hub.position and self._hub.since(offset) is not None:
            position = FeedOffset(self._hub.epoch, offset)
            self._begin(connection, request, channel, position, "replayed", None)
            return
        async with self._checks.permit(connection.address):
            head = await change_feed.head(self._pool)
        if head.epoch != self._hub.epoch:
            # Otherwise a state that was read a moment ago would report a gap in an epoch that is about to end.
            self._refuse_for_now(connection, request)
            return
        if request.epoch == head.epoch and head.kept_from - 1 <= offset <= head.head:
            position = FeedOffset(head.epoch, offset)
            self._begin(connection, request, channel, position, "replayed", None)
            return
        state = await self._read_state(connection, channel)
        position = _offset_of(state)
        if position.epoch == self._hub.epoch:  # otherwise `_begin` refuses, and the gap is reported later
            connection.send(protocol.gap(channel, position, offset + 1))
        self._begin(connection, request, channel, position, "gap", state)

    async def _state(self, connection: SocketConnection, channel: Channel) -> ChannelState | None:
        try:
            async with answer_within(_STATE_WITHIN_S):
                return await self._read_state(connection, channel)
        except StoreError:
            return None

    async def _read_state(self, connection: SocketConnection, channel: Channel) -> ChannelState:
        async with self._reads.permit(connection.address):
            return await self._states.state(channel, self._hub.epoch)

    def _begin(
        self,
        connection: SocketConnection,
        request: SubscribeRequest,
        channel: Channel,
        position: FeedOffset,
        outcome: OutcomeName,
        state: ChannelState | None,
    ) -> None:
        """Register the subscription, answer the client, and send the channel's messages after `position`.

        A subscription that exists already goes on where it is. If it is live, messages after `position` that it got
        before this answer are sent again: the state, which the client shows from now on, lacks them.
        """
        name = str(channel)
        if connection.closing:
            return
        if position.epoch != self._hub.epoch:
            self._refuse_for_now(connection, request)  # a new epoch, which this server has not read yet
            return
        subscription = connection.subscriptions.get(name)
        is_new = subscription is None
        if subscription is None:
            as_text = connection.as_text if request.as_text is None else request.as_text
            subscription = Subscription(channel, request.target.by_market, as_text)
            connection.subscriptions[name] = subscription
            metrics.subscriptions.inc()
            metrics.begun.labels(outcome).inc()
            if outcome != "fresh":
                self._hub.client_log.note(outcome)
        snapshot = state.snapshot if state else None
        names = _named_subscriptions(connection)
        connection.send(
            protocol.subscribed(
                request.target, channel, position, outcome, snapshot, names, as_text=subscription.as_text
            )
        )
        if is_new:
            self._follow(connection, subscription, position.offset)
        elif self._hub.leave(name, connection, as_text=subscription.as_text):
            self._follow(connection, subscription, min(position.offset, self._hub.position))

    def _follow(self, connection: SocketConnection, subscription: Subscription, offset: int) -> None:
        """Send the messages after `offset`: at once if they are few and in memory, else by a task of the connection."""
        if self._go_live(connection, subscription, offset):
            return
        task = asyncio.create_task(self._catch_up(connection, subscription, offset))
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    def _go_live(self, connection: SocketConnection, subscription: Subscription, offset: int) -> bool:
        """Send the messages after `offset` and join the channel's subscribers, in one step.

        Return False, and send nothing, if some of the messages are not in memory or exceed a quarter of `queue_bytes`.
        """
        missed = self._hub.since(offset) if offset <= self._hub.position else None
        if missed is None:
            return False
        payloads = list(_payloads(subscription, missed))
        if sum(map(len, payloads)) > self._limits.queue_bytes // 4:
            return False
        connection.send_all(payloads)
        self._hub.join(str(subscription.channel), connection, as_text=subscription.as_text)
        return True

    async def _catch_up(self, connection: SocketConnection, subscription: Subscription, offset: int) -> None:
        """Replay messages in pages, as fast as the client reads, until the subscription can go live."""
        while True:
            await self._hub.reached(offset)
            await connection.writable()
            if not subscription.active or self._go_live(connection, subscription, offset):
                return
            try:
                offset = await self._replay(connection, subscription, offset)
            except StoreError:
                await asyncio.sleep(_RETRY_S)
            except Exception:
                log.exception("replay failed", channel=str(subscription.channel))
                connection.close(
                    frames.CloseCode.INTERNAL, "internal error"
                )  # otherwise the client would wait for messages in vain
                return

    async def _replay(self, connection: SocketConnection, subscription: Subscription, offset: int) -> int:
        """Send one page of messages, from memory or PostgreSQL, and return the offset from which to continue.

        A connection has one page in memory, whatever the number of its replays. The offset is the same as before if the
        epoch is about to change.
        """
        async with connection.replaying:
            await connection.writable()
            return await self._send_page(connection, subscription, offset) if subscription.active else offset

    async def _send_page(self, connection: SocketConnection, subscription: Subscription, offset: int) -> int:
        channel, upto = subscription.channel, min(offset + _PAGE, self._hub.position)
        missed = self._hub.since(offset)
        if missed is None:
            async with self._replays.permit(connection.address):
                changes = await change_feed.read_filtered(
                    self._pool, offset, upto, channel.topics, channel.market_id, _PAGE_MESSAGES
                )
                head = await change_feed.head(self._pool)
            if head.epoch != self._hub.epoch:
                await asyncio.sleep(_RETRY_S)  # the hub is about to disconnect all clients for a new epoch
                return offset
            if head.kept_from > offset + 1:
                return await self._gap_during_replay(connection, subscription, offset)
            missed = [encode(change, head.epoch) for change in changes]
            del changes
        else:
            missed = [each for each in missed if str(channel) in each.channels][:_PAGE_MESSAGES]
        if len(missed) == _PAGE_MESSAGES:
            upto = min(upto, missed[-1].offset)
        for payloads in _slices(_payloads(subscription, [each for each in missed if each.offset <= upto])):
            await connection.writable()
            if subscription.active:
                connection.send_all(payloads)
        return upto

    async def _gap_during_replay(
        self, connection: SocketConnection, subscription: Subscription, offset: int
    ) -> int:
        """Report that the feed was pruned before the replay reached `offset` + 1, and send the channel's state instead.

        Return the offset of the state, from which the replay continues.
        """
        channel = subscription.channel
        state = await self._read_state(connection, channel)
        position, names = _offset_of(state), _named_subscriptions(connection)
        if position.epoch != self._hub.epoch:
            await asyncio.sleep(_RETRY_S)  # the hub is about to disconnect all clients for a new epoch
            return offset
        if not subscription.active:
            return offset
        target = SubscriptionTarget(ChannelName(channel.kind, channel.market_id), subscription.by_market)
        connection.send(protocol.gap(channel, position, offset + 1))
        connection.send(
            protocol.subscribed(
                target, channel, position, "gap", state.snapshot, names, as_text=subscription.as_text
            )
        )
        return state.head

    def _position(self) -> FeedOffset:
        return FeedOffset(self._hub.epoch, self._hub.position)

    def _refuse_for_now(self, connection: SocketConnection, request: SubscribeRequest) -> None:
        """Refuse a request as unavailable, so that the client may repeat it.

        If the URL made the request, the connection is closed: the client repeats the request when it reconnects.
        """
        self._refuse(connection, _DATABASE_UNAVAILABLE)
        if request.by_url:
            connection.dismiss("a channel of the URL is unavailable")

    def _refuse(self, connection: SocketConnection, refused: RefusedRequest) -> None:
        metrics.errors.labels(refused.code).inc()
        connection.send(protocol.error(self._position(), refused))


_TOO_MANY = RefusedRequest("Too many subscriptions on this connection", "too_many_subscriptions")
_DATABASE_UNAVAILABLE = RefusedRequest("The database is unavailable at the moment: try again", "unavailable")


def _payloads(subscription: Subscription, messages: Iterable[WireMessage]) -> Iterator[bytes]:
    name = str(subscription.channel)
    carried = (message for message in messages if name in message.channels)
    if subscription.as_text:
        carried = (message.with_text_amounts() for message in carried)
    return (message.payload(name) for message in carried)


def _slices(payloads: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for payload in payloads:
        part.append(payload)
        size += len(payload)
        if size >= _SLICE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _offset_of(state: ChannelState) -> FeedOffset:
    return FeedOffset(state.epoch, state.head)


def _named_subscriptions(connection: SocketConnection) -> list[str]:
    """Return the connection's subscriptions as the client named them: by market id, or by channel."""
    return [
        (subscription.channel.market_id or name) if subscription.by_market else name
        for name, subscription in connection.subscriptions.items()
    ]
