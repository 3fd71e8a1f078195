"""Fold GlobalConfig from its three events, and look up the config that is in force at a position on chain."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

import msgspec

from zmart.market.events import (
    AnyEvent,
    ChainEvent,
    ConfigUpdated,
    GlobalConfigInitialized,
    ProtocolPauseStatusChanged,
    StoredEvent,
    Unlogged,
    kind_of,
)
from zmart.market.lifecycle import FoldError
from zmart.market.pricing.fees import FeeSchedule
from zmart.market.types import Bps, Slot, Wallet

CONFIG_EVENTS = (GlobalConfigInitialized, ConfigUpdated, ProtocolPauseStatusChanged)
"""The events that create or change GlobalConfig."""

ChainKey = tuple[int, int, int]
"""A position in chain order: slot, index in the block, ordinal."""


def chain_key(event: ChainEvent) -> ChainKey:
    """Return an event's position in chain order. An unknown index in the block counts as 0."""
    return (event.slot, event.index_in_block or 0, event.ordinal)


class ConfigFold(msgspec.Struct, frozen=True, kw_only=True):
    """Hold GlobalConfig; fees and thresholds are in basis points, the two times in seconds.

    The defaults are the values that initialize_global_config sets and its event omits. `updated_slot` is the slot of
    the newest event.
    """

    admin: Wallet
    backend_authority: Wallet
    protocol_fee_bps: Bps
    resolver_reward_bps: Bps = Bps(200)
    liquidity_provider_fee_bps: Bps = Bps(500)
    proposal_approval_threshold: Bps = Bps(7_000)
    dispute_success_threshold: Bps = Bps(6_000)
    min_resolution_delay: int = 86_400
    dispute_period: int = 259_200
    is_paused: bool = False
    updated_slot: Slot

    @property
    def fees(self) -> FeeSchedule:
        """Return the three fee rates."""
        return FeeSchedule.of_config(self)


UPDATED_FIELDS = (
    "protocol_fee_bps",
    "resolver_reward_bps",
    "liquidity_provider_fee_bps",
    "proposal_approval_threshold",
    "dispute_success_threshold",
    "min_resolution_delay",
    "dispute_period",
)
"""The values that update_global_config may change, as its arguments, its event and GlobalConfig name them."""


def is_config(event: ChainEvent) -> bool:
    """Return whether the event concerns GlobalConfig instead of a market."""
    return kind_of(event.event) in CONFIG_EVENTS


def apply_config(before: ConfigFold | None, event: StoredEvent, slot: Slot) -> ConfigFold:
    """Return the config after one of its events; `before` is None for the first one.

    Raises FoldError if the first event is not the initialization, or if the instruction of a lost event does not change
    the config.
    """
    if isinstance(event, GlobalConfigInitialized):
        return ConfigFold(
            admin=event.admin,
            backend_authority=event.backend_authority,
            protocol_fee_bps=event.protocol_fee_bps,
            updated_slot=slot,
        )
    if before is None:
        raise FoldError(f"{type(event).__name__} cannot come before GlobalConfigInitialized")
    if isinstance(event, Unlogged):
        event = _complete(event, before)
    if isinstance(event, ProtocolPauseStatusChanged):
        return msgspec.structs.replace(before, is_paused=event.is_paused, updated_slot=slot)
    assert isinstance(event, ConfigUpdated)
    changes = {name: getattr(event, name) for name in UPDATED_FIELDS}
    return msgspec.structs.replace(before, **changes, updated_slot=slot)


def _complete(lost: Unlogged, before: ConfigFold) -> AnyEvent:
    """Return the event that the program emitted for an instruction whose event is missing in the log."""
    if lost.instruction == "emergency_pause":
        return ProtocolPauseStatusChanged(
            is_paused=not before.is_paused, paused_by=lost.user, timestamp=lost.timestamp
        )
    if lost.instruction != "update_global_config":
        raise FoldError(f"{lost.instruction} does not change the config")
    values = {name: _updated(lost.arguments[name], getattr(before, name)) for name in UPDATED_FIELDS}
    return ConfigUpdated(**values, timestamp=lost.timestamp)


def _updated(argument: int | None, before: int) -> Any:  # noqa: ANN401  # bps or seconds, as the field is
    return before if argument is None else int(argument)


class ConfigHistory:
    """Hold every version of GlobalConfig, so that each trade is folded with the fees that were in force for it.

    Events before the first GlobalConfigInitialized are skipped.
    """

    def __init__(self, events: Iterable[ChainEvent]) -> None:
        self._keys: list[ChainKey] = []
        self._configs: list[ConfigFold] = []
        self._fees: list[FeeSchedule] = []
        latest: ConfigFold | None = None
        for event in sorted(events, key=chain_key):
            if latest is None and not isinstance(event.event, GlobalConfigInitialized):
                continue  # GlobalConfigInitialized has not arrived yet; then the whole history is read again
            latest = apply_config(latest, event.event, event.slot)
            self._keys.append(chain_key(event))
            self._configs.append(latest)
            self._fees.append(latest.fees)

    @property
    def latest(self) -> ConfigFold | None:
        """Return the newest config, or None if there is none yet."""
        return self._configs[-1] if self._configs else None

    def at(self, key: ChainKey) -> ConfigFold:
        """Return the config in force just before the position `key`. Raises FoldError if there was none yet."""
        return self._configs[self._index_before(key)]

    def fees_at(self, key: ChainKey) -> FeeSchedule:
        """Return the fee rates in force just before `key`. Raises FoldError if there was no config yet."""
        return self._fees[self._index_before(key)]

    def _index_before(self, key: ChainKey) -> int:
        index = bisect_left(self._keys, key)
        if index == 0:
            raise FoldError("no GlobalConfigInitialized is known from before this event")
        return index - 1
