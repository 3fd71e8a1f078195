"""An operator of a running stack, who checks that alerts and /ready are as docs/operations.md says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import httpx

from kit.runbook import rows, section, server_of
from kit.waiting import until
from zmart.local.stack import supervisor_of
from zmart.services.contract import SERVICES
from zmart.settings import Settings

SEEN_WITHIN_S, OVER_WITHIN_S = 90.0, 90.0
"""Seconds to wait for an alert, and for its end: a silent service has an alert after 30 s, a pin one retry a minute."""
_ALERTS = "SELECT key, message FROM alerts WHERE resolved_at IS NULL"


@dataclass
class Operator:
    """An operator of the stack with these settings; the runbook is docs/operations.md."""

    settings: Settings
    http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def before(cls, settings: Settings) -> AsyncIterator[Operator]:
        """Yield an operator of this stack, once all services are ready."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            operator = cls(settings, http)
            await operator.sees_all_ready()
            yield operator

    async def reason(self, service: str) -> str:
        """Return why a service is not ready; "" when it is, the exception's name when nothing answers."""
        port = getattr(self.settings, SERVICES[service])
        try:
            answer = await self.http.get(f"http://127.0.0.1:{port}/ready")
        except httpx.TransportError as problem:
            return type(problem).__name__
        return "" if answer.status_code == 200 else str(answer.json()["reason"])

    async def alerts(self) -> dict[str, str]:
        """Return the messages of the open alerts by key."""
        database = await asyncpg.connect(self.settings.require("database_url"))
        try:
            return {row["key"]: row["message"] for row in await database.fetch(_ALERTS)}
        finally:
            await database.close()

    async def dashboard(self) -> str:
        return (await self.http.get(f"http://127.0.0.1:{self.settings.api_port}/dashboard")).text

    async def sees_alert(self, prefix: str) -> str:
        """Wait for an alert whose key begins with `prefix`, also on the dashboard; return its message.

        AssertionError when the runbook has no row for it.
        """
        assert any(f"`{prefix}" in row[0] for row in rows("Alerts")), f"{prefix} has no row in the runbook"
        found = await until(
            self.alerts, lambda keys: _with(keys, prefix), within_s=SEEN_WITHIN_S, every_s=0.2
        )
        key = _with(found, prefix)[0]
        await until(self.dashboard, lambda page: key in page, within_s=10, every_s=0.5)
        return found[key]

    async def sees_alert_closed(self, prefix: str) -> None:
        await until(self.alerts, lambda keys: not _with(keys, prefix), within_s=OVER_WITHIN_S, every_s=0.2)

    async def sees_unready(self, service: str, *words: str) -> None:
        """Wait until /ready of a service is 503 with a reason that contains one of `words`.

        AssertionError when the runbook does not list one of the reasons.
        """
        missing = [each for each in words if each not in section("Why /ready is 503")]
        assert not missing, f"{missing} have no row in the runbook"
        await until(
            lambda: self.reason(service),
            lambda reason: any(each in reason for each in words),
            within_s=SEEN_WITHIN_S,
            every_s=0.2,
        )

    async def sees_all_ready(self) -> None:
        for service in SERVICES:
            await until(
                lambda name=service: self.reason(name),
                lambda why: not why,
                within_s=OVER_WITHIN_S,
                every_s=0.2,
            )

    def reads_row(self, unavailable: str, *words: str) -> None:
        """Check that the runbook's row about this unavailable server contains these words."""
        row = next(row for row in rows("Unavailable servers") if server_of(row) == unavailable)
        assert [each for each in words if each not in " | ".join(row)] == []

    @asynccontextmanager
    async def without(self, process: str) -> AsyncIterator[None]:
        """Stop a process of the stack within the block, and start it afterwards, as `zmart restart` does."""
        supervisor = supervisor_of(self.settings.zmart_home)
        name = next(f"{info.group}:{info.name}" for info in supervisor.processes() if info.name == process)
        supervisor.stop(name)
        try:
            yield
        finally:
            supervisor.start(name)


def _with(alerts: dict[str, str], prefix: str) -> list[str]:
    return [key for key in alerts if key.startswith(prefix)]
