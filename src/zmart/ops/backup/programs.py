"""Find and run pg_dump and pg_restore."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, unquote_plus, urlsplit

import msgspec

from zmart.errors import ConfigError, StoreError
from zmart.loopback import database_address

_SECRET_NAMES = {"password", "sslpassword"}
_INSTALLED = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_REASON = re.compile(r"error: (.*)")


class PostgresPrograms(msgspec.Struct, frozen=True):
    """Run the pg_dump and pg_restore in `folder`, which are of PostgreSQL's major version `major`."""

    folder: Path
    major: int

    async def run(self, name: str, database_url: str, arguments: Sequence[object], stdin: bytes = b"") -> str:
        """Run the program `name` on a database, and return its standard output.

        The password is passed in the environment, so that no list of processes shows it. Raises StoreError with the
        first error that the program printed, ConfigError as `without_password`.
        """
        address, password = without_password(database_address(database_url))
        return await self._run(name, ["--no-password", f"--dbname={address}", *arguments], password, stdin)

    async def contents(self, dump: Path) -> list[str]:
        """Return the table of contents of a dump, one line for each object. Raises StoreError for a damaged dump."""
        return (await self._run("pg_restore", ["--list", dump], "", b"")).splitlines()

    async def _run(self, name: str, arguments: Sequence[object], password: str, stdin: bytes) -> str:
        process = await asyncio.create_subprocess_exec(
            self.folder / name,
            *map(str, arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(password),
        )
        try:
            out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:  # this task was cancelled
                process.terminate()
                await process.wait()
        if process.returncode != 0:
            raise StoreError(f"{name} failed: {_reason(err.decode(errors='replace'))}")
        return out.decode(errors="replace")


def find_programs(server_major: int, first: Iterable[Path] = ()) -> PostgresPrograms:
    """Return the programs of the server's major version, or else of the oldest newer version found.

    Older programs are not used: an older pg_dump refuses a newer server. The folders in `first` are searched before
    PATH. Raises ConfigError, which names the package to install.
    """
    installed = [programs for folder in [*first, *_folders()] if (programs := _programs_in(folder))]
    usable = [programs for programs in installed if programs.major >= server_major]
    if usable:
        return min(usable, key=lambda programs: programs.major)
    versions = ", ".join(str(programs.major) for programs in installed) or "none"
    raise ConfigError(
        f"The server is PostgreSQL {server_major}, and pg_dump and pg_restore of that version or a newer one are "
        f"missing (found: {versions}): install them (Debian: apt install postgresql-client-{server_major})."
    )


def without_password(url: str) -> tuple[str, str]:
    """Split the URL of a database into the URL without a password, and the password ("" if there is none).

    Other users of the machine could see a password in the list of processes. A password before the host takes
    precedence over one in the query, as in asyncpg. Raises ConfigError for `sslpassword`, the password of a client's
    key: libpq takes it only in the URL.
    """
    scheme, _, rest = url.partition("://")
    credentials, at, _ = urlsplit(url).netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    bare = f"{scheme}://{user}{rest[len(credentials) :]}" if at else url
    address, mark, query = bare.partition("?")
    given = [part for part in query.split("&") if part]
    public = [part for part in given if _name(part) not in _SECRET_NAMES]
    secret = {_name(part): unquote_plus(part.partition("=")[2]) for part in given if part not in public}
    if "sslpassword" in secret:
        raise ConfigError(
            "DATABASE_URL holds a sslpassword, which other users of this machine would see in the list of processes: "
            "name with sslkey a key without a password, in a file that only you may read."
        )
    return f"{address}{mark if public else ''}{'&'.join(public)}", unquote(password) or secret.get(
        "password", ""
    )


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _folders() -> list[Path]:
    on_path = shutil.which("pg_dump")
    installed = [folder for root in _INSTALLED for folder in sorted(Path(root).glob("*/bin"))]
    return [*([Path(on_path).resolve().parent] if on_path else []), *installed]


def _programs_in(folder: Path) -> PostgresPrograms | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("pg_dump", "pg_restore")):
        return None
    done = subprocess.run(  # noqa: S603  # the programs that this function looks for
        [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False, env=_environment("")
    )
    match = _VERSION.search(done.stdout)
    return PostgresPrograms(folder, int(match[1])) if match else None


def _environment(password: str) -> dict[str, str]:
    """Return the environment for a program of PostgreSQL: ours, with messages in English, and the password.

    Other variables of libpq (PG...) are left out: the URL alone names the database.
    """
    ours = {name: value for name, value in os.environ.items() if not re.fullmatch(r"PG[A-Z]+", name)}
    return {**ours, "PGPASSWORD": password, "LC_MESSAGES": "C"} if password else {**ours, "LC_MESSAGES": "C"}


def _reason(output: str) -> str:
    match = _REASON.search(output)
    lines = output.strip().splitlines() or ["no output"]
    return match[1] if match else lines[-1]
