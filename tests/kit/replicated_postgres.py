"""PostgreSQL on several hosts: one is the primary, the others are stand-bys, and each commit waits for one of them.

So every committed transaction is on two hosts, and a primary that is cut off from the others commits nothing more.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg

from kit.network_hosts import NetworkHost
from kit.waiting import until
from zmart.local.child_environment import inherited
from zmart.local.postgres import STOP, Postgres
from zmart.local.processes import start_command

PORT = 5432
_SETTINGS = {
    "listen_addresses": "*", "max_connections": "600", "shared_buffers": "64MB", "wal_level": "replica",
    "synchronous_commit": "on", "fsync": "off", "wal_keep_size": "1GB",
    # how soon each side notices that the other is gone, and how soon a stand-by looks for another primary
    "wal_receiver_timeout": "2s", "wal_sender_timeout": "3s", "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
}  # fmt: skip


class HostPostgres:
    """The PostgreSQL of one host, with its data in `folder`."""

    def __init__(self, host: NetworkHost, folder: Path, addresses: list[str], password: str = "") -> None:
        self.host = host
        self._server = Postgres(folder, PORT, durable=False)
        self._addresses = addresses
        self._process: subprocess.Popen[bytes] | None = None
        self.password = password or self._server.password

    def url(self, database: str = "zmart") -> str:
        return f"postgresql://zmart:{self.password}@{self.host.address}:{PORT}/{database}"

    async def create(self) -> None:
        """Become a primary without stand-bys, with an empty database `zmart`."""
        self._server.prepare()
        with (self._server.data / "pg_hba.conf").open("a") as access:
            access.write("host all,replication all samenet scram-sha-256\n")
        await self.start()
        database = await asyncpg.connect(self.url("postgres"))
        await database.execute("CREATE DATABASE zmart")
        await database.close()

    async def wait_for_a_stand_by(self, names: list[str]) -> None:
        """Make commits wait for one of the named stand-bys; copies of this server have the setting, too."""
        database = await asyncpg.connect(self.url())
        await database.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({', '.join(names)})'")
        await database.execute("SELECT pg_reload_conf()")
        await database.close()

    async def follow(self, primary: HostPostgres) -> None:
        """Become a stand-by, with a fresh copy of the primary's data."""
        await asyncio.to_thread(self._copy, primary)
        (self._server.data / "standby.signal").touch()
        await self.start()

    def _copy(self, primary: HostPostgres) -> None:
        data = self._server.data
        shutil.rmtree(data, ignore_errors=True)
        program = self._server.bin_dir / "pg_basebackup"
        options = ["-D", data, "-d", primary.url("postgres"), "--checkpoint=fast", "--wal-method=stream"]
        copied = subprocess.run([program, *options], capture_output=True, text=True, env=inherited())
        assert copied.returncode == 0, copied.stderr

    async def start(self) -> None:
        options = [
            f"--{name}={value}" for name, value in {**_SETTINGS, "primary_conninfo": self._source()}.items()
        ]
        command = [self._server.bin_dir / "postgres", "-D", self._server.data, *options]
        self._process = self.host.start(
            start_command(command, self._server.run_as, die_with_parent=STOP), inherited(), self._server.log
        )
        await until(self.answers, within_s=30)

    def kill(self) -> None:
        """Fence the server: kill -9 of it and all its processes, also while they are stopped by SIGSTOP."""
        if self._process is not None and self._process.poll() is None:
            for pid in [self._process.pid, *_children(self._process.pid)]:
                subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(pid)], capture_output=True)
            self._process.wait(10)

    async def answers(self) -> bool:
        try:
            database = await asyncpg.connect(self.url("postgres"), timeout=2)
        except (OSError, asyncpg.PostgresError):
            return False
        await database.close()
        return True

    async def received(self) -> int:
        """Return the end of the log that this stand-by has received from its primary, in bytes."""
        return await self._ask("SELECT (pg_last_wal_receive_lsn() - '0/0')::bigint")

    async def promote(self) -> None:
        assert await self._ask("SELECT pg_promote(true, 20)")

    async def followers(self) -> int:
        return await self._ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")

    async def _ask(self, query: str):
        database = await asyncpg.connect(self.url(), timeout=5)
        try:
            return await database.fetchval(query)
        finally:
            await database.close()

    def _source(self) -> str:
        return (
            f"host={','.join(self._addresses)} port={PORT} user=zmart password={self.password} dbname=postgres "
            f"application_name={self.host.name} target_session_attrs=primary tcp_user_timeout=2000"
        )


def _children(pid: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return listed.stdout.split()
