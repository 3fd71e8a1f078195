"""Check everything that the local stack needs, and return a finding with advice for each check."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from zmart.errors import ZmartError
from zmart.local import extra
from zmart.local.addresses import stack_settings
from zmart.local.chain import node
from zmart.local.down_reasons import why_down
from zmart.local.environment import parts_of
from zmart.local.held_decisions import HELD, is_held
from zmart.local.log_files import why_unwritable
from zmart.local.ports import NAMES, holder
from zmart.local.postgres import find_bin_dir
from zmart.local.processes import port_is_free
from zmart.local.readiness import fetch_report
from zmart.local.stack import addon_folder, read_record, supervisor_of
from zmart.local.supervision import ProcessInfo, SupervisionError, SupervisorHangs
from zmart.local.valkey import find_binary
from zmart.ops.disk import free_bytes, full_disk
from zmart.settings import Settings, load_settings

_OF_THE_KERNEL = (("/", "proc"), ("/", "sys"))
"""File systems of the kernel: their modes say that root may write there, but no file can be created."""
MIN_FREE_BYTES = 2 * 1024**3
ANSWER_SECONDS, EMBEDDED_ANSWER_SECONDS = 15.0, 3.5
"""The time that PostgreSQL and Redis have for a new connection and the check: on other machines, and on this one."""


class DoctorFinding(msgspec.Struct, frozen=True):
    """The result of one check. If the check failed, `sentence` says what to do."""

    name: str
    ok: bool
    sentence: str


def examine() -> list[DoctorFinding]:
    """Run every check, and return the findings. If the settings are invalid, nothing else is checked."""
    try:
        settings = load_settings()
    except ZmartError as problem:
        return [DoctorFinding("settings", False, str(problem))]
    return [
        DoctorFinding("settings", True, f"The settings are valid (ZMART_HOME is {settings.zmart_home})."),
        *_home(settings.zmart_home),
        *_logs(settings.zmart_home / "logs"),
        *_programs(settings),
        _disk(settings.zmart_home),
        *_decisions(settings.zmart_home),
        *_stack(settings),
    ]


def _stack(settings: Settings) -> Iterator[DoctorFinding]:
    if not extra.is_installed():
        yield _without_extra(settings)
        return
    try:
        processes = supervisor_of(settings.zmart_home).processes()
    except SupervisorHangs as problem:
        yield DoctorFinding("supervisord", False, str(problem))
    except SupervisionError:
        yield from _without_supervisor(settings)
    else:
        yield from _running(settings, processes)


def _without_supervisor(settings: Settings) -> Iterator[DoctorFinding]:
    from zmart.local.process_group import without_supervisor  # it needs the extra `local`

    if lost := without_supervisor(settings.zmart_home):
        yield DoctorFinding("supervisord", False, lost)
    else:
        yield from _ports(settings)


def _without_extra(settings: Settings) -> DoctorFinding:
    """Return the finding of an installation without the extra `local`: a failure if some server must be embedded."""
    parts = parts_of(settings)
    if parts.postgres or parts.valkey or parts.chain:
        return DoctorFinding("stack", False, extra.MISSING)
    return DoctorFinding("stack", True, "This is a production installation, without the local stack.")


def _home(home: Path) -> Iterator[DoctorFinding]:
    """Yield a finding if the stack could not write into ZMART_HOME, or create it. Nothing is created."""
    existing = next(path for path in (home, *home.resolve().parents) if os.path.exists(path))
    can_write = os.access(existing, os.W_OK | os.X_OK) and existing.resolve().parts[:2] not in _OF_THE_KERNEL
    if not can_write:
        sentence = f"ZMART_HOME is {home}, and we may not write into {existing}: set it to a folder of yours."
        yield DoctorFinding("home", False, sentence)


def _logs(folder: Path) -> Iterator[DoctorFinding]:
    """Yield a finding for each log that a process could not write. If that is so of the whole folder, there is one."""
    if not folder.exists():
        return  # it is made with the next start, or the next line
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        sentence = f"The folder {folder} cannot be written: all lines of logs are lost until it can."
        yield DoctorFinding("logs", False, f"{sentence} Nothing has to be restarted then.")
        return
    for log in sorted(folder.glob("*.log")):
        if trouble := why_unwritable(log):
            yield DoctorFinding("logs", False, trouble)


def _decisions(home: Path) -> Iterator[DoctorFinding]:
    if is_held(home):
        yield DoctorFinding("decisions", False, HELD)


def _programs(settings: Settings) -> Iterator[DoctorFinding]:
    parts = parts_of(settings)
    if parts.postgres:
        yield _program("PostgreSQL", lambda: find_bin_dir(settings.local_postgres_bin_dir))
    else:
        yield _database(settings)
    if parts.valkey:
        yield _program("Valkey", lambda: find_binary(settings.local_valkey_bin))
    else:
        yield _redis(settings)
    if not parts.pinata:
        yield _pinata(settings)
    if not parts.chain:
        yield _chain(settings)
        return
    yield _program("Node.js", lambda: node.find_node(settings.local_node_bin))
    folder = addon_folder(settings)
    is_there = node.is_installed(folder)
    missing = f"The local chain is not installed in {folder}: run `zmart setup`."
    yield DoctorFinding(
        "addon", is_there, f"The local chain is installed in {folder}." if is_there else missing
    )


def _program(name: str, find: Callable[[], Path]) -> DoctorFinding:
    try:
        return DoctorFinding(name, True, f"{name} is {find()}.")
    except ZmartError as problem:
        return DoctorFinding(name, False, str(problem))


def _database(settings: Settings, within_s: float = ANSWER_SECONDS) -> DoctorFinding:
    from zmart.store.database_check import require_writable
    from zmart.store.time_limit import answer_within

    async def check() -> None:
        async with answer_within(within_s):
            await require_writable(settings.require("database_url"))

    return _judged("PostgreSQL", check, "PostgreSQL answers a new connection; its schema is up to date.")


def _redis(settings: Settings, within_s: float = ANSWER_SECONDS) -> DoctorFinding:
    from zmart.feed.redis_client import require_writable

    return _judged(
        "Redis",
        lambda: require_writable(settings.require("redis_url"), answer_s=within_s),
        "Redis answers, and accepts writes.",
    )


def _pinata(settings: Settings) -> DoctorFinding:
    from zmart.ipfs.pinata import PinataClient

    async def check() -> None:
        async with PinataClient.from_settings(settings) as pins:
            await pins.check()

    return _judged("Pinata", check, "Pinata answers, and accepts our credentials.")


def _judged(name: str, check: Callable[[], Coroutine[Any, Any, None]], good: str) -> DoctorFinding:
    try:
        asyncio.run(check())
    except ZmartError as problem:
        return DoctorFinding(name, False, str(problem))
    return DoctorFinding(name, True, good)


def _disk(home: Path) -> DoctorFinding:
    if is_full := full_disk(home):
        return DoctorFinding("disk", False, is_full)
    free = free_bytes(home)
    gib = f"{free / 1024**3:.1f} GiB are free where ZMART_HOME is"
    ok = free >= MIN_FREE_BYTES
    return DoctorFinding(
        "disk", ok, f"{gib}." if ok else f"Only {gib}: free some space, or set ZMART_HOME to another disk."
    )


def _ports(settings: Settings) -> Iterator[DoctorFinding]:
    for name in NAMES:
        port: int = getattr(settings, name)
        if port and not port_is_free(port):
            explicit = name in settings.model_fields_set
            what = f"Port {port} ({name.upper()}) is in use by {holder(port)}"
            advice = "stop it or set another port" if explicit else "`zmart up` will use a free one"
            yield DoctorFinding(name, not explicit, f"{what}: {advice}.")
    yield DoctorFinding("stack", True, "No stack runs here; `zmart up` starts one.")


def _running(settings: Settings, processes: list[ProcessInfo]) -> Iterator[DoctorFinding]:
    supervisor = supervisor_of(settings.zmart_home)
    for info in processes:
        reason = "" if info.is_up else why_down(supervisor, info).rstrip(".")
        state = "runs" if info.is_up else f"is {info.state.lower()}: {reason} (see `zmart logs {info.name}`)"
        yield DoctorFinding(info.name, info.is_up, f"The process {info.name} {state}.")
    record = read_record(settings.zmart_home)
    paths = record.ready_paths if record else {}
    # All at once: the operator waits for the slowest, not for the sum.
    with ThreadPoolExecutor(len(paths) + 3) as threads:
        servers = [threads.submit(check, stack_settings()) for check in _of_embedded(settings)]
        answers = list(threads.map(fetch_report, paths.values()))
    for name, answer in zip(paths, answers, strict=True):
        if not answer.ready or answer.reason:
            state = "is ready, but" if answer.ready else "is not ready:"
            yield DoctorFinding(name, False, f"The {name} {state} {answer.reason.rstrip('.')}.")
    for server in servers:
        yield server.result()


def _of_embedded(settings: Settings) -> list[Callable[[Settings], DoctorFinding]]:
    """Return the checks of the embedded servers. A process that runs may still answer nobody, such as a postmaster that
    was stopped by a signal: sessions that are open go on, and no new one begins."""
    parts = parts_of(settings)
    database, redis = (partial(check, within_s=EMBEDDED_ANSWER_SECONDS) for check in (_database, _redis))
    checks = ((parts.postgres, database), (parts.valkey, redis), (parts.chain, _chain))
    return [check for is_embedded, check in checks if is_embedded]


def _chain(settings: Settings) -> DoctorFinding:
    """Check the RPC, the program, its GlobalConfig and our keys, as the services do at their start, and that the lists
    of the RPC can complete the index."""
    from zmart.chain.command_rpc import command_rpc
    from zmart.chain.config_check import check_program
    from zmart.chain.program import Program
    from zmart.chain.wallet import admin_keypair, backend_keypair

    async def check() -> None:
        backend, admin = backend_keypair(settings), admin_keypair(settings)
        async with command_rpc(settings) as rpc:
            keys = {"backend": backend.pubkey(), "admin": admin.pubkey() if admin else None}
            program = Program.from_settings(settings)
            await check_program(rpc, program, **keys)
            await rpc.check_lists(program.address)

    return _judged("GlobalConfig", check, "The chain answers, and its GlobalConfig names our keys.")
