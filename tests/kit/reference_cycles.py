"""Find garbage in reference cycles: unreachable objects that only the garbage collector frees."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reference_cycles() -> Iterator[Counter[str]]:
    """Count, by class, the objects that became garbage in reference cycles within the block.

    The yielded counter is filled when the block ends.
    """
    was_enabled = gc.isenabled()
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()
