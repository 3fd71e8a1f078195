"""What docs/operations.md says, and the metrics of the code that it, rules and dashboards speak of."""

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
_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
_OF_A_TARGET = {"job", "instance", "le"}


def section(title: str) -> str:
    """A section with what is below it, or a part of one."""
    text = OPERATIONS.read_text()
    head = re.search(rf"^(##+) {re.escape(title)}$", text, re.MULTILINE)
    if head is None:
        return ""
    return re.split(rf"^#{{2,{len(head[1])}}} ", text[head.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str) -> list[list[str]]:
    """The cells of each row of that section's first table, without its head."""
    lines = section(title).partition("\n|---")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def server_of(row: list[str]) -> str:
    """What is unavailable in a row of the table of unavailable servers, without what is in brackets behind it."""
    return row[0].partition(" (")[0]


@cache
def metrics() -> frozenset[str]:
    """Every figure that a process of ours can tell, under the name that Prometheus stores."""
    for path in _SOURCES.rglob("*.py"):
        if "from prometheus_client import" in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(path.relative_to(_SOURCES.parent).with_suffix("").parts))
    result = REGISTRY.collect()
    names = [m.name + "_total" * (m.type == "counter") for m in result if m.name.startswith("zmart_")]
    return frozenset(names)


def labels() -> dict[str, tuple[str, ...]]:
    """The labels of each figure that a process of ours can tell; those of our own collectors are not known here."""
    assert metrics()
    made = {
        collector for collector in REGISTRY._collector_to_names if isinstance(collector, MetricWrapperBase)
    }
    ours = [one for one in made if one._name.startswith("zmart_")]
    return {one._name + "_total" * (one._type == "counter"): tuple(one._labelnames) for one in ours}


def unknown_in(query: str) -> list[str]:
    """The metrics and labels of a query that no process of ours has."""
    wrong = []
    for name, matchers in _SAMPLE.findall(query):
        base = name if name in metrics() else _OF_A_HISTOGRAM.sub("", name)
        named = set(re.findall(r'(\w+)(?:=~|!=|!~|=)"', matchers)) - _OF_A_TARGET
        if base not in metrics():
            wrong.append(name)
        elif base in labels() and named - set(labels()[base]):
            wrong.append(f"{name}: {sorted(named - set(labels()[base]))}")
    return wrong
