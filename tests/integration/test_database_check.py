"""Tests of a service on a database in which it cannot work.

The service ends with one sentence, and `zmart doctor` says the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from kit import commands
from kit.database_conditions import DatabaseConditions
from kit.gateway import site
from kit.transaction_pooler import CHOICES, transaction_pooler
from kit.waiting import until
from zmart.cli.errors import exit_status
from zmart.decisions import schedule
from zmart.errors import ReadOnly, SettingError, Unavailable, ZmartError
from zmart.feed import redis_client
from zmart.local.doctor import examine
from zmart.ops.host import create_service
from zmart.services.contract import SERVICES
from zmart.settings import load_settings
from zmart.store import migrate
from zmart.store.database_check import require_usable, require_writable
from zmart.store.migrations import HEAD, REVISIONS
from zmart.store.pool import Pool

POOLED = "connection pooler in transaction mode"
SECRET = "s3cr3t"


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def changed(url: str, *, user: str = "", password: str = "", database: str = "", port: int = 0) -> str:
    parts = urlsplit(url)
    return (
        f"postgresql://{user or parts.username}:{password or parts.password}@{parts.hostname}:{port or parts.port}"
        f"/{database or parts.path[1:]}"
    )


async def output_of(*command: str, **settings: object) -> tuple[int, str]:
    """Return a command's exit status and its only line on standard error.

    `zmart run` must also log that line on standard output.
    """
    status, out, err = await commands.run(*command, env=commands.environment(log_level="error", **settings))
    assert len(err.splitlines()) == 1, out + err
    logged = [json.loads(line) for line in out.splitlines()]
    assert [(line["event"], line["error"]) for line in logged] == (
        [("service failed", err.strip())] if command[0] == "run" else []
    )
    return status, err


async def finding_of(name: str, **settings: object) -> str:
    """Return the sentence of one failed check of `zmart doctor` with these settings."""
    given = {"ZMART_ENV_FILE": os.devnull, **{key.upper(): str(value) for key, value in settings.items()}}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in given.items():
            patch.setenv(key, value)
        findings = await asyncio.to_thread(examine)
    (finding,) = [one for one in findings if one.name == name]
    assert not finding.ok
    return finding.sentence


async def refusal_of(service: str, **settings: object) -> tuple[int, str]:
    """Return the exit status and the sentence of a service that refuses to start."""
    with pytest.raises(ZmartError) as refused:
        await create_service(service, load_settings(_env_file=None, zmart_env="local", **settings))
    return exit_status(refused.value), str(refused.value)


# ------------------------------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("backends", [1, 2, 8])
@pytest.mark.parametrize("choice", CHOICES)
async def test_a_pooler_in_transaction_mode_is_noticed(database_url: str, choice: str, backends: int) -> None:
    """P4: a connection pooler in transaction mode is recognised, whichever server connection it chooses."""
    async with transaction_pooler(database_url, choice, backends) as pooled:
        for check in (require_usable, require_writable, migrate.status):
            with pytest.raises(SettingError, match=POOLED):
                await check(pooled)


async def test_sessions_are_not_taken_for_a_pooler(database_url: str) -> None:
    await asyncio.gather(*(require_usable(database_url) for _ in range(20)))


async def test_a_pooler_is_said_by_services_commands_and_the_doctor(database_url: str) -> None:
    """P4: services, commands and the doctor report a pooler in one sentence, with exit status 2 and no password."""
    async with transaction_pooler(database_url, "last") as pooled:
        for command in (("run", "gateway"), ("migrate", "up")):
            status, sentence = await output_of(*command, database_url=pooled)
            assert (status, POOLED in sentence) == (2, True)
            assert str(urlsplit(pooled).password) not in sentence
        assert POOLED in await finding_of("PostgreSQL", database_url=pooled)


# --------------------------------------------------------------------------------------------------------- schema


async def nothing(url: str) -> None:
    """Leave the database empty, without the schema of zmart."""


async def older(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, url)
    await asyncio.to_thread(migrate.rollback, url, "-1")


async def newer(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, url)
    await execute(url, "UPDATE alembic_version SET version_num = '9999'")


async def different(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, url)
    await execute(url, "UPDATE schema_migrations SET fingerprint = repeat('0', 64)")


SCHEMAS = {
    nothing: "has no schema of ours: run `zmart migrate up`",
    older: f"has revision {REVISIONS[-2]}, and this version needs {HEAD}: run `zmart migrate up`",
    newer: "has revision 9999, which this version does not know",
    different: "was created by a different migration 0001",
}


@pytest.mark.parametrize(("make", "says"), SCHEMAS.items(), ids=[make.__name__ for make in SCHEMAS])
async def test_a_service_on_another_schema_says_so_and_ends(empty_database_url: str, make, says: str) -> None:
    """P3: every service on a database with another schema says so in one sentence, and the doctor says the same."""
    await make(empty_database_url)
    for name in SERVICES:
        status, sentence = await refusal_of(name, database_url=empty_database_url)
        assert (status, says in sentence) == (1, True)
    assert says in await finding_of("PostgreSQL", database_url=empty_database_url)


COMMANDS = (
    ("intents", "list"),
    ("indexer", "dead-letters", "list"),
    ("indexer", "rebuild"),
    ("decisions", "reviews"),
)


async def test_a_command_on_another_schema_says_so(empty_database_url: str) -> None:
    """P3: a command on a database with another schema says so, also if it only reads."""
    for command in COMMANDS:
        status, sentence = await output_of(*command, database_url=empty_database_url)
        assert (status, SCHEMAS[nothing] in sentence) == (1, True), command
    await older(empty_database_url)
    await execute(empty_database_url, "ALTER TABLE intents RENAME COLUMN round TO former_round")
    status, sentence = await output_of("intents", "list", database_url=empty_database_url)
    assert (status, SCHEMAS[older] in sentence) == (1, True)


async def test_a_schema_that_vanishes_is_said_and_nobody_gets_a_500(
    empty_database_url: str, redis_url: str
) -> None:
    """P3, W14: while a running gateway's tables are missing it answers 503 and is not ready; later it works again."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    async with site(empty_database_url, redis_url) as here:
        assert (await here.get("/api/markets")).status_code == 200
        await asyncio.to_thread(migrate.rollback, empty_database_url, "base")
        for path in ("/api/markets", "/api/markets?limit=3", "/api/status", f"/api/markets/{'ab' * 32}"):
            answer = await here.get(path)
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text
        said = await here.gateway.readiness()
        assert (said.ready, "run `zmart migrate up`" in said.reason) == (False, True)
        await asyncio.to_thread(migrate.upgrade, empty_database_url)
        assert (await until(here.gateway.readiness, lambda said: said.ready)).reason == ""
        assert (await here.get("/api/markets?limit=3")).status_code == 200


