"""A fixture that runs one local stack for all tests of a module."""

from collections.abc import Iterator

import pytest

from kit.local_stack import stack_in
from zmart.settings import Settings


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run the whole local stack; return its settings."""
    with stack_in(tmp_path_factory.mktemp("home")) as settings:
        yield settings
