"""Hide packages that others import where they find them, although nothing here uses what they then offer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Let imports of `package` within the block raise ImportError, unless it is in use already."""
    if package in sys.modules:
        yield
        return
    modules = cast("dict[str, object]", sys.modules)
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
