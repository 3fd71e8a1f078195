"""Hide an installed package from other libraries, which import it if they find it.

zmart does not use the features that they then offer, and the import costs time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Make imports of `package` within the block raise ImportError.

    A package that is already imported stays visible.
    """
    if package in sys.modules:
        yield
        return
    modules = cast("dict[str, object]", sys.modules)
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
