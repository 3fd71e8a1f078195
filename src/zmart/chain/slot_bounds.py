"""Bound the slots and times that a node may report by what the chain can have reached.

The index stores the highest slot and time and never lowers them. So one absurd answer would make everything up to it
count as complete. Two rules hold for the public clusters; they are wide enough for every honest node:

- No cluster produces more than SLOTS_PER_S slots in a second of real time. They are counted from the newest Clock that
  was accepted. A restarted service takes that Clock from the index.
- No cluster's Clock is more than AHEAD_S seconds ahead of this machine's clock.

On any other chain, such as the local one, a user may advance the clock by days or years, and its slots advance with it.
There a Clock is accepted if its slots account for its time, and any other slot if it is near that of the node's Clock.
"""

from __future__ import annotations

import time

import msgspec

from zmart.chain.clock import ChainClock
from zmart.chain.rpc_answer import BadAnswer
from zmart.market.types import ChainTime, Slot

SLOTS_PER_S = 10
"""Maximum number of slots that a public cluster produces in a second: four times what it produces today."""
MARGIN_SLOTS = 150
"""Slots that are allowed on top of the computed maximum."""
AHEAD_S = 600
"""Maximum lead, in seconds, of a cluster's Clock over this machine's clock."""
PUBLIC_CLUSTERS = {
    "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d": "mainnet-beta",
    "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG": "devnet",
    "4uhcVJyU9pJkvQyS88uRDiswHScSCkY3zQcPDbvUbTzY": "testnet",
}
"""Genesis hashes of the public clusters, whose clock no user can advance, and the clusters' names."""
LAG_S = 600
"""Maximum lag, in seconds, of a public cluster's Clock for a reader that needs a recent one."""
_OTHER_SLOTS_PER_S = 1_000
_OTHER_SECONDS_PER_SLOT = 20
"""Maximum duration of a slot of another chain: twice the longest LOCAL_CHAIN_SLOT_MS."""
_FIRST_CLUSTER = 1_584_316_800
"""2020-03-16 in unix seconds: no slot of a public cluster is older."""
_REFRESH_S = 60.0


class _AcceptedClock(msgspec.Struct, frozen=True):
    clock: ChainClock
    at: float
    """The value of `time.monotonic()` when the Clock was accepted."""


class SlotBounds:
    """Bound the slots of one chain. `learn` accepts Clocks; no slot above `ceiling()` can exist yet."""

    def __init__(self) -> None:
        self.is_public = False
        self._newest: _AcceptedClock | None = None

    def belong_to(self, genesis_hash: str) -> None:
        """Set the chain by its genesis hash.

        A Clock that was accepted before is kept only if it is possible by the rules of that chain.
        """
        before, self._newest = self._newest, None
        self.is_public = genesis_hash in PUBLIC_CLUSTERS
        if before is not None and not self._why_impossible(before.clock):
            self._newest = before

    @property
    def is_due(self) -> bool:
        """Return whether the newest Clock is missing or older than a minute, so that the ceiling is imprecise."""
        return self._newest is None or time.monotonic() - self._newest.at > _REFRESH_S

    def ceiling(self) -> Slot | None:
        """Return the highest slot that can exist now, or None before the first Clock."""
        if self._newest is None:
            return None
        clock = self._newest.clock
        age_s = time.monotonic() - self._newest.at
        if self.is_public:  # an accepted Clock may be that of a node that lags
            age_s = max(age_s, time.time() - clock.unix_timestamp)
        rate = SLOTS_PER_S if self.is_public else _OTHER_SLOTS_PER_S
        return Slot(clock.slot + MARGIN_SLOTS + int(rate * age_s))

    def learn(self, clock: ChainClock) -> None:
        """Accept a Clock that a node reports. Raises BadAnswer if the chain cannot have reached it."""
        if reason := self._why_impossible(clock):
            raise BadAnswer(reason)
        if not self.is_public or self._newest is None or clock.slot >= self._newest.clock.slot:
            self._newest = _AcceptedClock(clock, time.monotonic())

    def check_slot(self, slot: Slot) -> None:
        """Raise BadAnswer if a slot is above the ceiling."""
        ceiling = self.ceiling()
        if ceiling is not None and slot > ceiling:
            raise BadAnswer(f"it reports slot {slot}, and the chain can have reached slot {ceiling} at most")

    def check_recent(self, clock: ChainClock) -> None:
        """Raise BadAnswer if a public cluster's Clock is more than LAG_S seconds behind this machine's clock.

        The node lags, or the cluster has stopped.
        """
        lag_s = int(time.time()) - clock.unix_timestamp
        if self.is_public and lag_s > LAG_S:
            raise BadAnswer(f"its Clock is {lag_s} s behind this machine's")

    def check_time(self, at: ChainTime) -> None:
        """Raise BadAnswer if a public cluster reports a time more than AHEAD_S seconds in the future."""
        if self.is_public and at > time.time() + AHEAD_S:
            raise BadAnswer(_ahead(at))

    def _why_impossible(self, clock: ChainClock) -> str:
        if clock.unix_timestamp > time.time() + AHEAD_S and not self._is_jump(clock):
            return _ahead(clock.unix_timestamp)
        rate = SLOTS_PER_S if self.is_public else _OTHER_SLOTS_PER_S
        most = rate * (max(clock.unix_timestamp, int(time.time())) - _FIRST_CLUSTER)
        if self.is_public:
            most = min(most, self.ceiling() or most)
        if clock.slot > most:
            return f"its Clock reports slot {clock.slot}, and the chain can have reached slot {most} at most"
        return ""

    def _is_jump(self, clock: ChainClock) -> bool:
        """Return whether the chain's clock may have been advanced together with its slots.

        No public cluster's clock can be.
        """
        if self.is_public or self._newest is None:
            return not self.is_public
        before = self._newest.clock
        slots = max(0, clock.slot - before.slot)
        return clock.unix_timestamp - before.unix_timestamp <= AHEAD_S + _OTHER_SECONDS_PER_SLOT * slots


def _ahead(at: ChainTime) -> str:
    ahead_s = at - int(time.time())
    return f"it reports a time that is {ahead_s} s ahead of this machine's clock: one of the two is wrong"
