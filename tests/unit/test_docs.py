"""Tests, links, commands, alerts, metrics and settings that the documents name exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from kit.runbook import OPERATIONS, labels, metrics, section
from zmart import cli
from zmart.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "zmart"
FIRST_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"]
PAGES = sorted([*FIRST_PAGES, *(ROOT / "docs").glob("*.md")])
INVARIANTS = ROOT / "docs" / "invariants.md"

_CODE = re.compile(r"^```.*?^```|^(?: {4}|\t).*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s/`\"'(])zmart((?:[ ]+[^\s`'\"|;#&]+)+)")


def pages() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ invariants


@cache
def every_test() -> dict[str, set[str]]:
    """Return the names of all test functions, by the name of their file."""
    result: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        result[path.name] = set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    return result


@cache
def invariants() -> dict[int, str]:
    """Return the text of each invariant, with the names of its tests, by its number."""
    parts = re.split(r"^\*\*INV-(\d+)\*\*", INVARIANTS.read_text(), flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_promise_has_its_own_number_and_a_test():
    numbers = re.findall(r"^\*\*INV-(\d+)\*\*", INVARIANTS.read_text(), flags=re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    untested = [
        number for number, text in invariants().items() if not re.search(r"test_\w+\.py::test_\w+", text)
    ]
    assert untested == []


def test_every_test_that_a_page_names_exists():
    missing = [
        f"{page}: {file}::{name}"
        for page, text in pages()
        for file, name in re.findall(r"(test_\w+\.py)::(test_\w+)", text)
        if name not in every_test().get(file, set())
    ]
    assert missing == []


def test_every_file_of_tests_that_a_page_names_exists():
    missing = [
        f"{page}: {name}"
        for page, text in pages()
        for name in re.findall(r"\b(test_\w+)\.py\b", text)
        if f"{name}.py" not in every_test()
    ]
    assert missing == []


# ----------------------------------------------------------------------------------------------------------- links


def test_every_relative_link_leads_somewhere():
    dead = []
    for path in PAGES:
        text = _CODE.sub("", path.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            result = (path.parent / file).resolve() if file else path
            if not result.exists() or (anchor and anchor not in anchors(result)):
                dead.append(f"{path.relative_to(ROOT)}: {target}")
    assert dead == []


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -------------------------------------------------------------------------------------------------------- commands


@cache
def command_tree() -> typer.core.TyperGroup:
    for name in cli.MODULES:
        importlib.import_module(f"zmart.cli.{name}").register(cli.app)
    return typer.main.get_command(cli.app)


def wrong_with(words: list[str]) -> str:
    """Return why `zmart <words>` is not a command with these options; "" when it is one."""
    command = command_tree()
    while isinstance(command, typer.core.TyperGroup) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in command.commands:
            return f"{words[0]} is no command"
        command, words = command.commands[words[0]], words[1:]
    if command.context_settings.get("ignore_unknown_options"):
        return ""  # the command passes its arguments to another program
    options = [option for each in command.params for option in (*each.opts, *each.secondary_opts)]
    known = {*options, "--help"}
    unknown = [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in known]
    return f"{unknown[0]} is no option" if unknown else ""


def commands_in(code: str) -> Iterator[str]:
    for line in code.splitlines():
        for result in _COMMAND.findall(line):
            yield result.strip()


def test_every_command_that_a_page_names_exists():
    wrong = [
        f"{page}: zmart {command}: {why}"
        for page, text in pages()
        for code in _CODE.findall(text)
        for command in commands_in(code)
        if (why := wrong_with(command.split()))
    ]
    assert wrong == []


def test_every_command_that_a_sentence_of_the_code_names_exists():
    wrong = [
        f"{path.relative_to(ROOT)}: zmart {command}: {why}"
        for path in SOURCES.rglob("*.py")
        for code in re.findall(r"`zmart [^`]+`", path.read_text(encoding="utf-8"))
        if "|" not in code
        for command in commands_in(code)
        if (why := wrong_with(command.split()))
    ]
    assert wrong == []


# ---------------------------------------------------------------------------------------------------------- alerts


@cache
def alert_keys() -> frozenset[str]:
    """Return the constant beginning of every alert key in the code, up to its first variable part."""
    result = set()
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "raise_alert(" in text and path.name != "alerts.py":
            result |= set(keys_in(ast.parse(text)))
    return frozenset(result)


def keys_in(module: ast.Module) -> Iterator[str]:
    for function in functions(module):
        for call in calls(function, "raise_alert"):
            yield from beginnings(call.args[1], function, module)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    result = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [c for c in result if getattr(c.func, "attr", getattr(c.func, "id", "")) == name]


def beginnings(
    key: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, module: ast.Module
) -> Iterator[str]:
    """Yield the constant texts that `key` may begin with, following names and helper calls in the module."""
    match key:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            yield text
        case ast.Call(func=ast.Name(), args=[first, *_]):  # a helper function that builds a key
            for text in beginnings(first, function, module):
                yield f"{text}:"
        case ast.Name(id=name):
            yield from named(name, function, module)
        case _:
            raise AssertionError(
                f"Line {key.lineno}: this test cannot tell what the alert's key begins with."
            )


def named(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef, module: ast.Module) -> Iterator[str]:
    parameters = [argument.arg for argument in function.args.args]
    if name in parameters:
        position = parameters.index(name) - (parameters[0] == "self")
        for caller in functions(module):
            for call in calls(caller, function.name):
                yield from beginnings(call.args[position], caller, module)
        return
    for node in [*ast.walk(function), *module.body]:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = (
                    zip(target.elts, node.value.elts, strict=True)
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                    else [(target, node.value)]
                )
                for left, right in pairs:
                    if isinstance(left, ast.Name) and left.id == name:
                        yield from beginnings(right, function, module)
                        return
    raise AssertionError(f"{function.name}: this test cannot tell what {name} is.")


def test_the_alerts_of_the_code_are_found():
    assert {
        "uncertain:",
        "failing:",
        "waiting:",
        "payer low:",
        "stuck markets",
        "index-differs",
    } <= alert_keys()


def test_every_alert_is_in_the_runbook():
    described = set(re.findall(r"`([a-z][a-z -]*:?)", section("Alerts")))
    assert {key for key in alert_keys() if key not in described} == set()


def test_every_alert_of_the_runbook_can_be_raised():
    rows = re.findall(r"^\| (`.+?`) (?:critical|warning) ", section("Alerts"), re.MULTILINE)
    keys = [key for row in rows for key in re.findall(r"`([a-z][a-z -]*:?)", row)]
    assert len(keys) >= len(rows) >= len(alert_keys())
    assert set(keys) <= alert_keys()


# --------------------------------------------------------------------------------------------------------- figures


def test_every_figure_is_in_the_runbook():
    described = set(re.findall(r"\bzmart_[a-z_]+", section("Metrics")))
    assert sorted(metrics() - described) == []


def test_the_labels_of_every_figure_are_in_the_runbook():
    described = {
        name: tuple(filter(None, names.strip("{}").split(",")))
        for name, names in re.findall(r"`(zmart_[a-z_]+)(\{[a-z,]+\})?`", section("Metrics"))
    }
    assert {name: names for name, names in labels().items() if described[name] != names} == {}


def test_no_label_has_a_name_that_prometheus_gives_to_every_target():
    """Prometheus would rename such a label (`job` to `exported_job`), and queries would not find it."""
    assert {
        name for name, names in labels().items() if {"job", "instance", "service", "pod"} & set(names)
    } == set()


def test_every_figure_of_the_runbook_is_told():
    described = set(re.findall(r"\bzmart_[a-z_]+", OPERATIONS.read_text()))
    assert sorted(described - metrics()) == []


# -------------------------------------------------------------------------------------------------------- settings


_NOT_OURS = {
    "ZMART_ENV_FILE",
    "ZMART_BIN",
    "ZMART_IMAGE",
    "MIN_B",
    "MAX_B",
}  # variables of the environment and of compose.yaml, constants of the program


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_a_page_names_is_one(path):
    known = {name.upper() for name in Settings.model_fields}
    prefixes = "|".join(sorted({name.partition("_")[0] for name in known if "_" in name}))
    text = path.read_text(encoding="utf-8")
    if path.name == "migrating.md":  # the left columns of its tables name settings of other backends
        text = re.sub(r"^\| .+? \| ", "| ", text, flags=re.MULTILINE)
    code = " ".join(_CODE.findall(text))
    named = set(re.findall(rf"\b(?:{prefixes})_[A-Z0-9_]*[A-Z0-9]\b", code))
    assert sorted(named - known - _NOT_OURS) == []
