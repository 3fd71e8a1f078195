"""A person before a running stack who reads docs/operations.md and looks for what it says."""

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
"""Silence is told after 30 s; pins are tried again every minute."""
_ALERTS = "SELECT key, message FROM alerts WHERE resolved_at IS NULL"


@dataclass
class Operator:
    """A person before a running stack, with the runbook at hand."""

    settings: Settings
    http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def before(cls, settings: Settings) -> AsyncIterator[Operator]:
        """An operator of this stack, once all of it is ready."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            operator = cls(settings, http)
            await operator.sees_all_ready()
            yield operator

    async def reason(self, service: str) -> str:
        """Why a service is not ready; empty when it is."""
        port = getattr(self.settings, SERVICES[service])
        try:
            answer = await self.http.get(f"http://127.0.0.1:{port}/ready")
        except httpx.TransportError as problem:
            return type(problem).__name__
        return "" if answer.status_code == 200 else str(answer.json()["reason"])

    async def alerts(self) -> dict[str, str]:
        """The open alerts with their messages."""
        database = await asyncpg.connect(self.settings.require("database_url"))
        try:
            return {row["key"]: row["message"] for row in await database.fetch(_ALERTS)}
        finally:
            await database.close()

    async def dashboard(self) -> str:
        return (await self.http.get(f"http://127.0.0.1:{self.settings.api_port}/dashboard")).text

    async def sees_alert(self, prefix: str) -> str:
        """Wait for an alert whose key begins so, on the dashboard too; its row is in the runbook."""
        assert any(f"`{prefix}" in row[0] for row in rows("Alerts")), f"{prefix} has no row in the runbook"
        found = await until(
            self.alerts, lambda keys: _with(keys, prefix), within_s=SEEN_WITHIN_S, every_s=0.2
        )
        key = _with(found, prefix)[0]
        await until(self.dashboard, lambda page: key in page, within_s=10, every_s=0.5)
        return found[key]

    async def sees_alert_closed(self, prefix: str) -> None:
        await until(self.alerts, lambda keys: not _with(keys, prefix), within_s=OVER_WITHIN_S, every_s=0.2)

    async def sees_unready(self, service: str, words: str) -> None:
        """Wait for a reason of /ready; its row is in the runbook."""
        assert words in section("Why /ready is 503"), f"{words!r} has no row in the runbook"
        await until(
            lambda: self.reason(service), lambda reason: words in reason, within_s=SEEN_WITHIN_S, every_s=0.2
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
        """Read what the runbook says of this unavailable server; it says these words."""
        row = next(row for row in rows("Unavailable servers") if server_of(row) == unavailable)
        assert [each for each in words if each not in " | ".join(row)] == []

    @asynccontextmanager
    async def without(self, process: str) -> AsyncIterator[None]:
        """The process is stopped within the block, and then started as `zmart restart` does."""
        supervisor = supervisor_of(self.settings.zmart_home)
        name = next(f"{info.group}:{info.name}" for info in supervisor.processes() if info.name == process)
        supervisor.stop(name)
        try:
            yield
        finally:
            supervisor.start(name)


def _with(alerts: dict[str, str], prefix: str) -> list[str]:
    return [key for key in alerts if key.startswith(prefix)]
