"""Ask every service once a second whether it is alive and ready, to measure its uptime from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx
import msgspec

from zmart.services.contract import SERVICES
from zmart.settings import Settings

EVERY_S = 1.0
_WITHIN_S = 5.0


class ProbeAnswer(msgspec.Struct, frozen=True):
    """The answer to one probe at second `at_s` of the soak; `why` is the failure's reason, empty for a 200."""

    at_s: float
    service: str
    path: str
    why: str


class Prober:
    """Probes /health and /ready of the six services once a second until cancelled."""

    def __init__(self, settings: Settings) -> None:
        self.answers: list[ProbeAnswer] = []
        self._bases = {name: f"http://127.0.0.1:{getattr(settings, port)}" for name, port in SERVICES.items()}
        self._began = time.monotonic()

    async def run(self) -> None:
        async with (
            httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            for service, base in self._bases.items():
                for path in ("/health", "/ready"):
                    group.create_task(self._probe(http, service, base, path))

    async def _probe(self, http: httpx.AsyncClient, service: str, base: str, path: str) -> None:
        while True:
            at_s = time.monotonic() - self._began
            try:
                response = await http.get(base + path)
                why = "" if response.status_code == 200 else f"{response.status_code} {response.text[:200]}"
            except httpx.HTTPError as problem:
                why = f"{type(problem).__name__}: {problem}"
            self.answers.append(ProbeAnswer(at_s, service, path, why))
            await asyncio.sleep(max(0.0, at_s + EVERY_S - (time.monotonic() - self._began)))

    def uptime(self) -> Mapping[str, float]:
        """Return, by service, the share (0 to 1) of its probes that were answered with 200."""
        asked, failed = dict.fromkeys(SERVICES, 0), dict.fromkeys(SERVICES, 0)
        for answer in self.answers:
            asked[answer.service] += 1
            failed[answer.service] += bool(answer.why)
        return {name: 1 - failed[name] / asked[name] if asked[name] else 0.0 for name in SERVICES}