async def test_a_schedule_whose_tables_are_gone_says_what_the_services_say(empty_database_url: str) -> None:
    """W14: a schedule without its tables names `zmart migrate up`, and no command of the schedule's library."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    await asyncio.to_thread(migrate.rollback, empty_database_url, "base")

    async def tick() -> None: ...

    missed = schedule._MissedTimes()
    with pytest.raises(Unavailable, match="run `zmart migrate up`"):
        await schedule._run(
            empty_database_url,
            "ticks",
            "* * * * *",
            tick,
            asyncio.Event(),
            True,
            missed,
            lambda: None,
            lambda: None,
        )


@pytest.fixture
async def role(database_url: str) -> AsyncIterator[str]:
    """Yield the name of a role that may connect and has no other privilege."""
    name = f"role_{secrets.token_hex(4)}"
    await execute(database_url, f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield name
    await execute(database_url, f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("granted", ["", "pg_read_all_data"])
@pytest.mark.parametrize(
    "command", [*COMMANDS[:2], ("run", "gateway"), ("migrate", "status"), ("migrate", "up")]
)
async def test_a_role_without_privileges_is_said_in_one_sentence(
    database_url: str, role: str, command: tuple[str, ...], granted: str
) -> None:
    """P3: a role without privileges is refused in one sentence; a role that may only read can run commands that read.

    `migrate status` ends with 1 for a role that may only read: row level security hides who made the schema.
    """
    if granted:
        await execute(database_url, f"GRANT {granted} TO {role}")
    url = changed(database_url, user=role, password=SECRET)
    if granted and command[0] != "run" and command[-1] != "up":  # these only read
        result, _, _ = await commands.run(*command, env=commands.environment(database_url=url))
        assert result == (1 if command == ("migrate", "status") else 0)
        return
    status, sentence = await output_of(*command, database_url=url)
    assert (status, "The user of DATABASE_URL may not" in sentence) == (1, True)


async def test_a_schema_that_we_may_not_make_is_said_in_one_sentence(
    empty_database_url: str, role: str
) -> None:
    """P3: a role that may not create tables is told so in one sentence.

    Since PostgreSQL 15 only a database's owner may create tables by default.
    """
    status, sentence = await output_of(
        "migrate", "up", database_url=changed(empty_database_url, user=role, password=SECRET)
    )
    assert (status, "The user of DATABASE_URL may not do this" in sentence) == (1, True)


async def test_a_database_that_cannot_hold_every_text_is_refused(database_url: str) -> None:
    """P3: a database of the encoding LATIN1 is refused, since it cannot store every text."""
    name = f"latin_{secrets.token_hex(4)}"
    await execute(
        database_url,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    url = changed(database_url, database=name)
    try:
        for command in (("run", "gateway"), ("migrate", "up")):
            status, sentence = await output_of(*command, database_url=url)
            assert (status, "has the encoding LATIN1" in sentence) == (1, True)
    finally:
        await execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_wrong_statement_stays_a_bug(pool: Pool) -> None:
    for statement in ("SELECT * FROM no_such_table", "SELECT no_such_column FROM users"):
        with pytest.raises(asyncpg.PostgresError):
            await pool.fetchval(statement)


# ------------------------------------------------------------------------------------------- servers that refuse us


async def test_a_read_only_database_is_said_by_the_doctor(database_url: str) -> None:
    """P16: the doctor reports a database that accepts no writes; a check for reading alone passes."""
    await DatabaseConditions(database_url).set("default_transaction_read_only", "on")
    await require_usable(database_url)
    with pytest.raises(ReadOnly):
        await require_writable(database_url)
    assert "accepts no writes" in await finding_of("PostgreSQL", database_url=database_url)


REFUSED = {
    "password": ({"password": SECRET}, "the password of DATABASE_URL, or its user, is wrong", 2),
    "escaped": ({"password": "%73%33cr3t"}, "the password of DATABASE_URL, or its user, is wrong", 2),
    "user": ({"user": SECRET, "password": SECRET}, "the password of DATABASE_URL, or its user, is wrong", 2),
    "database": ({"database": f"no{SECRET}"}, "there is no database of the name in DATABASE_URL", 2),
    "port": ({"port": 1, "password": SECRET}, "nothing listens at its address", 1),
}


@pytest.mark.parametrize(("change", "says", "expected"), REFUSED.values(), ids=REFUSED)
async def test_a_database_that_refuses_us_is_named_as_what_it_is(
    database_url: str, change: dict[str, str], says: str, expected: int
) -> None:
    """P16, W13: each reason for which PostgreSQL refuses a connection is named, and no part of its address is shown."""
    url = changed(database_url, **change)
    status, sentence = await refusal_of("gateway", database_url=url)
    finding = await finding_of("PostgreSQL", database_url=url)
    assert (status, says in sentence, says in finding) == (expected, True, True)
    assert SECRET not in sentence + finding


@pytest.mark.parametrize("option", ["pgbouncer=true&connection_limit=1", "statement_timeout=soon"])
async def test_an_option_that_postgresql_does_not_know_is_named_as_what_it_is(
    database_url: str, option: str
) -> None:
    """P16: an option in DATABASE_URL that PostgreSQL does not know, such as another client's, is named as the cause."""
    status, sentence = await refusal_of("gateway", database_url=f"{database_url}?{option}")
    assert (status, "DATABASE_URL has an option that is no setting" in sentence) == (2, True)


