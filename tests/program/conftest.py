from __future__ import annotations

import pytest
from svm_harness import Zmart


@pytest.fixture
def zmart() -> Zmart:
    """A fresh chain with the program deployed and initialized."""
    return Zmart()
