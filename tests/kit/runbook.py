"""Read sections and tables of docs/operations.md, and the metrics that the code has."""

import importlib
import re
from functools import cache
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

_ROOT = Path(__file__).parents[2]
_SOURCES = _ROOT / "src" / "zmart"
OPERATIONS = _ROOT / "docs" / "operations.md"
_SAMPLE = re.compile(r"\b(zmart_[a-z_]+)(?:\{([^}]*)\})?")
_COUNTED = re.compile(r"\b(?:increase|rate)\((zmart_\w+)(?:\{([^}]*)\})?\[")
_MATCHER = re.compile(r'(\w+)="([^"]*)"')
_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
_OF_A_TARGET = {"job", "instance", "le"}


def section(title: str) -> str:
    """Return the text of the section with this title, subsections included; "" when there is none."""
    text = OPERATIONS.read_text()
    head = re.search(rf"^(##+) {re.escape(title)}$", text, re.MULTILINE)
    if head is None:
        return ""
    return re.split(rf"^#{{2,{len(head[1])}}} ", text[head.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str) -> list[list[str]]:
    """Return the cells of each row of the first table in the section with this title, without the table's head."""
    lines = section(title).partition("\n|---")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def server_of(row: list[str]) -> str:
    """Return the server that a row of the table of unavailable servers is about, without the text in brackets."""
    return row[0].partition(" (")[0]


@cache
def metrics() -> frozenset[str]:
    """Return the name, as Prometheus stores it, of every metric that the code has."""
    for path in _SOURCES.rglob("*.py"):
        if "from prometheus_client import" in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(path.relative_to(_SOURCES.parent).with_suffix("").parts))
    result = REGISTRY.collect()
    names = [m.name + "_total" * (m.type == "counter") for m in result if m.name.startswith("zmart_")]
    return frozenset(names)


def labels() -> dict[str, tuple[str, ...]]:
    """Return the labels of each metric by name, except metrics of custom collectors, whose labels are not known."""
    assert metrics()
    made = {
        collector for collector in REGISTRY._collector_to_names if isinstance(collector, MetricWrapperBase)
    }
    ours = [one for one in made if one._name.startswith("zmart_")]
    return {one._name + "_total" * (one._type == "counter"): tuple(one._labelnames) for one in ours}


def counted(query: str) -> list[tuple[str, dict[str, str]]]:
    """Return the metric and the labels of each selector that a PromQL query gives to increase() or rate()."""
    return [(name, dict(_MATCHER.findall(matchers))) for name, matchers in _COUNTED.findall(query)]


def unknown_in(query: str) -> list[str]:
    """Return the metrics and labels in a PromQL query that the code does not have."""
    wrong = []
    for name, matchers in _SAMPLE.findall(query):
        base = name if name in metrics() else _OF_A_HISTOGRAM.sub("", name)
        named = set(re.findall(r'(\w+)(?:=~|!=|!~|=)"', matchers)) - _OF_A_TARGET
        if base not in metrics():
            wrong.append(name)
        elif base in labels() and named - set(labels()[base]):
            wrong.append(f"{name}: {sorted(named - set(labels()[base]))}")
    return wrong
