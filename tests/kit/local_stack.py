"""Run the whole local stack, as `zmart up` starts it, on free ports and in a ZMART_HOME of its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmart.local.chain.server import SLOT_MS
from zmart.local.ports import NAMES
from zmart.local.stack import read_record, supervisor_of
from zmart.local.startup import running_stack
from zmart.settings import Settings, load_settings

ADDON = Path(__file__).parents[2] / ".zmart" / "node"


@contextmanager
def stack_in(home: Path, **settings: object) -> Iterator[Settings]:
    """Run a stack in `home` within the block, with the short slots of the tests; yield its services' settings."""
    (home / "node").symlink_to(ADDON)
    values = {"local_chain_slot_ms": SLOT_MS, **dict.fromkeys(NAMES, 0), **settings}
    expected = load_settings(_env_file=None, zmart_home=home, **values)
    with running_stack(expected, print):
        record = read_record(home)
        assert record is not None
        environment = {name.lower(): value for name, value in record.environment.items()}
        yield load_settings(_env_file=None, **environment)


@contextmanager
def paused(settings: Settings, process: str) -> Iterator[None]:
    """Stop a process of the stack by SIGSTOP within the block: it keeps its connections and does not answer."""
    running = supervisor_of(settings.zmart_home).processes()
    [pid] = [info.pid for info in running if info.name == process]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
