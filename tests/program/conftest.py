from __future__ import annotations

import pytest
from svm_harness import Zmart


@pytest.fixture
def zmart() -> Zmart:
    """Return a new chain with the program deployed and initialized."""
    return Zmart()
