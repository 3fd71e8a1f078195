"""One stack for all tests of a module."""

from collections.abc import Iterator

import pytest

from kit.local_stack import stack_in
from zmart.settings import Settings


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The whole stack, running."""
    with stack_in(tmp_path_factory.mktemp("home")) as settings:
        yield settings
