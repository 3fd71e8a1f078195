"""Fixtures of the drills of docs/operations.md: a running stack, its operator, and wallets of the demo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from kit.local_stack import stack_in
from kit.operator import Operator
from kit.operator_markets import world_of
from zmart.local.demo.world import DemoWorld
from zmart.settings import Settings


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run one local stack for all drills of a module; return its settings."""
    with stack_in(tmp_path_factory.mktemp("drills")) as settings:
        yield settings


@pytest.fixture
async def operator(drilled: Settings) -> AsyncIterator[Operator]:
    """Return an operator of the module's stack, once all services are ready."""
    async with Operator.before(drilled) as operator:
        yield operator


@pytest.fixture
async def world(operator: Operator) -> AsyncIterator[DemoWorld]:
    """Return the demo's wallets, with SOL and sessions on the module's stack."""
    async with world_of(operator) as world:
        yield world
