"""What the drills of docs/operations.md share: a running stack, an operator before it, and wallets."""

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
    """A stack for all drills of a module."""
    with stack_in(tmp_path_factory.mktemp("drills")) as settings:
        yield settings


@pytest.fixture
async def operator(drilled: Settings) -> AsyncIterator[Operator]:
    """An operator of that stack, once all of it is ready."""
    async with Operator.before(drilled) as operator:
        yield operator


@pytest.fixture
async def world(operator: Operator) -> AsyncIterator[DemoWorld]:
    """Wallets with SOL and sessions before that stack."""
    async with world_of(operator) as world:
        yield world
