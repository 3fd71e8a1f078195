"""Names in src/zmart: what a class is called says what it is, once in the whole code base."""

import ast
from collections import defaultdict
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "zmart"


def test_no_two_classes_share_a_name() -> None:
    positions: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                positions[node.name].append(f"{path.relative_to(SRC)}:{node.lineno}")
    assert {name: where for name, where in positions.items() if len(where) > 1} == {}
