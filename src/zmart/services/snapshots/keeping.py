"""Pin stored documents at a provider, read them back through its gateway, and unpin them after their retention.

Every step may be repeated: an upload of the same bytes makes the same pin. A pin counts as verified only after its
bytes were read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from zmart.errors import StoreError, ZmartError, reason_of
from zmart.ipfs.cid import parse_cid, same_file
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinning import PinClient, PinError
from zmart.market.types import MarketId
from zmart.services.snapshots import metrics
from zmart.store import anchors
from zmart.store.anchors import DueAnchor, OpenAnchor
from zmart.store.pool import Pool

_BATCH = 500
_AT_ONCE = 4
_MOST_BYTES = 16_000_000

log = structlog.get_logger()


class NotUnpinned(PinError):
    """Report that a provider did not remove pins whose retention is over. It removed all others."""


class PinKeeper:
    """Pin, verify and unpin documents at one provider.

    Snapshots stay pinned for `keep_days` days, other documents permanently.
    """

    def __init__(
        self,
        pool: Pool,
        pins: PinClient,
        gateway_url: str,
        keep_days: int,
        *,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._pool = pool
        self._pins = pins
        self._gateway_url = gateway_url
        self._keep_days = keep_days
        self._most_bytes = most_bytes

    @property
    def provider(self) -> str:
        """Return the name of the pinning provider."""
        return self._pins.name

    async def pin_open(self, market_id: MarketId | None = None) -> int:
        """Pin and verify up to 500 documents that are not verified yet, and return how many were verified.

        With `market_id`, only that market's documents are pinned. The failure of a document is recorded and retried by
        a later call. Raises PinError if the provider cannot be used at all. The bytes of about 16 MB of documents are
        in memory at once, or of one larger document.
        """
        tried: list[int] = []
        verified = 0
        while len(tried) < _BATCH:
            waiting = await anchors.open_anchors(
                self._pool, _BATCH - len(tried), market_id, most_bytes=self._most_bytes, without=tried
            )
            if not waiting:
                break
            if not tried:
                await self._pins.check()
            tried += [anchor.id for anchor in waiting]
            verified += await self._pin_all(waiting)
        return verified

    async def _pin_all(self, waiting: Sequence[OpenAnchor]) -> int:
        permits = asyncio.Semaphore(_AT_ONCE)

        async def one(anchor: OpenAnchor) -> bool:
            async with permits:
                return await self._try_pin(anchor)

        return sum(await asyncio.gather(*(one(anchor) for anchor in waiting)))

    async def unpin_expired(self) -> int:
        """Unpin up to 500 documents whose retention is over, and return their number.

        A document that another row still needs stays pinned at the provider. Raises PinError if the provider cannot be
        used at all, and NotUnpinned, after all others, for pins that it does not remove; a later call tries again.
        """
        due = await anchors.due(self._pool, self.provider, _BATCH)
        if not due:
            return 0
        await self._pins.check()
        refused = [problem for pin in due if (problem := await self._try_unpin(pin)) is not None]
        if refused:
            raise NotUnpinned(
                f"{len(refused)} pin(s) could not be removed at {self.provider} after their retention: {refused[0]}"
            )
        return len(due)

    async def _try_pin(self, anchor: OpenAnchor) -> bool:
        try:
            await self._pin_and_read(anchor)
        except StoreError:
            raise
        except Exception as problem:  # whatever it is, other documents are still to be pinned
            error = reason_of(problem)
            metrics.failures.inc()
            log.warning(
                "pin not verified",
                market=anchor.market_id,
                cid=anchor.cid,
                error=error,
                exc_info=not isinstance(problem, ZmartError),
            )
            await anchors.failed(self._pool, anchor.id, error)
            return False
        return True

    async def _pin_and_read(self, anchor: OpenAnchor) -> None:
        if not await asyncio.to_thread(same_file, anchor.cid, anchor.content):
            raise PinError(f"The stored bytes for {anchor.cid} do not hash to that CID.")
        if anchor.pinned_at is None or anchor.attempts > 0:
            name = "-".join(
                filter(None, ("zmart", anchor.kind.value, anchor.market_id, str(anchor.snapshot_day or "")))
            )
            version = parse_cid(anchor.cid).version
            keyvalues = {"market": anchor.market_id, "kind": anchor.kind.value}
            pinned = await self._pins.pin(
                anchor.content, f"{name}.json", cid_version=version, keyvalues=keyvalues
            )
            await anchors.pinned(self._pool, anchor.id, pinned.provider, pinned.provider_id, self._keep_days)
            metrics.pinned.inc()
        read = await fetch_from_gateway(self._gateway_url, anchor.cid, max_bytes=len(anchor.content))
        if read != anchor.content:
            raise PinError(f"The gateway returned other bytes for {anchor.cid} than were pinned.")
        await anchors.verified(self._pool, anchor.id)
        metrics.verified.inc()
        log.info("pin verified", market=anchor.market_id, kind=anchor.kind.value, cid=anchor.cid)

    async def _try_unpin(self, pin: DueAnchor) -> str | None:
        """Unpin a document; return why the provider does not, or None."""
        try:
            if not pin.needed:
                await self._pins.unpin(pin.cid)
        except StoreError:
            raise
        except Exception as problem:  # whatever it is, other pins are still to be removed
            error = reason_of(problem)
            log.warning(
                "pin not removed",
                market=pin.market_id,
                cid=pin.cid,
                error=error,
                exc_info=not isinstance(problem, ZmartError),
            )
            return error
        await anchors.unpinned(self._pool, pin.id)
        metrics.unpinned.inc()
        log.info("pin removed after its retention", cid=pin.cid, market=pin.market_id)
        return None
