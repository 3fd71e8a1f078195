"""Names in src/zmart: class names are unique in the code base, and no name uses a word of the former vocabulary."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "zmart"


def test_no_two_classes_share_a_name() -> None:
    """Class names are unique, even without a leading underscore."""
    positions: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                positions[node.name.lstrip("_")].append(f"{path.relative_to(SRC)}:{node.lineno}")
    assert {name: where for name, where in positions.items() if len(where) > 1} == {}


_FORMER = """
again asked asking attempt away behind bell caller callers carry common cut doors foreign found front gift
gifts happening heard hopeless hot kept kin launch look looked looks memory news nowhere packed paper papers
place places postponed preparation purse rendered ring rooms rung said sentences settle shelf shown standing
standings story strange told turns views visit wanted wire words worth
"""
_LISTED = (
    line.partition("->")[0]
    for line in (SRC.parents[1] / "docs" / "wordlist.txt").read_text("utf-8").splitlines()
)
FORMER_WORDS = frozenset(_FORMER.split()) | {word for word in _LISTED if word.isalpha()}
"""Words that were used in a private sense in this code: write the common word instead (requested, response, position,
displayed, after, unavailable, value, timeline, reported). CONTRIBUTING.md gives the reason."""

IN_THE_FIELDS_SENSE = {
    "attempt": "one of the tries of a retry",
    "last_attempt_at": "the schema's column, of retries",
    "next_attempt_at": "the schema's column, of retries",
    "GOING_AWAY": "the close code's name in RFC 6455",
    "FoundMarket": "a schema of the published API",
    "NotFound": "HTTP's 404",
    "caller": "the program that invokes another one",
    "callers": "the programs that invoke another one",
    "kept_from": "the schema's column and the feed's published field",
    "words": "a published field: the rule in words",
    "memory_bytes": "a process's memory",
    "memory_mib": "a process's memory",
    "_IN_MEMORY_BYTES": "a process's memory",
    "packed": "bytes packed by the codec",
    "wire": "the form of messages on the wire",
    "WIRE_VERSION": "the form of messages on the wire",
    "WireMessage": "the form of messages on the wire",
}


def test_no_name_uses_a_former_word() -> None:
    hits = [
        f"{path.relative_to(SRC)}:{line}: {name}"
        for path in sorted(SRC.rglob("*.py"))
        for name, line in [(path.stem, 1), *defined_names(ast.parse(path.read_text("utf-8")))]
        if name not in IN_THE_FIELDS_SENSE and words_of(name) & FORMER_WORDS
    ]
    assert hits == []


def test_what_is_allowed_is_still_used() -> None:
    used = {
        name
        for path in SRC.rglob("*.py")
        for name, _ in [(path.stem, 1), *defined_names(ast.parse(path.read_text("utf-8")))]
    }
    assert IN_THE_FIELDS_SENSE.keys() - used == set()


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that a module defines (functions, classes, variables, arguments, imports), with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name, node.lineno


def words_of(name: str) -> set[str]:
    """Return the words of a name in snake_case or CapWords."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)}