async def test_a_refusal_is_one_sentence_of_the_process(empty_database_url: str) -> None:
    """P3, P16: `zmart run` and `zmart migrate status` fail with one sentence, without a traceback or the password."""
    status, sentence = await output_of("run", "gateway", database_url=empty_database_url)
    assert (status, "has no schema of ours" in sentence) == (1, True)
    wrong = changed(empty_database_url, password=SECRET)
    status, sentence = await output_of("migrate", "status", database_url=wrong)
    assert (status, "the password of DATABASE_URL" in sentence, SECRET in sentence) == (2, True, False)


async def test_a_program_id_that_is_none_is_named_and_not_shown(database_url: str) -> None:
    """A SOLANA_PROGRAM_ID_CORE that is no address is refused without showing it: it may be a key by mistake."""
    status, sentence = await refusal_of(
        "gateway", database_url=database_url, solana_program_id_core=f"{SECRET}0OIl"
    )
    assert (status, "SOLANA_PROGRAM_ID_CORE must be" in sentence, SECRET in sentence) == (2, True, False)


async def test_a_server_without_encryption_is_named_as_what_it_is(database_url: str) -> None:
    with pytest.raises(Unavailable, match="it offers no encryption"):
        await require_usable(f"{database_url}?sslmode=require")


async def test_a_host_that_is_unknown_is_named_as_what_it_is() -> None:
    with pytest.raises(Unavailable, match="its host name cannot be resolved"):
        await require_usable(f"postgresql://u:{SECRET}@nowhere.invalid/zmart")


