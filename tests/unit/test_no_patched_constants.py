"""Tests do not patch private constants, which may be renamed: what a test changes is a parameter or a setting."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def patched(source: str) -> Iterator[str]:
    """Yield the names of private constants, and `__defaults__`, that the test code in `source` patches."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("setattr", "setitem", "object"):
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    name = argument.value.rpartition(".")[2]
                    if name.startswith("_") and name.isupper():
                        yield name
                    if name == "__defaults__":
                        yield name


@pytest.mark.parametrize(
    "source",
    [
        'monkeypatch.setattr(module, "_WAIT_S", 1)',
        'monkeypatch.setattr("zmart.module._WAIT_S", 1)',
        'mock.patch.object(module, "_WAIT_S", 1)',
        'monkeypatch.setattr(function, "__defaults__", (4,))',
    ],
)
def test_a_patched_private_constant_is_found(source: str) -> None:
    assert list(patched(source))


def test_no_test_patches_a_private_constant() -> None:
    result = {
        (str(path.relative_to(TESTS)), name)
        for path in TESTS.rglob("*.py")
        for name in patched(path.read_text())
    }
    assert result == set()
