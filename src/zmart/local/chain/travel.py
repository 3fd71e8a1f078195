"""Read the chain's clock, and advance that of the local chain. Slots and time never decrease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from zmart.chain.clock import ChainClock
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.times import readable_seconds

# Surfpool passes through all epochs in between, so a call takes longer the farther it advances the clock.
_STEP_S = 24 * 3600
_VISIBLE_WITHIN_S = 30.0
_POLL_S = 0.02
_SURFPOOL = "surfnet-version"


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """The clocks of the chain (at `slot`) and of this host, in Unix seconds."""

    chain_s: int
    host_s: int
    slot: int
    is_local_chain: bool

    @property
    def ahead_s(self) -> int:
        """Return by how many seconds the chain's clock is ahead of the host's; negative if it is behind."""
        return self.chain_s - self.host_s


async def read_clocks(rpc: Rpc) -> ClockReading:
    """Read the chain's clock and the host's, and whether the RPC is a local chain. Raises ChainError."""
    is_local_chain = await _is_local_chain(rpc)
    clock = await rpc.get_clock()
    return ClockReading(
        chain_s=clock.unix_timestamp, host_s=int(time.time()), slot=clock.slot, is_local_chain=is_local_chain
    )


async def require_local_chain(rpc: Rpc) -> None:
    """Raise ChainError unless the RPC is a local chain: only such a chain's clock can be advanced."""
    if not await _is_local_chain(rpc):
        raise ChainError(
            "The RPC of SOLANA_RPC_URL is no local chain: only the clock of a chain of `zmart up` can be advanced."
        )


async def advance(
    rpc: Rpc, seconds: int, on_step: Callable[[int], None] = lambda travelled_s: None
) -> ChainClock:
    """Advance the local chain's clock by `seconds`, and return the clock that programs see afterwards.

    The clock advances in steps of a day; `on_step` gets the seconds advanced so far after each. Raises ChainError.
    """
    began_s = (await rpc.get_clock()).unix_timestamp
    for travelled_s in (*range(_STEP_S, seconds, _STEP_S), seconds):
        target_s = began_s + travelled_s
        await _jump(rpc, target_s)
        on_step(travelled_s)
    return await _visible(rpc, began_s + seconds)


async def _jump(rpc: Rpc, target_s: int) -> None:
    """Set the clock to `target_s` (Unix seconds). Raises ChainError.

    An error is ignored if the clock shows that time: the answer to an earlier attempt was lost, and the repeated call
    is refused since time never decreases.
    """
    try:
        await rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target_s * 1000}])
    except ChainError:
        if (await rpc.get_clock()).unix_timestamp < target_s:
            raise


async def _is_local_chain(rpc: Rpc) -> bool:
    version = await rpc.call("getVersion")
    return isinstance(version, dict) and _SURFPOOL in version


async def _visible(rpc: Rpc, target_s: int) -> ChainClock:
    """Wait until programs see the time `target_s` (Unix seconds), which takes a block. Raises ChainError after 30 s."""
    deadline = time.monotonic() + _VISIBLE_WITHIN_S
    while True:
        clock = await rpc.get_clock()
        if clock.unix_timestamp >= target_s:
            return clock
        if time.monotonic() > deadline:
            raise ChainError(
                f"The local chain's clock shows {readable_seconds(clock.unix_timestamp)} instead of "
                f"{readable_seconds(target_s)}: look at `zmart logs chain`."
            )
        await asyncio.sleep(_POLL_S)
