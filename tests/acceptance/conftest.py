"""The whole stack, as `zmart up` starts it, on free ports and in a home of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zmart.local.bring_up import running_stack
from zmart.local.ports import NAMES
from zmart.local.stack import read_record
from zmart.settings import Settings, load_settings


@contextmanager
def stack_in(home: Path, addon: Path, **settings: object) -> Iterator[Settings]:
    """A running stack; gives the settings that its services have."""
    (home / "node").symlink_to(addon)
    wanted = load_settings(_env_file=None, zmart_home=home, **dict.fromkeys(NAMES, 0), **settings)
    with running_stack(wanted, print):
        record = read_record(home)
        assert record is not None
        environment = {name.lower(): value for name, value in record.environment.items()}
        yield load_settings(_env_file=None, **environment)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """One stack for all tests of a module."""
    addon = request.config.rootpath / ".zmart" / "node"
    with stack_in(tmp_path_factory.mktemp("home"), addon) as settings:
        yield settings