WITHOUT_LOGIN = re.compile(r":[^:@]+@")
REFUSED_BY_REDIS = {
    "password": (
        lambda url: WITHOUT_LOGIN.sub(f":{SECRET}@", url),
        "the password of REDIS_URL, or its user, is wrong",
    ),
    "escaped": (
        lambda url: WITHOUT_LOGIN.sub(":%73%33cr3t@", url),
        "the password of REDIS_URL, or its user, is wrong",
    ),
    "none": (
        lambda url: WITHOUT_LOGIN.sub("", url),
        "the password of REDIS_URL, or its user, is wrong or missing",
    ),
    "number": (
        lambda url: re.sub(r"/\d+$", "/9999", url),
        "the number of the database in REDIS_URL is too high",
    ),
    "option": (lambda url: f"{url}?{SECRET}=1", "REDIS_URL has an option that is unknown or wrong"),
    "its value": (
        lambda url: f"{url}?socket_timeout={SECRET}",
        "REDIS_URL has an option that is unknown or wrong",
    ),
}


@pytest.mark.parametrize(("change", "says"), REFUSED_BY_REDIS.values(), ids=REFUSED_BY_REDIS)
async def test_a_redis_that_refuses_us_is_named_as_what_it_is(
    database_url: str, redis_url: str, change: Callable[[str], str], says: str
) -> None:
    """P16: each reason for which Redis refuses a connection is named by the service that needs it and by the doctor."""
    given = {"database_url": database_url, "redis_url": change(redis_url)}
    finding = await finding_of("Redis", **given)
    status, sentence = await refusal_of("websocket", **given)
    assert (status, says in sentence, says in finding) == (2, True, True)
    assert SECRET not in finding + sentence


async def test_a_redis_that_is_not_there_is_said_by_the_doctor(database_url: str) -> None:
    url = f"redis://:{SECRET}@127.0.0.1:1"
    finding = await finding_of("Redis", database_url=database_url, redis_url=url)
    assert "Redis is unavailable" in finding
    assert SECRET not in finding


async def test_what_is_no_redis_is_named_as_what_it_is() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="Redis"):
            await redis_client.require_writable(f"redis://127.0.0.1:{port}")


async def test_a_pinata_that_refuses_our_credentials_is_said_by_the_doctor(database_url: str) -> None:
    """P16: the doctor names PINATA_JWT if Pinata refuses it, and does not show its value."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        given = {"database_url": database_url, "pinata_jwt": SECRET, "pinata_api_url": url}
        sentence = await finding_of("Pinata", **given)
    assert "Check PINATA_JWT" in sentence
    assert SECRET not in sentence
