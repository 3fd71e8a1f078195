"""Figures of the stack at one moment: memory and handles by process, bytes of all logs, rows by table, ticks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import httpx
import msgspec
import psutil

from zmart.local.stack import supervisor_of
from zmart.settings import Settings

MIB = 1024 * 1024
_TABLES = "SELECT quote_ident(relname) FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY 1"
_TICKS = re.compile(
    r'^zmart_(aggregator|monitor)_ticks_total\{result="(ok|failed)"\} ([0-9.e+]+)$', re.MULTILINE
)


class Figures(msgspec.Struct, frozen=True):
    """The figures at second `at_s` of the soak.

    `memory_mib` and `handles` are by process, `log_bytes` is the size of all logs, `rows` is by table.
    """

    at_s: float
    memory_mib: Mapping[str, float]
    handles: Mapping[str, int]
    log_bytes: int
    rows: Mapping[str, int]
    ticks: Mapping[str, int]
    """Numbers of ticks by "service result", such as "monitor ok"."""


async def read(settings: Settings, database: asyncpg.Connection, at_s: float) -> Figures:
    """Read all figures now."""
    memory, handles = {}, {}
    for info in supervisor_of(settings.zmart_home).processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if info.pid:
                memory[info.name], handles[info.name] = _process(info.pid)
    tables = [row[0] for row in await database.fetch(_TABLES)]
    rows = {table: await database.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    return Figures(at_s, memory, handles, _log_bytes(settings.zmart_home), rows, await _ticks(settings))


def _process(pid: int) -> tuple[float, int]:
    """Return the memory in MiB and the open handles of a process and all its descendants."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    memory = sum(_own_bytes(member.pid) for member in family)
    return round(memory / MIB, 1), sum(member.num_fds() for member in family)


def _own_bytes(pid: int) -> int:
    """Return the bytes that only this process has written to, also if they are swapped out.

    Pages of programs and libraries do not count: they are this process's own while no other one runs the same program
    (38 MiB of Node.js), and shared as soon as another test starts it.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    kib = dict(re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE))
    return 1024 * (int(kib["Private_Dirty"]) + int(kib["Swap"]))


def _log_bytes(home: Path) -> int:
    return sum(file.stat().st_size for file in (home / "logs").rglob("*") if file.is_file())


async def _ticks(settings: Settings) -> dict[str, int]:
    ticks: dict[str, int] = {}
    async with httpx.AsyncClient(trust_env=False) as http:
        for port in (settings.aggregator_port, settings.monitor_port):
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            ticks |= {
                f"{service} {result}": int(float(count)) for service, result, count in _TICKS.findall(text)
            }
    return ticks
