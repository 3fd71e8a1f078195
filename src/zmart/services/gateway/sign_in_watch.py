"""Watch whether users can sign in. Sign-in needs writes to Redis, and no other check reports that they fail."""

from __future__ import annotations

import asyncio
import time

from zmart.errors import StoreError
from zmart.feed.redis_client import RedisClient
from zmart.store import alerts
from zmart.store.pool import Pool
from zmart.store.retrying import StopSignal, retrying

EVERY_S = 2.0
ALERT_AFTER_S = 4.0
RENEWED_EVERY_S = 10.0
ALERT_KEY = "sign-in"
_KEY = "auth:probe"
_EXPIRES_S = 60


class SignInWatch:
    """Test sign-in by a write to Redis every `every_s` seconds. `reason` says why users cannot sign in, and is empty
    while they can. It is set when two writes in a row fail; when they have failed for 4 s, an alert is raised, and
    raised again every `renewed_every_s` seconds. Any gateway that can write closes it: at once if only its own alert is
    open, else when no gateway has raised it for three times as long."""

    def __init__(
        self,
        pool: Pool,
        redis: RedisClient | None,
        every_s: float = EVERY_S,
        renewed_every_s: float = RENEWED_EVERY_S,
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._every_s = every_s
        self._renewed_every_s = renewed_every_s
        self._failing_since: float | None = None
        self._raised = 0
        """How often this process has raised the open alert; as often as it was raised only if no other process did."""
        self._next_at = 0.0
        """The monotonic time of the next look at the alert."""
        self.reason = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Test sign-in until `stop` is set. Without Redis return at once: sign-in is then off, which is no failure."""
        if self._redis is not None:
            await retrying(self._turn, StopSignal(stop), "Watching sign-in", retry_s=self._every_s)

    async def _turn(self) -> float:
        assert self._redis is not None, "run() checks it"
        try:
            await self._redis.set(_KEY, 1, ex=_EXPIRES_S)
        except StoreError as problem:
            await self._fails(str(problem), time.monotonic())
        else:
            self.reason, self._failing_since = "", None
            await self._succeeds(time.monotonic())
        return self._every_s

    async def _succeeds(self, now: float) -> None:
        if not self._raised and now < self._next_at:
            return
        quiet_s = 3 * self._renewed_every_s
        await alerts.resolve_unless_raised_elsewhere(self._pool, ALERT_KEY, self._raised, quiet_s)
        self._raised, self._next_at = 0, now + self._renewed_every_s

    async def _fails(self, problem: str, now: float) -> None:
        if self._failing_since is None:  # one late answer is no outage
            self._failing_since = now
            return
        self.reason = f"{problem} Nobody can sign in; sessions continue."
        if now - self._failing_since >= ALERT_AFTER_S and (not self._raised or now >= self._next_at):
            times = await alerts.raise_alert(self._pool, ALERT_KEY, "critical", self.reason)
            self._raised = 1 if times == 1 else self._raised + 1
            self._next_at = now + self._renewed_every_s
