"""The simulation's stage on the PostgreSQL of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from run_simulation import Stage

from zmart.local.postgres import Postgres


@pytest.fixture(scope="module")
def stage(
    postgres: Postgres, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A database template with virtual time, and the backend's keys."""
    made = Stage(postgres, tmp_path_factory.mktemp("simulation"))
    made.write_keys()
    made.prepare(migrated_template)
    yield made
    postgres.drop_database("virtual")
