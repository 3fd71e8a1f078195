"""What would wait for the garbage collector: objects that were given up, and that reference counts do not free."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reference_cycles() -> Iterator[Counter[str]]:
    """Fill the counter, when the block ends, with the classes of the objects that only a full collection would free.
    What was garbage before is none of them."""
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
