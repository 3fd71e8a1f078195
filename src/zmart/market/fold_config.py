"""GlobalConfig as a fold of its three events, and the config in force at any place on chain."""

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

ChainKey = tuple[int, int, int]
"""(slot, index in block, ordinal): chain order."""


def chain_key(event: ChainEvent) -> ChainKey:
    """An event alone in its slot needs no index."""
    return (event.slot, event.index_in_block or 0, event.ordinal)


class ConfigFold(msgspec.Struct, frozen=True, kw_only=True):
    """GlobalConfig. The defaults are those that initialize_global_config sets and its event does not carry."""

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
        return FeeSchedule(self.protocol_fee_bps, self.resolver_reward_bps, self.liquidity_provider_fee_bps)


_UPDATED = (
    "protocol_fee_bps",
    "resolver_reward_bps",
    "liquidity_provider_fee_bps",
    "proposal_approval_threshold",
    "dispute_success_threshold",
    "min_resolution_delay",
    "dispute_period",
)


def is_config(event: ChainEvent) -> bool:
    """Whether it is about GlobalConfig, not about a market."""
    return kind_of(event.event) in CONFIG_EVENTS


def apply_config(before: ConfigFold | None, event: StoredEvent, slot: Slot) -> ConfigFold:
    """The config after one of its events. Raises FoldError for the first event not being the initialization."""
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
    changes = {name: getattr(event, name) for name in _UPDATED}
    return msgspec.structs.replace(before, **changes, updated_slot=slot)


def _complete(lost: Unlogged, before: ConfigFold) -> AnyEvent:
    """What the program emitted for an instruction whose event the log lost."""
    if lost.instruction == "emergency_pause":
        return ProtocolPauseStatusChanged(
            is_paused=not before.is_paused, paused_by=lost.user, timestamp=lost.timestamp
        )
    if lost.instruction != "update_global_config":
        raise FoldError(f"{lost.instruction} does not change the config")
    values = {name: _kept(lost.arguments[name], getattr(before, name)) for name in _UPDATED}
    return ConfigUpdated(**values, timestamp=lost.timestamp)


def _kept(argument: int | None, before: int) -> Any:  # noqa: ANN401  # bps or seconds, as the field is
    return before if argument is None else int(argument)


class ConfigHistory:
    """Every config there was, for folding trades with the fees that they paid."""

    def __init__(self, events: Iterable[ChainEvent]) -> None:
        self._keys: list[ChainKey] = []
        self._configs: list[ConfigFold] = []
        self._fees: list[FeeSchedule] = []
        latest: ConfigFold | None = None
        for event in sorted(events, key=chain_key):
            if latest is None and not isinstance(event.event, GlobalConfigInitialized):
                continue  # its beginning has not been delivered yet; the whole history is read again then
            latest = apply_config(latest, event.event, event.slot)
            self._keys.append(chain_key(event))
            self._configs.append(latest)
            self._fees.append(latest.fees)

    @property
    def latest(self) -> ConfigFold | None:
        return self._configs[-1] if self._configs else None

    def at(self, key: ChainKey) -> ConfigFold:
        """The config in force for the transaction at `key`. Raises FoldError before the first one."""
        return self._configs[self._place(key)]

    def fees_at(self, key: ChainKey) -> FeeSchedule:
        """Its fees, as `at`."""
        return self._fees[self._place(key)]

    def _place(self, key: ChainKey) -> int:
        place = bisect_left(self._keys, key)
        if place == 0:
            raise FoldError("no GlobalConfigInitialized is known from before this event")
        return place - 1
