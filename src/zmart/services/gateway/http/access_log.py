"""Write the access log: one line for each request. Lines of one iteration of the event loop are written together."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime

import msgspec
import structlog

from zmart.settings import Settings

log = structlog.get_logger()


class AccessLogEntry(msgspec.Struct, frozen=True):
    """A line of the access log as JSON, with the fields of structlog in their usual order. `ms` is the response
    time."""

    service: str
    request_id: str
    method: str
    path: str
    status: int
    ms: float
    event: str
    level: str
    timestamp: datetime


class AccessLog:
    """Write the access log. JSON lines are written directly, which is faster at thousands of lines a second; lines of
    another format are left to structlog. With a log level above info nothing is written."""

    def __init__(self, settings: Settings) -> None:
        self._as_json = settings.log_json
        self._is_on = getattr(logging, settings.log_level.upper()) <= logging.INFO
        self._notes: list[tuple[str, str, int, float, str]] = []

    def note(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        """Log an answered request. `path` is without the query; `seconds` is the response time."""
        if not self._is_on:
            return
        if not self._as_json:
            ms = round(seconds * 1000, 2)
            log.info("request", method=method, path=path, status=status, ms=ms, request_id=request_id)
            return
        if not self._notes:
            asyncio.get_running_loop().call_soon(self._write)
        self._notes.append((method, path, status, seconds, request_id))

    def _write(self) -> None:
        notes, self._notes = self._notes, []
        now = datetime.now(UTC)
        lines = [
            AccessLogEntry(
                "gateway", request_id, method, path, status, round(seconds * 1000, 2), "request", "info", now
            )
            for method, path, status, seconds, request_id in notes
        ]
        sys.stdout.write(msgspec.json.Encoder().encode_lines(lines).decode())
        sys.stdout.flush()
