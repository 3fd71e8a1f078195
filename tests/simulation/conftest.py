"""A fixture that prepares the simulation on the PostgreSQL of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from run_simulation import Stage

from zmart.local.postgres import Postgres


@pytest.fixture(scope="module")
def stage(
    postgres: Postgres, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Make a template database with virtual time, and the keys of backend and admin; drop the template at the end."""
    made = Stage(postgres, tmp_path_factory.mktemp("simulation"))
    made.write_keys()
    made.prepare(migrated_template)
    yield made
    postgres.drop_database("virtual")
