"""Implement `zmart psql` and `zmart redis-cli`, for the servers of the settings or of the local stack."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.errors import ConfigError
from zmart.printable import printable

_PASSED_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}
CONNECT_SECONDS = 5
"""The time that psql waits for each host of the address; PGCONNECT_TIMEOUT or connect_timeout in the address differ."""
Arguments = Annotated[list[str] | None, typer.Argument(help="passed on as they are")]


@one_sentence
def psql(arguments: Arguments = None) -> None:
    """Open psql on the database, or run one statement: zmart psql -c 'SELECT count(*) FROM markets'."""
    from zmart.local.addresses import database_url
    from zmart.ops.backup.programs import without_password

    program = _psql()
    address, password = without_password(database_url())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password:
        environment["PGPASSWORD"] = password
    # psql itself waits without limit, for example for a server that accepts connections and does not answer.
    environment["PGCONNECT_TIMEOUT"] = os.environ.get("PGCONNECT_TIMEOUT", str(CONNECT_SECONDS))
    sys.stdout.flush()
    command = [str(program), address, *(arguments or [])]
    os.execve(program, command, environment)  # noqa: S606  # the user's own arguments, for the user's own psql


@one_sentence
def redis_cli(arguments: Arguments = None) -> None:
    """Send a command to Redis and print its reply: zmart redis-cli ping. Without a command, read one from each line."""
    from zmart.local.addresses import stack_settings

    url = stack_settings().require("redis_url")
    asyncio.run(_converse(url, [arguments] if arguments else _typed(), is_one=bool(arguments)))


def _psql() -> Path:
    from zmart.local.postgres import find_bin_dir
    from zmart.settings import settings

    try:
        bundled = find_bin_dir(settings().local_postgres_bin_dir) / "psql"
    except ConfigError:
        bundled = None
    if bundled is not None and bundled.exists():
        return bundled
    if installed := shutil.which("psql"):
        return Path(installed)
    raise ConfigError("There is no psql here: install it (Debian: apt install postgresql-client).")


def _typed() -> Iterator[list[str]]:
    """Yield the words of each command on standard input, one command a line; on a terminal with a prompt."""
    while True:
        if sys.stdin.isatty():
            typer.echo("redis> ", nl=False)
        line = sys.stdin.readline()
        if not line:
            return
        try:
            arguments = shlex.split(line)
        except ValueError as problem:  # print the error and continue, as redis-cli does
            typer.echo(printable(f"(error) {problem}"))
            continue
        if arguments:
            yield arguments


async def _converse(url: str, commands: Iterable[list[str]], *, is_one: bool) -> None:
    from zmart.feed import redis_client

    client = redis_client.connect(url, connections=1)
    try:
        for command in commands:
            sent = [
                os.fsencode(word) for word in command
            ]  # bytes that are not UTF-8, too, as they were typed
            try:
                typer.echo("\n".join(_lines(await redis_client.plain_reply(client, sent))))
            except redis_client.CommandRefused as problem:
                if is_one:
                    raise
                typer.echo(printable(f"(error) {problem}"))
    finally:
        await client.aclose()


def _lines(reply: object) -> Iterator[str]:
    if isinstance(reply, list):
        for item in reply:
            yield from _lines(item)
    elif isinstance(reply, bytes):
        yield reply.decode(errors="backslashreplace")
    else:
        yield "(nil)" if reply is None else str(reply)


def register(app: typer.Typer) -> None:
    """Add `zmart psql` and `zmart redis-cli` to the root command."""
    app.command(context_settings=_PASSED_ON)(psql)
    app.command("redis-cli", context_settings=_PASSED_ON)(redis_cli)
