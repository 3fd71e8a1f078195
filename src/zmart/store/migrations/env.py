"""Run Alembic on one asyncpg connection, in one transaction for the whole migration."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from zmart.store.database_hosts import open_connection


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


async def _run(url: str) -> None:
    # asyncpg reads the address itself, so that everything it accepts (sslmode and so on) works here too.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: open_connection(url),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_run(context.config.attributes["url"]))
