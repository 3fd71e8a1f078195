"""C9: a process that was stopped by SIGSTOP looks for missed work as soon as it continues."""

from __future__ import annotations

import asyncio
import signal

import pytest

from kit import commands
from kit.chain_story import Story
from kit.machine_time import machine_time, seconds_since
from kit.story_node import serving
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.local.processes import free_port
from zmart.store.pool import Pool

STORY = Story(5, markets=2, trades=8)
_INDEXED = "SELECT count(*) FROM chain_transactions"
_SCANNED = "SELECT scanned_at FROM index_progress WHERE scanned_at IS NOT NULL"


@pytest.mark.parametrize(
    ("stopped_s", "rpc_timeout_s", "scan_s", "delay_s"),
    [
        (4, 2, 60, 0),
        (4, 2, 0.2, 0.15),
        pytest.param(14, 10, 60, 0, marks=pytest.mark.slow),
        pytest.param(14, 10, 1, 0.15, marks=pytest.mark.slow),
    ],
    ids=["in a pause", "in a call", "in a pause of 14 s", "in a call of 14 s"],
)
async def test_what_was_missed_while_the_process_was_stopped_is_indexed_in_seconds(
    database_url: str, pool: Pool, stopped_s: float, rpc_timeout_s: float, scan_s: float, delay_s: float
) -> None:
    """The process is stopped between two scans, or during calls, which have then timed out."""
    async with serving(STORY) as node, TcpProxy.before(node.url) as rpc:
        later, node.shown[:] = node.shown[-4:], node.shown[:-4]
        rpc.delay_s = delay_s
        environment = commands.environment(
            database_url=database_url, solana_rpc_url=rpc.url, indexer_scan_interval_s=scan_s,
            rpc_timeout_s=rpc_timeout_s, indexer_logs_subscribe="false", indexer_port=free_port(),
            log_level="error",
        )  # fmt: skip
        process = await commands.start("run", "indexer", env=environment)
        try:
            before = len(node.shown)
            await until(lambda: pool.fetchval(_INDEXED), lambda number: number == before, within_s=60)
            await until(lambda: pool.fetchval(_SCANNED))
            process.send_signal(signal.SIGSTOP)
            node.shown.extend(later)
            await asyncio.sleep(stopped_s)  # the fault itself: no condition to wait for
            process.send_signal(signal.SIGCONT)
            began = machine_time()
            await until(lambda: pool.fetchval(_INDEXED), lambda number: number == before + len(later))
            assert seconds_since(began) < 5
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
