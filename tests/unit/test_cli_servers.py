"""`zmart psql` and `zmart redis-cli` do not show passwords to other users, and wait with a limit."""

from pathlib import Path

import pytest

from kit import commands
from zmart.errors import ConfigError
from zmart.ops.backup.programs import without_password


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql://zmart:s3cret@127.0.0.1:5/zmart", "postgresql://zmart@127.0.0.1:5/zmart", "s3cret"),
        ("postgresql://u:a%2Fb%40c@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require", "a/b@c"),
        ("postgresql://u@h/d", "postgresql://u@h/d", ""),
        ("postgresql:///d", "postgresql:///d", ""),
        ("postgresql://u:p@h1:1,h2:2/d", "postgresql://u@h1:1,h2:2/d", "p"),
        ("postgresql://u@h/d?password=s3cret", "postgresql://u@h/d", "s3cret"),
        (
            "postgresql://h/d?user=u&p%61ssword=a%2Fb+c&sslmode=require",
            "postgresql://h/d?user=u&sslmode=require",
            "a/b c",
        ),
        ("postgresql://u:first@h/d?password=second&a=b", "postgresql://u@h/d?a=b", "first"),
        (
            "postgresql:///d?host=/run&passfile=/home/u/.pgpass",
            "postgresql:///d?host=/run&passfile=/home/u/.pgpass",
            "",
        ),
    ],
)
def test_the_password_leaves_the_address(url: str, address: str, password: str) -> None:
    """P18: the password is removed from the address, because every user can read the arguments of a process."""
    assert without_password(url) == (address, password)


def test_the_password_of_a_key_is_refused_as_libpq_takes_it_in_an_argument_alone() -> None:
    """P18: a URL with sslpassword is refused, because libpq reads it only from an argument, which others can see."""
    with pytest.raises(ConfigError, match="sslpassword") as refused:
        without_password("postgresql://u@h/d?sslkey=/k&sslpassword=s3cret")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cret@127.0.0.1:9/d", "postgresql://u@127.0.0.1:9/d?password=s3cret"]
)
async def test_psql_gets_the_password_in_its_environment(tmp_path: Path, url: str) -> None:
    """P18: psql gets the password in PGPASSWORD, not in an argument. A script in psql's place prints both."""
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\necho "$0 $*"\necho "environment: $PGPASSWORD"\n')
    program.chmod(0o755)
    (tmp_path / "postgres").symlink_to(program)
    (tmp_path / "initdb").symlink_to(program)
    given = commands.environment(
        DATABASE_URL=url, LOCAL_POSTGRES_BIN_DIR=tmp_path, ZMART_HOME=tmp_path / "home"
    )
    status, out, err = await commands.run("psql", env=given)
    arguments, environment = out.splitlines()
    assert (status, err, environment) == (0, "", "environment: s3cret")
    assert arguments.split()[1:] == ["postgresql://u@127.0.0.1:9/d"]


@pytest.mark.parametrize(("given", "expected"), [({}, "5"), ({"PGCONNECT_TIMEOUT": "30"}, "30")])
async def test_psql_waits_for_a_connection_with_a_limit(
    tmp_path: Path, given: dict[str, str], expected: str
) -> None:
    """psql has no limit of its own for a server that accepts connections and does not answer."""
    for name in ("psql", "postgres", "initdb"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "limit: $PGCONNECT_TIMEOUT"\n')
        program.chmod(0o755)
    environment = commands.environment(
        DATABASE_URL="postgresql://u@127.0.0.1:9/d",
        LOCAL_POSTGRES_BIN_DIR=tmp_path,
        ZMART_HOME=tmp_path / "home",
        **given,
    )
    _, out, _ = await commands.run("psql", env=environment)
    assert out == f"limit: {expected}\n"
