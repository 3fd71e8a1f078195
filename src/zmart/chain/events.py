"""Decode the program's 18 events from the bytes that Anchor's emit! logs to the structs of zmart.market.events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

import msgspec

from zmart.chain.idl import Idl
from zmart.chain.mirror import Mirror
from zmart.errors import ConfigError, DecodeError
from zmart.market.events import AnyEvent

EVENT_TYPES: Mapping[str, type[msgspec.Struct]] = {cls.__name__: cls for cls in get_args(AnyEvent)}


class UnknownEvent(DecodeError):
    """Report a discriminator that belongs to none of the program's events."""


class EventCodec:
    """Encode and decode events: an 8-byte discriminator, then Borsh.

    The constructor raises ConfigError if the IDL lacks an event or describes it with other fields.
    """

    def __init__(self, idl: Idl) -> None:
        if missing := EVENT_TYPES.keys() - idl.events.keys():
            raise ConfigError(f"The IDL lacks the events {', '.join(sorted(missing))}.")
        self._by_name = {name: (idl.events[name], Mirror(idl, cls)) for name, cls in EVENT_TYPES.items()}
        self._read = {disc: mirror.read for disc, mirror in self._by_name.values()}

    def decode(self, payload: bytes) -> AnyEvent:
        """Decode an event's payload.

        Raises UnknownEvent for another discriminator, and DecodeError if the payload is too short, too long or out of
        range.
        """
        read = self._read.get(payload[:8])
        if read is None:
            raise UnknownEvent(f"The discriminator {payload[:8].hex()} is not an event of the program's IDL.")
        event, end = read(payload, 8)
        if end != len(payload):
            raise DecodeError(f"A {type(event).__name__} carries {len(payload) - end} bytes too many.")
        return cast("AnyEvent", event)

    def encode(self, event: AnyEvent) -> bytes:
        """Return the payload that the program logs for an event, without fields that the log does not have."""
        disc, mirror = self._by_name[type(event).__name__]
        return disc + mirror.write(event)
